"""An identity provider on loopback: discovery, keys, tokens that it signs; it rotates keys and misbehaves on demand."""

import base64
import hashlib
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

AUTHORIZE, TOKEN = "/authorize", "/token"
DISCOVERY = "/.well-known/openid-configuration"
JWKS = "/keys"

_JWK_OF: dict[str, Any] = {"RS256": RSAAlgorithm, "PS256": RSAAlgorithm, "ES256": ECAlgorithm, "EdDSA": OKPAlgorithm}


def private_key(algorithm: str, bits: int = 2048) -> Any:
    if algorithm == "ES256":
        return generate_private_key(SECP256R1())
    return Ed25519PrivateKey.generate() if algorithm == "EdDSA" else generate_rsa(65537, bits)


def public_jwk(key: Any, algorithm: str, key_id: str | None, **known: object) -> dict[str, Any]:
    jwk: dict[str, Any] = _JWK_OF[algorithm].to_jwk(key.public_key(), as_dict=True)
    return {**jwk, **({} if key_id is None else {"kid": key_id}), "use": "sig", **known}


class Issuer:
    """`answers` replaces what it would say at a path: (status, bytes). `asked` are the paths that were asked for."""

    def __init__(self) -> None:
        self.keys: dict[str | None, tuple[str, Any]] = {}
        self.extra: list[Any] = []
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.asked: list[str] = []
        #: Codes that were given, with what they were given for.
        self.codes: dict[str, dict[str, str]] = {}
        #: What was sent to have tokens for a code.
        self.forms: list[dict[str, str]] = []
        #: What people are: claims of the next sign-in; None: it is refused.
        self.person: dict[str, Any] | None = {}
        self.gate = threading.Event()
        self.gate.set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.add_key("k1", "RS256")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def add_key(self, key_id: str | None, algorithm: str, **known: Any) -> None:
        self.keys[key_id] = (algorithm, private_key(algorithm, **known))

    def token(self, key_id: str | None = "k1", headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token for Ada; a claim that is None is left out."""
        algorithm, key = self.keys[key_id]
        given = {} if key_id is None else {"kid": key_id}
        return jwt.encode(self.claims(**claims), key, algorithm, headers={**given, **(headers or {})})

    def claims(self, **changed: Any) -> dict[str, Any]:
        now = int(time.time())
        claims = {"iss": self.url, "aud": "runlane", "sub": "ada", "iat": now, "exp": now + 600, "groups": ["staff"]}
        return {name: value for name, value in {**claims, **changed}.items() if value is not None}

    def key_set(self) -> list[Any]:
        return [public_jwk(key, algorithm, key_id) for key_id, (algorithm, key) in self.keys.items()] + self.extra

    def close(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def provider(self, **changed: Any) -> dict[str, Any]:
        """It as an identity file lists it."""
        staff = {"group": "staff", "roles": ["technician"], "orgs": ["acme"]}
        return {"name": "msp", "issuer": self.url, "audience": ["runlane"], "grants": [staff], **changed}

    def identity_file(self, directory: Path, **changed: Any) -> Path:
        path = directory / "identity.json"
        path.write_text(json.dumps({"providers": [self.provider(**changed)]}))
        return path

    def _answer(self, path: str) -> tuple[int, bytes]:
        if path in self.answers:
            return self.answers[path]
        if path == DISCOVERY:
            known = {"jwks_uri": JWKS, "authorization_endpoint": AUTHORIZE, "token_endpoint": TOKEN}
            return 200, json.dumps({"issuer": self.url, **{name: self.url + at for name, at in known.items()}}).encode()
        return (200, json.dumps({"keys": self.key_set()}).encode()) if path == JWKS else (404, b"")

    def authorize(self, query: str) -> str:
        """Where somebody who agrees at once is led back to."""
        asked = dict(parse_qsl(query))
        back, state = asked["redirect_uri"], asked["state"]
        if self.person is None:
            return f"{back}?{urlencode({'error': 'access_denied', 'error_description': '<b>No</b>', 'state': state})}"
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        return f"{back}?{urlencode({'code': code, 'state': state})}"

    def exchange(self, form: str) -> tuple[int, bytes]:
        """Tokens for a code, once, for whoever has the verifier."""
        given = dict(parse_qsl(form))
        self.forms.append(given)
        asked = self.codes.pop(given.get("code", ""), None)
        told = hashlib.sha256(given.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(told).rstrip(b"=").decode()
        if asked is None or asked["code_challenge"] != challenge or asked["redirect_uri"] != given["redirect_uri"]:
            return 400, b'{"error": "invalid_grant"}'
        token = self.token(**{"nonce": asked["nonce"], "aud": asked["client_id"], **(self.person or {})})
        return 200, json.dumps({"id_token": token, "access_token": "opaque", "token_type": "Bearer"}).encode()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                issuer.asked.append(self.path)
                form = self.rfile.read(int(self.headers["Content-Length"])).decode()
                status, body = issuer.exchange(form) if self.path == TOKEN else (404, b"")
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                issuer.asked.append(self.path)
                path, _, query = self.path.partition("?")
                if path == AUTHORIZE:
                    self.send_response(302)
                    self.send_header("Location", issuer.authorize(query))
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                issuer.gate.wait(30)
                status, body = issuer._answer(self.path)
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(body)))
                    if status == 302:
                        self.send_header("Location", f"{issuer.url}{JWKS}")
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    pass  # the caller hung up

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        return Handler
