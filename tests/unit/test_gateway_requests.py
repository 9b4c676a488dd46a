"""What the gateway makes of headers, queries, bodies and exceptions, without a server."""

import asyncio
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from runlane import errors
from runlane.clock import ManualClock
from runlane.contracts.directory import ApiKey
from runlane.contracts.events import Failure
from runlane.directory import Directory, api_key_key
from runlane.errors import BadRequest, PayloadTooLarge, RunlaneError, Unauthorized, ValidationError
from runlane.sealing import Sealer
from runlane_gateway import bodies
from runlane_gateway.answers import failure_answer, refusal
from runlane_gateway.auth import Authenticator
from runlane_gateway.bodies import read_body
from runlane_gateway.preferences import read_preference, read_run_at

NOW = datetime(2025, 10, 10, 14, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "wait", "applied"),
    [
        ("respond-async", 0.0, b"respond-async"),
        ("Respond-Async", 0.0, b"respond-async"),
        ("wait=5", 5.0, b"wait=5"),
        ('wait="5"', 5.0, b"wait=5"),
        ("wait = 5", 5.0, b"wait=5"),
        ("wait=300", 30.0, b"wait=30"),
        ("wait=0", 0.0, b"wait=0"),
        ("respond-async, wait=5", 5.0, b"respond-async, wait=5"),
        ("return=minimal, wait=5; x=y", 5.0, b"wait=5"),
        ("wait=5, wait=7", 5.0, b"wait=5"),
        ("wait=-1", None, None),
        ("wait=1e3", None, None),
        ("wait=²", None, None),
        ("wait=99999999999", None, None),
        ("return=minimal", None, None),
        (",;==,", None, None),
    ],
)
def test_prefer_is_read_as_rfc_7240_says(header: str, wait: float | None, applied: bytes | None) -> None:
    preference = read_preference({b"prefer": header.encode("latin-1")}, 30.0)
    assert (preference.wait, preference.applied) == (wait, applied)


def test_a_preference_of_many_spaces_holds_up_nobody() -> None:
    header = b"wait=" + b" " * 60_000 + b'"""'
    code = f"from runlane_gateway.preferences import read_preference; read_preference({{b'prefer': {header!r}}}, 1)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_delay_is_counted_from_now() -> None:
    assert read_run_at(b"", NOW) is None
    assert read_run_at(b"other=1", NOW) is None
    assert read_run_at(b"delaySeconds=1.5", NOW) == NOW + timedelta(seconds=1.5)
    assert read_run_at(b"runAt=2025-10-11T00:00:00%2B02:00", NOW) == datetime(2025, 10, 10, 22, tzinfo=UTC)
    assert read_run_at(b"runAt=2025-10-11T00:00:00+02:00", NOW) == datetime(2025, 10, 10, 22, tzinfo=UTC)
    assert read_run_at(b"runAt=2020-01-01T00:00:00Z", NOW) == NOW


@pytest.mark.parametrize("text", ["inf", "-inf", "nan", "1e400", "-0.1", "x", "", "31622401"])
def test_a_delay_that_is_no_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(ValidationError) as refused:
        read_run_at(f"delaySeconds={text}".encode(), NOW)
    assert refused.value.details == {"field": "delaySeconds"}


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00%2B23:59", "2025-13-01T00:00:00Z", "1", "2025-10-11", "9999-12-31T23:59:59Z"]
)
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValidationError) as refused:
        read_run_at(f"runAt={text}".encode(), NOW)
    assert refused.value.details == {"field": "runAt"}


async def arriving(*chunks: bytes, disconnect: bool = False, limit: int = 10) -> bytes:
    messages: Iterator[dict[str, object]] = iter(
        [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
        + [{"type": "http.disconnect"} if disconnect else {"type": "http.request", "body": b"", "more_body": False}]
    )

    async def receive() -> dict[str, object]:
        return next(messages)

    return await read_body({}, receive, limit)


async def test_a_body_in_pieces_is_put_together() -> None:
    assert await arriving(b"ab", b"", b"cd") == b"abcd"
    assert await arriving(b"x" * 5, b"x" * 5) == b"x" * 10


async def test_a_body_is_refused_at_the_first_byte_too_many() -> None:
    with pytest.raises(PayloadTooLarge):
        await arriving(b"x" * 5, b"x" * 6)
    with pytest.raises(PayloadTooLarge):
        await arriving(b"x" * 11)
    with pytest.raises(PayloadTooLarge):
        await read_body({b"content-length": b"11"}, None, 10)  # type: ignore[arg-type]  # nothing is received


async def test_a_body_that_breaks_off_or_never_comes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadRequest):
        await arriving(b"x", disconnect=True)
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.01)

    async def never() -> dict[str, object]:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(BadRequest):
        await read_body({}, never, 10)


def all_errors(type_: type[RunlaneError] = RunlaneError) -> Iterator[type[RunlaneError]]:
    for child in type_.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from all_errors(child)


