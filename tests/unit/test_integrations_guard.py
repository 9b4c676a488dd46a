"""Where integrations may not go, against real sockets; answers that are too large, too slow, cut off or no JSON."""

import asyncio
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpcore
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from runlane.errors import ConfigurationError, IntegrationError
from runlane.integrations import BaseIntegration, guard
from runlane.integrations.calls import Limits
from runlane.integrations.connectwise import ConnectWise
from runlane.integrations.halopsa import HaloPSA
from runlane.integrations.msgraph import MicrosoftGraph
from runlane.testing import FakeContext
from tests.support.raw_vendor import Vendor


class Guarded(BaseIntegration):
    integration_name = "guarded"
    limits = Limits(wait_seconds=5.0, total_seconds=0.5, body_bytes=100_000)

    async def authenticate(self) -> str:
        return "the-token"


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    vendor = Vendor()
    await vendor.start()
    yield vendor
    await vendor.stop()


def integration(url: str, *allowed: str) -> Guarded:
    return Guarded(FakeContext(config={"guarded_api_url": url}, allowed_hosts=allowed))


def port(vendor: Vendor) -> str:
    return vendor.url.rpartition(":")[2]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1", "0.0.0.0", "[::1]"])
async def test_no_spelling_of_a_local_address_is_connected_to(vendor: Vendor, host: str) -> None:
    guarded = integration(f"https://{host}:{port(vendor)}")
    with pytest.raises(ConfigurationError, match="RUNLANE_ALLOWED_HOSTS="):
        await guarded.request("GET", "/a")
    assert vendor.seen == []
    await guarded.aclose()


@pytest.mark.parametrize("host", ["169.254.169.254", "10.0.0.1", "[fd00:ec2::254]", "[::ffff:169.254.169.254]"])
async def test_metadata_and_private_addresses_are_not_connected_to(host: str) -> None:
    guarded = integration(f"https://{host}")
    with pytest.raises(ConfigurationError, match="no public address"):
        await guarded.request("GET", "/latest/meta-data")
    await guarded.aclose()


async def test_without_tls_nothing_is_sent(vendor: Vendor) -> None:
    guarded = integration(vendor.url)
    with pytest.raises(ConfigurationError, match=f"https only.*RUNLANE_ALLOWED_HOSTS=127.0.0.1:{port(vendor)}"):
        await guarded.request("GET", "/a")
    with pytest.raises(httpx.ConnectError, match="https only"):
        await guarded.http_client.get(vendor.url)
    assert vendor.seen == []
    calls = guarded.context.calls
    assert [call.success for call in calls] == [False, False]
    await guarded.aclose()


async def test_a_host_that_the_operator_allows_is_reached(vendor: Vendor) -> None:
    vendor.answer("GET /a", body=1)
    guarded = integration(vendor.url, f"127.0.0.1:{port(vendor)}")
    assert (await guarded.request("GET", "/a")).json() == 1
    await guarded.aclose()
    other_port = integration(vendor.url, "127.0.0.1:1")
    with pytest.raises(ConfigurationError):
        await other_port.request("GET", "/a")


