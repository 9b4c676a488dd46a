"""The values to mask, in every form in which they may appear in a text. Used by `redactor` alone."""

import base64
import json
import re
import threading
from collections.abc import Iterator
from typing import TypeAlias

from runlane.redaction.names import MASK

#: Shorter values are masked only where they are the whole text: one `a` must not blank every word with an a in it.
SHORTEST_PART = 4

#: Escapes are undone so often at most: JSON in a JSON text, a URL in a JSON text, and one more.
_ESCAPE_ROUNDS = 3

_URL_ESCAPES = re.compile(r"(?P<url>(?:%[0-9A-Fa-f]{2})+)")
_JSON_ESCAPES = re.compile(
    r"""(?P<unicode>(?:\\u[0-9A-Fa-f]{4})+)|\\x(?P<hex>[0-9A-Fa-f]{2})|\\(?P<short>["'\\/bfnrt])"""
)
#: Undone one kind at a time: a secret may itself contain what looks like an escape of the other kind.
_ESCAPES = (_JSON_ESCAPES, _URL_ESCAPES)
_Origin: TypeAlias = tuple[int, int]
_SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class Needles:
    """Learnt secrets. Finds them raw, in base64 at any alignment, in hex, and behind URL and JSON escapes."""

    def __init__(self) -> None:
        self.values: set[str] = set()
        self._parts: list[str] = []
        self._traces: list[bytes] = []
        self._learning = threading.Lock()

    def learn(self, value: str) -> None:
        """Mask `value` from now on; blanks around it do not belong to it."""
        with self._learning:
            for form in {value, value.strip()} - self.values - {""}:
                self._learn(form)

    def _learn(self, form: str) -> None:
        if len(form) < SHORTEST_PART:
            self._traces.append(_bytes(f'"{form}"'))
        else:
            forms = _forms(form).difference(self._parts)
            self._parts = sorted((*self._parts, *forms), key=lambda part: (-len(part), part))
            self._traces += map(_bytes, forms)
        self.values.add(form)

    def may_show_in(self, document: bytes) -> bool:
        """Whether a JSON document has to be looked at text by text. False is certain, True is not."""
        if not self.values:
            return False
        return b"\\" in document or b"%" in document or any(trace in document for trace in self._traces)

    def mask(self, text: str) -> str:
        """`text` with every needle in it replaced by `MASK`."""
        if text in self.values:
            return MASK
        for part in self._parts:
            if part in text:
                text = text.replace(part, MASK)
        if self._parts and ("%" in text or "\\" in text) and self._is_behind_escapes(text):
            return _cover(text, self._escaped_spans(text))
        return text

    def _is_behind_escapes(self, text: str) -> bool:
        return any(part in reading for reading in _readings(text) for part in self._parts)

    def _escaped_spans(self, text: str) -> list[tuple[int, int]]:
        """Where needles stand in `text` behind escapes: (begin, end) each."""
        spans: list[tuple[int, int]] = []
        for plain, origins in _readings_with_origins(text):
            for part in self._parts:
                at = plain.find(part)
                while at >= 0:
                    spans.append((origins[at][0], origins[at + len(part) - 1][1]))
                    at = plain.find(part, at + 1)
        return spans


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _forms(value: str) -> set[str]:
    """The forms of a value that contain no escapes. `+` stands for a blank in a form-encoded body."""
    raw = _bytes(value)
    forms = {value, value.replace(" ", "+"), raw.hex(), raw.hex().upper()}
    for offset in range(3):
        core = _base64_core(raw, offset)
        forms |= {core, core.replace("+", "-").replace("/", "_")}
    return forms


def _base64_core(raw: bytes, offset: int) -> str:
    """The characters of base64 that `raw` alone decides when it begins `offset` bytes into a group of three."""
    encoded = base64.b64encode(bytes(offset) + raw).decode()
    first, end = -(-8 * offset // 6), 8 * (offset + len(raw)) // 6
    return encoded[first:end]


def _readings(text: str) -> Iterator[str]:
    """What `text` may stand for behind its escapes."""
    seen, layer = {text}, [text]
    for _ in range(_ESCAPE_ROUNDS):
        found = {escapes.sub(_decoded, reading) for reading in layer for escapes in _ESCAPES} - seen
        seen |= found
        layer = sorted(found)
        yield from layer


def _readings_with_origins(text: str) -> Iterator[tuple[str, list[_Origin]]]:
    """The same, and for each character of a reading where in `text` it stood."""
    seen, layer = {text}, [(text, [(at, at + 1) for at in range(len(text))])]
    for _ in range(_ESCAPE_ROUNDS):
        found = {}
        for reading, origins in layer:
            for escapes in _ESCAPES:
                plain, kept = _unescape(escapes, reading, origins)
                found[plain] = kept
        layer = [(plain, kept) for plain, kept in found.items() if plain not in seen]
        seen |= found.keys()
        yield from layer


def _unescape(escapes: re.Pattern[str], text: str, origins: list[_Origin]) -> tuple[str, list[_Origin]]:
    """`text` without one layer of escapes, and where each of its characters stood originally.

    All that one run of escapes stands for counts as standing in the whole run, so a run is masked as a whole.
    """
    pieces: list[str] = []
    kept: list[_Origin] = []
    position = 0
    for escape in escapes.finditer(text):
        begin, end = escape.span()
        decoded = _decoded(escape)
        pieces += (text[position:begin], decoded)
        kept += origins[position:begin]
        kept += [(origins[begin][0], origins[end - 1][1])] * len(decoded)
        position = end
    pieces.append(text[position:])
    kept += origins[position:]
    return "".join(pieces), kept


def _decoded(escape: re.Match[str]) -> str:
    kind, matched = escape.lastgroup, escape[0]
    if kind == "url":
        return bytes.fromhex(matched.replace("%", "")).decode("utf-8", "replace")
    if kind == "unicode":
        decoded: str = json.loads(f'"{matched}"')
        return decoded
    if kind == "hex":
        return chr(int(escape["hex"], 16))
    return _SHORT.get(escape["short"], escape["short"])


def _cover(text: str, spans: list[tuple[int, int]]) -> str:
    """`text` with each of the spans, which may overlap, replaced by `MASK`."""
    pieces: list[str] = []
    position = 0
    for begin, end in sorted(spans):
        if begin >= position:
            pieces += (text[position:begin], MASK)
        position = max(position, end)
    pieces.append(text[position:])
    return "".join(pieces)
