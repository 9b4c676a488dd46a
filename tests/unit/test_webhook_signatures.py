"""Secrets and signatures of every scheme: what vendors publish as examples passes, everything else does not."""

import base64
import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runlane.contracts.webhooks import Scheme, Webhook
from runlane.errors import BadRequest
from runlane_gateway.webhook_signatures import (
    Given,
    Key,
    dedupe_of,
    delivery_id,
    key_of,
    new_secret,
    verify,
    verify_notifications,
)

SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
    b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
    b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)


class Example(msgspec.Struct, frozen=True):
    """A delivery that is right."""

    scheme: Scheme
    secret: str
    headers: Mapping[bytes, bytes]
    body: bytes
    at: int = 1_700_000_000

    @property
    def webhook(self) -> Webhook:
        return Webhook(org="acme", workflow="tickets", scheme=self.scheme)

    def verify(self, *secrets: str, webhook: Webhook | None = None, **changed: Any) -> None:
        known = {"headers": self.headers, "body": self.body, "now": datetime.fromtimestamp(self.at, UTC)} | changed
        keys = [Key(key_of(self.scheme, secret)) for secret in secrets or (self.secret,)]
        verify(webhook or self.webhook, keys, Given(**known))


#: As their makers publish them.
PUBLISHED = [
    # https://www.standardwebhooks.com and its reference libraries
    Example(
        "standard",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        {
            b"webhook-id": b"msg_p5jXN8AQM9LWM0D4loKWxJek",
            b"webhook-timestamp": b"1614265330",
            b"webhook-signature": b"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        },
        b'{"test": 2432232314}',
        1614265330,
    ),
    # https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
    Example(
        "github",
        "It's a Secret to Everybody",
        {b"x-hub-signature-256": b"sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
        b"Hello, World!",
    ),
    # https://docs.slack.dev/authentication/verifying-requests-from-slack
    Example(
        "slack",
        "8f742231b10e8888abcd99yyyzzz85a5",
        {
            b"x-slack-request-timestamp": b"1531420618",
            b"x-slack-signature": b"v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        },
        SLACK_BODY,
        1531420618,
    ),
]
SHOPIFY_SECRET = "hush-hush-hush-hush-hush"
SHOPIFY_BODY = b'{"id": 1}'
MADE = [
    Example("secret", "s" * 32, {b"x-webhook-secret": b"s" * 32}, b"{}"),
    Example(
        "shopify",
        SHOPIFY_SECRET,
        {b"x-shopify-hmac-sha256": base64.b64encode(hmac.digest(SHOPIFY_SECRET.encode(), SHOPIFY_BODY, "sha256"))},
        SHOPIFY_BODY,
    ),
]
EXAMPLES = PUBLISHED + MADE
SIGNED = [example for example in EXAMPLES if example.scheme != "secret"]
TIMED = [example for example in EXAMPLES if example.scheme in ("standard", "slack")]


def by_scheme(example: Example) -> str:
    return example.scheme


def refused(example: Example, **changed: Any) -> str:
    with pytest.raises(BadRequest) as raised:
        example.verify(**changed)
    return raised.value.message


@pytest.mark.parametrize("example", EXAMPLES, ids=by_scheme)
def test_what_is_right_passes(example: Example) -> None:
    example.verify()


@pytest.mark.parametrize("example", EXAMPLES, ids=by_scheme)
def test_both_live_secrets_count_and_no_other_one(example: Example) -> None:
    other = new_secret(example.scheme)
    example.verify(other, example.secret)
    example.verify(example.secret, other)
    with pytest.raises(BadRequest):
        example.verify(other)


@pytest.mark.parametrize("example", EXAMPLES, ids=by_scheme)
def test_a_secret_that_has_expired_no_longer_counts(example: Example) -> None:
    now = datetime.fromtimestamp(example.at, UTC)
    arrived = Given(example.headers, example.body, now)
    key = key_of(example.scheme, example.secret)
    verify(example.webhook, [Key(key, now + timedelta(seconds=1))], arrived)
    with pytest.raises(BadRequest):
        verify(example.webhook, [Key(key, now)], arrived)


@pytest.mark.parametrize("example", SIGNED, ids=by_scheme)
def test_another_body_is_refused(example: Example) -> None:
    for body in (b"", example.body + b" ", example.body[:-1], example.body.upper()):
        assert "signature" in refused(example, body=body)


@pytest.mark.parametrize("example", EXAMPLES, ids=by_scheme)
def test_without_its_headers_it_is_refused(example: Example) -> None:
    refused(example, headers={})
    for name in example.headers:
        refused(example, headers={key: value for key, value in example.headers.items() if key != name})


WAYS: list[Callable[[bytes], bytes]] = [
    lambda value: b"",
    lambda value: b" ",
    lambda value: value[:-1],
    lambda value: value + b"0",
    lambda value: b" " + value,
    lambda value: value.swapcase(),
    lambda value: value[::-1],
    lambda value: value.partition(b"=")[2] or value[1:],
    lambda value: b"\xff" + value,
    lambda value: b"v2," + value,
    lambda value: b"0" * len(value),
]


@pytest.mark.parametrize("way", range(len(WAYS)))
@pytest.mark.parametrize("example", EXAMPLES, ids=by_scheme)
def test_a_header_that_was_changed_is_refused(example: Example, way: int) -> None:
    for name, value in example.headers.items():
        changed = WAYS[way](value)
        if changed.strip() != value and changed != value:
            refused(example, headers={**example.headers, name: changed})


@pytest.mark.parametrize("seconds", [-301, 301, -(10**9), 10**9])
@pytest.mark.parametrize("example", TIMED, ids=by_scheme)
def test_a_delivery_of_another_time_is_refused(example: Example, seconds: int) -> None:
    now = datetime.fromtimestamp(example.at, UTC)
    assert "timestamp" in refused(example, now=now + timedelta(seconds=seconds))
    example.verify(now=now + timedelta(seconds=300 if seconds > 0 else -300))


@pytest.mark.parametrize(
    "stamp", [b"", b"-1", b"1e9", b"0x5", b"1531420618.0", b"9" * 30, "١٥".encode(), b" 1531420618"]
)
@pytest.mark.parametrize("scheme", ["standard", "slack"])
def test_a_time_that_is_none_is_refused_even_when_it_is_signed(scheme: Scheme, stamp: bytes) -> None:
    secret = new_secret(scheme)
    key = key_of(scheme, secret)
    if scheme == "standard":
        signature = b"v1," + base64.b64encode(hmac.digest(key, b"m." + stamp + b".{}", "sha256"))
        headers = {b"webhook-id": b"m", b"webhook-timestamp": stamp, b"webhook-signature": signature}
    else:
        signature = b"v0=" + hmac.digest(key, b"v0:" + stamp + b":{}", "sha256").hex().encode()
        headers = {b"x-slack-request-timestamp": stamp, b"x-slack-signature": signature}
    assert "timestamp" in refused(Example(scheme, secret, headers, b"{}", 1531420618))


def test_one_of_several_signatures_is_enough_and_only_so_many_are_looked_at() -> None:
    example = PUBLISHED[0]
    right = example.headers[b"webhook-signature"]
    example.verify(headers={**example.headers, b"webhook-signature": b"v1a,abc v1,wrong " + right})
    refused(example, headers={**example.headers, b"webhook-signature": b"v1,x " * 10 + right})


def test_a_secret_may_stand_in_another_header() -> None:
    example = MADE[0]
    webhook = Webhook(org="acme", workflow="tickets", header="Authorization")
    refused(example, webhook=webhook)
    example.verify("Bearer " + "s" * 32, webhook=webhook, headers={b"authorization": b"Bearer " + b"s" * 32})


@pytest.mark.parametrize("secret", ["whsec_ä", "whsec_a", "whsec_%%%%", "not base64!"])
def test_a_standard_secret_is_base64(secret: str) -> None:
    with pytest.raises(ValueError, match="base64"):
        key_of("standard", secret)


@pytest.mark.parametrize("scheme", ["secret", "standard", "github", "msgraph"])
def test_a_secret_that_is_made_has_256_bits_and_is_never_the_same(scheme: Scheme) -> None:
    one, other = new_secret(scheme), new_secret(scheme)
    assert one != other
    assert len(key_of(scheme, one)) >= 32


STATE = "a-client-state-that-is-long-enough"


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        None,
        "text",
        {"value": {}},
        {"value": []},
        {"value": [None]},
        {"value": [{}]},
        {"value": [{"clientState": "wrong"}]},
        {"value": [{"clientState": None}]},
        {"value": [{"clientState": STATE}, {"clientState": "wrong"}]},
        {"value": [{"clientState": STATE}, {}]},
    ],
)
def test_each_notification_of_graph_needs_the_client_state(value: Any) -> None:
    with pytest.raises(BadRequest):
        verify_notifications([Key(STATE.encode())], value, datetime.now(UTC))


def test_the_client_state_goes_no_further() -> None:
    given = {"value": [{"clientState": STATE, "resource": "users/1"}], "validationTokens": []}
    found = verify_notifications([Key(STATE.encode())], given, datetime.now(UTC))
    assert found == {"value": [{"resource": "users/1"}], "validationTokens": []}


@pytest.mark.parametrize(
    ("webhook", "headers", "expected"),
    [
        ({"scheme": "standard"}, {b"webhook-id": b"msg_1"}, "msg_1"),
        ({"scheme": "github"}, {b"x-github-delivery": b"72d3162e"}, "72d3162e"),
        ({"scheme": "shopify"}, {b"x-shopify-event-id": b"e1", b"x-shopify-topic": b"orders/paid"}, "e1 orders/paid"),
        ({"scheme": "shopify"}, {b"x-shopify-topic": b"orders/paid"}, None),
        ({"scheme": "slack"}, {b"webhook-id": b"1"}, None),
        ({"scheme": "secret"}, {b"webhook-id": b"1"}, None),
        ({"scheme": "secret", "delivery_header": "X-Event"}, {b"x-event": b" 7 "}, "7"),
        ({"scheme": "secret", "delivery_header": "X-Event"}, {}, None),
    ],
)
def test_the_senders_id_is_found(webhook: dict[str, Any], headers: dict[bytes, bytes], expected: str | None) -> None:
    assert delivery_id(Webhook(org="acme", workflow="tickets", **webhook), headers) == expected


@pytest.mark.parametrize("value", [b"a" * 201, b"a\x00b", b"a\nb", b"\xe4"])
def test_an_id_that_is_no_plain_text_is_refused(value: bytes) -> None:
    with pytest.raises(BadRequest):
        delivery_id(Webhook(org="acme", workflow="tickets", scheme="github"), {b"x-github-delivery": value})


def test_what_makes_deliveries_the_same_depends_on_the_scheme() -> None:
    schemes: list[Scheme] = ["secret", "standard", "github", "slack", "shopify", "msgraph"]
    found = [dedupe_of(Webhook(org="a", workflow="w", scheme=scheme)) for scheme in schemes]
    assert found == ["none", "delivery", "delivery", "body", "delivery", "none"]
    assert dedupe_of(Webhook(org="a", workflow="w", delivery_header="X-Id")) == "delivery"
    assert dedupe_of(Webhook(org="a", workflow="w", scheme="github", dedupe="body")) == "body"


@pytest.mark.parametrize("example", EXAMPLES, ids=by_scheme)
@settings(max_examples=1000, deadline=None)
@given(data=st.data())
def test_nothing_that_was_changed_at_random_gets_in(example: Example, data: st.DataObject) -> None:
    """RELIABILITY §5.3: 5,000 mutated deliveries, none accepted, nothing raised but the refusal."""
    name = data.draw(st.sampled_from([*example.headers, b"body"]))
    good = example.body if name == b"body" else example.headers[name]
    value = data.draw(st.one_of(st.binary(max_size=80), st.builds(_flipped, st.just(good), st.integers(0, 10**6))))
    if value == good or (name == b"body" and example.scheme == "secret"):
        return
    if name == b"webhook-signature" and good in value.split(b" "):
        return
    changed = {"body": value} if name == b"body" else {"headers": {**example.headers, name: value}}
    refused(example, **changed)


def _flipped(value: bytes, at: int) -> bytes:
    place = at % (len(value) * 8)
    changed = bytearray(value)
    changed[place // 8] ^= 1 << place % 8
    return bytes(changed)
