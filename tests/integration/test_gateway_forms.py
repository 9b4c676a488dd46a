"""The doors of forms: who sees which, what a submission starts, and choices from a data provider."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from runlane.adapters.nats.bus import NatsBus
from runlane.adapters.nats.directory import NatsDirectoryStore
from runlane.contracts.events import Failure
from runlane.directory import api_key_key, workflow_key
from tests.support.eventually import eventually
from tests.support.gateway_bus import Executor, Gateway, api_key, manifest

pytest_plugins = ["tests.support.gateway_fixtures"]

JOIN_SCHEMA = {
    "type": "object",
    "properties": {
        "email": {"type": "string"},
        "licence": {"enum": ["none", "e5"]},
        "reason": {"type": "string", "minLength": 5},
        "pin": {"type": "string"},
        "group": {"type": "string"},
    },
    "required": ["email"],
    "additionalProperties": False,
}
PROVIDER_SCHEMA = {"type": "object", "properties": {"licence": {"enum": ["none", "e5"]}}, "required": ["licence"]}

JOIN: dict[str, Any] = {
    "name": "Join",
    "linkedWorkflow": "join",
    "fields": [
        {"name": "email", "type": "email", "label": "E-mail", "help": "Of the new user.", "required": True},
        {
            "name": "licence",
            "type": "choice",
            "choices": [{"value": "none", "label": "None"}, {"value": "e5", "label": "E5"}],
            "default": "none",
        },
        {
            "name": "reason",
            "required": True,
            "visibleWhen": [{"field": "licence", "operator": "equals", "value": "e5"}],
        },
        {"name": "pin", "pattern": "[0-9]{6}", "sensitive": True},
    ],
}
WITH_GROUP: dict[str, Any] = {
    **JOIN,
    "fields": [
        *JOIN["fields"],
        {
            "name": "group",
            "type": "choice",
            "choicesFrom": {"workflow": "groups_of", "inputs": {"licence": "licence"}},
        },
    ],
}


@pytest.fixture
async def designer(gateway: Gateway, bus: NatsBus) -> AsyncIterator[httpx.AsyncClient]:
    """A key of `acme` that manages forms, and the workflows that forms are about."""
    store = NatsDirectoryStore(bus)
    for known in (
        manifest("join", schema=JOIN_SCHEMA, execution_mode="async"),
        manifest("internal", expose_in_forms=False),
        manifest("groups_of", schema=PROVIDER_SCHEMA, data_provider=True, required_permission="canDoMore"),
    ):
        await store.put(workflow_key(known.name), msgspec.json.encode(known))
    keys = [
        api_key("designer", "acme", "canManageForms", "canExecuteWorkflows", "canViewExecutions"),
        api_key("filler", "acme", "canExecuteWorkflows"),
    ]
    for key in keys:
        await store.put(api_key_key(key.id), msgspec.json.encode(key))
    await eventually(lambda: gateway.parts.directory.api_key("filler"), within=20)
    async with gateway.client("designer") as opened:
        yield opened


async def test_a_designed_form_is_made_shown_changed_and_deleted(designer: httpx.AsyncClient) -> None:
    made = await designer.post("/forms", json={"id": "newcomer", **JOIN})
    assert (made.status_code, made.headers["location"]) == (201, "/forms/newcomer"), made.text
    form = (await designer.get("/forms/newcomer")).json()
    assert form == made.json()
    assert (form["LinkedWorkflow"], form["linkedWorkflow"]) == ("join", "join")
    assert (form["executionMode"], form["generated"], form["inherited"], form["warnings"]) == (
        "async",
        False,
        False,
        [],
    )
    assert (form["changedBy"], form["parameters"]["required"]) == ("designer", ["email"])
    assert form["fields"][0] == {
        "name": "email",
        "type": "email",
        "label": "E-mail",
        "help": "Of the new user.",
        "required": True,
        "order": 0,
        "sensitive": False,
    }
    assert form["fields"][2]["visibleWhen"] == [{"field": "licence", "operator": "equals", "value": "e5"}]
    assert (await designer.post("/forms", json={"id": "newcomer", **JOIN})).status_code == 409
    stale = await designer.put("/forms/newcomer", json=JOIN, headers={"If-Match": '"1"'})
    assert stale.status_code == 412
    changed = await designer.put(
        "/forms/newcomer", json={**JOIN, "name": "Welcome"}, headers={"If-Match": made.headers["etag"]}
    )
    assert (changed.status_code, changed.json()["name"]) == (200, "Welcome")
    assert (await designer.delete("/forms/newcomer")).status_code == 204
    for answer in (await designer.get("/forms/newcomer"), await designer.delete("/forms/newcomer")):
        assert (answer.status_code, answer.json()["error"]) == (404, "NotFound")
    assert (await designer.post("/forms", json={"id": "newcomer", **JOIN})).status_code == 201


async def test_every_usable_workflow_has_a_generated_form(designer: httpx.AsyncClient) -> None:
    forms = {form["id"]: form for form in (await designer.get("/forms")).json()["forms"]}
    assert {"quick", "checked", "slow", "join"} <= forms.keys()
    # Not exposed, not permitted, disabled here, a data provider.
    assert not {"internal", "guarded", "banned", "groups_of"} & forms.keys()
    assert forms["checked"]["generated"]
    form = (await designer.get("/forms/checked")).json()
    kinds = {field["name"]: (field["type"], field["required"], field["sensitive"]) for field in form["fields"]}
    assert kinds["email"] == ("text", True, False)
    assert kinds["password"] == ("text", False, True)
    assert (kinds["address"][0], kinds["users"][0], kinds["n"][0]) == ("json", "list", "integer")


async def test_the_list_comes_in_pages(designer: httpx.AsyncClient) -> None:
    whole = [form["id"] for form in (await designer.get("/forms")).json()["forms"]]
    first = (await designer.get("/forms", params={"limit": 2})).json()
    rest = (await designer.get("/forms", params={"after": first["next"]})).json()
    assert [form["id"] for form in first["forms"] + rest["forms"]] == whole == sorted(whole)
    assert rest["next"] is None
    assert (await designer.get("/forms", params={"limit": 0})).status_code == 400


async def test_the_platforms_forms_belong_to_all_and_an_own_one_stands_in(
    gateway: Gateway, designer: httpx.AsyncClient
) -> None:
    async with gateway.client("admin", X_Organization_Id="platform") as platform, gateway.client("globex") as globex:
        assert (await platform.put("/forms/shared", json=JOIN)).status_code == 200
        for client in (designer, globex):
            assert (await client.get("/forms/shared")).json()["inherited"]
        assert (await designer.delete("/forms/shared")).status_code == 404
        assert (await designer.put("/forms/shared", json={**JOIN, "name": "Ours"})).status_code == 200
        assert (await designer.get("/forms/shared")).json()["name"] == "Ours"
        assert (await globex.get("/forms/shared")).json()["name"] == "Join"
        assert (await designer.delete("/forms/shared")).status_code == 204
        assert (await designer.get("/forms/shared")).json()["inherited"]


async def test_a_form_of_another_organisation_is_as_unknown_as_none(
    gateway: Gateway, designer: httpx.AsyncClient
) -> None:
    await designer.put("/forms/ours", json=JOIN)
    async with gateway.client("globex") as globex:
        for method, path in (
            ("GET", "/forms/{}"),
            ("POST", "/forms/{}/submit"),
            ("GET", "/forms/{}/choices/email"),
            ("POST", "/forms/{}/choices/email"),
        ):
            foreign = await globex.request(method, path.format("ours"), json={} if method == "POST" else None)
            nothing = await globex.request(method, path.format("none"), json={} if method == "POST" else None)
            assert foreign.status_code == nothing.status_code == 404
            assert foreign.text.replace("ours", "none") == nothing.text
        assert "ours" not in [form["id"] for form in (await globex.get("/forms")).json()["forms"]]


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/forms"), ("PUT", "/forms/x"), ("DELETE", "/forms/x"), ("PUT", "/forms/quick")]
)
async def test_only_who_manages_forms_changes_them(
    gateway: Gateway, designer: httpx.AsyncClient, method: str, path: str
) -> None:
    async with gateway.client("filler") as filler:
        answer = await filler.request(method, path, json={"id": "x", **JOIN} if method != "DELETE" else None)
    assert (answer.status_code, answer.json()["details"]) == (403, {"permission": "canManageForms"})


@pytest.mark.parametrize("form_id", ["a.b", "*", ">", "x" * 65, "é", "..%2Fx", "a b"])
async def test_an_id_that_is_no_name_is_refused(designer: httpx.AsyncClient, form_id: str) -> None:
    assert (await designer.put(f"/forms/{form_id}", json=JOIN)).status_code in (400, 404)
    assert (await designer.get(f"/forms/{form_id}")).status_code == 404
    assert (await designer.post("/forms", json={"id": form_id, **JOIN})).status_code == 400


async def test_a_form_that_cannot_work_is_refused_when_it_is_saved(designer: httpx.AsyncClient) -> None:
    answer = await designer.put("/forms/bad", json={**JOIN, "linkedWorkflow": "nothing"})
    assert (answer.status_code, answer.json()["details"]) == (400, {"field": "linkedWorkflow"})
    answer = await designer.put("/forms/bad", json={**JOIN, "fields": [{"name": "email", "pattern": "("}]})
    assert (answer.status_code, answer.json()["details"]) == (400, {"field": "fields[0].pattern"})
    assert (await designer.get("/forms/bad")).status_code == 404


async def test_a_form_whose_workflow_changed_says_so_to_those_who_manage_it(
    gateway: Gateway, designer: httpx.AsyncClient, bus: NatsBus
) -> None:
    await designer.put("/forms/newcomer", json=JOIN)
    gone = {**JOIN_SCHEMA, "properties": {"email": {"type": "string"}}}
    await NatsDirectoryStore(bus).put(workflow_key("join"), msgspec.json.encode(manifest("join", schema=gone)))

    async def warned() -> bool:
        return any("licence" in text for text in (await designer.get("/forms/newcomer")).json()["warnings"])

    await eventually(warned, within=20)
    hidden = manifest("join", schema=JOIN_SCHEMA, expose_in_forms=False)
    await NatsDirectoryStore(bus).put(workflow_key("join"), msgspec.json.encode(hidden))

    async def told() -> bool:
        forms = {form["id"]: form for form in (await designer.get("/forms")).json()["forms"]}
        return "not exposed" in forms["newcomer"].get("problem", "")

    await eventually(told, within=20)
    async with gateway.client("filler") as filler:
        assert (await filler.get("/forms/newcomer")).status_code == 403
        assert "newcomer" not in [form["id"] for form in (await filler.get("/forms")).json()["forms"]]


# --- submitting -------------------------------------------------------------------------------------------------------


async def test_a_submission_of_an_async_workflow_is_accepted(
    gateway: Gateway, designer: httpx.AsyncClient, executor: Executor
) -> None:
    await designer.put("/forms/newcomer", json=JOIN)
    given = {"email": "a@b.c", "reason": "ignored: it is hidden", "pin": "739154"}
    answer = await designer.post("/forms/newcomer/submit", json=given)
    assert answer.status_code == 202, answer.text
    body = answer.json()
    assert (body["status"], answer.headers["location"]) == ("Queued", body["pollUrl"])
    request = (await eventually(lambda: executor.requests, within=20))[0]
    assert executor.parameters(request) == {"email": "a@b.c", "licence": "none", "pin": "739154"}
    assert (request.trigger.kind, request.trigger.reference, request.sensitive) == ("form", "newcomer", ["pin"])
    record = await designer.get(body["pollUrl"], params={"wait": 5})
    assert record.json()["trigger"] == {"kind": "form", "reference": "newcomer"}
    assert record.json()["input"]["pin"] == "[REDACTED]"
    assert "739154" not in record.text


async def test_a_submission_of_a_sync_workflow_answers_with_its_result(
    designer: httpx.AsyncClient, executor: Executor
) -> None:
    executor.result = {"done": True}
    answer = await designer.post("/forms/checked/submit", json={"email": "a@b.c", "n": 3})
    assert (answer.status_code, answer.json()["result"]) == (200, {"done": True})
    executor.failure = Failure("ValidationError", "Invalid email address", {"field": "email"})
    answer = await designer.post("/forms/checked/submit", json={"email": "a@b.c"})
    assert (answer.status_code, answer.json()["details"]) == (400, {"field": "email"})
    answer = await designer.post("/forms/checked/submit", json={"email": "x"}, headers={"Prefer": "respond-async"})
    assert answer.status_code == 202


@pytest.mark.parametrize(
    ("form", "given", "field"),
    [
        ("newcomer", {}, "email"),
        ("newcomer", {"email": ""}, "email"),
        ("newcomer", {"email": "nobody"}, "email"),
        ("newcomer", {"email": "a@b.c", "licence": "gold"}, "licence"),
        ("newcomer", {"email": "a@b.c", "licence": "e5"}, "reason"),
        ("newcomer", {"email": "a@b.c", "licence": "e5", "reason": "why"}, "reason"),
        ("newcomer", {"email": "a@b.c", "pin": "12345x"}, "pin"),
        ("newcomer", {"email": "a@b.c", "executed_by": "root"}, "executed_by"),
        ("checked", {"email": "a@b.c", "address": {}}, "address.city"),
        ("checked", {"email": "a@b.c", "n": "3"}, "n"),
        ("checked", {"email": "a@b.c", "surprise": 1}, "surprise"),
    ],
)
async def test_a_wrong_submission_names_the_field_and_starts_nothing(
    designer: httpx.AsyncClient, executor: Executor, form: str, given: dict[str, Any], field: str
) -> None:
    await designer.put("/forms/newcomer", json=JOIN)
    answer = await designer.post(f"/forms/{form}/submit", json=given)
    assert (answer.status_code, answer.json()["details"]) == (400, {"field": field}), answer.text
    assert "12345x" not in answer.text
    assert not executor.requests


@pytest.mark.parametrize("content", [b"[]", b"{", b"null", b'"x"', b'{"a":' * 65 + b"1" + b"}" * 65])
async def test_a_submission_is_one_json_object(designer: httpx.AsyncClient, content: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    for path in ("/forms/quick/submit", "/forms/quick/choices/x", "/forms"):
        answer = await designer.post(path, content=content, headers=headers)
        assert answer.status_code in (400, 404), (path, answer.text)
    assert (await designer.post("/forms/quick/submit", content=b"a=1")).status_code == 415


async def test_a_workflow_that_is_not_exposed_in_forms_is_forbidden(designer: httpx.AsyncClient) -> None:
    for method, path in (("POST", "/forms/internal/submit"), ("GET", "/forms/internal")):
        answer = await designer.request(method, path, json={} if method == "POST" else None)
        assert (answer.status_code, answer.json()["error"]) == (403, "Forbidden")
    answer = await designer.post("/forms/guarded/submit", json={})
    assert (answer.status_code, answer.json()["details"]) == (403, {"permission": "canRunGuarded"})
    assert (await designer.post("/forms/banned/submit", json={})).status_code == 404


async def test_an_idempotency_key_makes_many_submissions_one(designer: httpx.AsyncClient, executor: Executor) -> None:
    async def submit(email: str = "a@b.c", key: str = "once") -> httpx.Response:
        return await designer.post("/forms/checked/submit", json={"email": email}, headers={"Idempotency-Key": key})

    answers = await asyncio.gather(*(submit() for _ in range(10)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["executionId"] for answer in answers}) == len(executor.requests) == 1
    assert (await submit("other@b.c")).status_code == 422
    assert (await submit(key="")).status_code == 400


async def test_a_retry_keeps_a_sensitive_value_out_of_its_record_too(
    gateway: Gateway, designer: httpx.AsyncClient, executor: Executor
) -> None:
    await designer.put("/forms/newcomer", json=JOIN)
    first = (await designer.post("/forms/newcomer/submit", json={"email": "a@b.c", "pin": "739154"})).json()
    await designer.get(first["pollUrl"], params={"wait": 5})
    async with gateway.client() as worker:
        again = await worker.post(f"{first['pollUrl']}/retry")
    assert again.status_code == 202, again.text
    requests = await eventually(lambda: executor.requests if len(executor.requests) == 2 else None, within=20)
    assert (requests[1].sensitive, executor.parameters(requests[1])["pin"]) == (["pin"], "739154")
    assert "739154" not in (await designer.get(again.json()["pollUrl"], params={"wait": 5})).text


async def test_a_sensitive_value_stays_one_in_an_input_that_is_too_long_to_be_shown(
    gateway: Gateway, designer: httpx.AsyncClient, executor: Executor
) -> None:
    fields = [*JOIN["fields"], {"name": "group", "type": "text"}]
    await designer.put("/forms/newcomer", json={**JOIN, "fields": fields})
    given = {"email": "a@b.c", "pin": "739154", "group": "739154 " * 20_000}
    first = (await designer.post("/forms/newcomer/submit", json=given)).json()
    record = (await designer.get(first["pollUrl"], params={"wait": 5})).json()
    assert record["input"]["pin"] == "[REDACTED]"
    assert "739154" not in str(record)
    async with gateway.client() as worker:
        assert (await worker.post(f"{first['pollUrl']}/retry")).status_code == 202
    requests = await eventually(lambda: executor.requests if len(executor.requests) == 2 else None, within=20)
    assert [request.sensitive for request in requests] == [["pin"], ["pin"]]


# --- choices ----------------------------------------------------------------------------------------------------------


async def test_choices_come_from_the_provider_and_are_kept(
    gateway: Gateway, designer: httpx.AsyncClient, executor: Executor
) -> None:
    await designer.put("/forms/newcomer", json=WITH_GROUP)
    executor.result = [{"value": "g1", "label": "Sales"}, {"value": "g2"}]
    async with gateway.client("filler") as filler:
        asked = [filler.get("/forms/newcomer/choices/group", params={"licence": "e5"}) for _ in range(10)]
        answers = await asyncio.gather(*asked)
        for answer in answers:
            assert answer.json() == {"choices": [{"value": "g1", "label": "Sales"}, {"value": "g2", "label": "g2"}]}
        assert len(executor.requests) == 1
        assert executor.parameters(executor.requests[0]) == {"licence": "e5"}
        assert executor.requests[0].trigger.reference == "newcomer/group"
        posted = await filler.post("/forms/newcomer/choices/group", json={"email": "half", "licence": "e5"})
        assert posted.json() == answers[0].json()
        await filler.get("/forms/newcomer/choices/group")
        assert executor.parameters(executor.requests[1]) == {"licence": "none"}
        fixed = await filler.get("/forms/newcomer/choices/licence")
        assert [choice["label"] for choice in fixed.json()["choices"]] == ["None", "E5"]
        assert (await filler.get("/forms/newcomer/choices/nothing")).status_code == 404


async def test_choices_of_one_organisation_are_not_shown_to_another(
    gateway: Gateway, designer: httpx.AsyncClient, executor: Executor
) -> None:
    async with gateway.client("admin", X_Organization_Id="platform") as platform:
        assert (await platform.put("/forms/shared", json=WITH_GROUP)).status_code == 200
    executor.result = [{"value": "of-acme"}]
    assert "of-acme" in (await designer.get("/forms/shared/choices/group")).text
    executor.result = [{"value": "of-globex"}]
    async with gateway.client("globex") as globex:
        answer = await globex.get("/forms/shared/choices/group")
    assert [choice["value"] for choice in answer.json()["choices"]] == ["of-globex"]
    assert [request.org for request in executor.requests] == ["acme", "globex"]


async def test_a_submission_has_to_choose_what_is_offered(designer: httpx.AsyncClient, executor: Executor) -> None:
    await designer.put("/forms/newcomer", json=WITH_GROUP)
    executor.result = [{"value": "g1"}]
    answer = await designer.post("/forms/newcomer/submit", json={"email": "a@b.c", "group": "g2"})
    assert (answer.status_code, answer.json()["details"]) == (400, {"field": "group"})
    assert (await designer.post("/forms/newcomer/submit", json={"email": "a@b.c", "group": "g1"})).status_code == 202


@pytest.mark.parametrize("result", [{}, "x", [1], [{"label": "x"}], [{"value": {}}], [{"value": "x"}] * 5001])
async def test_a_provider_that_returns_something_else_is_unavailable(
    designer: httpx.AsyncClient, executor: Executor, result: Any
) -> None:
    await designer.put("/forms/newcomer", json=WITH_GROUP)
    executor.result = result
    answer = await designer.get("/forms/newcomer/choices/group")
    assert (answer.status_code, answer.json()["error"]) == (503, "ChoicesUnavailable")
    assert (answer.json()["details"]["field"], answer.headers["retry-after"]) == ("group", "1")


async def test_a_provider_that_fails_is_asked_again_and_shows_no_trace(
    designer: httpx.AsyncClient, executor: Executor
) -> None:
    await designer.put("/forms/newcomer", json=WITH_GROUP)
    internal = {"type": "KeyError", "message": "hunter2", "traceback": "File x.py"}
    executor.failure = Failure("InternalServerError", "An unexpected error occurred", internal=internal)
    answer = await designer.get("/forms/newcomer/choices/group")
    assert answer.status_code == 503
    assert answer.json()["details"]["executionId"] == executor.requests[0].execution_id
    assert "hunter2" not in answer.text
    assert "x.py" not in answer.text
    refused = await designer.post("/forms/newcomer/submit", json={"email": "a@b.c", "group": "g1"})
    assert refused.status_code == 503
    executor.failure, executor.result = None, [{"value": "g1"}]
    assert (await designer.get("/forms/newcomer/choices/group")).status_code == 200


async def test_inputs_that_the_provider_does_not_take_name_the_field(
    designer: httpx.AsyncClient, executor: Executor
) -> None:
    await designer.put("/forms/newcomer", json=WITH_GROUP)
    for given in ({"licence": "gold"}, {"licence": ""}):
        answer = await designer.get("/forms/newcomer/choices/group", params=given)
        assert (answer.status_code, answer.json()["details"]) == (400, {"field": "licence"})
    assert not executor.requests
