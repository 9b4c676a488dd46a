"""An identity provider on loopback: discovery, keys, tokens that it signs; it rotates keys and misbehaves on demand."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

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
            return 200, json.dumps({"issuer": self.url, "jwks_uri": self.url + JWKS}).encode()
        return (200, json.dumps({"keys": self.key_set()}).encode()) if path == JWKS else (404, b"")

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked.append(self.path)
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
