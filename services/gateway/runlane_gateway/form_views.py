"""A form as the API takes and gives it. SPEC §6's page reads `LinkedWorkflow`; everything else is camelCase."""

from typing import Any, TypeVar
from urllib.parse import quote

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType, field

from runlane.contracts.directory import Manifest
from runlane.contracts.forms import Choice, ChoiceSource, Form, FormField, Rule
from runlane.errors import ValidationError

from .bodies import convert
from .form_catalogue import Listed
from .views import utc_or_none


class FormBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A form to be saved under an id."""

    name: str
    linked_workflow: str
    description: str = ""
    fields: list[FormField] = field(default_factory=list)


class NewFormBody(FormBody, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A form to be made."""

    id: str


class FieldView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A field. What does not apply to its type is absent; `choicesUrl` is where the choices of `choicesFrom` are."""

    name: str
    type: str
    label: str
    help: str
    required: bool
    default: Any = UNSET
    choices: list[Choice] | UnsetType = UNSET
    choices_from: ChoiceSource | UnsetType = UNSET
    choices_url: str | UnsetType = UNSET
    visible_when: list[Rule] | UnsetType = UNSET
    pattern: str | UnsetType = UNSET
    min: float | UnsetType = UNSET
    max: float | UnsetType = UNSET
    order: int
    sensitive: bool


class FormSummaryView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A form in a list. `problem`: why it cannot be used, for those who manage forms."""

    id: str
    name: str
    description: str
    linked_workflow: str
    generated: bool
    inherited: bool
    problem: str | UnsetType = UNSET


class FormsView(Struct, frozen=True):
    """`next`: what to give as `after` for the page that follows; null at the end."""

    forms: list[FormSummaryView]
    next: str | None


class FormView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A form. `parameters` is the JSON Schema of its workflow, `warnings` what has come to be wrong with it."""

    id: str
    name: str
    description: str
    linked_workflow: str
    linked_workflow_as_in_spec: str = field(name="LinkedWorkflow")
    execution_mode: str | None
    requires_approval: bool
    generated: bool
    inherited: bool
    fields: list[FieldView]
    parameters: Raw | None
    warnings: list[str]
    changed_at: str | None
    changed_by: str | None


class ChoicesView(Struct, frozen=True):
    choices: list[Choice]


_Body = TypeVar("_Body", bound=FormBody)

_NESTED: dict[type[Struct], dict[str, type[Struct]]] = {
    FormBody: {"fields": FormField},
    NewFormBody: {"fields": FormField},
    FormField: {"choices": Choice, "choicesFrom": ChoiceSource, "visibleWhen": Rule},
}


def read_form(given: dict[str, Any], type_: type[_Body]) -> _Body:
    """Raises `ValidationError` naming the place, such as `fields[2].visibleWhen[0].operator`."""
    _refuse_unknown(given, type_, "")
    return convert(given, type_)


def _refuse_unknown(given: dict[str, Any], type_: type[Struct], place: str) -> None:
    """The structs themselves take unknown names: an older gateway has to read what a newer one stored."""
    known = {item.encode_name for item in msgspec.structs.fields(type_)}
    for name, value in given.items():
        path = f"{place}.{name[:64]}" if place else name[:64]
        if name not in known:
            raise ValidationError(f"{path}: there is nothing of that name", path)
        nested = _NESTED.get(type_, {}).get(name)
        if nested is None:
            continue
        for index, item in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(item, dict):
                _refuse_unknown(item, nested, f"{path}[{index}]" if isinstance(value, list) else path)


def summary_of(listed: Listed, problem: str | None) -> FormSummaryView:
    form = listed.form
    return FormSummaryView(
        id=form.id,
        name=form.name,
        description=form.description,
        linked_workflow=form.linked_workflow,
        generated=listed.generated,
        inherited=listed.inherited,
        problem=UNSET if problem is None else problem,
    )


def view_of(listed: Listed, manifest: Manifest | None, warnings: list[str]) -> FormView:
    form = listed.form
    return FormView(
        id=form.id,
        name=form.name,
        description=form.description,
        linked_workflow=form.linked_workflow,
        linked_workflow_as_in_spec=form.linked_workflow,
        execution_mode=None if manifest is None else manifest.execution_mode,
        requires_approval=manifest is not None and manifest.requires_approval,
        generated=listed.generated,
        inherited=listed.inherited,
        fields=[_field_view(form, item) for item in sorted(form.fields, key=lambda item: item.order)],
        parameters=None if manifest is None else manifest.parameters,
        warnings=warnings,
        changed_at=utc_or_none(form.changed_at),
        changed_by=form.changed_by,
    )


def _field_view(form: Form, item: FormField) -> FieldView:
    dynamic = item.choices_from is not None
    return FieldView(
        name=item.name,
        type=item.type,
        label=item.label or item.name,
        help=item.help,
        required=item.required,
        default=_or_unset(item.default),
        choices=[Choice(choice.value, choice.label or str(choice.value)) for choice in item.choices] or UNSET,
        choices_from=item.choices_from or UNSET,
        choices_url=f"/forms/{form.id}/choices/{quote(item.name)}" if dynamic else UNSET,
        visible_when=item.visible_when or UNSET,
        pattern=_or_unset(item.pattern),
        min=_or_unset(item.min),
        max=_or_unset(item.max),
        order=item.order,
        sensitive=item.sensitive,
    )


def _or_unset(value: Any) -> Any:
    return UNSET if value is None else value
