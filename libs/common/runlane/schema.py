"""A workflow function's signature as a JSON Schema, and JSON values as the arguments it asks for. Used by `workflow`.

msgspec knows most types. An annotation that mentions pydantic anywhere is pydantic's to describe and to convert;
pydantic is imported then and not before.
"""

import dataclasses
import inspect
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from inspect import Parameter as Argument
from types import SimpleNamespace, UnionType
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Struct

from runlane.errors import ValidationError

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_PYDANTIC = frozenset({"pydantic", "pydantic_core", "annotated_types"})
_MSGSPEC_PATH = re.compile(r" - at `(?:key in )?\$(?P<path>.*)`$")
_MEMBER = re.compile(r"(?:missing required|contains unknown) field `(?P<name>[^`]*)`")
#: Google's `name (type): text` and Sphinx's `:param type name: text`, each with its continuation lines.
_DESCRIBED = re.compile(
    r"^(?P<indent> *)(?::param (?:[^:\n]* )?)?(?P<name>\w+)(?: ?\([^)\n]*\))?: (?P<text>\S.*(?:\n(?P=indent) +\S.*)*)",
    re.M,
)


class UnsupportedSignature(TypeError):
    """A signature that JSON cannot fill; `argument` is the parameter at fault, None where there is none."""

    def __init__(self, argument: str | None, reason: str) -> None:
        super().__init__(reason)
        self.argument = argument
        self.reason = reason


class Parameter(Struct, frozen=True):
    """One parameter of a workflow. `adapter` is pydantic's `TypeAdapter` where the annotation mentions pydantic."""

    name: str
    annotation: Any
    default: Any
    description: str | None
    adapter: Any = None

    @property
    def required(self) -> bool:
        return self.default is Argument.empty

    def convert(self, value: Any) -> Any:
        """A JSON value as the annotated type; raises `ValidationError` with the path of what does not fit."""
        if self.annotation is Any:
            return value
        try:
            return self._convert(value)
        except ValidationError:
            # JSON Schema, and so the gateway, takes 1.0 for an integer.
            whole = _with_whole_numbers(value)
            if whole is value:
                raise
            return self._convert(whole)

    def _convert(self, value: Any) -> Any:
        try:
            if self.adapter is not None:
                return self.adapter.validate_json(msgspec.json.encode(value), strict=True)
            return msgspec.convert(value, self.annotation, str_keys=True)
        except msgspec.ValidationError as problem:
            raise _refused_by_msgspec(self.name, str(problem)) from None
        except ValueError as problem:
            errors = getattr(problem, "errors", None)
            if errors is None:
                raise
            raise _refused_by_pydantic(self.name, errors()[0]) from None


