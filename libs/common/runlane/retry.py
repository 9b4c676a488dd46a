"""When a failed attempt is tried again, and after how long. Authors write `RetryPolicy`; executors ask the rest."""

import math
from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct

from runlane.contracts.directory import RetrySettings

MAX_ATTEMPTS = 100
MAX_DELAY_SECONDS = 86_400


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """What `@workflow(retry_policy=…)` takes; a dict of the same names does too.

    `max_attempts` counts the first one. Before attempt n+1 passes `initial_delay_seconds * backoff_multiplier**(n-1)`,
    at most `max_delay_seconds`, give or take the fraction `jitter`. `non_retryable` holds error classes or their names;
    a class stands for its subclasses too. Errors whose class says `retryable = False` are never tried again.
    """

    max_attempts: int = 3
    backoff_multiplier: float = 2.0
    initial_delay_seconds: float = 1.0
    max_delay_seconds: float = 300.0
    jitter: float = 0.1
    non_retryable: Sequence[str | type[BaseException]] = ()

    def settings(self) -> RetrySettings:
        """The policy as it is stored; raises `ValueError` saying which value cannot be used and why."""
        given = {name: getattr(self, name) for name in self.__struct_fields__}
        given["non_retryable"] = _names(self.non_retryable)
        try:
            settings = msgspec.convert(given, RetrySettings)
        except msgspec.ValidationError as problem:
            raise ValueError(str(problem).replace("`$.", "`")) from None
        _check(settings)
        return settings


def delay_seconds(settings: RetrySettings, failed_attempt: int, random: Callable[[], float]) -> float:
    """Seconds to wait after attempt `failed_attempt` (from 1) failed. `random` gives numbers in [0, 1)."""
    try:
        backoff = settings.initial_delay_seconds * settings.backoff_multiplier ** (failed_attempt - 1)
    except OverflowError:
        backoff = math.inf
    spread = settings.jitter * (2 * random() - 1)
    return min(backoff, settings.max_delay_seconds) * (1 + spread)


def may_retry(settings: RetrySettings, error_code: str, retryable: bool, failed_attempt: int) -> bool:
    """Whether another attempt may follow; `error_code` is a code or class name: ask for each class of the error."""
    return retryable and failed_attempt < settings.max_attempts and error_code not in settings.non_retryable


def _names(errors: object) -> list[str]:
    if isinstance(errors, str) or not isinstance(errors, Sequence):
        raise ValueError("`non_retryable` takes a list of error classes or their names")
    return [_name(error) for error in errors]


def _name(error: object) -> str:
    if isinstance(error, type) and issubclass(error, BaseException):
        return error.__name__
    if isinstance(error, str) and error:
        return error
    raise ValueError(f"`non_retryable` takes error classes or their names, not {error!r}")


def _check(settings: RetrySettings) -> None:
    if not 1 <= settings.max_attempts <= MAX_ATTEMPTS:
        raise ValueError(f"`max_attempts` must be from 1 to {MAX_ATTEMPTS}, not {settings.max_attempts}")
    if not (settings.backoff_multiplier >= 1 and math.isfinite(settings.backoff_multiplier)):
        raise ValueError(f"`backoff_multiplier` must be a number from 1 up, not {settings.backoff_multiplier}")
    if not 0 <= settings.max_delay_seconds <= MAX_DELAY_SECONDS:
        raise ValueError(f"`max_delay_seconds` must be from 0 to {MAX_DELAY_SECONDS}, not {settings.max_delay_seconds}")
    if not 0 <= settings.initial_delay_seconds <= settings.max_delay_seconds:
        raise ValueError(
            f"`initial_delay_seconds` must be from 0 to `max_delay_seconds` ({settings.max_delay_seconds:g}), "
            f"not {settings.initial_delay_seconds}"
        )
    if not 0 <= settings.jitter <= 1:
        raise ValueError(f"`jitter` must be a fraction from 0 to 1, not {settings.jitter}")
