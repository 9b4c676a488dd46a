"""When attempts follow, and after how long."""

import pytest

from runlane.contracts.directory import RetrySettings
from runlane.errors import IntegrationError
from runlane.retry import MAX_ATTEMPTS, RetryPolicy, delay_seconds, may_retry


def middle() -> float:
    return 0.5


def test_delays_grow_by_the_multiplier_up_to_the_longest() -> None:
    settings = RetrySettings(max_attempts=9, initial_delay_seconds=2, backoff_multiplier=3, max_delay_seconds=50)
    assert [delay_seconds(settings, failed, middle) for failed in (1, 2, 3, 4, 5)] == [2, 6, 18, 50, 50]


def test_a_backoff_beyond_any_float_is_the_longest_delay() -> None:
    assert delay_seconds(RetrySettings(max_delay_seconds=60), 5_000, middle) == 60


@pytest.mark.parametrize(("random", "expected"), [(0.0, 8.0), (0.5, 10.0), (0.999999, 12.0)])
def test_jitter_spreads_a_delay_both_ways(random: float, expected: float) -> None:
    settings = RetrySettings(initial_delay_seconds=10, jitter=0.2)
    assert delay_seconds(settings, 1, lambda: random) == pytest.approx(expected, rel=1e-4)


def test_a_jitter_of_one_never_gives_a_negative_delay() -> None:
    assert delay_seconds(RetrySettings(jitter=1), 1, lambda: 0.0) == 0


def test_attempts_end_at_the_maximum() -> None:
    settings = RetrySettings(max_attempts=3)
    assert [may_retry(settings, "ValueError", True, failed) for failed in (1, 2, 3, 4)] == [True, True, False, False]


def test_nothing_is_tried_again_without_a_policy() -> None:
    assert not may_retry(RetrySettings(), "ValueError", True, 1)


def test_errors_that_are_not_retryable_or_listed_end_the_execution() -> None:
    settings = RetryPolicy(non_retryable=[KeyError, "IntegrationError"]).settings()
    assert may_retry(settings, "ValueError", True, 1)
    assert not may_retry(settings, "ValueError", False, 1)
    assert not may_retry(settings, "KeyError", True, 1)
    assert not may_retry(settings, "IntegrationError", True, 1)


def test_a_policy_names_the_classes_it_was_given() -> None:
    settings = RetryPolicy(max_attempts=5, non_retryable=(IntegrationError, "Custom")).settings()
    assert settings == RetrySettings(max_attempts=5, non_retryable=["IntegrationError", "Custom"])


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"max_attempts": 0}, "max_attempts"),
        ({"max_attempts": MAX_ATTEMPTS + 1}, "max_attempts"),
        ({"max_attempts": "3"}, "max_attempts"),
        ({"backoff_multiplier": 0.5}, "backoff_multiplier"),
        ({"backoff_multiplier": float("nan")}, "backoff_multiplier"),
        ({"initial_delay_seconds": -1}, "initial_delay_seconds"),
        ({"initial_delay_seconds": 400}, "initial_delay_seconds"),
        ({"max_delay_seconds": float("inf")}, "max_delay_seconds"),
        ({"jitter": 1.5}, "jitter"),
        ({"non_retryable": "ValueError"}, "non_retryable"),
        ({"non_retryable": [int]}, "non_retryable"),
        ({"non_retryable": [""]}, "non_retryable"),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_name(values: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        RetryPolicy(**values).settings()  # type: ignore[arg-type]
