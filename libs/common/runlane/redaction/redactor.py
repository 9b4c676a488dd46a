"""The redactor of one execution: knows the secrets that the execution has seen, and masks them wherever they show."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from runlane.errors import SerializationError
from runlane.redaction.names import MASK, is_name_of_secret, is_secret_name
from runlane.redaction.needles import Needles
from runlane.redaction.plain import NotSerializable, Plain, Plainer

MAX_TEXT = 1000
MAX_ITEMS = 100
MAX_DEPTH = 32
MAX_BYTES = 64 * 1024

#: Shorter values under secret names are masked there but not looked for elsewhere: `admin` is a word.
_SHORTEST_LEARNT = 8
#: Each learnt value costs every later text a search.
_MOST_LEARNT_BY_NAME = 256

_SCHEME = re.compile(r"(?:bearer|basic|token)\s+(?=\S)", re.IGNORECASE)
_encode = msgspec.json.Encoder().encode


class Redacted(Struct, frozen=True):
    """JSON with secrets masked and nothing left out."""

    json: bytes


def masked_names(json: bytes) -> list[str]:
    """The members of a JSON object whose values are masked. Of a record's input: the parameters that are secrets."""
    shown = msgspec.json.decode(json)
    return [name for name, value in shown.items() if value == MASK] if isinstance(shown, dict) else []


class Sanitized(Struct, frozen=True):
    """JSON for a record. `changed`: it says less than `true_json`, which is for resume alone and must be sealed."""

    json: bytes
    changed: bool
    true_json: bytes


class Redactor:
    """Masks values by name and by what was learnt, and cuts what is long. Threads may share one.

    `found(name, value)` is called for each value that was learnt because it stood under the name of a secret.
    """

    def __init__(self, found: Callable[[str, str], None] | None = None) -> None:
        self._needles = Needles()
        self._learnt_by_name = 0
        self._found = found

    def learn(self, value: str) -> None:
        """Mask `value` from now on wherever it appears: also in base64 or hex, URL-escaped or JSON-escaped.

        A value of fewer than 4 characters is masked only where it is the whole text.
        """
        self._needles.learn(value)

    def parameters(self, given: Mapping[str, Any], sensitive: Iterable[str] = ()) -> dict[str, Any]:
        """`given` with the values of `sensitive` names masked; texts and numbers among them are learnt."""
        hidden = {name for name in sensitive if given.get(name) not in (None, "")}
        for value in map(given.__getitem__, hidden):
            if isinstance(value, str | int | float) and not isinstance(value, bool):
                self.learn(str(value))
        return {name: MASK if name in hidden else value for name, value in given.items()}

    def text(self, text: str) -> str:
        """`text` with every learnt value masked, at its full length."""
        return self._needles.mask(text)

    def redacted(self, value: Any) -> Redacted:
        """`value` as JSON with secrets masked. Raises `SerializationError` naming the path of what JSON cannot say."""
        try:
            plain = Plainer(lenient=False).plain(value)
        except NotSerializable as problem:
            path = self.text(problem.path)
            raise SerializationError(f"The value at {path} cannot be written as JSON: {problem.what}", path) from None
        except RecursionError:
            raise SerializationError("The value cannot be written as JSON: nested too deeply") from None
        return Redacted(self._masked(plain, _encode(plain), cut=False))

    def sanitized(self, value: Any) -> Sanitized:
        """`value` as JSON for a record: masked and shortened. Never raises: what JSON cannot say becomes a note.

        Of a text 1,000 characters stay, the note `… [+N characters]` included; of an array 99 items and, as the
        hundredth, `… [+N items]`; what is nested more than 32 deep becomes a note, and so does a whole value whose JSON
        exceeds 64 KiB: `{"truncated": "123456 bytes of JSON exceed the limit of 65536"}`.
        """
        try:
            plain = Plainer(lenient=True).plain(value)
        except Exception as problem:  # too deep for the stack, or changed by another thread meanwhile
            plain = f"[not serializable: {type(value).__name__} ({type(problem).__name__})]"
        true_json = _encode(plain)
        try:
            json = self._masked(plain, true_json, cut=True)
            size = len(json)
        except _TooLong:
            self.learn_found("", plain)
            json, size = b"", max(len(true_json), MAX_BYTES + 1)  # masks may be longer than what they hide
        if size > MAX_BYTES:
            json = _encode({"truncated": f"{size} bytes of JSON exceed the limit of {MAX_BYTES}"})
        return Sanitized(json, json is not true_json, true_json)

    def _masked(self, plain: Plain, true_json: bytes, cut: bool) -> bytes:
        """The JSON of `plain` masked; `true_json` itself where there is nothing to mask or cut."""
        while True:
            known = self._learnt_by_name
            search = self._needles.may_show_in(true_json)
            shown = _Pass(self, self._needles if search else None, cut).value(plain, 0)
            if self._learnt_by_name == known:
                return true_json if shown is plain else _encode(shown)
            # A secret was learnt on the way: what was passed before that may hold it too.

    def learn_found(self, name: str, found: Plain) -> None:
        """Learn the texts that stand under names of secrets, in all of `found`, which stands under `name`."""
        if isinstance(found, dict):
            for inner, item in found.items():
                self.learn_found(inner, item)
        elif isinstance(found, list):
            for item in found:
                self.learn_found(name, item)
        elif isinstance(found, str) and is_name_of_secret(name):
            self._learn_by_name(name, found)

    def _learn_by_name(self, name: str, value: str) -> None:
        known = value in self._needles.values or self._learnt_by_name >= _MOST_LEARNT_BY_NAME
        if known or len(value) < _SHORTEST_LEARNT or value.startswith(MASK):
            return
        self._learnt_by_name += 1
        scheme = _SCHEME.match(value)
        bare = value[scheme.end() :] if scheme else ""
        for form in (value, bare) if len(bare) >= _SHORTEST_LEARNT else (value,):
            self.learn(form)
            if self._found is not None:
                self._found(name, form)


