"""A Key Vault of the tests' own: HTTPS with a certificate made for it, the REST protocol 7.x with its 401 challenge.

It is also the token endpoint that the challenge names. Written from Microsoft's published protocol.
"""

import datetime
import ipaddress
import json
import ssl
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

TENANT = "11111111-2222-3333-4444-555555555555"
CLIENT_SECRET = "the-client-secret-of-runlane"


class KeyVault:
    """One vault. `requests` are (method, path, had a valid token); `down` makes it answer 503 to everything."""

    def __init__(self, directory: Path) -> None:
        self.secrets: dict[str, str] = {}
        self.requests: list[tuple[str, str, bool]] = []
        self.tokens_issued = 0
        self.down = False
        self.ca, key, certificate = _certificates(directory)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.vault = self  # type: ignore[attr-defined]
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"https://localhost:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def vault(self) -> KeyVault:
        found: KeyVault = self.server.vault  # type: ignore[attr-defined]
        return found

    def log_message(self, *_: Any) -> None:
        return

    def answer(self, status: int, body: object = None, headers: dict[str, str] | None = None) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def do_POST(self) -> None:
        form = urllib.parse.parse_qs(self.body().decode())
        if self.path != f"/{TENANT}/oauth2/v2.0/token":
            self.answer(404)
        elif form.get("client_secret") != [CLIENT_SECRET] or form.get("scope") != [f"{self.vault.url}/.default"]:
            self.answer(401, {"error": "invalid_client", "error_description": "AADSTS7000215"})
        else:
            self.vault.tokens_issued += 1
            token = f"token-{self.vault.tokens_issued}"
            self.answer(200, {"token_type": "Bearer", "expires_in": 3599, "access_token": token})

    def do_GET(self) -> None:
        path = urllib.parse.urlsplit(self.path).path
        if path == f"/{TENANT}/v2.0/.well-known/openid-configuration":
            root = f"{self.vault.url}/{TENANT}"
            self.answer(
                200,
                {
                    "issuer": f"{root}/v2.0",
                    "authorization_endpoint": f"{root}/oauth2/v2.0/authorize",
                    "token_endpoint": f"{root}/oauth2/v2.0/token",
                },
            )
        elif self.permitted(path):
            self.read(path)

    def do_PUT(self) -> None:
        # The SDK sends the first request of a client without its body, to learn the challenge.
        content, path = self.body(), urllib.parse.urlsplit(self.path).path
        if self.permitted(path):
            name = path.split("/")[2]
            self.vault.secrets[name] = json.loads(content)["value"]
            self.answer(200, _bundle(self.vault, name))

    def do_DELETE(self) -> None:
        path = urllib.parse.urlsplit(self.path).path
        if self.permitted(path):
            name = path.split("/")[2].lower()
            if name not in self.vault.secrets:
                self.answer(404, _not_found(name))
                return
            del self.vault.secrets[name]
            self.answer(
                200, {"id": f"{self.vault.url}/secrets/{name}", "recoveryId": f"{self.vault.url}/deletedsecrets/{name}"}
            )

    def permitted(self, path: str) -> bool:
        issued = {f"Bearer token-{number + 1}" for number in range(self.vault.tokens_issued)}
        allowed = self.headers.get("Authorization") in issued
        self.vault.requests.append((self.command, path, allowed))
        if self.vault.down:
            self.answer(503, {"error": {"code": "ServiceUnavailable", "message": "busy"}})
            return False
        if not allowed:
            challenge = f'Bearer authorization="{self.vault.url}/{TENANT}", resource="{self.vault.url}"'
            self.answer(
                401, {"error": {"code": "Unauthorized", "message": "AKV10000"}}, {"WWW-Authenticate": challenge}
            )
        return allowed

    def read(self, path: str) -> None:
        if path.rstrip("/") == "/secrets":
            url, names = f"{self.vault.url}/secrets", self.vault.secrets
            items = [{"id": f"{url}/{name}", "attributes": {"enabled": True}} for name in names]
            half = len(items) // 2
            # In two pages, as the service pages too.
            if "skip" in self.path or not half:
                self.answer(200, {"value": items[half:], "nextLink": None})
            else:
                link = f"{self.vault.url}/secrets?api-version=7.5&skip={half}"
                self.answer(200, {"value": items[:half], "nextLink": link})
            return
        name = path.split("/")[2].lower()
        if name in self.vault.secrets:
            self.answer(200, _bundle(self.vault, name))
        else:
            self.answer(404, _not_found(name))


def _bundle(vault: KeyVault, name: str) -> dict[str, object]:
    now = int(time.time())
    return {
        "value": vault.secrets[name],
        "id": f"{vault.url}/secrets/{name}/0123456789abcdef0123456789abcdef",
        "attributes": {"enabled": True, "created": now, "updated": now},
    }


def _not_found(name: str) -> dict[str, object]:
    return {"error": {"code": "SecretNotFound", "message": f"A secret with (name/id) {name} was not found"}}


_SIGNS = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


def _certificates(directory: Path) -> tuple[Path, Path, Path]:
    """The files of an authority, and of the key and certificate that it made for localhost."""
    now = datetime.datetime.now(datetime.UTC)
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])

    def builder(subject: x509.Name) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority_name)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )

    authority = (
        builder(authority_name)
        .public_key(authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_SIGNS, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]))
        .public_key(key.public_key())
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        # Python 3.13 verifies strictly (RFC 5280): the authority's key has to be named.
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    files = {"ca.pem": authority.public_bytes(pem), "key.pem": private, "cert.pem": certificate.public_bytes(pem)}
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return directory / "ca.pem", directory / "key.pem", directory / "cert.pem"
