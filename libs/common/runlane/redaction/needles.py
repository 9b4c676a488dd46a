"""The values to mask, in every form in which they may appear in a text. Used by `redactor` alone."""

import base64
import json
import re

from runlane.redaction.names import MASK

#: Shorter values are masked only where they are the whole text: one `a` must not blank every word with an a in it.
SHORTEST_PART = 4

#: Escapes are undone so often at most: JSON in a JSON text, a URL in a JSON text, and one more.
_ESCAPE_ROUNDS = 3

_ESCAPES = re.compile(
    r"""(?P<url>(?:%[0-9A-Fa-f]{2})+)|(?P<unicode>(?:\\u[0-9A-Fa-f]{4})+)|\\x(?P<hex>[0-9A-Fa-f]{2})"""
    r"""|\\(?P<short>["'\\/bfnrt])"""
)
_SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class Needles:
    """Learnt secrets. Finds them raw, in base64 at any alignment, in hex, and behind URL and JSON escapes."""

    def __init__(self) -> None:
        self.values: set[str] = set()
        self._whole: set[str] = set()
        self._parts: list[str] = []
        self._part_bytes: list[bytes] = []

    def learn(self, value: str) -> None:
        """Mask `value` from now on; blanks around it do not belong to it."""
        for form in {value, value.strip()} - self.values - {""}:
            self.values.add(form)
            self._whole.add(form)
            if len(form) >= SHORTEST_PART:
                parts = {*self._parts, *_forms(form)}
                self._parts = sorted(parts, key=lambda part: (-len(part), part))
                self._part_bytes = [part.encode("utf-8", "surrogatepass") for part in self._parts]

    def may_show_in(self, document: bytes) -> bool:
        """Whether a JSON document has to be looked at text by text. False is certain, True is not."""
        if not self._whole:
            return False
        if len(self._whole) * 2 > len(self._parts) or b"\\" in document or b"%" in document:
            return True
        return any(part in document for part in self._part_bytes)

    def mask(self, text: str) -> str:
        """`text` with every needle in it replaced by `MASK`."""
        if text in self._whole:
            return MASK
        for part in self._parts:
            if part in text:
                text = text.replace(part, MASK)
        if self._parts and ("%" in text or "\\" in text):
            return self._mask_escaped(text)
        return text

    def _mask_escaped(self, text: str) -> str:
        plain, starts = text, list(range(len(text) + 1))
        found: list[tuple[int, int]] = []
        for _ in range(_ESCAPE_ROUNDS):
            plain, starts, changed = _unescape(plain, starts)
            if not changed:
                break
            found += self._spans(plain, starts)
        return _cover(text, found)

    def _spans(self, plain: str, starts: list[int]) -> list[tuple[int, int]]:
        spans: list[tuple[int, int]] = []
        for part in self._parts:
            at = plain.find(part)
            while at >= 0:
                spans.append((starts[at], starts[at + len(part)]))
                at = plain.find(part, at + 1)
        return spans


def _forms(value: str) -> set[str]:
    """The forms of a value that contain no escapes. `+` stands for a blank in a form-encoded body."""
    raw = value.encode("utf-8", "surrogatepass")
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


def _unescape(text: str, starts: list[int]) -> tuple[str, list[int], bool]:
    """`text` without one layer of escapes, and for each of its characters (and its end) where that began originally.

    All that one run of escapes stands for begins where the run begins, so a run is masked as a whole.
    """
    pieces: list[str] = []
    origins: list[int] = []
    position = 0
    for escape in _ESCAPES.finditer(text):
        begin, end = escape.span()
        decoded = _decoded(escape)
        pieces += (text[position:begin], decoded)
        origins += starts[position:begin]
        origins += [starts[begin]] * len(decoded)
        position = end
    pieces.append(text[position:])
    origins += starts[position:]
    return "".join(pieces), origins, position > 0


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
