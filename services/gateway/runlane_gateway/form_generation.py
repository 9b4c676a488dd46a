"""A form out of a workflow's signature, for workflows that nobody designed one for. Called by `form_catalogue`."""

from typing import Any

from runlane.contracts.directory import PLATFORM, Manifest
from runlane.contracts.forms import Choice, FieldType, Form, FormField, Scalar
from runlane.errors import ValidationError
from runlane.redaction import is_secret_name

from .form_schemas import LONGEST_PATTERN, ParameterSchemas, Schema, check_pattern

_BY_TYPE: dict[str, FieldType] = {"boolean": "boolean", "integer": "integer", "number": "number", "string": "text"}
_BY_FORMAT: dict[str, FieldType] = {"date-time": "datetime", "date": "date", "email": "email"}
_SHOWN_AS_TEXT = frozenset({"text", "multiline"})


def generated_form(manifest: Manifest) -> Form:
    """The form of a workflow: its id is the workflow's name, it has a field for each parameter, in their order."""
    schemas = ParameterSchemas(manifest)
    fields = [_field(schemas, name, order) for order, name in enumerate(schemas.properties, 1)]
    return Form(
        org=PLATFORM,
        id=manifest.name,
        name=manifest.name.replace("_", " ").strip().capitalize(),
        linked_workflow=manifest.name,
        description=manifest.description,
        fields=fields,
    )


def _field(schemas: ParameterSchemas, name: str, order: int) -> FormField:
    declared = schemas.properties[name]
    schema = schemas.resolved(declared)
    type_ = _type(schemas, schema)
    nullable = schemas.takes(name, None)
    low, high = _bounds(schema, type_)
    return FormField(
        name=name,
        type=type_,
        label=str(declared.get("title") or schema.get("title") or name),
        help=str(declared.get("description") or schema.get("description") or ""),
        # An unchecked box says no; whoever may say null may leave it empty.
        required=name in schemas.required and type_ != "boolean" and not nullable,
        default=schema.get("default"),
        choices=_choices(schemas, schema),
        pattern=_pattern(schema) if type_ in _SHOWN_AS_TEXT else None,
        min=low,
        max=high,
        order=order,
        sensitive=type_ in _SHOWN_AS_TEXT and is_secret_name(name),
    )


def _type(schemas: ParameterSchemas, schema: Schema) -> FieldType:
    if _offered(schema):
        return "choice"
    if schema.get("type") == "string":
        return _BY_FORMAT.get(str(schema.get("format")), "text")
    if schema.get("type") == "array" and "prefixItems" not in schema:
        return "choices" if _offered(schemas.resolved(_items(schema))) else "list"
    return _BY_TYPE.get(str(schema.get("type")), "json")


def _choices(schemas: ParameterSchemas, schema: Schema) -> list[Choice]:
    offered = _offered(schema) or _offered(schemas.resolved(_items(schema)))
    return [Choice(value, "" if value is None else str(value)) for value in offered]


def _offered(schema: Schema) -> list[Scalar]:
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    return values if all(isinstance(value, Scalar) for value in values) else []


def _items(schema: Schema) -> Schema:
    items = schema.get("items")
    return items if schema.get("type") == "array" and isinstance(items, dict) else {}


def _bounds(schema: Schema, type_: FieldType) -> tuple[float | None, float | None]:
    """Inclusive ones; the workflow's own schema has the rest."""
    words = {"text": "Length", "list": "Items", "choices": "Items", "integer": "imum", "number": "imum"}
    word = words.get(type_)
    return (None, None) if word is None else (_number(schema.get(f"min{word}")), _number(schema.get(f"max{word}")))


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _pattern(schema: Schema) -> str | None:
    """The parameter's pattern, where it speaks of the whole text and a form may have it."""
    pattern = str(schema.get("pattern", ""))
    if not (pattern.startswith("^") and pattern.endswith("$") and len(pattern) <= LONGEST_PATTERN):
        return None
    try:
        check_pattern(pattern)
    except ValidationError:
        return None
    return pattern
