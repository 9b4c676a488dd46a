"""What leaves an execution: masked by name, cut to size, and always JSON."""

import dataclasses
import json
import uuid
from collections import OrderedDict, namedtuple
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel, SecretStr

from runlane.errors import SerializationError
from runlane.redaction import MASK, Redactor, is_secret_name, names
from runlane.redaction.needles import Needles
from runlane.redaction.redactor import MAX_BYTES, MAX_DEPTH, MAX_ITEMS, MAX_TEXT


def shown(value: Any, redactor: Redactor | None = None) -> Any:
    return json.loads((redactor or Redactor()).sanitized(value).json)


def redacted(value: Any, redactor: Redactor | None = None) -> Any:
    return json.loads((redactor or Redactor()).redacted(value).json)


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *("password", "Password", "PASSWORD", "db_password", "userPassword", "passwordHash", "passwords", "password1"),
        *("passwd", "pwd", "secret", "client_secret", "clientSecret", "ClientSecrets", "token", "access_token"),
        *(
            "accessToken",
            "accesstoken",
            "refresh-token",
            "api_key",
            "apikey",
            "apiKey",
            "API_KEY",
            "X-Api-Key",
            "APIKey",
        ),
        *(
            "access_key",
            "private_key",
            "PrivateKey",
            "authorization",
            "Authorization",
            "auth_header",
            "auth",
            "basicAuth",
        ),
        *("credential", "credentials", "cookie", "Set-Cookie", "connection_string", "ConnectionString", "passphrase"),
        *("key", "keys", "account_key", "accountKey", "halopsa_key", "encryption.key", "key2"),
    ],
)
def test_a_secret_name_hides_its_value(name: str) -> None:
    assert shown({name: "hunter2"}) == {name: MASK}
    assert redacted({name: ["hunter2", {"a": 1}]}) == {name: MASK}


@pytest.mark.parametrize(
    "name",
    [
        *("monkey", "keyboard", "keystone", "primary_key_id", "key_id", "config_key", "configKey", "sort_key"),
        *("primary_key", "idempotency_key", "secretary", "tokenizer", "tokenized", "author", "authentic", "author_id"),
        *("email", "name", "passenger", "compass", "pass", "", "…", "user-id"),
    ],
)
def test_an_ordinary_name_shows_its_value(name: str) -> None:
    assert not is_secret_name(name)
    assert redacted({name: "hunter2"}) == {name: "hunter2"}


def test_whether_there_is_a_secret_still_shows() -> None:
    value = {"password": None, "has_token": True, "secret": "", "pin_secret": 1234}
    assert shown(value) == {"password": None, "has_token": True, "secret": "", "pin_secret": MASK}


def test_a_value_found_under_a_secret_name_is_masked_everywhere_from_then_on() -> None:
    redactor = Redactor()
    value = {
        "url": "https://x/?p=hunter2-hunter2",
        "login": {"password": "hunter2-hunter2"},
        "again": "hunter2-hunter2",
    }
    assert shown(value, redactor) == {"url": f"https://x/?p={MASK}", "login": {"password": MASK}, "again": MASK}
    assert redactor.text("it was hunter2-hunter2!") == f"it was {MASK}!"


def test_an_authorization_header_teaches_its_credentials_too() -> None:
    redactor = Redactor()
    redactor.sanitized({"headers": {"Authorization": "Bearer abcdef.123456"}})
    assert redactor.text("sent abcdef.123456 to them") == f"sent {MASK} to them"


def test_secrets_nested_under_a_secret_name_are_learnt_but_not_what_stands_beside_them() -> None:
    redactor = Redactor()
    redactor.sanitized(
        {"passwordProfile": {"password": "Start-1234", "note": "department"}, "tokens": ["token-number-one"]}
    )
    assert redactor.text("Start-1234 department token-number-one") == f"{MASK} department {MASK}"


@pytest.mark.parametrize("value", [{"token_type": "disabled"}, {"key": "department"}, {"password": "admin"}])
def test_words_are_not_learnt(value: dict[str, str]) -> None:
    redactor = Redactor()
    assert shown(value, redactor) == dict.fromkeys(value, MASK)
    assert redactor.text("disabled department admin") == "disabled department admin"


def test_what_is_learnt_by_name_is_bounded() -> None:
    redactor = Redactor()
    redactor.sanitized([[{"token": f"token-{row}-{column}"} for column in range(90)] for row in range(5)])
    assert redactor.text("token-0-0") == MASK
    assert redactor.text("token-4-89") == "token-4-89"
    assert shown({"token": "token-4-89"}, redactor) == {"token": MASK}


# --- learnt values ----------------------------------------------------------------------------------------------------


def test_a_learnt_value_is_masked_in_names_values_and_numbers() -> None:
    redactor = Redactor()
    redactor.learn("48151623")
    value = {"a": "pin 48151623", "48151623": 1, "n": 48151623, "f": 48151623.5, "other": 4}
    assert redacted(value, redactor) == {"a": f"pin {MASK}", MASK: 1, "n": MASK, "f": MASK, "other": 4}


