"""The other half of `test_model_state_line`: plans long enough for several faults on one execution."""

from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.model_world import plans, play

#: An event sent to an execution takes the place of the wake-up of its approval, which is put up only then: it used to
#: wait for ever, as the executor that was woken took the approval for decided.
AN_EVENT_BEFORE_THE_APPROVAL = bytes.fromhex(
    "03000000001f00001b0900010f00000c011800000100000000000000000000010000000000000000"
)

#: An executor looks at an approval in the moment in which it is given: what it put back took the place of the wake-up.
A_LOOK_BEFORE_THE_DECISION = bytes.fromhex(
    "7f28030000000000000018001a00000100141b091f00000000000118000f0000007100000c0100000000"
)

#: Its process dies three times: an end as a crash loop, whose dead letter is no message that was left over.
A_CRASH_LOOP = bytes.fromhex("00110001af00000000000016001a000000000000000000770008000000000000000015008f000000")


@plans(2)
@given(st.binary(min_size=40, max_size=160))
@example(AN_EVENT_BEFORE_THE_APPROVAL)
@example(A_CRASH_LOOP)
@example(A_LOOK_BEFORE_THE_DECISION)
def test_whatever_happens_for_long_each_execution_ends_once_and_none_is_forgotten(plan: bytes) -> None:
    play(plan)
