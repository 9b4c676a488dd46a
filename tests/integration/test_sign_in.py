"""`/sign-in` at the gateway: what leads to a provider, and that a code is worth nothing without its verifier."""

import base64
import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import msgspec
import pytest

from runlane.adapters.nats.bus import NatsBus
from runlane.adapters.nats.directory import NatsDirectoryStore
from runlane.errors import ConfigurationError
from runlane.sealing import generate_master_key
from runlane.settings import Settings
from runlane_gateway.identity import read_providers
from tests.support.gateway_bus import Gateway, furnish, serving
from tests.support.issuer import DISCOVERY, TOKEN, Issuer

pytest_plugins = ["tests.support.gateway_fixtures"]

VERIFIER = "a-verifier-that-is-as-long-as-the-standard-wants-it"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
STATE = "0123456789abcdef"
BACK = "http://127.0.0.1:9/"
WAY: dict[str, Any] = {"client_id": "console", "redirect_uri": BACK}


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    started = Issuer()
    yield started
    started.close()


@pytest.fixture
async def nobody(settings: Settings, bus: NatsBus, issuer: Issuer, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A caller without credentials, at a gateway that sends people to the issuer."""
    store = NatsDirectoryStore(bus)
    await furnish(store)
    (tmp_path / "secret").write_text("of-the-client\n")
    way = {**WAY, "client_secret_file": str(tmp_path / "secret"), "title": "Acme ID"}
    file = issuer.identity_file(tmp_path, audience=["console"], sign_in=way)
    own = msgspec.structs.replace(settings, http_port=0, master_key=generate_master_key(), identity_file=file)
    async with serving(own, bus, store) as gateway, gateway.client(None) as client:
        yield client


async def code_of(nobody: httpx.AsyncClient, issuer: Issuer) -> str:
    led = await nobody.get("/sign-in/msp", params={"challenge": CHALLENGE, "state": STATE})
    assert led.status_code == 302
    (code,) = parse_qs(urlsplit(issuer.authorize(urlsplit(led.headers["location"]).query)).query)["code"]
    return code


async def test_the_providers_are_listed_for_anybody(nobody: httpx.AsyncClient) -> None:
    assert (await nobody.get("/sign-in")).json() == {"providers": [{"name": "msp", "title": "Acme ID"}]}


async def test_the_way_to_the_provider_carries_the_challenge_and_what_the_file_says(
    nobody: httpx.AsyncClient, issuer: Issuer
) -> None:
    led = await nobody.get("/sign-in/msp", params={"challenge": CHALLENGE, "state": STATE})
    assert led.headers["location"].startswith(f"{issuer.url}/authorize?")
    told = {name: values[0] for name, values in parse_qs(urlsplit(led.headers["location"]).query).items()}
    assert told == {
        "response_type": "code",
        "client_id": "console",
        "redirect_uri": BACK,
        "scope": "openid profile email",
        "state": STATE,
        "nonce": CHALLENGE,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }


async def test_a_code_with_its_verifier_is_a_token_that_opens_doors(nobody: httpx.AsyncClient, issuer: Issuer) -> None:
    code = await code_of(nobody, issuer)
    given = await nobody.post("/sign-in/msp", json={"code": code, "verifier": VERIFIER})
    assert (given.status_code, given.headers["cache-control"]) == (200, "no-store")
    assert issuer.forms[0]["client_secret"] == "of-the-client"
    headers = {"Authorization": f"Bearer {given.json()['token']}"}
    assert (await nobody.get("/me", headers=headers)).json()["id"] == "msp:ada"
    again = await nobody.post("/sign-in/msp", json={"code": code, "verifier": VERIFIER})
    assert again.status_code == 401


async def test_a_code_without_its_verifier_is_worth_nothing(nobody: httpx.AsyncClient, issuer: Issuer) -> None:
    for verifier in ("another" + VERIFIER, "short", ""):
        code = await code_of(nobody, issuer)
        answer = await nobody.post("/sign-in/msp", json={"code": code, "verifier": verifier})
        assert answer.status_code == 401, verifier
        assert code not in answer.text


@pytest.mark.parametrize("claims", [{"nonce": "of-another-sign-in"}, {"nonce": None}, {"aud": "another-client"}])
async def test_a_token_that_answers_another_question_is_refused(
    nobody: httpx.AsyncClient, issuer: Issuer, claims: dict[str, Any]
) -> None:
    issuer.person = claims
    answer = await nobody.post("/sign-in/msp", json={"code": await code_of(nobody, issuer), "verifier": VERIFIER})
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "query", [{}, {"challenge": "x", "state": STATE}, {"challenge": CHALLENGE, "state": "short"}, {"next": "//evil"}]
)
async def test_what_is_no_question_leads_nowhere(nobody: httpx.AsyncClient, query: dict[str, str]) -> None:
    answer = await nobody.get("/sign-in/msp", params=query)
    assert (answer.status_code, "location" in answer.headers) == (400, False)


async def test_a_provider_that_is_not_named_is_not_there(nobody: httpx.AsyncClient) -> None:
    known = {"challenge": CHALLENGE, "state": STATE}
    assert (await nobody.get("/sign-in/other", params=known)).status_code == 404
    assert (await nobody.post("/sign-in/other", json={"code": "x", "verifier": VERIFIER})).status_code == 404


async def test_a_provider_that_cannot_be_asked_is_not_taken_for_a_refusal(
    nobody: httpx.AsyncClient, issuer: Issuer
) -> None:
    issuer.answers[DISCOVERY] = (500, b"")
    known = {"challenge": CHALLENGE, "state": STATE}
    assert (await nobody.get("/sign-in/msp", params=known)).status_code == 503
    issuer.answers[DISCOVERY] = (200, b'{"issuer": "https://evil.example"}')
    assert (await nobody.post("/sign-in/msp", json={"code": "x", "verifier": VERIFIER})).status_code == 503
    assert TOKEN not in issuer.asked


async def test_without_providers_there_is_no_way(gateway: Gateway) -> None:
    async with gateway.client(None) as nobody:
        assert (await nobody.get("/sign-in")).json() == {"providers": []}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"client_id": ""}, "client_id"),
        ({"redirect_uri": "http://console.example/"}, "redirect_uri"),
        ({"scopes": ["profile"]}, "openid"),
        ({"client_secret_file": "/nowhere"}, "client_secret_file"),
        ({"implicit": True}, "implicit"),
    ],
)
def test_a_mistake_in_the_file_is_named(issuer: Issuer, tmp_path: Path, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        read_providers(issuer.identity_file(tmp_path, sign_in={**WAY, **wrong}))
