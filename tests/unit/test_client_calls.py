"""What the Python client sends again, and when; how it reads refusals. Without a transport."""

from datetime import UTC, datetime

import pytest

from runlane.client import AsyncClient, CallRefused, Client
from runlane.client.calls import Answer, Call, checked, pause_before
from runlane.client.operations import flattened

GET = Call(method="GET", path="/executions")
ONCE = Call(method="POST", path="/keys", repeatable=False)


def answer(status: int, content: bytes = b"{}", **headers: str) -> Answer:
    return Answer(status, headers, content)


@pytest.mark.parametrize(
    ("call", "answered", "again"),
    [
        (GET, None, True),
        (GET, answer(503), True),
        (GET, answer(429), True),
        (GET, answer(502), True),
        (GET, answer(200), False),
        (GET, answer(404), False),
        (GET, answer(500), False),
        (ONCE, None, False),
        (ONCE, answer(502), False),
        (ONCE, answer(503), True),
        (ONCE, answer(429), True),
    ],
)
def test_only_what_does_no_harm_twice_is_sent_again(call: Call, answered: Answer | None, again: bool) -> None:
    assert (pause_before(call, 1, answered) is not None) is again


def test_it_gives_up_after_some_attempts_and_waits_longer_before_each() -> None:
    pauses = [pause_before(GET, attempt, None) for attempt in range(1, 9)]
    assert pauses[-1] is None
    known = [pause for pause in pauses if pause is not None]
    assert len(known) == 7
    assert known[0] <= 0.1
    assert 2.5 <= known[-1] <= 5.0


def test_it_waits_as_long_as_the_gateway_asks_for() -> None:
    pause = pause_before(GET, 1, answer(429, **{"retry-after": "7"}))
    assert pause == 7.0


def test_a_refusal_says_what_the_gateway_said() -> None:
    told = b'{"error": "ValidationError", "message": "email is missing", "details": {"field": "email"}}'
    with pytest.raises(CallRefused) as refused:
        checked(answer(400, told, **{"retry-after": "1"}))
    assert (refused.value.status, refused.value.code, refused.value.details) == (
        400,
        "ValidationError",
        {"field": "email"},
    )
    assert refused.value.retry_after == 1.0


def test_a_refusal_that_is_no_json_is_one_too() -> None:
    with pytest.raises(CallRefused, match="HTTP 502"):
        checked(answer(502, b"<html>"))


def test_queries_repeat_lists_and_leave_out_what_is_none() -> None:
    noon = datetime(2026, 1, 2, 12, tzinfo=UTC)
    given = {"status": ["Failed", "Cancelled"], "workflow": None, "after": noon, "live": True}
    assert flattened(given) == (
        ("status", "Failed"),
        ("status", "Cancelled"),
        ("after", "2026-01-02T12:00:00+00:00"),
        ("live", "true"),
    )
    with pytest.raises(ValueError, match="with its zone"):
        flattened({"after": datetime(2026, 1, 2)})  # noqa: DTZ001


def test_a_client_wants_a_gateway_and_a_key_and_never_shows_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNLANE_URL", raising=False)
    monkeypatch.delenv("RUNLANE_API_KEY", raising=False)
    with pytest.raises(ValueError, match="RUNLANE_URL"):
        Client(key="rl_x_y")
    with pytest.raises(ValueError, match="RUNLANE_API_KEY"):
        Client("http://127.0.0.1:1")
    monkeypatch.setenv("RUNLANE_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("RUNLANE_API_KEY", "rl_x_secret")
    with Client() as client:
        assert "secret" not in repr(client)
    assert "secret" not in repr(AsyncClient())


def test_both_clients_can_do_the_same() -> None:
    def doors(client: type) -> set[str]:
        return {name for name in vars(client) if not name.startswith("_")} - {"close"}

    assert doors(Client) == doors(AsyncClient)
