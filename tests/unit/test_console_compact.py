"""What the gateway leaves out of the console's files: only what means nothing to a browser."""

from pathlib import Path
from typing import Any

import pytest
import tree_sitter_javascript
from tree_sitter import Language, Node, Parser

from runlane_gateway.console_compact import compact_script, compact_sheet
from runlane_gateway.console_files import FOLDER

SCRIPTS = sorted(FOLDER.rglob("*.js"))
PARSER = Parser(Language(tree_sitter_javascript.language()))


def meaning(script: str) -> Any:
    """The syntax tree without its comments. The end of a statement is in the tree's shape, whoever wrote it."""

    def read(node: Node) -> Any:
        if not node.child_count:
            return node.type, node.text
        return node.type, [read(child) for child in node.children if child.type not in ("comment", ";")]

    root = PARSER.parse(script.encode()).root_node
    assert not root.has_error, script
    return read(root)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(FOLDER)))
def test_every_script_of_the_console_means_what_is_written(path: Path) -> None:
    written = path.read_text("utf-8")
    assert meaning(compact_script(written)) == meaning(written)


@pytest.mark.parametrize(
    "script",
    [
        "let a = 1\nlet b = a\n++b\n",
        "const f = () => {\n  return\n  1\n};\nf()\n",
        "let t = `  //  two  ${ `in  ${ { a : 1 }.a }  side` }  /* stays */\n   next`;",
        "const p = /[/]\\/ +\"'`/g.test(' // ');  let q = a / b / c;",
        "class A {\n  #one = 1\n  #two\n  get x() { return this.#one }\n}",
        "let x = a + +b - -c; let y = typeof  x; let z = 'it\\'s  // so' ;",
        "if (a) { b() }\n[1].map(c)\n",
        "for (;;) { break }\nwhile (a--) ;\n",
        'const say = "a \\" // b"; /* all\nof it */ const c = say',
    ],
)
def test_spaces_that_mean_something_stay(script: str) -> None:
    assert meaning(compact_script(script)) == meaning(script)


def test_comments_and_indentation_are_left_out() -> None:
    script = "// What it is.\nfunction f(a, b) {\n    // why\n    return a + b;  /* so */\n}\n"
    assert compact_script(script) == "function f(a,b){return a+b}"


def test_a_template_without_an_end_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be read from character 9"):
        compact_script("let a = `never ends")


def test_a_sheet_keeps_what_its_selectors_and_texts_mean() -> None:
    sheet = '/* x */\n.a :hover, .b > p { color: red; margin: 0 1px; }\n\n.c::before { content: " { ; } "; }\n'
    assert compact_sheet(sheet) == '.a :hover,.b > p{color:red;margin:0 1px}.c::before{content:" { ; } "}'
    assert compact_sheet("p { width: calc(1px + 2px) }") == "p{width:calc(1px + 2px)}"
