"""`/forms…` (SPEC §6): what people fill in to run a workflow; designed here, or generated from its signature."""

from collections.abc import Iterable
from typing import Annotated, Any
from urllib.parse import parse_qsl

import msgspec
from fastapi import APIRouter, Query
from starlette.requests import Request

from runlane.contracts.directory import Manifest
from runlane.contracts.forms import Choice, Form, FormField
from runlane.contracts.requests import Trigger
from runlane.directory import form_key
from runlane.errors import Conflict, NotFound, UnprocessableRequest, ValidationError
from runlane.ids import check_token, new_execution_id, repeatable_execution_id
from runlane.telemetry import logger

from .answers import Answer, Header, answer
from .bodies import decode_object, read_body
from .calls import Call, idle_seconds, traceparent_of
from .conditions import etag
from .describe import Described
from .form_catalogue import Catalogue, Listed, unknown_form
from .form_checks import problems_of
from .form_choices import Providers, Question
from .form_schemas import TEXTS
from .form_submission import Offered, Questionnaire, Questionnaires
from .form_views import ChoicesView, FormBody, FormsView, FormView, NewFormBody, read_form, summary_of, view_of
from .parts import Parts, changes_by, headers_of, organisation, principal_of
from .permissions import MANAGE_FORMS
from .preferences import read_idempotency_key, read_preference, read_run_at
from .principals import Principal

_log = logger(__name__)


