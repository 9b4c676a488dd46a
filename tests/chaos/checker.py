"""Compares the history with streams and store (RELIABILITY invariants). Pure: evidence in, violations out."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from tests.chaos.clients import result_digest
from tests.chaos.evidence import STATUS, TERMINAL, Evidence, Told
from tests.chaos.plan import PROBES

Violations = Iterator[str]

ENDED = ("Success", "Failed", "Cancelled")
MOST_ATTEMPTS = {"chaos_flaky": 4}

#: State → what may follow it. `None` is the beginning.
NEXT: dict[str | None, tuple[str, ...]] = {
    None: ("started", "pending_approval", "cancelled", "failed", "approval_expired"),
    "started": ("started", "retrying", "suspended", "pending_approval", "succeeded", "failed", "cancelled"),
    "retrying": ("started", "cancelled", "failed"),
    "suspended": ("started", "cancelled", "failed"),
    "pending_approval": ("pending_approval", "approved", "declined", "rejected", "approval_expired", "cancelled"),
    "approved": ("started", "cancelled", "failed"),
    "declined": ("started", "cancelled", "failed"),
}


def check(evidence: Evidence) -> list[str]:
    """Every violation found, each beginning with its invariant."""
    return [f"{name}: {problem}" for name, invariant in INVARIANTS.items() for problem in invariant(evidence)]


def nothing_accepted_is_lost(it: Evidence) -> Violations:
    """I1, I13: what a client was told an id of has a row, and has ended."""
    for execution in {note["id"] for note in _answered(it)}:
        row = it.rows.get(execution)
        if row is None:
            yield f"{execution} was accepted and is not in the store"
        elif row.status not in ENDED:
            yield f"{execution} was accepted and is still {row.status}"


def one_terminal_state(it: Evidence) -> Violations:
    """I2: at most one, and nothing of the execution but events sent to it comes after it."""
    for execution, events in it.events.items():
        ends = [told for told in events if told.state in TERMINAL]
        if len(ends) > 1:
            yield f"{execution} ended {len(ends)} times: {[told.state for told in ends]}"
        elif ends:
            after = [told.tail for told in events if told.sequence > ends[0].sequence and told.tail != "queued"]
            if after:
                yield f"{execution} went on after its end: {after}"


def what_was_seen_holds(it: Evidence) -> Violations:
    """I3, I10: an end that a client has seen is the one in the store, with the same result."""
    for note in it.clients:
        if note.get("state") not in ENDED or note.get("did") not in ("submit", "read", "cancel", "retry"):
            continue
        row = it.rows.get(note.get("id", ""))
        if row is None or row.status != note["state"]:
            yield f"a client saw {note}, and the store says {row and row.status}"
        elif "result" in note and result_digest(row.result) != note["result"]:
            yield f"a client saw another result of {note['id']} than is stored"


def transitions_are_legal(it: Evidence) -> Violations:
    """I4: along the state line; attempts only grow, by one at most, and never beyond the policy."""
    for execution, events in it.events.items():
        states = [told for told in events if told.state is not None]
        for before, after in pairwise([None, *states]):
            last = None if before is None else before.state
            if after is not None and after.state not in NEXT.get(last, ()):
                yield f"{execution}: {after.state} after {last}"
        attempts = [told.attempt for told in states if told.state == "started"]
        if any(after - before not in (0, 1) for before, after in pairwise(attempts)):
            yield f"{execution}: attempts {attempts}"
        most = MOST_ATTEMPTS.get(events[0].event["workflow"], 1)
        if attempts and attempts[-1] > most:
            yield f"{execution}: attempt {attempts[-1]} of {most}"


def only_the_owner_writes(it: Evidence) -> Violations:
    """I5: every trace was written under the claim that was the last state at that moment."""
    for execution, events in it.events.items():
        last = 0
        for told in events:
            if told.state is not None:
                last = told.sequence
            elif told.tail == "trace" and int(told.id.split(":")[2]) != last:
                yield f"{execution}: {told.sequence} written under {told.id}, when {last} was the last state"


def the_store_is_the_stream(it: Evidence) -> Violations:
    """I6: rows, results and traces are what the stream tells, each once and in order."""
    for execution, events in it.events.items():
        row = it.rows.get(execution)
        if row is None:
            yield f"{execution} is in the stream and not in the store"
            continue
        states = [told for told in events if told.state is not None]
        wanted = STATUS[states[-1].state or ""] if states else "Queued"
        if row.status.replace("Scheduled", "Queued") != wanted:
            yield f"{execution} is {row.status} in the store and {wanted} in the stream"
        if row.status == "Success" and row.result != states[-1].data.get("result"):
            yield f"{execution} has another result in the store than in the stream"
        told = [(it.sequence, index, entry) for it in events for index, entry in enumerate(it.entries())]
        kept = it.traces.get(execution, [])
        if told != kept:
            yield f"{execution} has {len(told)} trace entries in the stream and {len(kept)} in the store"
    for execution in it.rows.keys() - it.events.keys():
        yield f"{execution} is in the store and not in the stream"


def nothing_comes_from_nowhere(it: Evidence) -> Violations:
    """I7: what ran has a record, and each record has its own request of a client, or a tick.

    A record may lack what was asked where nobody was told that it is accepted: the disk was full for the event but not
    for the request, and the gateway died before it could tell of it later.
    """
    for execution in {line["id"] for line in it.code} - it.rows.keys():
        yield f"{execution} ran and has no record"
    asked = {note["op"] for note in it.clients if note["did"] == "ask"}
    keyed = {note["op"] for note in it.clients if note["did"] == "ask" and note.get("key")}
    accepted = {note["id"] for note in _answered(it)}
    made: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
    for execution, row in it.rows.items():
        if not row.queued:
            if execution in accepted:
                yield f"{execution} has a record that does not say what was asked"
        elif row.trigger != "schedule":
            made[row.input["op"], row.trigger].append(execution)
    for (op, trigger), executions in made.items():
        if op not in asked:
            yield f"nobody asked for {executions}"
        elif len(executions) > 1 and (op in keyed or trigger == "retry"):
            yield f"operation {op} was asked for under one key and made {executions}"
        elif len(executions) > 1:
            yield f"operation {op} was asked for once and made {executions}"


def runs_have_claims(it: Evidence) -> Violations:
    """I8: the code was not called more often than the execution was claimed."""
    calls: defaultdict[str, int] = defaultdict(int)
    for line in it.code:
        calls[line["id"]] += line["did"] == "start"
    for execution, called in calls.items():
        claims = sum(told.state == "started" for told in it.events.get(execution, ()))
        if called > claims:
            yield f"{execution} was called {called} times under {claims} claims"


def stored_steps_stay_done(it: Evidence) -> Violations:
    """A step that the code was told is stored has one result, and is not run by a run whose claim came later.

    A run that was taken over before it began, by an executor that stood still, may run it: it is refused every write.
    """
    stored: dict[tuple[str, int], str] = {}
    known_at_start: dict[str, set[int]] = {}
    again: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
    for line in it.code:
        execution, run = line["id"], line["run"]
        match line["did"]:
            case "start":
                known_at_start[run] = {step for (of, step) in stored if of == execution} if line["resumed"] else set()
            case "stored" if stored.setdefault((execution, line["step"]), line["token"]) != line["token"]:
                yield f"step {line['step']} of {execution} had two results"
            case "effect" if line["step"] in known_at_start.get(run, ()):
                again[execution, line["step"]].add(run)
    for (execution, step), runs in again.items():
        if len(runs) > _late_zombies(it, execution, step, stored[execution, step]):
            yield f"step {step} of {execution} ran again after it was stored"
    yield from _results_are_of_stored_steps(it, stored)


def _results_are_of_stored_steps(it: Evidence, stored: dict[tuple[str, int], str]) -> Violations:
    for execution, row in it.rows.items():
        if row.status == "Success" and isinstance(row.result, dict):
            for step, token in enumerate(row.result.get("done", ())):
                if stored.get((execution, step)) != token:
                    yield f"the result of {execution} has another result of step {step} than was stored"


def _late_zombies(it: Evidence, execution: str, step: int, token: str) -> int:
    """Of the runs that began after a step's effect, so many had not claimed the execution after the step was stored."""
    of_it = [line for line in it.code if line["id"] == execution]
    effect = next((n for n, line in enumerate(of_it) if line["did"] == "effect" and line["token"] == token), 0)
    begun = sum(line["did"] == "start" for line in of_it[effect:])
    events = it.events.get(execution, ())
    stored_at = next((told.sequence for told in events if _stores(told, step)), 0)
    return begun - sum(told.state == "started" and told.sequence > stored_at for told in events)


