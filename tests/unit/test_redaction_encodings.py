"""A learnt secret survives in none of its encodings, wherever it stands."""

import base64
import json
import urllib.parse
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from runlane.redaction import MASK, Redactor


def escaped_like_dotnet(text: str) -> str:
    units = text.encode("utf-16-be").hex().upper()
    pairs = [units[at : at + 4] for at in range(0, len(units), 4)]
    return "".join(
        chr(int(pair, 16)) if chr(int(pair, 16)).isalnum() and pair < "0080" else f"\\u{pair}" for pair in pairs
    )


def base64_after(lead: bytes, alphabet: bytes = b"+/") -> Callable[[str], str]:
    return lambda text: base64.b64encode(lead + text.encode() + b"tail", alphabet).decode()


ENCODINGS: dict[str, Callable[[str], str]] = {
    "raw": str,
    "quote": urllib.parse.quote,
    "quote all": lambda text: urllib.parse.quote(text, safe=""),
    "quote plus": urllib.parse.quote_plus,
    "quote lower case": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "form": lambda text: urllib.parse.urlencode({"a": text}),
    "json": json.dumps,
    "json unicode": lambda text: json.dumps(text, ensure_ascii=False),
    "json .NET": escaped_like_dotnet,
    "json in json": lambda text: json.dumps({"body": json.dumps({"p": text})}),
    "url in json": lambda text: json.dumps({"url": "https://x/?p=" + urllib.parse.quote(text)}),
    "hex": lambda text: text.encode().hex(),
    "HEX": lambda text: text.encode().hex().upper(),
    "base64": base64_after(b""),
    "base64 after one": base64_after(b"u"),
    "base64 after two": base64_after(b"u:"),
    "base64 url": base64_after(b"", b"-_"),
    "base64 url after one": base64_after(b"u", b"-_"),
    "base64 url after two": base64_after(b"u:", b"-_"),
    "base64 in url": lambda text: urllib.parse.quote(base64_after(b"u:")(text), safe=""),
    "base64 in JSON of .NET": lambda text: escaped_like_dotnet(base64_after(b"")(text)),
}

#: Without surrogates: they cannot be encoded to bytes, so no secret of a vendor holds one.
secrets = st.text(st.characters(codec="utf-8"), min_size=4, max_size=40).filter(lambda text: len(text.strip()) >= 4)


def undone(text: str) -> list[str]:
    """What a curious reader could make of a text."""
    readings = [text]
    for _ in range(3):
        text = urllib.parse.unquote(text)
        with suppress(ValueError):
            text = json.loads(f'"{text}"') if "\\" in text else text
        readings += [text, text.replace("+", " ")]
    return readings


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(secret=secrets, before=st.text(max_size=5), after=st.text(max_size=5))
@settings(max_examples=60, deadline=None)
def test_a_learnt_secret_does_not_survive(encoding: str, secret: str, before: str, after: str) -> None:
    assume(secret.strip() not in MASK)
    redactor = Redactor()
    redactor.learn(secret)
    encoded = ENCODINGS[encoding](secret)
    masked = redactor.text(f"{before} {encoded} {after}")
    assert MASK in masked
    assert encoded not in masked
    assert all(secret not in reading.replace(MASK, "") for reading in undone(masked))


@pytest.mark.parametrize("encoding", ENCODINGS)
@given(secret=secrets)
@settings(max_examples=30, deadline=None)
def test_a_learnt_secret_does_not_survive_in_a_document(encoding: str, secret: str) -> None:
    assume(secret.strip() not in MASK)
    redactor = Redactor()
    redactor.learn(secret)
    encoded = ENCODINGS[encoding](secret)
    value = {"items": [f"before {encoded}", {encoded: encoded}], "n": 1}
    for document in (redactor.sanitized(value).json, redactor.redacted(value).json):
        shown = json.loads(document)
        texts = [shown["items"][0], *shown["items"][1], *shown["items"][1].values()]
        assert all(MASK in text and encoded not in text for text in texts)


def test_a_secret_that_looks_escaped_is_found_behind_other_escapes() -> None:
    redactor = Redactor()
    redactor.learn("\x1b%00 and %41")
    assert redactor.text(json.dumps("say \x1b%00 and %41 now")) == f'"say {MASK} now"'


@given(
    secret=secrets,
    data=st.recursive(
        st.text(max_size=30) | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    ),
)
@settings(max_examples=100, deadline=None)
def test_what_holds_no_secret_is_left_as_it_is(secret: str, data: object) -> None:
    plain = json.dumps(data, ensure_ascii=False)
    redactor = Redactor()
    unlearnt = redactor.sanitized(data)
    redactor.learn("no-such-value-4711")
    assert redactor.sanitized(data) == unlearnt
    assert json.loads(unlearnt.true_json) == json.loads(plain)


def test_the_text_around_an_escaped_secret_stays_readable() -> None:
    redactor = Redactor()
    redactor.learn("p@ss w/rd")
    assert redactor.text("GET https://x/a%20b?q=1&p=p%40ss%20w%2Frd&r=2%25 failed") == (
        f"GET https://x/a%20b?q=1&p={MASK}&r=2%25 failed"
    )
    assert redactor.text(r'{"p": "p@ss w\/rd", "path": "C:\\temp"}') == rf'{{"p": "{MASK}", "path": "C:\\temp"}}'


def test_a_long_text_with_many_escapes_is_searched() -> None:
    redactor = Redactor()
    redactor.learn("p@ss-w/rd")
    masked = redactor.text("%20\\n" * 50_000 + "p%40ss-w%2Frd")
    assert masked.endswith(MASK)
    assert len(masked) == 250_000 + len(MASK)
