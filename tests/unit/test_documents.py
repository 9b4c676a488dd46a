"""The documents say what is: links, settings, commands and every Python block in them are checked here."""

import asyncio
import inspect
import re
from pathlib import Path

import msgspec
import pytest
import typer
from typer.core import TyperGroup, TyperOption

from runlane.registry import discover
from runlane.settings import Settings
from runlane_cli.gateway_command import _OPTIONS as CONNECTION
from runlane_cli.main import app
from tests.support.documents import DOCUMENTS, ROOT, Block, blocks

REFERENCE = ROOT / "docs" / "reference"
PYTHON = blocks("python")
WORKFLOWS = [block for block in PYTHON if "@workflow" in block.text]

_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ (?P<text>.*)$", re.M)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(document: Path) -> None:
    for found in _LINK.finditer(document.read_text()):
        target, _, anchor = found["target"].partition("#")
        if "://" in target:
            continue
        linked = (document.parent / target).resolve() if target else document
        assert linked.exists(), f"{document}: {found['target']}"
        if anchor:
            assert anchor in anchors(linked), f"{document}: {found['target']}; there is {sorted(anchors(linked))}"


@pytest.mark.parametrize("index", [ROOT / "README.md", ROOT / "docs" / "README.md"], ids=["README", "docs"])
def test_an_index_leads_to_every_guide_and_reference(index: Path) -> None:
    linked = {(index.parent / it["target"]).resolve() for it in _LINK.finditer(index.read_text())}
    there = {path for part in ("guide", "reference") for path in (ROOT / "docs" / part).glob("*.md")}
    assert not sorted(path.name for path in there - linked)


def anchors(document: Path) -> set[str]:
    """The names under which a page's headings can be linked to."""
    headings = (found["text"].lower() for found in _HEADING.finditer(document.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings}


def test_settings_md_names_exactly_the_settings_with_their_defaults() -> None:
    rows = re.findall(r"^\| `(RUNLANE_\w+)` \| `?([^`|]*?)`? \|", (REFERENCE / "settings.md").read_text(), re.M)

    defaults = {f"RUNLANE_{field.name.upper()}": written(field.default) for field in msgspec.structs.fields(Settings)}

    assert dict(rows) == defaults, "docs/reference/settings.md: add or correct the rows that differ"
    assert len(rows) == len(defaults), "docs/reference/settings.md: a setting stands there twice"


def written(default: object) -> str:
    """A default as the table shows it, which is as one would set it."""
    match default:
        case None | "":
            return "unset"
        case bool():
            return str(default).lower()
        case float():
            return f"{default:g}"
        case _:
            return str(default)


def test_cli_md_names_exactly_the_commands_with_their_options() -> None:
    sections = re.split(r"^#{2,3} (?=`?[\w -]+`?$)", (REFERENCE / "cli.md").read_text(), flags=re.M)
    told = {
        title.strip("`").removeprefix("runlane "): set(re.findall(r"`(--[\w-]+|-\w)\b", text)) - {"--help"}
        for title, _, text in (section.partition("\n") for section in sections)
        if title.startswith("`runlane ")
    }

    there = dict(commands(typer.main.get_command(app)))

    missing, gone = sorted(there.keys() - told.keys()), sorted(told.keys() - there.keys())
    assert not missing, f"docs/reference/cli.md: add a section '### `runlane {missing[0]}`' with its options"
    assert not gone, f"docs/reference/cli.md: there is no command `runlane {gone[0]}` any more; remove its section"
    for name, options in there.items():
        elsewhere = {f"--{option}" for option in CONNECTION} - options
        assert told[name] - elsewhere == options, f"docs/reference/cli.md: the options of `runlane {name}` differ"


def commands(command: object, path: tuple[str, ...] = ()) -> list[tuple[str, set[str]]]:
    """Every command below this one, with its own options: those that find the gateway are told of once for all."""
    if isinstance(command, TyperGroup):
        return [found for name, each in command.commands.items() for found in commands(each, (*path, name))]
    parameters = [parameter for parameter in getattr(command, "params", []) if isinstance(parameter, TyperOption)]
    connects = {parameter.name for parameter in parameters} >= set(CONNECTION)
    own = [parameter for parameter in parameters if not (connects and parameter.name in CONNECTION)]
    options = {option for parameter in own for option in (*parameter.opts, *parameter.secondary_opts)}
    return [(" ".join(path), options - {"--help"})]


@pytest.mark.parametrize("block", WORKFLOWS, ids=lambda block: block.place)
def test_every_workflow_of_the_documents_imports_and_its_tests_pass(block: Block, tmp_path: Path) -> None:
    (tmp_path / "shown.py").write_text(block.text)

    found = discover(tmp_path)

    assert not found.failures, f"{block.place}: {found.failures[0].message}"
    assert found.workflows, f"{block.place} defines no workflow"
    module: dict[str, object] = {}
    exec(compile(block.text, block.place, "exec"), module)
    for name, value in module.items():
        if name.startswith("test_") and callable(value):
            ran = value()
            if inspect.iscoroutine(ran):
                asyncio.run(ran)


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: block.place)
def test_every_python_block_is_python(block: Block) -> None:
    compile(block.text, block.place, "exec")


def test_the_first_screen_of_the_readme_is_a_sentence_twelve_lines_of_workflow_and_two_commands() -> None:
    shown = (ROOT / "README.md").read_text().split("```")
    title, sentence = shown[0].strip().split("\n\n")
    first, commands_ = blocks("python", documents=[ROOT / "README.md"])[0], blocks("sh")[0]

    assert title == "# Runlane"
    assert sentence.count(". ") == 0
    assert len(first.text.splitlines()) <= 12
    assert [line.split("#")[0].strip() for line in commands_.text.splitlines()] == ["make demo", "make test"]