async def test_a_name_is_judged_by_the_address_that_is_connected_to(
    vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the name is public when somebody looks first, and local when it is connected to."""
    answers = ["93.184.215.14", "127.0.0.1"]
    asked: list[str] = []

    async def resolve(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers[len(asked) - 1], port))]

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "getaddrinfo", resolve)
    await loop.getaddrinfo("rebind.example", 443)
    guarded = integration(f"https://rebind.example:{port(vendor)}")
    with pytest.raises(ConfigurationError, match=r"rebind\.example is at 127\.0\.0\.1"):
        await guarded.request("GET", "/a")
    assert asked == ["rebind.example", "rebind.example"]
    assert vendor.seen == []
    await guarded.aclose()


async def test_of_several_addresses_only_the_public_ones_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []

    async def resolve(host: str, port: int, **_: Any) -> list[Any]:
        return [(0, 0, 0, "", (address, port)) for address in ("10.0.0.1", "198.51.100.0", "8.8.8.8")]

    async def connect(_: object, host: str, *__: Any, **___: Any) -> Any:
        tried.append(host)
        raise httpcore.ConnectError("unreachable")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    monkeypatch.setattr("httpcore.AnyIOBackend.connect_tcp", connect)
    guarded = integration("https://mixed.example")
    with pytest.raises(IntegrationError, match="ConnectError: unreachable"):
        await guarded.request("GET", "/a")
    assert tried == ["8.8.8.8"]
    await guarded.aclose()


async def test_a_name_without_an_address_is_an_integration_error() -> None:
    guarded = integration("https://no-such-host.invalid")
    with pytest.raises(IntegrationError, match=r"no-such-host\.invalid cannot be resolved"):
        await guarded.request("GET", "/a")
    await guarded.aclose()


async def test_proxies_of_the_environment_are_not_used(vendor: Vendor, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, vendor.url)
    guarded = integration("https://169.254.169.254")
    with pytest.raises(ConfigurationError):
        await guarded.request("GET", "/a")
    assert vendor.seen == []
    await guarded.aclose()


async def test_a_redirect_to_a_private_address_is_not_followed(vendor: Vendor) -> None:
    vendor.answer("GET /a", 302, Location="http://169.254.169.254/latest")
    guarded = integration(vendor.url, "127.0.0.1")
    with pytest.raises(IntegrationError, match="to another host") as problem:
        await guarded.request("GET", "/a")
    assert problem.value.status_code == 302
    await guarded.aclose()


async def test_redirects_in_a_circle_end_in_an_error(vendor: Vendor) -> None:
    vendor.answer("GET /a", 302, Location="/a")
    guarded = integration(vendor.url, "127.0.0.1")
    with pytest.raises(IntegrationError, match="redirects too often"):
        await guarded.request("GET", "/a")
    assert len(vendor.seen) == len(guarded.context.calls) == 6
    await guarded.aclose()


async def test_an_answer_that_is_too_large_is_given_up(vendor: Vendor) -> None:
    vendor.answers["GET /a"] = (200, {}, b"x" * 200_000)
    guarded = integration(vendor.url, "127.0.0.1")
    with pytest.raises(IntegrationError, match="BodyTooLarge: more than 100000 bytes"):
        await guarded.request("GET", "/a")
    await guarded.aclose()


async def test_an_answer_that_unpacks_to_too_much_is_given_up(vendor: Vendor) -> None:
    vendor.answers["GET /a"] = (200, {"Content-Encoding": "gzip"}, gzip.compress(b"x" * 10_000_000))
    guarded = integration(vendor.url, "127.0.0.1")
    with pytest.raises(IntegrationError, match="BodyTooLarge"):
        await guarded.request("GET", "/a")
    await guarded.aclose()


@asynccontextmanager
async def saying(*pieces: bytes, endlessly: bool = False, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server that says these pieces to whoever asks, the last one for ever or just once, and hangs up."""
    ended = asyncio.Event()

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            for piece in pieces:
                writer.write(piece)
            while endlessly:
                writer.write(pieces[-1])
                await writer.drain()
                await asyncio.sleep(0.01)
        except ConnectionError:
            pass
        finally:
            writer.close()
            ended.set()

    server = await asyncio.start_server(say, "127.0.0.1", 0, ssl=tls)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    await ended.wait()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200",
        b"SSH-2.0-OpenSSH_9.2\r\n",
    ],
)
async def test_an_answer_that_is_cut_off_or_no_http_is_an_error(answer: bytes) -> None:
    async with saying(answer) as url:
        guarded = integration(url, "127.0.0.1")
        with pytest.raises(IntegrationError, match="failed: RemoteProtocolError"):
            await guarded.request("GET", "/a")
        assert [call.success for call in guarded.context.calls] == [False]
        await guarded.aclose()


