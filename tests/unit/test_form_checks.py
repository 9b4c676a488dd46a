"""What is refused when a form is saved, each with its place."""

from typing import Any

import msgspec
import pytest
from msgspec import Raw

from runlane.contracts.directory import Manifest
from runlane.contracts.forms import Form
from runlane.directory import Directory, workflow_key
from runlane.errors import ValidationError
from runlane_gateway.form_checks import problems_of
from runlane_gateway.form_views import FormBody, read_form

SCHEMA = {
    "type": "object",
    "properties": {
        "email": {"type": "string"},
        "count": {"type": "integer", "maximum": 10},
        "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "plan": {"$ref": "#/$defs/Plan"},
        "groups": {"type": "array", "items": {"type": "string"}},
        "sure": {"type": "boolean"},
        "more": {},
    },
    "required": ["email", "note"],
    "additionalProperties": False,
    "$defs": {"Plan": {"enum": ["basic", "premium"]}},
}
PROVIDER = {
    "type": "object",
    "properties": {"of": {"type": "string"}, "kind": {}},
    "required": ["of"],
    "additionalProperties": False,
}


def directory() -> Directory:
    known = Directory()
    for revision, manifest in enumerate(
        [
            Manifest(name="onboard", description="x", parameters=Raw(msgspec.json.encode(SCHEMA))),
            Manifest(name="other", description="x", parameters=Raw(b"{}")),
            Manifest(name="inner", description="x", parameters=Raw(b"{}"), expose_in_forms=False),
            Manifest(
                name="groups_of", description="x", parameters=Raw(msgspec.json.encode(PROVIDER)), data_provider=True
            ),
        ],
        1,
    ):
        known.apply(workflow_key(manifest.name), msgspec.json.encode(manifest), revision)
    return known


def saved(body: dict[str, Any], form_id: str = "join") -> None:
    read = read_form(body, FormBody)
    form = Form(org="acme", id=form_id, name=read.name, linked_workflow=read.linked_workflow, fields=read.fields)
    for problem in problems_of(form, directory()):
        raise problem


def form(*fields: dict[str, Any], **known: Any) -> dict[str, Any]:
    email = {"name": "email", "type": "email", "required": True}
    return {"name": "Join", "linkedWorkflow": "onboard", "fields": [email, *fields], **known}


GROUP = {"name": "plan", "type": "choice", "choicesFrom": {"workflow": "groups_of", "inputs": {"of": "email"}}}


def test_a_form_that_is_right_is_taken() -> None:
    saved(
        form(
            {"name": "count", "type": "integer", "min": 1, "max": 3, "default": 2, "order": 1},
            {"name": "note", "type": "multiline", "visibleWhen": [{"field": "count", "operator": "in", "value": [3]}]},
            {"name": "groups", "type": "choices", "choices": [{"value": "a"}, {"value": "b", "label": "B"}]},
            {"name": "more", "type": "text", "pattern": "[a-z]+", "sensitive": True},
            {"name": "sure", "type": "boolean", "default": True},
            GROUP,
        )
    )


