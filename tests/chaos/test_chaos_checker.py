"""The checker bites: a history in which all is well has no violation, and each thing that may go wrong has one."""

import base64
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.checker import check
from tests.chaos.clients import result_digest
from tests.chaos.evidence import Evidence, Row, Told
from tests.chaos.leaks import contents_of, leaks
from tests.chaos.plan import PROBES, make_plan

RESULT = {"op": 1, "done": ["t0"]}
STEP = {"kind": "step", "key": "work-0", "result": "t0"}


def told(sequence: int, tail: str, attempt: int = 1, **data: Any) -> Told:
    event = {"attempt": attempt, "workflow": "chaos_steps", "data": data}
    claim = 2 if tail == "trace" else 0
    return Told(sequence, tail, f"e1:{tail}:{claim}:1", event)


def line(did: str, run: str = "r1", **more: Any) -> dict[str, Any]:
    return {"id": "e1", "run": run, "attempt": 1, "did": did, "resumed": run != "r1", **more}


@pytest.fixture
def sound() -> Evidence:
    """One execution with one step, asked for under a key, and one tick."""
    digest = result_digest(RESULT)
    tick = {"outcome": "fired", "execution_id": "t1", "scheduled_for": "2026-11-23T09:00:00Z"}
    return Evidence(
        clients=[
            {"op": 1, "did": "ask", "key": "op-1", "kind": "steps"},
            {"op": 1, "did": "submit", "key": "op-1", "status": 202, "id": "e1", "state": "Queued"},
            {"op": 1, "did": "read", "status": 200, "id": "e1", "state": "Success", "result": digest},
        ],
        code=[line("start"), line("effect", step=0, token="t0"), line("stored", step=0, token="t0")],
        events={
            "e1": [
                told(1, "queued", 0),
                told(2, "state.started"),
                told(3, "trace", entries=[STEP]),
                told(4, "state.succeeded", result=RESULT),
            ],
            "t1": [told(6, "queued", 0), told(7, "state.started"), told(8, "state.succeeded", result={})],
        },
        rows={
            "e1": Row("Success", 1, True, "http", {"op": 1}, RESULT),
            "t1": Row("Success", 1, True, "schedule", {}, {}),
        },
        traces={"e1": [(3, 0, STEP)]},
        ticks=[{"organization": "demo", "workflow": "chaos_cron", "subject": "chaos_cron/09:00", "data": tick}],
        tick_rows=[("chaos_cron", 1, "t1")],
        queue={"REQUESTS": 0, "DELAYED": 0},
    )


def test_a_sound_history_has_no_violation(sound: Evidence) -> None:
    assert check(sound) == []


def second_end(it: Evidence) -> None:
    it.events["e1"].append(told(5, "state.failed"))


def late_trace(it: Evidence) -> None:
    it.events["e1"].append(told(5, "trace", entries=[]))


def lost(it: Evidence) -> None:
    del it.rows["e1"], it.events["e1"]


def unfinished(it: Evidence) -> None:
    it.rows["e1"] = Row("Running", 1, True, "http", {"op": 1}, None)


def other_result_seen(it: Evidence) -> None:
    it.clients[2]["result"] = "another"


def illegal_step(it: Evidence) -> None:
    it.events["e1"].insert(2, told(2, "state.approved"))


def attempt_beyond_the_policy(it: Evidence) -> None:
    it.events["e1"][1] = told(2, "state.started", 2)


def written_by_a_stale_owner(it: Evidence) -> None:
    it.events["e1"].insert(2, told(3, "state.started"))


def entry_twice(it: Evidence) -> None:
    it.traces["e1"].append((9, 0, STEP))


def entry_missing(it: Evidence) -> None:
    it.traces["e1"] = []


def two_for_one_key(it: Evidence) -> None:
    it.rows["e2"] = it.rows["e1"]
    it.events["e2"] = it.events["e1"]
    it.traces["e2"] = it.traces["e1"]


def unasked(it: Evidence) -> None:
    it.clients[0]["op"] = 2


def ran_without_record(it: Evidence) -> None:
    it.code.append({**line("start"), "id": "e9"})


def called_without_claim(it: Evidence) -> None:
    it.code.append(line("start", "r2"))


def stored_step_again(it: Evidence) -> None:
    it.code += [line("start", "r2"), line("effect", "r2", step=0, token="t9")]
    it.events["e1"][3:] = [told(4, "state.started"), told(5, "state.succeeded", result=RESULT)]


def other_step_result(it: Evidence) -> None:
    it.rows["e1"] = Row("Success", 1, True, "http", {"op": 1}, {"done": ["t9"]})


def cancelled_goes_on(it: Evidence) -> None:
    it.clients.append({"op": 1, "did": "cancel", "status": 200, "id": "e1", "state": "Cancelled"})