async def test_a_vendor_that_dribbles_is_given_up() -> None:
    async with saying(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b" ", endlessly=True) as url:
        guarded = integration(url, "127.0.0.1")
        with pytest.raises(IntegrationError, match="GET /a failed: ReadTimeout"):
            await guarded.request("GET", "/a")
        assert [call.error for call in guarded.context.calls] == ["ReadTimeout"]
        await guarded.aclose()


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("text/html; charset=utf-8", b"<html>Sign in</html>", "with text/html instead of JSON"),
        ("application/json", b'{"id": 1', "with broken JSON"),
        ("application/json", b"\xff\xfe", "with broken JSON"),
        ("application/json", b"[" * 20_000, "with broken JSON"),
        ("", b"<", "with something instead of JSON"),
    ],
)
async def test_an_answer_that_is_no_json_is_an_error_that_says_so(
    vendor: Vendor, kind: str, body: bytes, said: str
) -> None:
    vendor.answers["GET /a"] = (200, {"Content-Type": kind} if kind else {}, body)
    guarded = integration(vendor.url, "127.0.0.1")
    with pytest.raises(IntegrationError) as problem:
        await guarded.request_json("GET", "/a")
    assert problem.value.message == f"GET /a answered 200 {said}"
    assert problem.value.status_code == 200
    await guarded.aclose()


async def test_what_the_vendor_says_is_shown_redacted_and_short(vendor: Vendor) -> None:
    guarded = integration(vendor.url, "127.0.0.1")
    guarded.context.redactor.learn("hush-hush-hush")
    said = "bad key hush-hush-hush\r\n\x1b[31m" + "x" * 1000
    vendor.answer("GET /a", 403, {"error": {"code": "Forbidden", "message": said}})
    with pytest.raises(IntegrationError) as problem:
        await guarded.request("GET", "/a")
    assert problem.value.message.startswith("GET /a answered 403 Said: Forbidden: bad key [REDACTED] [31mxxx")
    assert len(problem.value.message) < 400
    assert "\x1b" not in problem.value.message
    await guarded.aclose()


# --- TLS and the vendors' own hosts -----------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A certificate for `localhost` that is trusted, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "localhost.pem"
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    guard._trust.cache_clear()
    yield path
    guard._trust.cache_clear()


async def test_a_certificate_must_be_of_the_name_that_was_asked_for(certificate: Path) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    async with saying(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n1", tls=tls) as url:
        port = url.rpartition(":")[2]
        stranger = integration(f"https://127.0.0.1:{port}", "127.0.0.1")
        with pytest.raises(IntegrationError, match=r"ConnectError: .*certificate verify failed"):
            await stranger.request("GET", "/a")
        await stranger.aclose()
        right = integration(f"https://localhost:{port}", "localhost")
        assert (await right.request("GET", "/a")).json() == 1
        await right.aclose()


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        (MicrosoftGraph, {"msgraph_login_url": "https://login.microsoftonline.com.evil.example"}),
        (MicrosoftGraph, {"msgraph_login_url": "https://login.microsoftonline.com@evil.example"}),
        (MicrosoftGraph, {"msgraph_login_url": "https://evillogin.microsoftonline.com.au"}),
        (HaloPSA, {"halo_api_url": "https://evilhalopsa.com"}),
        (HaloPSA, {"halo_auth_url": "https://evil.example/auth"}),
        (ConnectWise, {"cw_api_url": "https://evil.example"}),
    ],
)
async def test_whoever_may_change_an_address_does_not_get_the_secret_sent(
    kind: type[MicrosoftGraph | HaloPSA | ConnectWise], changed: dict[str, str]
) -> None:
    known = {"msgraph_client_id": "c", "halo_client_id": "c", "halo_api_url": "https://acme.halopsa.com"}
    known |= {"cw_company_id": "c", "cw_public_key": "p", "cw_client_id": "c"}
    secrets = {"msgraph_client_secret": "hush-hush", "halo_client_secret": "hush-hush", "cw_private_key": "hush-hush"}
    context = FakeContext(config={**known, **changed}, secrets=secrets)
    found = kind(context)
    with pytest.raises(ConfigurationError, match=r"is no host of .*RUNLANE_ALLOWED_HOSTS="):
        await (found.get_user("u") if isinstance(found, MicrosoftGraph) else found.get_ticket(1))
    assert context.calls == []
    await context.aclose()
