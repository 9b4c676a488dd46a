"""docs/reference/guarantees.md: every promise names a test, and every test that it names is there."""

import ast
import re

import pytest

from tests.support.documents import ROOT

DOCUMENT = (ROOT / "docs" / "reference" / "guarantees.md").read_text(encoding="utf-8")

_TEST = re.compile(r"`(?P<file>tests/[\w/]+\.py)::(?P<name>\w+)`")
PROMISES = re.findall(r"^\| (?P<promise>[A-Z][^|]*\.) \|[^|]*\| (?P<shown>.*) \|$", DOCUMENT, re.M)
NAMED = sorted({(found["file"], found["name"]) for found in _TEST.finditer(DOCUMENT)})


@pytest.mark.parametrize(("file", "name"), NAMED, ids=lambda part: part)
def test_every_test_that_a_promise_names_is_there(file: str, name: str) -> None:
    path = ROOT / file
    assert path.is_file(), f"docs/reference/guarantees.md: there is no {file}"
    functions = [
        it for it in ast.parse(path.read_text()).body if isinstance(it, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    found = [function.name for function in functions]
    assert name in found, f"docs/reference/guarantees.md: there is no {name} in {file}"


@pytest.mark.parametrize(("promise", "shown"), PROMISES, ids=lambda part: part[:60])
def test_every_promise_names_a_test(promise: str, shown: str) -> None:
    assert _TEST.search(shown), f"docs/reference/guarantees.md: nothing shows that {promise!r}"


def test_every_row_of_the_document_was_read() -> None:
    rows = [line for line in DOCUMENT.splitlines() if "::" in line and line.startswith("|")]
    assert len(PROMISES) == len(rows) > 20