class _TooLong(Exception):
    """What was passed so far is more than a record takes, so the rest need not be looked at."""


class _Pass:
    """One walk over a plain value. Gives back the very object wherever nothing is masked or cut.

    Where it cuts it raises `_TooLong` beyond `MAX_BYTES`: a body of many short texts that also names many secrets would
    take seconds, and nothing of it would be kept.
    """

    def __init__(self, redactor: Redactor, needles: Needles | None, cut: bool) -> None:
        self._redactor = redactor
        self._needles = needles
        self._cut = cut
        self._room = MAX_BYTES

    def value(self, plain: Any, depth: int) -> Any:
        kind = type(plain)
        if kind is str:
            return self._text(plain)
        if kind is dict:
            return self._dict(plain, depth) if depth < MAX_DEPTH or not self._cut else _TOO_DEEP
        if kind is list:
            return self._list(plain, depth) if depth < MAX_DEPTH or not self._cut else _TOO_DEEP
        if self._needles is not None and (kind is int or kind is float):
            return plain if self._needles.mask(str(plain)) == str(plain) else MASK
        return plain

    def _text(self, text: str) -> str:
        shown = text if self._needles is None else self._needles.mask(text)
        if not self._cut:
            return shown
        if len(shown) > MAX_TEXT:
            shown = _shortened(shown)
        self._room -= len(shown)
        if self._room < 0:
            raise _TooLong
        return shown

    def _dict(self, plain: dict[str, Any], depth: int) -> dict[str, Any]:
        same = True
        shown: dict[str, Any] = {}
        for name, item in plain.items():
            kept = self._secret(name, item) if is_secret_name(name) else self.value(item, depth + 1)
            label = self._text(name)
            same = same and kept is item and label is name
            shown[label] = kept
        return plain if same else shown

    def _secret(self, name: str, item: Plain) -> Plain:
        """What shows of a value under a secret name: whether there is one, and no more."""
        if item is None or isinstance(item, bool) or item in ("", MASK):
            return item
        self._redactor.learn_found(name, item)
        return MASK

    def _list(self, plain: list[Any], depth: int) -> list[Any]:
        kept = plain
        if self._cut and len(plain) > MAX_ITEMS:
            kept = [*plain[: MAX_ITEMS - 1], f"… [+{len(plain) - MAX_ITEMS + 1} items]"]
        shown = [self.value(item, depth + 1) for item in kept]
        return plain if kept is plain and all(map(_is, shown, plain)) else shown


_TOO_DEEP = f"… [nested more than {MAX_DEPTH} deep]"


def _is(one: object, other: object) -> bool:
    return one is other


def _shortened(text: str) -> str:
    room = MAX_TEXT - len(f"… [+{len(text)} characters]")
    return f"{text[:room]}… [+{len(text) - room} characters]"