def _stores(told: Told, step: int) -> bool:
    return any(entry["kind"] == "step" and entry["key"] == f"work-{step}" for entry in told.entries())


def cancelled_stays_cancelled(it: Evidence) -> Violations:
    """Who was told that it is cancelled, or that he decided, finds it so."""
    for note in it.clients:
        if note["did"] in ("cancel", "reject") and note["status"] == 200 and note["state"] == "Cancelled":
            row = it.rows.get(note["id"])
            if row is None or row.status != "Cancelled":
                yield f"{note['id']} was cancelled and is {row and row.status}"
        approved = (told.state == "approved" for told in it.events.get(note.get("id", ""), ()))
        if note["did"] == "approve" and note["status"] == 200 and not any(approved):
            yield f"{note['id']} was approved and is not"


def every_answer_is_expected(it: Evidence) -> Violations:
    """Faults end in 503, 202 or a broken connection, never in anything that blames the caller or an error of ours."""
    allowed = {
        "submit": {0, 200, 202, 503},
        "read": {200},
        "cancel": {0, 200, 409, 503},
        "approve": {0, 200, 409, 503},
        "reject": {0, 200, 409, 503},
        "event": {0, 202, 503},
        "retry": {0, 200, 202, 503},
    }
    failing = ("flaky", "big", "poison", "cancel", "retry", "approval", "secret")
    for note in it.clients:
        may = allowed.get(note["did"])
        if may is not None and note["status"] not in may and not (note.get("kind") in failing and note.get("id")):
            yield f"unexpected answer {note}"


