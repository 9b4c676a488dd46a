"""What `bench.recovery` calls ok and short."""

import pytest

from bench.rows import Row


def row(values: list[float], goal: float | None = 1.0, **more: object) -> Row:
    return Row(part="gateway", what="killed", values=values, goal=goal, **more)  # type: ignore[arg-type]


def test_quantiles_are_values_that_were_measured() -> None:
    hundred = row([float(number) for number in range(100, 0, -1)])
    assert [hundred.quantile(share) for share in (0.5, 0.95, 1.0)] == [50, 95, 100]
    assert row([7.0]).quantile(0.5) == row([7.0]).quantile(1.0) == 7


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [
        (row([0.2, 0.9]), "ok"),
        (row([0.2, 1.0]), "short"),
        (row([0.2] * 19 + [5.0]), "short"),
        (row([0.2] * 19 + [5.0], judged="p95"), "ok"),
        (row([0.2] * 18 + [5.0] * 2, judged="p95"), "short"),
        (row([float("inf")]), "short"),
        (row([5.0], goal=None), ""),
    ],
)
def test_a_row_is_held_to_its_goal_by_what_is_judged(measured: Row, verdict: str) -> None:
    assert measured.verdict == verdict
    assert measured.document()["verdict"] == verdict


def test_times_are_shown_in_the_rows_unit_and_told_in_seconds() -> None:
    measured = row([0.03], goal=0.25, unit="ms", judged="p95")
    assert "p95 < 250 ms" in measured.line()
    assert "30.00" in measured.line()
    assert (measured.document()["unit"], measured.document()["p95"]) == ("s", 0.03)