def tick_missed(it: Evidence) -> None:
    later = {"outcome": "skipped", "reason": "x", "scheduled_for": "2026-11-23T09:02:00Z"}
    it.ticks.append({"organization": "demo", "workflow": "chaos_cron", "subject": "chaos_cron/09:02", "data": later})


def tick_twice(it: Evidence) -> None:
    it.ticks.append(copy.deepcopy(it.ticks[0]))


def run_without_tick(it: Evidence) -> None:
    it.ticks.clear()


def left_on_the_queue(it: Evidence) -> None:
    it.queue["REQUESTS"] = 1


def wrong_answer(it: Evidence) -> None:
    it.clients[1]["status"] = 500


def seen_by_a_stranger(it: Evidence) -> None:
    it.clients.append({"op": 1, "did": "intrude", "id": "e1", "status": 200})


def secret_in_a_file(it: Evidence) -> None:
    it.leaks = ["records.db: b'canary'"]


def secret_in_an_answer(it: Evidence) -> None:
    it.clients.append({"did": "leak", "url": "/executions/e1"})


def sick_afterwards(it: Evidence) -> None:
    it.clients.append({"op": PROBES, "did": "submit", "kind": "sync", "status": 503})


@pytest.mark.parametrize(
    ("spoil", "invariant"),
    [
        (second_end, "I2"),
        (late_trace, "I2"),
        (lost, "I1"),
        (unfinished, "I1"),
        (unfinished, "I13"),
        (other_result_seen, "I3 I10"),
        (illegal_step, "I4"),
        (attempt_beyond_the_policy, "I4"),
        (written_by_a_stale_owner, "I5"),
        (entry_twice, "I6"),
        (entry_missing, "I6"),
        (two_for_one_key, "I7"),
        (unasked, "I7"),
        (ran_without_record, "I7"),
        (called_without_claim, "I8"),
        (stored_step_again, "steps"),
        (other_step_result, "steps"),
        (cancelled_goes_on, "cancelled"),
        (tick_missed, "I9"),
        (tick_twice, "I9"),
        (run_without_tick, "I9"),
        (seen_by_a_stranger, "I11"),
        (secret_in_a_file, "I12"),
        (secret_in_an_answer, "I12"),
        (left_on_the_queue, "I13"),
        (sick_afterwards, "I13 probes"),
        (wrong_answer, "answers"),
    ],
)
def test_what_goes_wrong_is_found(sound: Evidence, spoil: Callable[[Evidence], None], invariant: str) -> None:
    spoil(sound)
    assert any(violation.startswith(f"{invariant}:") for violation in check(sound)), check(sound)


def test_what_had_lost_its_claim_before_it_began_may_run_a_step_again_and_store_nothing(sound: Evidence) -> None:
    """Its executor stood still between claim and call. No claim came after the step, so it is no run that must know."""
    sound.code += [line("start", "r2"), line("effect", "r2", step=0, token="t9")]
    trace = Told(4, "trace", "e1:trace:3:1", told(4, "trace", entries=[STEP]).event)
    ends = told(5, "state.succeeded", result=RESULT)
    sound.events["e1"] = [told(1, "queued", 0), told(2, "state.started"), told(3, "state.started"), trace, ends]
    sound.traces["e1"] = [(4, 0, STEP)]
    assert check(sound) == []


def test_a_seed_repeats_its_plan_and_another_does_not() -> None:
    assert make_plan(7, 500, 60, 30.0) == make_plan(7, 500, 60, 30.0)
    assert make_plan(7, 500, 60, 30.0) != make_plan(8, 500, 60, 30.0)


def test_a_plan_has_every_fault_on_every_target_before_any_comes_twice() -> None:
    faults = make_plan(1, 10, 44, 30.0).faults
    assert len({(fault.kind, fault.target) for fault in faults}) == 42


@pytest.mark.parametrize("before", ["", "B", "Be", "Bearer "])
def test_a_secret_is_found_however_it_is_written(tmp_path: Path, before: str) -> None:
    secret = "canary0123456789abcdef"
    written = f"{before}{secret}".encode()
    for name, contents in {"raw": written, "base64": base64.b64encode(written), "hex": written.hex().encode()}.items():
        (tmp_path / name).write_bytes(b"\0\xff" + contents + b"\n")
    (tmp_path / "other").write_bytes(b"canary0123456789abcde")
    (tmp_path / "empty").touch()
    assert {found.partition(":")[0] for found in leaks(tmp_path, secret)} == {"raw", "base64", "hex"}


def test_a_file_that_the_broker_removes_while_it_is_looked_for_secrets_holds_none(tmp_path: Path) -> None:
    assert contents_of(tmp_path / "3.blk") == b""
