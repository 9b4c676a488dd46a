"""The other half of `test_model_state_line`: plans long enough for several faults on one execution."""

from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.model_world import plans, play

#: An event sent to an execution takes the place of the wake-up of its approval, which is put up only then: it used to
#: wait for ever, as the executor that was woken took the approval for decided.
AN_EVENT_BEFORE_THE_APPROVAL = bytes.fromhex(
    "03000000001f00001b0900010f00000c011800000100000000000000000000010000000000000000"
)


@plans(2)
@given(st.binary(min_size=40, max_size=160))
@example(AN_EVENT_BEFORE_THE_APPROVAL)
def test_whatever_happens_for_long_each_execution_ends_once_and_none_is_forgotten(plan: bytes) -> None:
    play(plan)