class FormDoors:
    """`/forms…`"""

    def __init__(self, parts: Parts) -> None:
        self._parts, self._directory = parts, parts.directory
        self._catalogue = Catalogue(parts.directory, parts.calls)
        self._questionnaires = Questionnaires()
        self._providers = Providers(parts.directory, parts.calls, parts.clock, parts.settings.sync_wait)

    def routes(self, described: Described) -> APIRouter:
        router = APIRouter(tags=["forms"])
        add, one, choices = router.add_api_route, "/forms/{id}", "/forms/{id}/choices/{field}"
        form, offered = described.answers(FormView), described.answers(ChoicesView)
        put, made = described.body(FormBody), described.body(NewFormBody)
        filled = described.any_object()
        add("/forms", self.all, methods=["GET"], responses=described.answers(FormsView))
        add(
            "/forms",
            self.make,
            methods=["POST"],
            status_code=201,
            responses=described.answers(FormView, 201),
            openapi_extra=made,
        )
        add(one, self.one, methods=["GET"], responses=form)
        add(one, self.put, methods=["PUT"], responses=form, openapi_extra=put)
        add(one, self.delete, methods=["DELETE"], status_code=204)
        add(f"{one}/submit", self.submit, methods=["POST"], responses=described.outcomes(), openapi_extra=filled)
        add(choices, self.choices, methods=["GET"], responses=offered)
        add(choices, self.choices_for, methods=["POST"], responses=offered, openapi_extra=filled)
        return router

    # --- reading ------------------------------------------------------------------------------------------------------

    async def all(
        self, request: Request, limit: Annotated[int, Query(ge=1, le=500)] = 200, after: str | None = None
    ) -> Answer:
        """The forms that you may use in this organisation, in the order of their ids."""
        principal, org = principal_of(request.scope), self._org(request)
        found = [listed for listed in self._catalogue.all(org, principal) if after is None or listed.form.id > after]
        page = [summary_of(listed, self._catalogue.problem(listed, org, principal)) for listed in found[:limit]]
        return answer(FormsView(page, page[-1].id if len(found) > limit else None))

    async def one(self, request: Request, id: str) -> Answer:
        """One form, with everything that a page needs to show it."""
        principal, org = principal_of(request.scope), self._org(request)
        listed = self._catalogue.one(org, id)
        if principal.may(MANAGE_FORMS) and not listed.generated:
            return self._shown(listed)
        self._catalogue.workflow(listed, org, principal)
        return self._shown(listed)

    # --- designing ----------------------------------------------------------------------------------------------------

    async def make(self, request: Request) -> Answer:
        """Make a form; 409 where there is one of that id."""
        org = self._managed_org(request)
        body = read_form(await self._body(request), NewFormBody)
        return await self._save(request, org, check_token(body.id, "id"), body, new=True)

    async def put(self, request: Request, id: str) -> Answer:
        """Make a form or replace it. An organisation's own stands in for the platform's of the same id."""
        org = self._managed_org(request)
        body = read_form(await self._body(request), FormBody)
        return await self._save(request, org, check_token(id, "id"), body, new=False)

    async def delete(self, request: Request, id: str) -> Answer:
        """Delete a form of the organisation's own."""
        org = self._managed_org(request)
        if self._directory.form(org, id) is None:
            raise unknown_form(id)
        await changes_by(request, self._parts).delete(form_key(org, id))
        _log.info("form deleted", org=org, form=id, by=principal_of(request.scope).key_id)
        return Answer(204, b"")

    async def _save(self, request: Request, org: str, form_id: str, body: FormBody, *, new: bool) -> Answer:
        form = Form(
            org=org,
            id=form_id,
            name=body.name,
            linked_workflow=body.linked_workflow,
            description=body.description,
            fields=body.fields,
            changed_at=self._parts.clock.now(),
            changed_by=principal_of(request.scope).key_id,
        )
        for problem in problems_of(form, self._directory):
            raise problem

        def changed(known: Form | None) -> Form:
            if new and known is not None:
                raise Conflict(f"There is a form {form_id!r} already.")
            return form

        await changes_by(request, self._parts).change(
            form_key(org, form_id), lambda: self._directory.form(org, form_id), changed
        )
        _log.info("form saved", org=org, form=form_id, by=form.changed_by)
        made = [(b"location", f"/forms/{form_id}".encode())] if new else []
        return self._shown(Listed(form, generated=False, inherited=False), 201 if new else 200, made)

    # --- filling in ---------------------------------------------------------------------------------------------------

    async def submit(self, request: Request, id: str) -> Answer:
        """Run the form's workflow with what was filled in; answered as `POST /workflows/{name}` is."""
        principal, org, headers = principal_of(request.scope), self._org(request), headers_of(request.scope)
        listed, questionnaire = self._questionnaire(org, id, principal)
        manifest, settings = questionnaire.manifest, self._parts.settings
        preference, key = read_preference(headers, settings.sync_wait), read_idempotency_key(headers)
        run_at = read_run_at(request.scope["query_string"], self._parts.clock.now())
        given = await self._body(request)
        values = questionnaire.answers(given)
        await self._check_offered(org, principal, questionnaire, values)
        return await self._parts.calls.start(
            Call(
                execution_id=new_execution_id() if key is None else repeatable_execution_id("form", org, id, key),
                org=org,
                manifest=manifest,
                parameters=questionnaire.parameters(values, given),
                principal=principal,
                trigger=Trigger("form", listed.form.id),
                run_at=run_at,
                preference=preference,
                wait=idle_seconds(manifest, preference, run_at, settings.sync_wait),
                traceparent=traceparent_of(headers),
                repeatable=key is not None,
                sensitive=questionnaire.sensitive,
            )
        )

    async def choices(self, request: Request, id: str, field: str) -> Answer:
        """The choices of a field now; the query holds the fields that it depends on, as text or JSON."""
        query = parse_qsl(request.scope["query_string"].decode("latin-1"), keep_blank_values=True)
        return await self._choices(request, id, field, dict(query), from_text=True)

    async def choices_for(self, request: Request, id: str, field: str) -> Answer:
        """The choices of a field now; the body is the form as far as it is filled in."""
        return await self._choices(request, id, field, await self._body(request), from_text=False)

    async def _choices(
        self, request: Request, form_id: str, name: str, given: dict[str, Any], *, from_text: bool
    ) -> Answer:
        principal, org = principal_of(request.scope), self._org(request)
        _, questionnaire = self._questionnaire(org, form_id, principal)
        field = questionnaire.field(name)
        if field is None:
            raise NotFound(f"The form has no field {name[:64]!r}.")
        if from_text:
            given = {key: _from_text(questionnaire.field(key), value) for key, value in given.items()}
        return answer(ChoicesView(await self._offered(org, principal, questionnaire, field, given)))

    async def _check_offered(
        self, org: str, principal: Principal, questionnaire: Questionnaire, values: dict[str, Any]
    ) -> None:
        """Raises `ValidationError` for a value that a data provider does not offer."""
        for field in questionnaire.form.fields:
            if field.choices_from is None or field.name not in values:
                continue
            value = values[field.name]
            choices = await self._offered(org, principal, questionnaire, field, values)
            offered = Offered(choice.value for choice in choices)
            if not all(one in offered for one in (value if isinstance(value, list) else [value])):
                raise ValidationError(f"{field.name}: the value is none of the choices", field.name)

    async def _offered(
        self, org: str, principal: Principal, questionnaire: Questionnaire, field: FormField, given: dict[str, Any]
    ) -> list[Choice]:
        source = field.choices_from
        if source is None:
            return [Choice(choice.value, choice.label or str(choice.value)) for choice in field.choices]
        question = Question(
            org=org,
            principal=principal,
            form=questionnaire.form.id,
            field=field.name,
            source=source,
            inputs=questionnaire.inputs(source, given),
        )
        return await self._providers.choices(question)

    # --- what they share ----------------------------------------------------------------------------------------------

    def _org(self, request: Request) -> str:
        return organisation(request.scope, self._directory)

    def _managed_org(self, request: Request) -> str:
        principal_of(request.scope).require(MANAGE_FORMS)
        return self._org(request)

    async def _body(self, request: Request) -> dict[str, Any]:
        headers = headers_of(request.scope)
        return decode_object(headers, await read_body(headers, request.receive, self._parts.settings.max_body))

    def _questionnaire(self, org: str, form_id: str, principal: Principal) -> tuple[Listed, Questionnaire]:
        listed = self._catalogue.one(org, form_id)
        manifest = self._catalogue.workflow(listed, org, principal)
        try:
            return listed, self._questionnaires.of(listed.form, manifest, generated=listed.generated)
        except ValueError:
            raise UnprocessableRequest(f"Form {form_id!r} is broken: whoever designed it has to mend it.") from None

    def _shown(self, listed: Listed, status: int = 200, headers: Iterable[Header] = ()) -> Answer:
        tag = [] if listed.generated else etag(self._directory, form_key(listed.form.org, listed.form.id))
        manifest: Manifest | None = self._directory.workflow(listed.form.linked_workflow)
        problems = [] if listed.generated else problems_of(listed.form, self._directory)
        return answer(view_of(listed, manifest, [problem.message for problem in problems]), status, [*headers, *tag])


def _from_text(field: FormField | None, text: str) -> Any:
    """A value of the query: text for a field of texts, else JSON where it is that."""
    if field is None or field.type in TEXTS:
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
