"""What is said of parameters that do not fit their workflow."""

import json
from typing import Any

import pytest
from msgspec import Raw

from runlane.contracts.directory import Manifest
from runlane.errors import ValidationError
from runlane.parameters import Validators

_USER = {"type": "object", "properties": {"name": {"type": "string"}}, "additionalProperties": False}
_SCHEMA = {
    "type": "object",
    "properties": {
        "email": {"type": "string", "pattern": "@"},
        "user": {"$ref": "#/$defs/User"},
        "others": {"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/User"}}, {"type": "null"}]},
    },
    "required": ["email"],
    "additionalProperties": False,
    "$defs": {"User": _USER},
}


@pytest.mark.parametrize(
    ("given", "field", "said"),
    [
        ({"emial": "a@b", "email": "a@b"}, "emial", "there is no such name here; did you mean email?"),
        ({"email": "a@b", "zzz": 1}, "zzz", "there is no such name here, only email, others, user"),
        ({"email": "a@b", "user": {"nmae": "Ada"}}, "user.nmae", "there is no such name here; did you mean name?"),
        ({"email": "a@b", "others": [{"zzz": 1}]}, "others[0].zzz", "there is no such name here, only name"),
        ({}, "email", '"email" is a required property'),
        ({"email": "nobody"}, "email", "the value does not have the required form (pattern @)"),
    ],
)
def test_what_does_not_fit_is_named_with_what_would(given: dict[str, Any], field: str, said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Validators().check(_manifest(_SCHEMA), given)
    assert refused.value.message == f"{field}: {said}"
    assert refused.value.details["field"] == field


def test_a_workflow_of_many_parameters_lists_some_and_a_long_name_fills_no_answer() -> None:
    manifest = _manifest({"properties": {f"p{n}": {} for n in range(99)}, "additionalProperties": False})
    with pytest.raises(ValidationError, match=r"only p0, .*, …$"):
        Validators().check(manifest, {"zzz": 1})
    with pytest.raises(ValidationError) as refused:
        Validators().check(manifest, {"p" * 100_000: 1})
    assert len(refused.value.message) <= 300


def test_a_workflow_without_parameters_says_so() -> None:
    with pytest.raises(ValidationError, match=r"^a: there is no such name here$"):
        Validators().check(_manifest({"properties": {}, "additionalProperties": False}), {"a": 1})


def _manifest(schema: dict[str, Any]) -> Manifest:
    return Manifest(name="audit", description="Audit", parameters=Raw(json.dumps(schema).encode()))
