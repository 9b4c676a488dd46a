"""Secrets that must show nowhere: how they are made, and how they are found."""

import base64
import importlib.util
import json
import os
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

WORKFLOWS = Path(__file__).parents[1] / "e2e" / "canaries"


def _encodings() -> dict[str, Callable[[str], str]]:
    """What the workflow uses: a file beside it, since an executor does not import from the tests."""
    spec = importlib.util.spec_from_file_location("ways_to_write", WORKFLOWS / "ways_to_write.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, Callable[[str], str]] = module.ENCODINGS
    return found


ENCODINGS = _encodings()


def new_secret(number: int) -> str:
    """A secret nobody else has, with characters that every escape treats differently."""
    return f'{os.urandom(6).hex()}/{number}+"é {os.urandom(6).hex()}='


def needles(secret: str) -> set[bytes]:
    """What to look for: each encoding of the secret, as bytes; of base64 what stays the same at any alignment."""
    found = {encode(secret).encode() for name, encode in ENCODINGS.items() if name != "JSON in JSON"}
    inner = json.dumps(secret)[1:-1]
    found |= {inner.encode(), json.dumps(inner)[1:-1].encode()}
    found |= {base64.b64encode(bytes(3) + secret.encode())[4:-4], base64.b64encode(b"user:" + secret.encode())[8:-4]}
    # Half of it is too much as well: something cut a secret in two and masked neither part.
    return found | {secret.encode()[:12], secret.encode()[-13:-1]}


def leaks(secrets: Iterable[str], places: Iterable[Path], workspace: Path) -> list[str]:
    """Each place (file or directory) and needle of a secret that shows in it. `grep` reads bytes as they are."""
    patterns = workspace / "needles"
    patterns.write_bytes(b"\n".join(sorted({needle for secret in secrets for needle in needles(secret)})) + b"\n")
    command = ["grep", "--recursive", "--text", "--fixed-strings", "--only-matching", "--no-messages"]
    command += [f"--file={patterns}", *map(str, places)]
    found = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "LC_ALL": "C"})
    assert found.returncode in (0, 1), found.stderr.decode()
    return found.stdout.decode(errors="replace").splitlines()
