"""What our documents show: fenced blocks of code. Used by the tests that hold the documents true."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

#: Every document for users; decisions are history and may name what is gone.
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "bench" / "README.md",
    ROOT / "examples" / "README.md",
    *sorted(path for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "adr"),
]

_BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S)


class Block(NamedTuple):
    """A fenced block of a document; `place` is `README.md:12`."""

    place: str
    text: str


def blocks(*languages: str, documents: list[Path] | None = None) -> list[Block]:
    """All blocks in one of these languages."""
    found = []
    for document in DOCUMENTS if documents is None else documents:
        text = document.read_text(encoding="utf-8")
        for match in _BLOCK.finditer(text):
            if match["language"] in languages:
                line = text.count("\n", 0, match.start()) + 1
                found.append(Block(f"{document.relative_to(ROOT).as_posix()}:{line}", match["text"]))
    return found


def sections(document: Path) -> dict[str, list[Block]]:
    """The blocks of shell commands below each heading of the second level."""
    text = document.read_text(encoding="utf-8")
    found: dict[str, list[Block]] = {}
    for match in re.finditer(r"^## (?P<title>.*)\n(?P<body>(?:(?!^## ).*\n?)*)", text, re.M):
        place = f"{document.relative_to(ROOT).as_posix()}: {match['title']}"
        shells = (block for block in _BLOCK.finditer(match["body"]) if block["language"] == "sh")
        found[match["title"]] = [Block(place, block["text"]) for block in shells]
    return found


def steps(document: Path) -> list[tuple[str, str, Block]]:
    """Every block with its language and the text between it and the one before, in their order."""
    text = document.read_text(encoding="utf-8")
    found, end = [], 0
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        block = Block(f"{document.relative_to(ROOT).as_posix()}:{line}", match["text"])
        found.append((text[end : match.start()], match["language"], block))
        end = match.end()
    return found
