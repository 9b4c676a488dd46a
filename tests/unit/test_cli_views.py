"""What commands show to people."""

from typing import Any

import pytest

from runlane_cli.approvals_view import print_inbox

_APPROVAL = {
    "requestedAt": "2026-11-23T09:00:00.000Z",
    "expiresAt": "2026-11-24T09:00:00.000Z",
    "decisions": [],
    "count": 1,
    "message": "Really?",
}


@pytest.mark.parametrize(
    ("who", "shown"),
    [
        ({"id": "key-1", "email": None, "name": "Ticket desk"}, "Ticket desk"),
        ({"id": "sub-1", "email": "ada@acme.example", "name": None}, "ada@acme.example"),
        ({"id": "key-1", "email": None, "name": None}, "key-1"),
    ],
)
def test_who_asked_is_named_as_on_the_console(
    who: dict[str, Any], shown: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The inbox said `key-1` where the console said `Ticket desk`."""
    monkeypatch.setenv("COLUMNS", "200")
    waiting = {"executionId": "e1", "workflowName": "offboard", "orgId": "acme", "requestedBy": who}
    print_inbox({"approvals": [{**waiting, "approval": _APPROVAL}], "next": None}, as_json=False)
    assert shown in capsys.readouterr().out