class Signature(Struct, frozen=True):
    """The parameters of a workflow after its context. `extra` is what `**kwargs` holds, None where there is no such."""

    context: str
    parameters: dict[str, Parameter]
    extra: Parameter | None
    schema: dict[str, Any]

    def bind(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Keyword arguments for the function; parameters left out are left to its defaults.

        Raises `ValidationError` with the field: `email`, `address.city`, `users[2].email`.
        """
        arguments: dict[str, Any] = {}
        for name, value in given.items():
            parameter = self.parameters.get(name)
            if parameter is not None:
                arguments[name] = parameter.convert(value)
            elif self.extra is None or name == self.context:
                raise ValidationError(f"{name}: there is no such parameter", name)
            else:
                arguments[name] = msgspec.structs.replace(self.extra, name=name).convert(value)
        for name, parameter in self.parameters.items():
            if parameter.required and name not in given:
                raise ValidationError(f"{name}: this parameter is required", name)
        return arguments


def read_signature(function: Callable[..., Any]) -> Signature:
    """The signature of a workflow function; raises `UnsupportedSignature`."""
    arguments = list(inspect.signature(function).parameters.values())
    if not arguments or arguments[0].kind not in (Argument.POSITIONAL_ONLY, Argument.POSITIONAL_OR_KEYWORD):
        raise UnsupportedSignature(None, "the first parameter must be the context, such as `context: Context`")
    described = _descriptions(function)
    parameters: dict[str, Parameter] = {}
    extra: Parameter | None = None
    for argument in arguments[1:]:
        parameter = _parameter(function, argument, described.get(argument.name))
        if argument.kind is Argument.VAR_KEYWORD:
            extra = parameter
        else:
            parameters[argument.name] = parameter
    return Signature(arguments[0].name, parameters, extra, _object_schema(parameters, extra))


def _parameter(function: Callable[..., Any], argument: Argument, description: str | None) -> Parameter:
    if argument.kind is Argument.POSITIONAL_ONLY:
        raise UnsupportedSignature(argument.name, "parameters are passed by name: move it behind the `/`")
    if argument.kind is Argument.VAR_POSITIONAL:
        raise UnsupportedSignature(argument.name, "parameters are passed by name: take a list instead of `*`")
    annotation = _annotation(function, argument)
    try:
        if not _mentions_pydantic(annotation):
            annotation = _with_offset(annotation)
            msgspec.json.Decoder(annotation)
            msgspec.json.schema(annotation)
            return Parameter(argument.name, annotation, argument.default, description)
        from pydantic import TypeAdapter

        return Parameter(argument.name, annotation, argument.default, description, TypeAdapter(annotation))
    except Exception as problem:  # both libraries raise errors of many kinds for a type that they do not know
        reason = str(problem).strip().splitlines()[-1]
        raise UnsupportedSignature(argument.name, f"its type cannot be filled from JSON: {reason}") from None


def _annotation(function: Callable[..., Any], argument: Argument) -> Any:
    """The annotation with names resolved. Alone, because the context's may exist for type checkers only."""
    if argument.annotation is Argument.empty or argument.annotation is object:
        return Any
    holder = SimpleNamespace(__annotations__={argument.name: argument.annotation})
    try:
        names = getattr(inspect.unwrap(function), "__globals__", {})
        annotation = typing.get_type_hints(holder, names, include_extras=True)[argument.name]
        return annotation | None if argument.default is None and annotation is not Any else annotation
    except Exception as problem:
        reason = f"its annotation {argument.annotation!r} cannot be read when the file is imported: {problem}"
        raise UnsupportedSignature(argument.name, reason) from None


def _with_offset(annotation: Any) -> Any:
    """The annotation with `datetime` meaning one with an offset, as `date-time` does in JSON Schema.

    msgspec alone would take any and describe it as any text. `Annotated[datetime, Meta(tz=…)]` stays what it says.
    """
    if annotation is datetime:
        return Annotated[datetime, msgspec.Meta(tz=True)]
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if not parts or origin in (Annotated, Literal):
        return annotation
    changed = tuple(map(_with_offset, parts))
    if changed == parts:
        return annotation
    return typing.Union[changed] if origin in (typing.Union, UnionType) else origin[changed]  # noqa: UP007  built at run time


def _object_schema(parameters: Mapping[str, Parameter], extra: Parameter | None) -> dict[str, Any]:
    listed = [*parameters.values(), *([extra] if extra is not None else [])]
    schemas, definitions = _type_schemas(listed)
    schema: dict[str, Any] = {
        "$schema": DIALECT,
        "type": "object",
        "properties": {
            parameter.name: _described(parameter, schemas[parameter.name]) for parameter in parameters.values()
        },
        "required": [parameter.name for parameter in parameters.values() if parameter.required],
        "additionalProperties": False if extra is None else schemas[extra.name] or True,
    }
    return {**schema, "$defs": definitions} if definitions else schema


def _type_schemas(parameters: list[Parameter]) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """The schema of each parameter's type by the parameter's name, and the definitions they refer to."""
    plain = [parameter for parameter in parameters if parameter.adapter is None]
    found, definitions = msgspec.json.schema_components(
        [parameter.annotation for parameter in plain], ref_template="#/$defs/{name}"
    )
    schemas = {parameter.name: schema for parameter, schema in zip(plain, found, strict=True)}
    for parameter in parameters:
        if parameter.adapter is not None:
            # Prefixed: the same class may be a definition of msgspec's too, in other words.
            schema = parameter.adapter.json_schema(ref_template=f"#/$defs/{parameter.name}.{{model}}")
            for name, definition in schema.pop("$defs", {}).items():
                definitions[f"{parameter.name}.{name}"] = definition
            schemas[parameter.name] = schema
    return schemas, definitions


def _described(parameter: Parameter, schema: dict[str, Any]) -> dict[str, Any]:
    known: dict[str, Any] = {"title": parameter.name.replace("_", " ").strip().capitalize()}
    if parameter.description is not None:
        known["description"] = parameter.description
    if not parameter.required:
        # A default that JSON cannot show stays out of the schema; the function has it all the same.
        with suppress(TypeError, ValueError):
            known["default"] = msgspec.to_builtins(parameter.default, str_keys=True, enc_hook=_model_values)
    return {**known, **schema}


def _model_values(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} is no JSON")


def _descriptions(function: Callable[..., Any]) -> dict[str, str]:
    text = inspect.getdoc(function) or ""
    return {found["name"]: " ".join(found["text"].split()) for found in _DESCRIBED.finditer(text)}


def _mentions_pydantic(annotation: Any) -> bool:
    pending: list[Any] = [annotation]
    seen: dict[int, Any] = {}  # holds the parts, so that no other object gets the id of one
    while pending:
        part = pending.pop()
        if id(part) in seen:
            continue
        seen[id(part)] = part
        if _is_pydantic(part):
            return True
        pending += typing.get_args(part)
        pending += getattr(part, "__metadata__", ())
        pending += _member_types(part)
    return False


def _is_pydantic(part: Any) -> bool:
    kinds = part.__mro__ if isinstance(part, type) else type(part).__mro__
    return hasattr(part, "__pydantic_validator__") or any(
        kind.__module__.partition(".")[0] in _PYDANTIC for kind in kinds
    )


def _member_types(part: Any) -> Iterator[Any]:
    origin = typing.get_origin(part) or part
    if isinstance(origin, type) and (
        dataclasses.is_dataclass(origin) or typing.is_typeddict(origin) or issubclass(origin, tuple)
    ):
        yield from typing.get_type_hints(origin, include_extras=True).values()


def _with_whole_numbers(value: Any) -> Any:
    """The same with 1.0 as 1; the very object where there is no such number."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        items = [_with_whole_numbers(item) for item in value]
        return value if all(one is other for one, other in zip(items, value, strict=True)) else items
    if isinstance(value, dict):
        members = {name: _with_whole_numbers(item) for name, item in value.items()}
        return value if all(members[name] is item for name, item in value.items()) else members
    return value


def _refused_by_msgspec(parameter: str, message: str) -> ValidationError:
    found = _MSGSPEC_PATH.search(message)
    reason = message[: found.start()] if found else message
    path = found["path"].replace("[...]", "") if found else ""
    member = _MEMBER.search(reason)
    field = f"{parameter}{path}{'.' + member['name'] if member else ''}"
    return ValidationError(f"{field}: {reason}", field)


def _refused_by_pydantic(parameter: str, error: Mapping[str, Any]) -> ValidationError:
    field = parameter + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error["loc"])
    return ValidationError(f"{field}: {error['msg']}", field)
