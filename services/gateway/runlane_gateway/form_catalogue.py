"""Which forms there are for a caller in an organisation: its own, the platform's, and generated ones."""

from collections.abc import Iterator

from msgspec import Struct

from runlane.contracts.directory import PLATFORM, Manifest
from runlane.contracts.forms import Form
from runlane.directory import Directory
from runlane.errors import Forbidden, NotFound, RunlaneError
from runlane.ids import is_token

from .calls import Calls
from .form_generation import generated_form
from .permissions import MANAGE_FORMS
from .principals import Principal


class Listed(Struct, frozen=True):
    """A form as it holds in an organisation. `generated`: out of the workflow's signature."""

    form: Form
    generated: bool
    inherited: bool


class Catalogue:
    """Finds forms. An organisation's own go before the platform's, designed ones before generated ones."""

    def __init__(self, directory: Directory, calls: Calls) -> None:
        self._directory, self._calls = directory, calls
        self._generated: dict[str, tuple[Manifest, Form]] = {}

    def one(self, org: str, form_id: str) -> Listed:
        """Raises `NotFound`."""
        found = self._designed(org, form_id) if is_token(form_id) else None
        manifest = self._directory.workflow(form_id) if found is None and is_token(form_id) else None
        if found is None and manifest is not None and not manifest.data_provider:
            found = Listed(self._generated_form(manifest), generated=True, inherited=False)
        if found is None:
            raise unknown_form(form_id)
        return found

    def all(self, org: str, principal: Principal) -> Iterator[Listed]:
        """Those that the principal may use, in the order of their ids; whoever manages forms sees the broken ones."""
        designed = {form.id: form for of in (PLATFORM, org) for form in self._directory.forms(of)}
        names = {manifest.name for manifest in self._directory.workflows() if not manifest.data_provider}
        for form_id in sorted(designed.keys() | names):
            listed = self.one(org, form_id)
            manages = principal.may(MANAGE_FORMS) and not listed.generated
            if manages or self.problem(listed, org, principal) is None:
                yield listed

    def workflow(self, listed: Listed, org: str, principal: Principal) -> Manifest:
        """The form's workflow, if the principal may run it by a form here. Raises `NotFound`, `Forbidden`."""
        manifest = self._calls.workflow(listed.form.linked_workflow, org, principal)
        if not manifest.expose_in_forms:
            raise Forbidden(f"Workflow {manifest.name!r} is not exposed in forms.")
        return manifest

    def problem(self, listed: Listed, org: str, principal: Principal) -> str | None:
        """Why the form cannot be used."""
        try:
            self.workflow(listed, org, principal)
        except RunlaneError as problem:
            return problem.message
        return None

    def _designed(self, org: str, form_id: str) -> Listed | None:
        own = self._directory.form(org, form_id)
        if own is not None:
            return Listed(own, generated=False, inherited=False)
        form = self._directory.form(PLATFORM, form_id)
        return None if form is None else Listed(form, generated=False, inherited=True)

    def _generated_form(self, manifest: Manifest) -> Form:
        known = self._generated.get(manifest.name)
        if known is None or known[0] is not manifest:
            known = self._generated[manifest.name] = (manifest, generated_form(manifest))
        return known[1]


def unknown_form(form_id: str) -> NotFound:
    """The same words for a form of another organisation and for none."""
    return NotFound(f"There is no form {form_id[:64]!r}.")
