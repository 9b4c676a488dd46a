"""Looks for a secret in the raw bytes of everything that a run left behind: broker, database, logs, histories."""

import base64
from pathlib import Path
from urllib.parse import quote


def forms(secret: str) -> list[bytes]:
    """How it may be written: as it is, in hexadecimal, and in base64 wherever in a text it begins."""
    raw = secret.encode()
    # The first and the last character of base64 depend on what stands beside it.
    shifted = [base64.b64encode(b"." * shift + raw)[shift + 1 : -4] for shift in range(3)]
    return list({raw, quote(secret).encode(), raw.hex().encode(), *shifted})


def leaks(directory: Path, secret: str) -> list[str]:
    """The files under `directory` in which it stands, with the form."""
    found = []
    for path in sorted(it for it in directory.rglob("*") if it.is_file()):
        contents = contents_of(path)
        found += [f"{path.relative_to(directory)}: {form!r}" for form in forms(secret) if form in contents]
    return found


def contents_of(path: Path) -> bytes:
    """What the file holds: nothing, where nats-server has just replaced it by another."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
