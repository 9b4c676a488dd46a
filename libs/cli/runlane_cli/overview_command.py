"""`runlane overview`: how an organisation is doing, on one screen."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .gateway_command import JsonOption, gateway_command

if TYPE_CHECKING:
    from .client import Gateway


@gateway_command
def overview(
    gateway: "Gateway",
    minutes: Annotated[int, typer.Option(min=1, max=10_080, help="How far back.")] = 60,
    as_json: JsonOption = False,
) -> None:
    """Show how the organisation is doing: what ended and what waits, queues, recorder, ticks."""
    from .display import print_json, print_table

    found = gateway.get("/overview", minutes=minutes)
    if as_json:
        print_json(found)
        return
    print_table(("LAST", f"{minutes} MIN"), _figures(found), "")
    if found["engine"] is not None:
        print()
        print_table(("LANE", "WAITING", "IN AN EXECUTOR", "OLDEST WAITS"), _lanes(found["engine"]["lanes"]), "")


def _figures(found: Mapping[str, Any]) -> list[tuple[str, object]]:
    from .display import duration

    total, engine = found["total"], found["engine"]
    rows: list[tuple[str, object]] = [(name, total[name.lower()]) for name in ("Succeeded", "Failed", "Cancelled")]
    rows += [("p50", duration(total["p50Ms"])), ("p95", duration(total["p95Ms"]))]
    rows += [(status, count) for status, count in found["unfinished"].items()]
    rows += [(f"Ticks {name}", count) for name, count in _spoken(found["ticks"]).items() if count]
    if engine is not None:
        behind = engine["recorder"]
        lag = f"{behind['behindEvents']} events, {duration(behind['behindSeconds'] * 1000)}"
        rows.append(("Recorder behind", lag if behind["behindEvents"] else "up to date"))
    if not found["complete"]:
        rows.append(("Left out", "the oldest of this time: there was too much"))
    return rows


def _spoken(ticks: Mapping[str, int]) -> dict[str, int]:
    return {"caught up" if name == "caughtUp" else name: count for name, count in ticks.items()}


def _lanes(lanes: list[dict[str, Any]]) -> list[tuple[object, ...]]:
    from .display import duration

    rows: list[tuple[object, ...]] = []
    for lane in lanes:
        oldest = duration(lane["oldestSeconds"] * 1000) if lane["waiting"] else None
        rows.append((lane["lane"], lane["waiting"], lane["taken"], oldest))
    return rows