def test_a_short_learnt_value_is_masked_only_where_it_is_the_whole_text() -> None:
    redactor = Redactor()
    redactor.learn("abc")
    assert redacted({"a": "abc", "b": "abcd", "c": ["abc"]}, redactor) == {"a": MASK, "b": "abcd", "c": [MASK]}
    assert redactor.text("abc") == MASK
    assert redactor.text("the abc") == "the abc"


def test_blanks_around_a_secret_do_not_protect_it() -> None:
    redactor = Redactor()
    redactor.learn("  swordfish\n")
    assert redactor.text("say swordfish now") == f"say {MASK} now"


def test_an_empty_secret_masks_nothing() -> None:
    redactor = Redactor()
    redactor.learn("")
    redactor.learn("  ")
    assert redacted({"a": "", "b": "x y"}, redactor) == {"a": "", "b": "x y"}


def test_of_two_secrets_the_longer_one_is_masked_whole() -> None:
    redactor = Redactor()
    redactor.learn("swordfish")
    redactor.learn("swordfish-and-chips")
    assert redactor.text("swordfish-and-chips, swordfish") == f"{MASK}, {MASK}"


def test_a_secret_across_the_cut_is_masked_before_it_is_cut() -> None:
    redactor = Redactor()
    redactor.learn("swordfish")
    text = shown("x" * (MAX_TEXT - 30) + "swordfish" * 10, redactor)
    assert "sword" not in text


# --- shortening -------------------------------------------------------------------------------------------------------


def test_a_long_text_is_cut_to_the_limit_with_a_note() -> None:
    text = shown("x" * 6_000)
    kept, _, note = text.partition("…")
    assert len(text) == MAX_TEXT
    assert note == f" [+{6_000 - len(kept)} characters]"
    assert shown("x" * MAX_TEXT) == "x" * MAX_TEXT


def test_a_long_array_is_cut_to_the_limit_with_a_note_as_its_last_item() -> None:
    assert shown(list(range(MAX_ITEMS))) == list(range(MAX_ITEMS))
    assert shown(list(range(250))) == [*range(99), "… [+151 items]"]
    assert len(shown({"deep": [tuple(range(101))]})["deep"][0]) == MAX_ITEMS


def test_what_is_too_large_is_replaced_by_a_note() -> None:
    kept = Redactor().sanitized({f"name{number}": "x" * 900 for number in range(100)})
    assert list(json.loads(kept.json)) == ["truncated"]
    assert kept.changed
    assert len(kept.true_json) > MAX_BYTES


def test_deep_nesting_ends_in_a_note_and_never_in_a_crash() -> None:
    value: Any = "bottom"
    for _ in range(MAX_DEPTH + 1):
        value = {"a": value}
    kept = Redactor().sanitized(value)
    assert b"nested more than" in kept.json
    assert b"bottom" in kept.true_json
    for _ in range(10_000):
        value = [value]
    assert b"nested more than" in Redactor().sanitized(value).json
    with pytest.raises(SerializationError, match="nested more than 100 deep"):
        Redactor().redacted(value)


def test_results_are_redacted_but_never_shortened() -> None:
    value = {"text": "x" * 5_000, "items": list(range(500)), "password": "p", "big": ["y" * 1_000] * 100}
    assert redacted(value) == {**value, "password": MASK}


def test_changed_tells_whether_the_record_says_less_than_the_value() -> None:
    redactor = Redactor()
    same = redactor.sanitized({"a": (1, 2), "b": date(2026, 1, 2)})
    assert not same.changed
    assert same.json == same.true_json == b'{"a":[1,2],"b":"2026-01-02"}'
    for value in ({"token": "x"}, "x" * 1001, [0] * 101):
        kept = redactor.sanitized(value)
        assert kept.changed
        assert json.loads(kept.true_json) == value
        assert kept.json != kept.true_json


def test_the_value_itself_is_left_alone() -> None:
    value = {"password": "hunter2", "list": list(range(200)), "nested": {"t": ("x" * 2_000,)}}
    copy = {"password": "hunter2", "list": list(range(200)), "nested": {"t": ("x" * 2_000,)}}
    Redactor().sanitized(value)
    assert value == copy


# --- JSON -------------------------------------------------------------------------------------------------------------


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


@dataclasses.dataclass
class Address:
    city: str
    api_key: str = "k"


class User(msgspec.Struct, tag="user", rename="camel"):
    first_name: str
    address: Address
    gone: str | msgspec.UnsetType = msgspec.UNSET