def made(type_: type[RunlaneError]) -> RunlaneError:
    return type_("msgraph") if type_ is errors.IntegrationError else type_()


STATUS = {
    "BadRequest": 400,
    "ValidationError": 400,
    "Unauthorized": 401,
    "Forbidden": 403,
    "PermissionError": 403,
    "NotFound": 404,
    "WorkflowNotFound": 404,
    "MethodNotAllowed": 405,
    "NotAcceptable": 406,
    "Conflict": 409,
    "PreconditionFailed": 412,
    "PayloadTooLarge": 413,
    "MessageTooLarge": 413,
    "UnsupportedMediaType": 415,
    "UnprocessableRequest": 422,
    "TooManyRequests": 429,
    "RequestTimeout": 408,
    "HeadersTooLarge": 431,
    "BusUnavailable": 503,
    "ChoicesUnavailable": 503,
    "StorageFull": 503,
    "StoreUnavailable": 503,
    "SecretsUnavailable": 503,
    "StateConflict": 503,
    "InfrastructureError": 503,
}


@pytest.mark.parametrize("type_", sorted(set(all_errors()), key=lambda type_: type_.__name__))
def test_every_error_has_its_status(type_: type[RunlaneError]) -> None:
    answer = refusal(made(type_))
    assert answer.status_code == STATUS.get(type_.__name__, 500)
    body = msgspec.json.decode(answer.body)
    assert body["status"] == "Failed"
    if answer.status_code == 500:
        assert (body["error"], body["details"]) == ("InternalServerError", {})
    headers = dict(answer.raw_headers)
    assert (b"retry-after" in headers) == (answer.status_code in (429, 503))
    assert (b"www-authenticate" in headers) == (answer.status_code == 401)


def test_an_error_of_no_kind_of_ours_says_nothing() -> None:
    answer = refusal(RuntimeError("hunter2"))
    assert (answer.status_code, b"hunter2" in bytes(answer.body)) == (500, False)


def test_what_was_cancelled_answers_so() -> None:
    answer = failure_answer("x", Failure("Cancelled", "changed my mind"))
    assert answer.status_code == 409
    assert msgspec.json.decode(answer.body) == {
        "executionId": "x",
        "status": "Cancelled",
        "error": "Cancelled",
        "message": "changed my mind",
        "details": {},
    }


def put_key(directory: Directory, revision: int, **known: object) -> None:
    digest = hashlib.sha256(b"a_secret-with_parts").hexdigest()
    key = ApiKey(id="k1", secret_sha256=digest, name="n", permissions=["canX"], **known)  # type: ignore[arg-type]
    directory.apply(api_key_key("k1"), msgspec.json.encode(key), revision)


async def test_a_key_is_accepted_until_it_expires_changes_or_goes() -> None:
    directory, clock = Directory(), ManualClock(NOW)
    authenticator = Authenticator(directory, clock)
    header = b"Bearer rl_k1_a_secret-with_parts"
    with pytest.raises(Unauthorized):
        await authenticator.authenticate(header)
    put_key(directory, 1, org="acme", expires_at=NOW + timedelta(hours=1))
    principal = await authenticator.authenticate(header)
    assert (principal.orgs, principal.may("canX"), principal.may("canY")) == ({"acme"}, True, False)
    clock.set(NOW + timedelta(hours=1))
    with pytest.raises(Unauthorized):
        await authenticator.authenticate(header)
    put_key(directory, 2, org="globex")
    assert (await authenticator.authenticate(header)).orgs == {"globex"}
    directory.apply(api_key_key("k1"), None, 3)
    with pytest.raises(Unauthorized):
        await authenticator.authenticate(header)


@pytest.mark.parametrize(
    "header", [None, b"", b"Bearer rl_k1_wrong", b"bearer rl_k1", b"Bearer \xff\xfe", b"Token rl_k1_x"]
)
async def test_anything_but_the_right_key_is_refused(header: bytes | None) -> None:
    directory = Directory()
    put_key(directory, 1)
    with pytest.raises(Unauthorized):
        await Authenticator(directory, ManualClock(NOW)).authenticate(header)


def test_a_digest_knows_its_data_its_context_and_retired_keys() -> None:
    old, new = Sealer(b"o" * 32), Sealer(b"n" * 32, b"o" * 32)
    digest = old.digest(b"data", "context")
    assert digest == old.digest(b"data", "context")
    assert new.is_digest(digest, b"data", "context")
    assert not new.is_digest(digest, b"other", "context")
    assert not new.is_digest(digest, b"data", "other")
    assert not Sealer(b"n" * 32).is_digest(digest, b"data", "context")
    assert digest != hashlib.sha256(b"data").hexdigest()


def test_an_authors_own_kind_of_validation_error_is_answered_like_one() -> None:
    answer = failure_answer("x", Failure("Duplicate", "there is one", {"field": "email"}, kind="ValidationError"))
    assert answer.status_code == 400
    assert msgspec.json.decode(answer.body)["error"] == "Duplicate"
