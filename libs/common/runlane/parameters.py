"""Checks parameters against a workflow's JSON Schema. The gateway does before anything is queued, and so do tests."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import jsonschema_rs
import msgspec
from jsonschema_rs import ValidationErrorKind

from runlane.contracts.directory import Manifest
from runlane.errors import ValidationError

_LONGEST_MESSAGE = 300
_LONGEST_NAME = 64
_MOST_LISTED = 12


class Validators:
    """A compiled schema per workflow, compiled again when its manifest changes."""

    def __init__(self) -> None:
        self._compiled: dict[str, tuple[Manifest, jsonschema_rs.Validator]] = {}

    def check(self, manifest: Manifest, parameters: dict[str, Any]) -> None:
        """Raises `ValidationError`; `details.field` is a path such as `address.city` or `users[2].email`."""
        known = self._compiled.get(manifest.name)
        if known is None or known[0] is not manifest:
            known = (manifest, _compile(manifest))
            self._compiled[manifest.name] = known
        check_value(known[1], parameters, manifest.parameters)


def check_value(validator: jsonschema_rs.Validator, value: object, schema: bytes = b"{}") -> None:
    """Raises `ValidationError` with the path of what does not fit; what would is looked up in the JSON `schema`."""
    if not validator.is_valid(value):
        raise _refusal(next(iter(validator.iter_errors(value))), msgspec.json.decode(schema))


def _compile(manifest: Manifest) -> jsonschema_rs.Validator:
    # The mask keeps values out of messages: a message may be logged, and a value may be a secret.
    return jsonschema_rs.validator_for(
        msgspec.json.decode(manifest.parameters), validate_formats=True, mask="the value", retriever=no_network
    )


def no_network(uri: str) -> Any:
    """What a schema that refers elsewhere gets."""
    raise ValueError(f"a parameter schema refers to nothing outside itself, but this one to {uri}")


def _refusal(error: jsonschema_rs.ValidationError, schema: Mapping[str, Any]) -> ValidationError:
    error = _innermost(error)
    path, message = list(error.instance_path), error.message
    match error.kind:
        case ValidationErrorKind.Required(property=missing):
            path.append(missing)
        case (
            ValidationErrorKind.AdditionalProperties(unexpected=names)
            | ValidationErrorKind.UnevaluatedProperties(unexpected=names)
        ):
            path.append(names[0])
            message = _unknown(names[0], _properties(schema, error.schema_path))
        case ValidationErrorKind.Pattern(pattern=pattern):
            # Forms are filled in by people: words come first.
            message = f"the value does not have the required form (pattern {pattern})"
    field = _dotted(path)
    return ValidationError(f"{field}: {message}"[:_LONGEST_MESSAGE] if field else message, field or None)


def _unknown(name: str, known: list[str]) -> str:
    """What to say of a name that nothing has: most often it is misspelt."""
    meant = get_close_matches(name[:_LONGEST_NAME], known, n=1)
    if meant:
        return f"there is no such name here; did you mean {meant[0]}?"
    listed = ", ".join(sorted(known)[:_MOST_LISTED]) + (", …" if len(known) > _MOST_LISTED else "")
    return "there is no such name here" + (f", only {listed}" if listed else "")


def _properties(schema: Mapping[str, Any], path: list[str | int]) -> list[str]:
    """The names that the part of a schema has whose `additionalProperties` is at `path`."""
    found: Any = schema
    for step in path[:-1]:
        found = found[int(step)] if isinstance(found, list) else found.get(str(step), {})
    return list(found.get("properties", {}))


def _innermost(error: jsonschema_rs.ValidationError) -> jsonschema_rs.ValidationError:
    """Of the alternatives that a union or an optional offers, the complaint of the one that fitted best."""
    while isinstance(error.kind, ValidationErrorKind.AnyOf | ValidationErrorKind.OneOfNotValid):
        causes = [cause for branch in error.kind.context for cause in branch]
        deepest = max(causes, key=lambda cause: len(cause.instance_path), default=error)
        by_shape = [cause for cause in causes if not isinstance(cause.kind, ValidationErrorKind.Type)]
        if len(deepest.instance_path) > len(error.instance_path):
            error = deepest
        elif by_shape:
            error = by_shape[0]
        else:
            break
    return error


def _dotted(path: list[str | int]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")
