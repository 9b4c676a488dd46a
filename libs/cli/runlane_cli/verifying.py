"""`runlane verify`: the records of an engine against its event stream. Names adapters, as `offline` does."""

import asyncio
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec

from runlane.adapters.nats.connection import open_bus
from runlane.adapters.nats.snapshots import stream_span
from runlane.adapters.sql.inspection import open_inspection
from runlane.clock import SystemClock
from runlane.contracts import subjects
from runlane.errors import RunlaneError
from runlane.inspection import Options, Report
from runlane.settings import Settings
from runlane.verification import Verification

from .backup import engine_settings
from .display import print_json, print_table
from .problems import CommandFailed


def verify(data: Path | None, *, repair: bool, remove_extra: bool, as_json: bool) -> None:
    """Compare, tell every difference; raises `CommandFailed` when there is one that was not repaired."""
    try:
        report = asyncio.run(_verify(engine_settings(data), repair=repair, remove_extra=remove_extra))
    except RunlaneError as problem:
        raise CommandFailed(problem.message) from None
    _show(report, as_json=as_json)
    left = sum(not difference.repaired for difference in report.differences)
    if left:
        raise CommandFailed(f"{left} difference(s) between the records and the events.")


async def _verify(settings: Settings, *, repair: bool, remove_extra: bool) -> Report:
    days = min(settings.record_retention_days, settings.audit_retention_days, 36_500)
    keep_from = SystemClock().now() - timedelta(days=days)
    options = Options(keep_from=keep_from, repair=repair, remove_extra=remove_extra)
    async with (
        open_bus(settings, "verify", shape=False) as bus,
        open_inspection(settings.record_store_url) as store,
    ):
        return await Verification(bus, store, lambda: stream_span(bus, subjects.EVENTS), options, _tell).run()


def _show(report: Report, *, as_json: bool) -> None:
    if as_json:
        print_json(msgspec.to_builtins(report))
        return
    print(
        f"Events {report.first_sequence} to {report.last_sequence}: {report.executions} executions and {report.others} "
        "ticks, audit entries and deliveries compared."
    )
    for sentence in _not_compared(report):
        print(sentence)
    rows = [
        (one.id, one.what, one.org, one.kind, ", ".join(one.fields), "repaired" if one.repaired else "")
        for one in report.differences
    ]
    print_table(("ID", "WHAT", "ORG", "HOW", "WHERE", ""), rows, "No difference.")


def _not_compared(report: Report) -> Iterator[str]:
    if report.before_events:
        yield f"{report.before_events} execution(s) not compared: their first events are not kept any more."
    if report.aged_out:
        yield f"{report.aged_out} record(s) not compared: retention has deleted them."
    if report.going_on:
        yield f"{report.going_on} execution(s) not compared: they went on at every look. Run it again."
    if report.undecodable:
        yield f"{report.undecodable} event(s) cannot be decoded; the recorder leaves them out too."


def _tell(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
