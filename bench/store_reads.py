"""What is asked of a store of records, with every filter and in every place. Used by `bench.store`."""

import math
import random
import time
from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct

from bench.store_rows import BIGGEST, ERRORS, ORGS, id_of, start_of
from runlane.contracts.records import ExecutionQuery
from runlane.ports import RecordStore

_UNFINISHED = ["Scheduled", "Queued", "PendingApproval", "Running", "Retrying", "Suspended"]
_ALL = [f"org{number}" for number in range(ORGS)]
Ask = Callable[[random.Random], ExecutionQuery]


class Figure(Struct, frozen=True):
    """How long something took, each time, in seconds, and what 99 in 100 of them should stay below."""

    what: str
    seconds: Sequence[float]
    goal: float
    found: int

    def quantile(self, share: float) -> float:
        ordered = sorted(self.seconds)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

    def line(self) -> str:
        p50, p99, most = (self.quantile(share) * 1000 for share in (0.5, 0.99, 1.0))
        verdict = "ok" if p99 < self.goal * 1000 else "SHORT"
        return f"{self.what:<44}{len(self.seconds):>5}{self.found:>5}{p50:>9.2f}{p99:>9.2f}{most:>9.2f}  {verdict}"


HEADING = f"{'milliseconds':<44}{'n':>5}{'rows':>5}{'p50':>9}{'p99':>9}{'max':>9}"


def pages(total: int) -> dict[str, Ask]:
    """Name → a page that somebody asks for. The biggest organisation has a tenth of all."""
    start, step = start_of(total)

    def ask(**known: object) -> Ask:
        return lambda dice: msgspec.convert({"orgs": [BIGGEST], **known}, ExecutionQuery)

    def day(dice: random.Random, **known: object) -> ExecutionQuery:
        since = start + step * dice.randrange(total)
        return msgspec.convert(
            {"orgs": [BIGGEST], "queued_from": since, "queued_before": since + step * (total // 90), **known},
            ExecutionQuery,
        )

    some = _ALL[1:51]
    return {
        "any one organisation": lambda dice: ExecutionQuery(orgs=[dice.choice(_ALL)]),
        "the biggest": ask(),
        "… of 200": ask(limit=200),
        "… workflow": ask(workflow="workflow3"),
        "… status Failed": ask(statuses=["Failed"]),
        "… status Suspended (two in 10,000)": ask(statuses=["Suspended"]),
        "… all that are unfinished": ask(statuses=_UNFINISHED),
        "… Failed and Cancelled": ask(statuses=["Failed", "Cancelled"]),
        "… workflow, status Failed": ask(workflow="workflow3", statuses=["Failed"]),
        "… workflow, status Suspended": ask(workflow="workflow3", statuses=["Suspended"]),
        "… error code": ask(error=ERRORS[1]),
        "… rare error code": ask(error=ERRORS[4]),
        "… rare error code, workflow": ask(error=ERRORS[4], workflow="workflow3"),
        "… status Success": ask(statuses=["Success"]),
        "… Success and Cancelled": ask(statuses=["Success", "Cancelled"]),
        "… trigger (one in ten)": ask(trigger="webhook"),
        "… a day anywhere": day,
        "… a day anywhere, status Failed": lambda dice: day(dice, statuses=["Failed"]),
        "… a day anywhere, workflow": lambda dice: day(dice, workflow="workflow3"),
        "50 organisations": lambda dice: ExecutionQuery(orgs=some),
        "… a day anywhere, of 50 organisations": lambda dice: day(dice, orgs=some),
        "all 1,000 organisations": lambda dice: ExecutionQuery(orgs=_ALL),
        "… of all: status Failed": lambda dice: ExecutionQuery(orgs=_ALL, statuses=["Failed"]),
        "… of all: status PendingApproval (none)": lambda dice: ExecutionQuery(orgs=_ALL, statuses=["PendingApproval"]),
        "… of all: Failed and Cancelled": lambda dice: ExecutionQuery(orgs=_ALL, statuses=["Failed", "Cancelled"]),
        "what the sweeper looks through": lambda dice: ExecutionQuery(orgs=None, statuses=_UNFINISHED, limit=200),
    }


async def measure_pages(store: RecordStore, total: int, times: int, told: Callable[[str], None]) -> list[Figure]:
    """Every page so many times; and pages further on."""
    dice, figures = random.Random(7), []
    for what, ask in pages(total).items():
        seconds, found = [], 0
        for _ in range(times):
            began = time.perf_counter()
            page = await store.find(ask(dice))
            seconds.append(time.perf_counter() - began)
            found = len(page.items)
        figures.append(Figure(what, seconds, 0.05, found))
        told(figures[-1].line())
    figures.append(await _pages_on(store, times))
    told(figures[-1].line())
    return figures


async def _pages_on(store: RecordStore, times: int) -> Figure:
    seconds, query, found = [], ExecutionQuery(orgs=[BIGGEST]), 0
    for _ in range(times):
        began = time.perf_counter()
        page = await store.find(query)
        seconds.append(time.perf_counter() - began)
        query, found = msgspec.structs.replace(query, after=page.next), len(page.items)
    return Figure("the biggest, page after page", seconds, 0.05, found)


async def measure_records(store: RecordStore, total: int, times: int) -> Figure:
    """Whole records from anywhere."""
    dice, seconds = random.Random(8), []
    for _ in range(times):
        org, execution_id = id_of(dice.randrange(total // 20, total // 10) * 10, total)
        began = time.perf_counter()
        record = await store.get(org, execution_id)
        seconds.append(time.perf_counter() - began)
        assert record is not None, execution_id
        assert len(record.trace) == 2
    return Figure("a record from anywhere", seconds, 0.02, 1)