class Model(BaseModel):
    name: str
    born: date
    pin: SecretStr


Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "2026-01-02T03:04:00Z"),
        (timedelta(seconds=90), "PT90S"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Decimal("1.50"), "1.50"),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (Address("Ulm"), {"city": "Ulm", "api_key": MASK}),
        (
            User("Ada", Address("Ulm")),
            {"type": "user", "firstName": "Ada", "address": {"city": "Ulm", "api_key": MASK}},
        ),
        (Model(name="a", born=date(2000, 1, 1), pin=SecretStr("1")), {"name": "a", "born": "2000-01-01", "pin": MASK}),
        (Point(1, 2), [1, 2]),
        ({"b", "a", "c"}, ["a", "b", "c"]),
        (frozenset(), []),
        (b"ab", "YWI="),
        (PurePosixPath("/tmp/x"), "/tmp/x"),
        (OrderedDict(a=1), {"a": 1}),
        (MappingProxyType({"a": (1,)}), {"a": [1]}),
        (
            {2: "a", 1.5: "b", True: "c", None: "d", Colour.RED: "e"},
            {"2": "a", "1.5": "b", "true": "c", "null": "d", "red": "e"},
        ),
        ({uuid.UUID(int=1): date(2026, 1, 2)}, {"00000000-0000-0000-0000-000000000001": "2026-01-02"}),
        (10**30, 10**30),
        ("Zoë 🦊", "Zoë 🦊"),
        (None, None),
    ],
)
def test_what_json_can_say_is_said(value: Any, expected: Any) -> None:
    assert shown(value) == expected
    assert redacted(value) == expected


def circular() -> list[Any]:
    value: list[Any] = [1]
    value.append({"self": value})
    return value


@pytest.mark.parametrize(
    ("value", "path", "what"),
    [
        ({"users": [{}, {}, {"home": object()}]}, "$.users[2].home", "object"),
        ({"a": {"first name": float("nan")}}, '$.a["first name"]', "nan"),
        ([1, float("inf")], "$[1]", "inf"),
        (circular(), "$[1].self", "contains itself"),
        ({"a": {(1, 2): 3}}, "$.a", "tuple as the name"),
        ({"a": "\ud800"}, "$.a", "surrogate"),
        ({"big": 10**5_000}, "$.big", "integer of"),
        (print, "$", "builtin_function"),
        ({"g": (n for n in [1])}, "$.g", "generator"),
        ({"e": ValueError("x")}, "$.e", "ValueError"),
        (Address(city=object()), "$.city", "object"),  # type: ignore[arg-type]
    ],
)
def test_what_json_cannot_say_is_named_with_its_path(value: Any, path: str, what: str) -> None:
    with pytest.raises(SerializationError, match=what) as caught:
        Redactor().redacted(value)
    assert caught.value.path == path
    assert caught.value.details == {"path": path}
    assert "[not serializable: " in Redactor().sanitized(value).json.decode() or what == "surrogate"


def test_a_path_does_not_tell_a_secret() -> None:
    redactor = Redactor()
    redactor.learn("swordfish")
    with pytest.raises(SerializationError) as caught:
        redactor.redacted({"swordfish": object()})
    assert "swordfish" not in str(caught.value) + str(caught.value.details)


def test_a_value_that_raises_when_it_is_read_becomes_a_placeholder() -> None:
    class Model:
        def model_dump(self) -> dict[str, Any]:
            raise RuntimeError("no")

    assert shown({"a": Model(), "b": 1}) == {"a": "[not serializable: Model (RuntimeError)]", "b": 1}
    with pytest.raises(SerializationError, match="RuntimeError") as caught:
        Redactor().redacted([Model()])
    assert caught.value.path == "$[0]"


def test_the_same_value_twice_is_no_circle() -> None:
    twice = {"a": 1}
    assert redacted([twice, twice, [twice]]) == [twice, twice, [twice]]
    assert shown([object(), twice, object(), twice])[1::2] == [twice, twice]


def test_a_long_name_is_judged_and_not_remembered() -> None:
    before = names._is_secret.cache_info().currsize, names._is_of_secret.cache_info().currsize
    long = "x" * 100_000 + "_client_secret"
    assert names.is_secret_name(long)
    assert names.is_name_of_secret(long)
    assert (names._is_secret.cache_info().currsize, names._is_of_secret.cache_info().currsize) == before


class CountingNeedles(Needles):
    looked_at = 0

    def mask(self, text: str) -> str:
        self.looked_at += 1
        return super().mask(text)


def test_of_what_is_too_long_for_a_record_the_rest_is_not_searched_but_its_secrets_are_learnt() -> None:
    redactor = Redactor()
    redactor._needles = needles = CountingNeedles()
    value = {"first_password": "in-the-beginning"} | {f"member{n}": "%41 text" for n in range(30_000)}
    shown = redactor.sanitized({**value, "users": [{"last_password": "in-the-very-end"}]})
    assert b"exceed the limit" in shown.json
    assert needles.looked_at < 20_000
    assert redactor.text("in-the-beginning, in-the-very-end") == f"{MASK}, {MASK}"


def test_what_its_masks_make_too_long_is_too_long() -> None:
    redactor = Redactor()
    redactor.learn("abcd")
    shown = redactor.sanitized({"rows": {f"{n}": "abcd " * 100 for n in range(100)}})
    assert len(shown.true_json) < MAX_BYTES
    assert json.loads(shown.json) == {"truncated": f"{MAX_BYTES + 1} bytes of JSON exceed the limit of {MAX_BYTES}"}
