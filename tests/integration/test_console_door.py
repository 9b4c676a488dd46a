"""The console as the gateway serves it: small, safe to show, kept by browsers for as long as it may be."""

import gzip
import re
from pathlib import Path

import httpx
import pytest

from runlane_gateway.console_files import FOLDER, read_console
from tests.support.gateway_bus import Gateway

pytest_plugins = ["tests.support.gateway_fixtures"]

MOST_SERVED = 150 * 1024


async def test_the_page_and_its_files_are_for_anybody_and_hold_no_data(gateway: Gateway) -> None:
    async with gateway.client(None) as nobody:
        page = await nobody.get("/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        named = re.findall(r'(?:href|src)="(/console/[^"]+)"', page.text)
        assert {"style/base.css", "app.js"} <= {name.split("/", 3)[3] for name in named}
        for name in named:
            found = await nobody.get(name)
            assert found.status_code == 200, name
            assert found.headers["x-content-type-options"] == "nosniff"


async def test_nothing_inline_or_from_elsewhere_is_allowed(gateway: Gateway) -> None:
    async with gateway.client(None) as nobody:
        page = await nobody.get("/")
    policy = dict(part.split(" ", 1) for part in page.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in page.headers["content-security-policy"]
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", page.text)


async def test_files_named_by_their_digest_are_kept_for_ever_and_others_asked_for_again(gateway: Gateway) -> None:
    console = read_console()
    async with gateway.client(None) as nobody:
        kept = await nobody.get(f"{console.base}app.js")
        other = await nobody.get("/console/of-another-version/app.js")
        page = await nobody.get("/")
        again = await nobody.get("/", headers={"If-None-Match": page.headers["etag"]})
    assert "immutable" in kept.headers["cache-control"]
    assert (other.content, other.headers["cache-control"]) == (kept.content, "no-cache")
    assert page.headers["cache-control"] == "no-cache"
    assert (again.status_code, again.content) == (304, b"")


async def test_files_are_sent_compressed_to_those_who_can_read_them(gateway: Gateway) -> None:
    path = f"{read_console().base}app.js"
    async with gateway.client(None) as nobody:
        plain = await nobody.get(path, headers={"Accept-Encoding": "identity"})
        async with nobody.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as small:
            raw = b"".join([piece async for piece in small.aiter_raw()])
    assert small.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert plain.headers["vary"] == small.headers["vary"] == "Accept-Encoding"
    assert gzip.decompress(raw) == plain.content
    assert len(raw) < len(plain.content)


@pytest.mark.parametrize("path", ["x/nothing.js", "x/../index.html", "x/index.html", "x/%2e%2e/gate.py", "app.js", ""])
async def test_only_the_console_is_below_console(gateway: Gateway, path: str) -> None:
    async with gateway.client(None) as nobody:
        answer = await nobody.get(f"{gateway.url}/console/{path}")
    assert (answer.status_code, answer.json()["error"]) == (404, "NotFound")


async def test_what_changes_things_needs_a_key_below_console_too(gateway: Gateway) -> None:
    async with gateway.client(None) as nobody:
        assert (await nobody.post("/console/x/app.js")).status_code == 401


def test_a_gateway_without_its_page_does_not_start_without_a_word(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"index\.html"):
        read_console(tmp_path)


def test_all_of_it_is_less_than_150_kib_before_it_is_compressed() -> None:
    files = [read_console().page, *read_console().files.values()]
    assert sum(len(file.body) for file in files) < MOST_SERVED


def test_no_file_asks_for_anything_from_elsewhere() -> None:
    for name, file in read_console().files.items():
        if name.endswith((".js", ".css")):
            assert not re.search(rb"""(from|import\(|url\(|@import)\s*["']?(https?:)?//""", file.body), name


def test_no_file_turns_text_into_markup() -> None:
    sinks = rb"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc"
    for name, file in read_console().files.items():
        if name.endswith(".js"):
            code = re.sub(rb"//.*", b"", file.body)
            assert not re.search(sinks, code), name


def test_every_module_says_what_it_is() -> None:
    written = [path for path in FOLDER.rglob("*") if path.suffix in (".js", ".css")]
    assert written
    assert not [path for path in written if not path.read_text("utf-8").startswith(("// ", "/* "))]


async def test_a_caller_with_a_key_gets_the_same(gateway: Gateway, client: httpx.AsyncClient) -> None:
    async with gateway.client(None) as nobody:
        assert (await nobody.get("/")).text == (await client.get("/")).text
