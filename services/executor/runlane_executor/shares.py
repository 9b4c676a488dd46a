"""How much an executor asks of each lane: by the weights of the lanes while several have something waiting, and no slot
stays empty for the sake of a lane that has nothing. Used by `intake`.

A lane that is known to have more is asked for its share of the free slots. Every other lane is asked for some messages
in advance, so that what comes there is here at once, and always for one, so that it is not forgotten while others fill
the slots. When slots run out meanwhile, `slots` says what becomes of it.
"""

import time
from collections.abc import Callable

from runlane.contracts import subjects
from runlane.lanes import WEIGHTS
from runlane.ports import Consumption

from .slots import Slots

#: A lane that was asked and is silent for so long has nothing (any more): others got it. In seconds.
_SILENT = 0.1
#: A lane whose message found no slot is left alone for so long. In seconds.
_REST = 1.0


class Share:
    """What one lane of one stream is asked for."""

    def __init__(self, shares: "Shares", lane: int) -> None:
        self._shares, self.lane = shares, lane
        self.consumption: Consumption | None = None
        self.asked = 0
        #: How much it has had for its weight, compared to the others.
        self.served = 0.0
        self.more = False
        self._heard_at = self._sent_away_at = float("-inf")

    @property
    def has_more(self) -> bool:
        """Whether it has more than it was asked for, as far as is known."""
        return self.more and (self.asked == 0 or self._shares.now() - self._heard_at < _SILENT)

    def room(self) -> int:
        """How many messages may be on their way from this lane."""
        if self.has_more:
            return self.asked
        rests = self._shares.now() - self._sent_away_at < _REST
        return max(0 if rests else 1, min(self._shares.few, self._shares.free(self.lane)))

    def sent_away(self) -> None:
        """A message of it found no slot."""
        self._sent_away_at = self._shares.now()

    def delivered(self, pending: int) -> None:
        """A message came; so many more wait there."""
        had_more = self.has_more
        self._heard_at, self.more = self._shares.now(), pending > 0
        if had_more:
            self.asked = max(0, self.asked - 1)
        elif self.more:
            self.asked = 0
            self.served = max(self.served, self._shares.least_served())
            self._shares.ask()

    def ask_one(self) -> None:
        """Have it send one more."""
        self.asked += 1
        self.served += 1 / WEIGHTS[self.lane]


class Shares:
    """The shares of all lanes in an executor's slots."""

    def __init__(self, slots: Slots, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._slots = slots
        self.free = slots.free
        self.few = max(1, slots.count // 2)
        self.all: list[Share] = []
        self.now = monotonic

    def add(self, lane: int) -> Share:
        share = Share(self, lane)
        self.all.append(share)
        return share

    def least_served(self) -> float:
        """What a lane that has just got something to do begins with."""
        return min((share.served for share in self.all if share.has_more), default=0.0)

    def ask(self) -> None:
        """Share out the slots that are free and not asked for."""
        busy = [share for share in self.all if share.has_more]
        asked = sum(share.asked for share in busy)
        while open_ := [share for share in busy if asked < self.free(share.lane)]:
            min(open_, key=lambda share: share.served).ask_one()
            asked += 1

    def pull(self) -> None:
        """A slot was freed: ask for what fills it."""
        if self.free(len(subjects.LANES)) > self.few and not any(share.more for share in self.all):
            return  # every lane is asked for as much as it would be
        self.ask()
        for share in self.all:
            if share.consumption is not None:
                share.consumption.pull()