def every_tick_is_explained(it: Evidence) -> Violations:
    """I9: each minute of each schedule once; what fired has its execution and each such execution its tick."""
    fired: set[str] = set()
    lines: defaultdict[tuple[str, str], list[datetime]] = defaultdict(list)
    for tick in it.ticks:
        data = tick["data"]
        lines[tick["organization"], tick["workflow"]].append(datetime.fromisoformat(data["scheduled_for"]))
        if data["outcome"] in ("fired", "late", "caught_up"):
            fired.add(data["execution_id"])
        elif not data.get("reason"):
            yield f"tick {tick['subject']} was {data['outcome']} without a reason"
    for (org, workflow), moments in lines.items():
        for before, after in pairwise(sorted(moments)):
            if after - before != timedelta(minutes=1):
                yield f"{workflow} of {org} has ticks at {before} and {after}"
    by_clock = {execution for execution, row in it.rows.items() if row.trigger == "schedule"}
    for execution in fired ^ by_clock:
        yield f"{execution} has a tick or an execution, but not both"
    if len(it.tick_rows) != len(it.ticks):
        yield f"{len(it.ticks)} ticks in the stream, {len(it.tick_rows)} in the store"


def nothing_is_left(it: Evidence) -> Violations:
    """I13: the queues are empty, nothing is under way."""
    if it.queue.get("REQUESTS"):
        yield f"{it.queue['REQUESTS']} requests are still on the queue"
    for execution, row in it.rows.items():
        if row.status not in ENDED:
            yield f"{execution} ({row.trigger}) is still {row.status}"


def a_healthy_engine_answers(it: Evidence) -> Violations:
    """I13: what was asked for when all faults were over is accepted at the first attempt."""
    for note in it.clients:
        if note["did"] == "submit" and note["op"] >= PROBES and note["status"] not in (200, 202):
            yield f"after all faults a client was answered {note}"


def strangers_see_nothing(it: Evidence) -> Violations:
    """I11: an execution does not exist for another organisation."""
    for note in it.clients:
        if note["did"] == "intrude" and note["status"] not in (404, 503):
            yield f"a stranger asked for {note['id']} and was answered {note['status']}"


def secrets_stay_secret(it: Evidence) -> Violations:
    """I12: what code reads as a secret is in no answer, and in no file of broker, database, logs or histories."""
    yield from it.leaks
    for note in it.clients:
        if note["did"] == "leak":
            yield f"in the answer to {note['url']}"


INVARIANTS: dict[str, Callable[[Evidence], Violations]] = {
    "I1": nothing_accepted_is_lost,
    "I2": one_terminal_state,
    "I3 I10": what_was_seen_holds,
    "I4": transitions_are_legal,
    "I5": only_the_owner_writes,
    "I6": the_store_is_the_stream,
    "I7": nothing_comes_from_nowhere,
    "I8": runs_have_claims,
    "steps": stored_steps_stay_done,
    "cancelled": cancelled_stays_cancelled,
    "answers": every_answer_is_expected,
    "I9": every_tick_is_explained,
    "I11": strangers_see_nothing,
    "I12": secrets_stay_secret,
    "I13": nothing_is_left,
    "I13 probes": a_healthy_engine_answers,
}


def _answered(it: Evidence) -> list[dict[str, Any]]:
    """What told a client an id: an acceptance, or an end."""
    return [note for note in it.clients if note["did"] in ("submit", "retry") and note.get("id")]


def summary(it: Evidence) -> dict[str, Any]:
    """Figures of a run."""
    claims: list[list[Told]] = [[told for told in events if told.state == "started"] for events in it.events.values()]
    states: defaultdict[str, int] = defaultdict(int)
    for row in it.rows.values():
        states[row.status] += 1
    return {
        "executions": len(it.rows),
        "faults": it.faults,
        "states": dict(states),
        "events": sum(map(len, it.events.values())),
        "without their beginning": sum(not row.queued for row in it.rows.values()),
        "claimed more than once": sum(len(found) > 1 for found in claims),
        "executors lost": sum(told.data.get("losses", 0) > 0 for found in claims for told in found),
        "ticks": len(it.ticks),
        "dead letters": it.letters,
        "answers 503": sum(note.get("status") == 503 for note in it.clients),
        "broken connections": sum(note.get("status") == 0 for note in it.clients),
    }
