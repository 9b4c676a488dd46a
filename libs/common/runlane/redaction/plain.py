"""Turns what authors hand over into what JSON can say, or says where it cannot. Used by `redactor` alone."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any, TypeAlias

import msgspec

from runlane.redaction.names import MASK

MAX_DEPTH = 100
#: Longer integers are nobody's data; Python itself refuses to print them from some 14,000 bits on.
_INTEGER_LIMIT = 2**1024

Plain: TypeAlias = bool | int | float | str | list[Any] | dict[str, Any] | None


class NotSerializable(Exception):
    """A value that JSON has no word for. `path` says where it stands, such as `$.users[2].home`."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what
        self._steps: list[str | int] = []

    def inside(self, step: str | int) -> "NotSerializable":
        """The same, seen from the container that holds it under `step`."""
        self._steps.append(step)
        return self

    @property
    def path(self) -> str:
        return "$" + "".join(_step(step) for step in reversed(self._steps))


class Plainer:
    """One conversion. Gives back the very object wherever it is plain already.

    With `lenient`, a placeholder stands for what cannot be written; otherwise `NotSerializable` is raised.
    """

    def __init__(self, lenient: bool) -> None:
        self._lenient = lenient
        self._open: set[int] = set()

    def plain(self, value: Any) -> Plain:
        """`value` in dicts with text keys, lists, text, finite numbers, booleans and None."""
        try:
            return self._convert(value)
        except NotSerializable as problem:
            if not self._lenient:
                raise
            return f"[not serializable: {problem.what}]"

    def _convert(self, value: Any) -> Plain:
        try:
            convert = _EXACT.get(type(value))
            if convert is not None:
                return convert(self, value)
            if isinstance(value, Enum):
                return self.plain(value.value)
            return self._inexact(value)
        except (NotSerializable, RecursionError):
            raise
        except Exception as problem:
            # Authors' own properties and iterators run here; whatever they raise, it is this value that fails.
            raise NotSerializable(f"{type(value).__name__} ({type(problem).__name__})") from problem

    def _inexact(self, value: Any) -> Plain:
        for kind, convert in _KINDS:
            if isinstance(value, kind):
                return convert(self, value)
        if isinstance(value, msgspec.Struct):
            return self._dict(_struct_items(value))
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self._dict({item.name: getattr(value, item.name) for item in dataclasses.fields(value)})
        if hasattr(type(value), "get_secret_value"):  # pydantic's SecretStr and SecretBytes
            return MASK
        if hasattr(type(value), "model_dump"):  # a pydantic model; pydantic itself may not be loaded
            return self._dict(value.model_dump())
        return self._known_to_msgspec(value)

    def _known_to_msgspec(self, value: Any) -> Plain:
        """Dates, times, UUIDs, decimals, attrs classes and so on."""
        try:
            built: Any = msgspec.to_builtins(value, str_keys=True)
        except TypeError:
            raise NotSerializable(type(value).__name__) from None
        if type(built) is type(value):
            raise NotSerializable(type(value).__name__)
        return self.plain(built)

    def _text(self, value: str) -> str:
        if value.isascii():
            return value
        try:
            value.encode()
        except UnicodeEncodeError:
            if not self._lenient:
                raise NotSerializable("text with a lone surrogate") from None
            return value.encode("utf-8", "replace").decode()
        return value

    def _integer(self, value: int) -> int:
        if -_INTEGER_LIMIT < value < _INTEGER_LIMIT:
            return value
        raise NotSerializable(f"integer of {value.bit_length()} bits")

    def _float(self, value: float) -> float:
        if math.isfinite(value):
            return value
        raise NotSerializable(f"{float(value)}")

    def _dict(self, value: Mapping[Any, Any]) -> dict[str, Any]:
        self._enter(value)
        same = type(value) is dict
        plain: dict[str, Any] = {}
        name: str | None = None
        try:
            for key, item in value.items():
                name = None
                name = key if type(key) is str and key.isascii() else self._key(key)
                plain[name] = converted = self.plain(item)
                same = same and converted is item and name is key
        except NotSerializable as problem:
            raise (problem if name is None else problem.inside(name)) from None
        finally:
            self._open.discard(id(value))
        return value if same else plain  # type: ignore[return-value]  # `same`: it is a dict

    def _key(self, key: Any) -> str:
        if key is None or type(key) is bool:
            return msgspec.json.encode(key).decode()
        plain = self._convert(key)
        if isinstance(plain, str):
            return plain
        if isinstance(plain, int | float):
            return str(plain)
        raise NotSerializable(f"{type(key).__name__} as the name of a member")

    def _list(self, value: Iterable[Any]) -> list[Any]:
        self._enter(value)
        same = type(value) is list
        plain: list[Any] = []
        try:
            for item in value:
                converted = self.plain(item)
                same = same and converted is item
                plain.append(converted)
        except NotSerializable as problem:
            raise problem.inside(len(plain)) from None
        finally:
            self._open.discard(id(value))
        return value if same else plain  # type: ignore[return-value]  # `same`: it is a list

    def _set(self, value: Iterable[Any]) -> list[Any]:
        # In an order that is the same in every run: the order of a set of text is not.
        return self._list(sorted(value, key=lambda item: (type(item).__name__, repr(item))))

    def _enter(self, container: object) -> None:
        if id(container) in self._open:
            raise NotSerializable("a value that contains itself")
        if len(self._open) >= MAX_DEPTH:
            raise NotSerializable(f"nested more than {MAX_DEPTH} deep")
        self._open.add(id(container))


def _same(_: Plainer, value: Any) -> Any:
    return value


#: The common types, found by one lookup.
_EXACT: dict[type, Callable[[Plainer, Any], Plain]] = {
    type(None): _same,
    bool: _same,
    str: Plainer._text,
    int: Plainer._integer,
    float: Plainer._float,
    dict: Plainer._dict,
    list: Plainer._list,
    tuple: Plainer._list,
}

#: Their subclasses and relatives.
_KINDS: tuple[tuple[Any, Callable[[Plainer, Any], Plain]], ...] = (
    (str, lambda plainer, value: plainer._text(str.__str__(value))),
    (int, lambda plainer, value: plainer._integer(int.__int__(value))),
    (float, lambda plainer, value: plainer._float(float.__float__(value))),
    (Mapping, Plainer._dict),
    ((list, tuple), Plainer._list),
    ((set, frozenset), Plainer._set),
    (PurePath, lambda plainer, value: plainer._text(str(value))),
)


def _struct_items(value: msgspec.Struct) -> dict[str, Any]:
    config = value.__struct_config__
    tag = {config.tag_field: config.tag} if config.tag_field is not None else {}
    fields = {item.encode_name: getattr(value, item.name) for item in msgspec.structs.fields(value)}
    return {**tag, **{name: item for name, item in fields.items() if item is not msgspec.UNSET}}


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if step.isidentifier() else f"[{msgspec.json.encode(step).decode()}]"
