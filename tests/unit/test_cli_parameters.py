"""How `--param` and `--params` become a call's parameters."""

from pathlib import Path
from typing import Any

import pytest

from runlane_cli.parameters import coerce, read_parameters
from runlane_cli.problems import CommandFailed

STRING, INTEGER = {"type": "string"}, {"type": "integer"}
OPTIONAL_STRING = {"anyOf": [{"type": "string"}, {"type": "null"}]}
OPTIONAL_INTEGER = {"type": ["integer", "null"]}
COLOUR = {"$ref": "#/$defs/Colour"}
ROOT = {"$defs": {"Colour": {"enum": ["1", "red"]}, "Loop": {"$ref": "#/$defs/Loop"}}}


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("5", INTEGER, 5),
        ("5", {"type": "number"}, 5),
        ("5.5", {"type": "number"}, 5.5),
        ("5", STRING, "5"),
        ("true", STRING, "true"),
        ("true", {"type": "boolean"}, True),
        ("null", OPTIONAL_STRING, None),
        ("5", OPTIONAL_STRING, "5"),
        ("null", OPTIONAL_INTEGER, None),
        ("abc", INTEGER, "abc"),
        ("1.5", INTEGER, "1.5"),
        ('["a", 1]', {"type": "array"}, ["a", 1]),
        ('{"a": 1}', {"type": "object"}, {"a": 1}),
        ('{"a": 1}', STRING, '{"a": 1}'),
        ("1", COLOUR, "1"),
        ("a=b=c", STRING, "a=b=c"),
        ("", STRING, ""),
        ("5", {}, 5),
        ("five", {}, "five"),
        ('"quoted"', {}, "quoted"),
        ('"quoted"', STRING, '"quoted"'),
        ("NaN", {}, "NaN"),
        ("Infinity", {"type": "number"}, "Infinity"),
        ("7", {"anyOf": [{"type": "string"}, {}]}, 7),
        ("7", {"$ref": "#/$defs/Loop"}, 7),
        ("7", {"$ref": "#/$defs/Missing"}, 7),
        ("7", {"const": 7}, 7),
    ],
)
def test_a_text_becomes_what_the_schema_has_room_for(text: str, schema: dict[str, Any], value: object) -> None:
    assert coerce(text, schema, ROOT) == value


def test_single_parameters_override_the_whole(tmp_path: Path) -> None:
    file = tmp_path / "parameters.json"
    file.write_text('{"name": "Ada", "age": 36}')
    schema = {"properties": {"age": INTEGER}}

    assert read_parameters(f"@{file}", ["age=37"], schema) == {"name": "Ada", "age": 37}


def test_a_value_may_hold_an_equals_sign() -> None:
    assert read_parameters(None, ["query=a=b"], {}) == {"query": "a=b"}


@pytest.mark.parametrize(
    ("whole", "single", "message"),
    [
        (None, ["name"], "write name=value"),
        (None, ["=Ada"], "write name=value"),
        (None, ["name=Ada", "name=Grace"], "name is given twice"),
        ("{", [], "is not JSON"),
        ("[1]", [], "must be a JSON object"),
        ('{"a": NaN}', [], "is not JSON"),
        ("@/no/such/file.json", [], "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_a_usage_error(whole: str | None, single: list[str], message: str) -> None:
    with pytest.raises(CommandFailed, match=message) as caught:
        read_parameters(whole, single, {})

    assert caught.value.exit_code == 2
