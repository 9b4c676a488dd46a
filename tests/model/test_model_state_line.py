"""Real gateways and executors over a broker in memory: any order, any loss, a crash between any two effects.

What is checked is in `Oracle.check` and `Oracle.check_ended`. `RUNLANE_MODEL_EXAMPLES=100000` searches further.
"""

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.support.model_world import World, plans, play


@plans(2)
@given(st.binary(min_size=4, max_size=120))
def test_whatever_happens_each_execution_ends_once_and_none_is_forgotten(plan: bytes) -> None:
    play(plan)


def _without_expectations(world: World) -> None:
    world.broker.checks_expectations = False


def test_without_the_compare_and_set_the_same_check_fails() -> None:
    """The negative control."""

    # Without making it smaller: that takes long, and nobody will read it.
    @settings(
        max_examples=2000,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(st.binary(min_size=60, max_size=200))
    def played(plan: bytes) -> None:
        play(plan, _without_expectations)

    with pytest.raises((AssertionError, ExceptionGroup)):
        played()
