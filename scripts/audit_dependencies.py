"""Looks every installed dependency up in the database of known vulnerabilities (pip-audit). Run by `make check`.

Fails when one is known to be vulnerable. Where the database cannot be reached it says that nothing was looked up, and
does not fail: a check must be possible without a network.
"""

import json
import subprocess
import sys
from typing import Any

_PATIENCE_SECONDS = 120
_COMMAND = (sys.executable, "-m", "pip_audit", "--local", "--format=json", "--progress-spinner=off", "--timeout=5")


def main() -> int:
    """The exit code."""
    try:
        done = subprocess.run(_COMMAND, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False)
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return _not_done(f"it took longer than {_PATIENCE_SECONDS} s")
    except (ValueError, KeyError):
        return _not_done((done.stderr.strip().splitlines() or ["it said nothing"])[-1])
    return judge(found)


def judge(dependencies: list[dict[str, Any]]) -> int:
    """The exit code for what pip-audit says of each dependency."""
    looked_up = [one for one in dependencies if "vulns" in one]
    missing = sorted(one["name"] for one in dependencies if "vulns" not in one and one["name"] != "runlane")
    if not looked_up:
        return _not_done("it knows none of them")
    if missing:
        print(f"pip-audit: NOT looked up: {', '.join(missing)}")
    vulnerable = [one for one in looked_up if one["vulns"]]
    for one in vulnerable:
        known = ", ".join(vulnerability["id"] for vulnerability in one["vulns"])
        print(f"pip-audit: {one['name']} {one['version']} is vulnerable: {known}")
    print(f"pip-audit: {len(looked_up)} dependencies looked up, {len(vulnerable)} vulnerable")
    return 1 if vulnerable else 0


def _not_done(why: str) -> int:
    print(f"pip-audit: SKIPPED, no dependency was looked up: the database cannot be reached ({why})")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