@pytest.mark.parametrize(
    ("field", "place"),
    [
        ({"name": "email"}, "fields[1].name"),
        ({"name": ""}, "fields[1].name"),
        ({"name": "unknown"}, "fields[1].name"),
        ({"name": "count"}, "fields[1].type"),
        ({"name": "count", "type": "number"}, "fields[1].type"),
        ({"name": "groups", "type": "boolean"}, "fields[1].type"),
        ({"name": "note", "type": "list"}, "fields[1].type"),
        ({"name": "count", "type": "integer", "default": 11}, "fields[1].default"),
        ({"name": "count", "type": "integer", "default": 5, "max": 4}, "fields[1].default"),
        ({"name": "sure", "type": "boolean", "default": "yes"}, "fields[1].default"),
        ({"name": "count", "type": "integer", "min": 3, "max": 2}, "fields[1].min"),
        ({"name": "sure", "type": "boolean", "min": 1}, "fields[1].min"),
        ({"name": "note", "min": -1}, "fields[1].min"),
        ({"name": "note", "max": 1.5}, "fields[1].max"),
        ({"name": "note", "max": 10**9}, "fields[1].max"),
        ({"name": "note", "pattern": "["}, "fields[1].pattern"),
        ({"name": "note", "pattern": "(a)\\1"}, "fields[1].pattern"),
        ({"name": "note", "pattern": "(?=a)a"}, "fields[1].pattern"),
        ({"name": "note", "pattern": "(?:a{1000}){1000}"}, "fields[1].pattern"),
        ({"name": "note", "pattern": "a" * 501}, "fields[1].pattern"),
        ({"name": "count", "type": "integer", "pattern": "1"}, "fields[1].pattern"),
        ({"name": "plan", "type": "choice"}, "fields[1].choices"),
        ({"name": "plan", "type": "choice", "choices": [{"value": "gold"}]}, "fields[1].choices"),
        ({"name": "plan", "type": "choice", "choices": [{"value": 1}]}, "fields[1].choices"),
        ({"name": "groups", "type": "choices", "choices": [{"value": 1}]}, "fields[1].choices"),
        ({"name": "plan", "type": "choice", "choices": [{"value": "basic"}, {"value": "basic"}]}, "fields[1].choices"),
        ({"name": "note", "choices": [{"value": "x"}]}, "fields[1].choices"),
        ({**GROUP, "choices": [{"value": "basic"}]}, "fields[1].choices"),
        ({**GROUP, "choicesFrom": {"workflow": "other"}}, "fields[1].choicesFrom.workflow"),
        ({**GROUP, "choicesFrom": {"workflow": "nothing"}}, "fields[1].choicesFrom.workflow"),
        ({**GROUP, "choicesFrom": {"workflow": "groups_of"}}, "fields[1].choicesFrom"),
        ({**GROUP, "choicesFrom": {"workflow": "groups_of", "inputs": {"of": "x"}}}, "fields[1].choicesFrom.inputs"),
        ({**GROUP, "choicesFrom": {"workflow": "groups_of", "inputs": {"of": "plan"}}}, "fields[1].choicesFrom.inputs"),
        (
            {**GROUP, "choicesFrom": {"workflow": "groups_of", "inputs": {"of": "email"}, "parameters": {"x": 1}}},
            "fields[1].choicesFrom",
        ),
        (
            {**GROUP, "choicesFrom": {"workflow": "groups_of", "inputs": {"of": "email"}, "cacheSeconds": -1}},
            "fields[1].choicesFrom.cacheSeconds",
        ),
        ({"name": "note", "visibleWhen": [{"field": "note", "operator": "filled"}]}, "fields[1].visibleWhen[0]"),
        ({"name": "note", "visibleWhen": [{"field": "gone", "operator": "filled"}]}, "fields[1].visibleWhen[0]"),
        (
            {"name": "note", "visibleWhen": [{"field": "email", "operator": "in", "value": "x"}]},
            "fields[1].visibleWhen[0]",
        ),
        (
            {"name": "note", "visibleWhen": [{"field": "email", "operator": "filled", "value": 1}]},
            "fields[1].visibleWhen[0]",
        ),
        ({"name": "note", "visibleWhen": [{"field": "email", "operator": "filled"}] * 21}, "fields[1].visibleWhen"),
        ({"name": "sure", "type": "boolean", "sensitive": True}, "fields[1].sensitive"),
        ({"name": "note", "sensitive": True, "default": "x"}, "fields[1].default"),
        ({"name": "note", "help": "x" * 4001}, "fields[1].help"),
        ({"name": "note", "label": "x" * 201}, "fields[1].label"),
        ({"name": "note", "type": "colour"}, "fields[1].type"),
        ({"name": "note", "required": "yes"}, "fields[1].required"),
        ({"name": 5}, "fields[1].name"),
        ({"type": "text"}, "fields[1]"),
        ({"name": "note", "surprise": 1}, "fields[1].surprise"),
        ({"name": "note", "visible_when": []}, "fields[1].visible_when"),
        (
            {"name": "note", "visibleWhen": [{"field": "email", "operator": "like"}]},
            "fields[1].visibleWhen[0].operator",
        ),
        (
            {"name": "note", "visibleWhen": [{"field": "email", "operator": "filled", "x": 1}]},
            "fields[1].visibleWhen[0].x",
        ),
        ({"name": "plan", "type": "choice", "choices": [{"value": {"a": 1}}]}, "fields[1].choices[0].value"),
        ({"name": "plan", "type": "choice", "choices": [{"value": "basic", "text": "B"}]}, "fields[1].choices[0].text"),
        ({**GROUP, "choicesFrom": {"workflow": "groups_of", "of": "email"}}, "fields[1].choicesFrom.of"),
    ],
)
def test_a_field_that_cannot_work_is_refused_with_its_place(field: dict[str, Any], place: str) -> None:
    with pytest.raises(ValidationError) as refused:
        saved(form(field))
    assert refused.value.field == place


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({"name": "  "}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": 3}, "name"),
        ({"linkedWorkflow": "nothing"}, "linkedWorkflow"),
        ({"linkedWorkflow": "inner"}, "linkedWorkflow"),
        ({"linkedWorkflow": None}, "linkedWorkflow"),
        ({"fields": []}, "fields"),
        ({"fields": {}}, "fields"),
        ({"fields": [3]}, "fields[0]"),
        ({"org": "globex"}, "org"),
        ({"changedBy": "me"}, "changedBy"),
        ({"id": "else"}, "id"),
    ],
)
def test_a_form_that_cannot_work_is_refused(changed: dict[str, Any], place: str) -> None:
    with pytest.raises(ValidationError) as refused:
        saved({**form(), **changed})
    assert refused.value.field == place


def test_a_form_without_its_workflow_is_not_one() -> None:
    with pytest.raises(ValidationError) as refused:
        saved({"name": "x"})
    assert refused.value.field == "linkedWorkflow"


def test_a_form_does_not_take_another_workflows_name() -> None:
    with pytest.raises(ValidationError) as refused:
        saved(form(), form_id="other")
    assert refused.value.field == "id"
    saved(form(), form_id="onboard")


def test_fields_in_a_circle_are_refused() -> None:
    rule = {"operator": "filled"}
    one = {"name": "note", "visibleWhen": [{**rule, "field": "count"}]}
    other = {"name": "count", "type": "integer", "visibleWhen": [{**rule, "field": "note"}]}
    with pytest.raises(ValidationError, match="depend on each other"):
        saved(form(one, other))


def test_a_sensitive_field_does_not_choose_choices() -> None:
    body = form(GROUP)
    body["fields"][0]["sensitive"] = True
    with pytest.raises(ValidationError) as refused:
        saved(body)
    assert refused.value.field == "fields[1].choicesFrom.inputs"
