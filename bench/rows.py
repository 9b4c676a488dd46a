"""What `bench.recovery` finds: rows of measured values beside the goal that they are held to."""

import math
import os
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

UNITS = {"s": 1.0, "ms": 1000.0, "MiB": 1.0, "/s": 1.0, "": 1.0}
#: What a row of lost executions is called.
NOT_DONE = "acknowledged and never done"


class Row(Struct, frozen=True, kw_only=True):
    """One figure, measured `len(values)` times. Times are in seconds whatever `unit` shows them in.

    `goal`: what `judged` of the values must stay below; None where the figure is only stated.
    """

    part: str
    what: str
    values: Sequence[float]
    goal: float | None = None
    judged: Literal["p95", "max"] = "max"
    unit: str = "s"
    note: str = ""
    load: float = 0.0

    def quantile(self, share: float) -> float:
        """The smallest value that so large a share of the values does not exceed."""
        ordered = sorted(self.values)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

    @property
    def verdict(self) -> str:
        """`ok`, `short`, or nothing where there is no goal."""
        if self.goal is None:
            return ""
        return "ok" if self.quantile(0.95 if self.judged == "p95" else 1.0) < self.goal else "short"

    def document(self) -> dict[str, object]:
        """As JSON shows it, times in seconds."""
        return {
            "part": self.part,
            "what": self.what,
            "unit": "s" if self.unit == "ms" else self.unit,
            "goal": self.goal,
            "judged": self.judged,
            "n": len(self.values),
            "p50": self.quantile(0.5),
            "p95": self.quantile(0.95),
            "max": self.quantile(1.0),
            "verdict": self.verdict,
            "note": self.note,
            "load_average": self.load,
        }

    def line(self) -> str:
        """As the table shows it."""
        scale = UNITS[self.unit]
        goal = "" if self.goal is None else f"{self.judged} < {self.goal * scale:g} {self.unit}"
        shown = "  ".join(f"{self.quantile(share) * scale:>9,.2f}" for share in (0.5, 0.95, 1.0))
        what = f"{self.part}: {self.what}"
        verdict = f"{self.unit:<4} {self.verdict:<5} {self.load:>5.2f}"
        return f"{what:<58} {goal:<15} {len(self.values):>4}  {shown}  {verdict}  {self.note}"


HEADING = f"{'':<58} {'goal':<15} {'n':>4}  {'p50':>9}  {'p95':>9}  {'max':>9}  {'':<4} {'':<5} {'load':>5}"


def load_average() -> float:
    """How busy the machine was during the last minute, all its users together."""
    return os.getloadavg()[0]
