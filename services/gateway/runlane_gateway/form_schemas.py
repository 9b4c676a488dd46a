"""Between forms and JSON Schema: what a workflow's parameter takes, what a form's field gives. For the form modules."""

from collections.abc import Mapping
from typing import Any

import jsonschema_rs
import msgspec

from runlane.contracts.directory import Manifest
from runlane.contracts.forms import FieldType, FormField
from runlane.errors import ValidationError
from runlane.parameters import no_network

#: Beyond these a pattern is refused. The engine runs in linear time, so no text makes a pattern slow.
LONGEST_PATTERN = 500
_PATTERN_MEMORY = 1 << 20
_MOST_REFERENCES = 32

_FORMATS: dict[FieldType, str] = {"email": "email", "date": "date", "datetime": "date-time"}
TEXTS: frozenset[FieldType] = frozenset({"text", "multiline", "email", "date", "datetime"})
NUMBERS: frozenset[FieldType] = frozenset({"integer", "number"})
LISTS: frozenset[FieldType] = frozenset({"list", "choices"})

Schema = dict[str, Any]


class ParameterSchemas:
    """The parameters of a workflow, each with its own schema."""

    def __init__(self, manifest: Manifest) -> None:
        self._root: Schema = msgspec.json.decode(manifest.parameters)
        self.properties: dict[str, Schema] = self._root.get("properties", {})
        self.required: frozenset[str] = frozenset(self._root.get("required", ()))
        self.open: bool = self._root.get("additionalProperties", True) is not False

    def resolved(self, schema: Schema) -> Schema:
        """The schema with its references followed and, of "this or null", the this."""
        for _ in range(_MOST_REFERENCES):
            if str(schema.get("$ref", "")).startswith("#/"):
                beside = {name: value for name, value in schema.items() if name != "$ref"}
                schema = {**self._at(schema["$ref"]), **beside}
                continue
            options = [option for option in schema.get("anyOf", ()) if option.get("type") != "null"]
            if len(options) != 1:
                break
            schema = {**options[0], **{name: value for name, value in schema.items() if name != "anyOf"}}
        return schema

    def types(self, schema: Schema) -> frozenset[str]:
        """The JSON types that it has room for; empty where it does not say."""
        schema = self.resolved(schema)
        options = [self.types(option) for option in schema.get("anyOf", ())]
        if options:
            return frozenset().union(*options) if all(options) else frozenset()
        declared = schema.get("type", ())
        return frozenset([declared] if isinstance(declared, str) else declared)

    def takes(self, name: str, value: object) -> bool:
        """Whether the parameter takes the value; True for one that is not declared, and where nobody can say."""
        schema = self.properties.get(name)
        if schema is None:
            return True
        try:
            # The author's own patterns may be of a kind that a form's may not.
            return jsonschema_rs.is_valid({"$defs": self._root.get("$defs", {}), **schema}, value, retriever=no_network)
        except ValueError:
            return True

    def _at(self, reference: str) -> Schema:
        found: Any = self._root
        for step in reference[2:].split("/"):
            found = found.get(step.replace("~1", "/").replace("~0", "~"), {})
        return found if isinstance(found, dict) else {}


def compiled(schema: Mapping[str, Any]) -> jsonschema_rs.Validator:
    """Raises `ValueError` for a schema that does not compile. Values stay out of its messages."""
    return jsonschema_rs.validator_for(
        dict(schema),
        validate_formats=True,
        mask="the value",
        retriever=no_network,
        pattern_options=jsonschema_rs.RegexOptions(size_limit=_PATTERN_MEMORY, dfa_size_limit=_PATTERN_MEMORY),
    )


def check_pattern(pattern: str) -> None:
    """Raises `ValidationError` unless it runs in linear time: without look-around and back-references."""
    if len(pattern) > LONGEST_PATTERN:
        raise ValidationError(f"a pattern has at most {LONGEST_PATTERN} characters")
    try:
        compiled({"pattern": whole(pattern)})
    except ValueError:
        raise ValidationError(
            "it is no regular expression that runs in linear time: without look-around and back-references"
        ) from None


def whole(pattern: str) -> str:
    """The pattern for the whole text, as HTML has it; JSON Schema alone would look for it anywhere."""
    return f"^(?:{pattern})$"


def schema_of(field: FormField) -> Schema:
    """What a value of the field is, by the field alone."""
    if field.type in TEXTS:
        return _text(field)
    if field.type in NUMBERS:
        return {"type": field.type, **_bounds(field, "minimum", "maximum")}
    if field.type == "boolean":
        return {"type": "boolean"}
    offered = {"enum": [choice.value for choice in field.choices]} if field.choices else {}
    if field.type == "choice":
        return offered
    if field.type in LISTS:
        distinct = {"uniqueItems": True} if field.type == "choices" else {}
        return {"type": "array", "items": offered, **distinct, **_counts(field, "minItems", "maxItems")}
    return {}


def _text(field: FormField) -> Schema:
    schema: Schema = {"type": "string", **_counts(field, "minLength", "maxLength")}
    if field.type in _FORMATS:
        schema["format"] = _FORMATS[field.type]
    if field.pattern is not None:
        schema["pattern"] = whole(field.pattern)
    return schema


def _bounds(field: FormField, low: str, high: str) -> Schema:
    given = {low: field.min, high: field.max}
    return {name: value for name, value in given.items() if value is not None}


def _counts(field: FormField, low: str, high: str) -> Schema:
    return {name: int(value) for name, value in _bounds(field, low, high).items()}
