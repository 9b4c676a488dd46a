"""Turns `--param k=v` and `--params JSON|@file` into a call's parameters, by the workflow's schema. Used by `run`."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .problems import USAGE, CommandFailed

_TYPE_OF: dict[type, str] = {
    dict: "object",
    list: "array",
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    type(None): "null",
}


def read_parameters(whole: str | None, single: Iterable[str], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters: those of `whole` (JSON, or `@file`), overridden by each `k=v` of `single`.

    A value is taken as JSON where the schema has room for what it then is, else as text. Raises `CommandFailed`.
    """
    parameters = {} if whole is None else _whole(whole)
    properties = schema.get("properties") or {}
    given: dict[str, Any] = {}
    for pair in single:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise CommandFailed(f"{pair!r}: write name=value.", USAGE)
        if name in given:
            raise CommandFailed(f'{name} is given twice; a list is one value, as in \'{name}=["a", "b"]\'.', USAGE)
        given[name] = coerce(text, properties.get(name, {}), schema)
    return parameters | given


def coerce(text: str, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """`text` as the value that the schema of its parameter has room for."""
    allowed = _types(schema, root)
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except ValueError:
        return text
    kind = _TYPE_OF[type(value)]
    if not allowed:
        return value
    if kind == "string" or not (kind in allowed or (kind == "integer" and "number" in allowed)):
        return text
    return value


def _types(schema: Mapping[str, Any], root: Mapping[str, Any]) -> set[str]:
    """The JSON types that a schema allows; empty when it does not say."""
    schema = _resolved(schema, root)
    for word in ("anyOf", "oneOf"):
        if word in schema:
            each = [_types(option, root) for option in schema[word]]
            return set().union(*each) if all(each) else set()
    if "type" in schema:
        declared = schema["type"]
        return {declared} if isinstance(declared, str) else set(declared)
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    return {_TYPE_OF[type(value)] for value in values}


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#/"):
        return schema
    found: Any = root
    for token in reference[2:].split("/"):
        found = found.get(token, {})
    return _resolved(found, root) if found.get("$ref") != reference else {}


def _whole(given: str) -> dict[str, Any]:
    text, where = given, "--params"
    if given.startswith("@"):
        where = given[1:]
        try:
            text = Path(where).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as problem:
            raise CommandFailed(f"{where} cannot be read: {problem}.", USAGE) from None
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except ValueError as problem:
        raise CommandFailed(f"{where} is not JSON: {problem}.", USAGE) from None
    if not isinstance(value, dict):
        raise CommandFailed(f'{where} must be a JSON object, such as \'{{"name": "Ada"}}\'.', USAGE)
    return value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
