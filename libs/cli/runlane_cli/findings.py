"""What `runlane doctor` found: a sentence for each thing it looked at, and how to mend what is not well."""

from typing import Literal

from msgspec import Struct


class Finding(Struct, frozen=True, kw_only=True):
    """`broken` is what keeps Runlane from doing what it promises, `warning` what will, or may be meant so."""

    check: str
    status: Literal["ok", "warning", "broken"]
    found: str
    mend: str = ""


def fine(check: str, found: str) -> Finding:
    return Finding(check=check, status="ok", found=found)


def warning(check: str, found: str, mend: str) -> Finding:
    return Finding(check=check, status="warning", found=found, mend=mend)


def broken(check: str, found: str, mend: str) -> Finding:
    return Finding(check=check, status="broken", found=found, mend=mend)
