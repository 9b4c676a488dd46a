"""The console's files without what only their authors need: comments, indentation, spaces between signs.

Used by `console_files` as a gateway starts. Names stay as they are written, and a line ends wherever its end may end a
statement. That every file still means what it meant is held by a test, which compares syntax trees.
"""

import re
from collections.abc import Iterator

_GAP = re.compile(r"(?:\s|//[^\n]*|/\*.*?\*/)+", re.DOTALL)
_PIECE = re.compile(
    r"""(?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
    | (?P<word>[\w$\#]+)
    | (?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)
_PATTERN = re.compile(r"/(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\[\n])+/\w*")
#: Text of a template up to its end or up to the next `${`.
_TEXT = re.compile(r"(?:\\.|\$(?!\{)|[^`\\$])*(?:`|\$\{)", re.DOTALL)
#: After one of these a slash begins a pattern; after anything else it divides.
_BEFORE_PATTERN = re.compile(r"(?:[(,=:\[!&|?{};+\-*%<>~^]|\b(?:return|typeof|case|of|in|await|yield))\Z")
#: No statement ends right after one of these, nor right before one of those.
_AFTER, _BEFORE = frozenset("{([,;:=?&|<."), frozenset("}]),;:=?&|<>.*%")
_CSS = re.compile(
    r"""(?P<string>"[^"]*"|'[^']*')
    | (?:\s|/\*.*?\*/)*(?P<sign>[{};,])(?:\s|/\*.*?\*/)*
    | (?:\s|/\*.*?\*/)+""",
    re.VERBOSE | re.DOTALL,
)


def compact_script(text: str) -> str:
    """A module of the console; texts of templates stay to the letter. Raises `ValueError` for one without an end."""
    written: list[str] = []
    gap = ""
    for piece, is_gap in _pieces(text):
        if is_gap:
            gap = "\n" if "\n" in piece else " "
            continue
        if piece == "}" and written and written[-1] == ";":
            written.pop()
        elif gap and written:
            written.append(_kept(gap, written[-1][-1], piece[0]))
        written.append(piece)
        gap = ""
    return "".join(written)


def compact_sheet(text: str) -> str:
    """A sheet of styles. Spaces before a colon stay: they mean something in a selector."""
    short = _CSS.sub(lambda found: found["string"] or found["sign"] or " ", text)
    return re.sub(r"(?<=[\w-]): ", ":", short).replace(";}", "}").strip()


def _kept(gap: str, before: str, after: str) -> str:
    """What has to stay of the space between two signs."""
    if gap == "\n":
        return "" if before in _AFTER or after in _BEFORE else "\n"
    words = _is_word(before) and _is_word(after)
    return " " if words or (before == after and before in "+-/") else ""


def _is_word(sign: str) -> bool:
    return sign.isalnum() or sign in "_$#"


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """Each piece, and whether it is a gap. A template comes in pieces: its texts, and between them what it computes."""
    at, last, depths = 0, "", [0]
    while at < len(text):
        found = _GAP.match(text, at) or _token(text, at, last)
        piece, at = found[0], found.end()
        if found.re is _GAP:
            yield piece, True
            continue
        closes = piece == "}" and depths[-1] == 0 and len(depths) > 1
        depths[-1] += {"{": 1, "}": -1}.get(piece, 0) if not closes else 0
        if closes:
            depths.pop()
        if closes or piece == "`":
            rest = _matched(_TEXT, text, at)
            piece, at = piece + rest[0], rest.end()
            depths += [0] if piece.endswith("${") else []
        yield piece, False
        last = piece


def _token(text: str, at: int, last: str) -> re.Match[str]:
    """The piece at a place; `last` is the one before it."""
    if text[at] == "/" and _BEFORE_PATTERN.search(last or ";"):
        return _matched(_PATTERN, text, at)
    return _matched(_PIECE, text, at)


def _matched(pattern: re.Pattern[str], text: str, at: int) -> re.Match[str]:
    found = pattern.match(text, at)
    if found is None:
        raise ValueError(f"This cannot be read from character {at} on: {text[at : at + 40]!r}")
    return found
