"""What `make check` makes of what pip-audit says."""

from typing import Any

import pytest

from scripts.audit_dependencies import judge

SAFE = {"name": "a", "version": "1", "vulns": []}
VULNERABLE = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1"}, {"id": "PYSEC-2"}]}
UNKNOWN = {"name": "c", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("dependencies", "code", "said"),
    [
        ([SAFE], 0, "1 dependencies looked up, 0 vulnerable"),
        ([SAFE, VULNERABLE], 1, "b 2 is vulnerable: PYSEC-1, PYSEC-2"),
        ([SAFE, UNKNOWN], 0, "NOT looked up: c"),
        ([UNKNOWN], 0, "SKIPPED"),
        ([], 0, "SKIPPED"),
    ],
)
def test_only_a_known_vulnerability_fails_and_what_was_not_looked_up_is_said(
    dependencies: list[dict[str, Any]], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert judge(dependencies) == code
    assert said in capsys.readouterr().out
