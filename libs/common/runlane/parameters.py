"""Checks parameters against a workflow's JSON Schema. The gateway does before anything is queued, and so do tests."""

from typing import Any

import jsonschema_rs
import msgspec
from jsonschema_rs import ValidationErrorKind

from runlane.contracts.directory import Manifest
from runlane.errors import ValidationError

_LONGEST_MESSAGE = 300


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
        check_value(known[1], parameters)


def check_value(validator: jsonschema_rs.Validator, value: object) -> None:
    """Raises `ValidationError` with the path of what does not fit."""
    if not validator.is_valid(value):
        raise _refusal(next(iter(validator.iter_errors(value))))


def _compile(manifest: Manifest) -> jsonschema_rs.Validator:
    # The mask keeps values out of messages: a message may be logged, and a value may be a secret.
    return jsonschema_rs.validator_for(
        msgspec.json.decode(manifest.parameters), validate_formats=True, mask="the value", retriever=no_network
    )


def no_network(uri: str) -> Any:
    """What a schema that refers elsewhere gets."""
    raise ValueError(f"a parameter schema refers to nothing outside itself, but this one to {uri}")


def _refusal(error: jsonschema_rs.ValidationError) -> ValidationError:
    error = _innermost(error)
    path, kind = list(error.instance_path), error.kind
    if isinstance(kind, ValidationErrorKind.Required):
        path.append(kind.property)
    elif isinstance(kind, ValidationErrorKind.AdditionalProperties | ValidationErrorKind.UnevaluatedProperties):
        path.append(kind.unexpected[0])
    field, message = _dotted(path), _message(error)
    return ValidationError(f"{field}: {message}"[:_LONGEST_MESSAGE] if field else message, field or None)


def _message(error: jsonschema_rs.ValidationError) -> str:
    if not isinstance(error.kind, ValidationErrorKind.Pattern):
        return error.message
    # Forms are filled in by people: words come first.
    return f"the value does not have the required form (pattern {error.kind.pattern})"


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
