"""What `runlane verify` looks at and what it tells: the record store beside the door that everybody else uses."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol, TypeAlias

from msgspec import Struct

from runlane.contracts.events import Audited, Delivered, Ticked
from runlane.contracts.records import Record

#: So many unfinished executions are kept in memory; what is beyond is rebuilt one by one.
_OPEN_AT_MOST = 20_000
#: A recorder that has not come on for so many seconds will not.
_PATIENCE = 60.0
#: What began so shortly after the oldest event that is kept may have begun with one that is not.
_EDGE = timedelta(minutes=1)

#: Execution id and organisation.
Place: TypeAlias = tuple[str, str]
What: TypeAlias = Literal["execution", "tick", "audit", "delivery"]
SIDES: tuple[What, ...] = ("tick", "audit", "delivery")


class Listed(Struct, frozen=True):
    """An execution in the store: `sequence` is the latest event that its row knows of."""

    place: Place
    sequence: int
    listed_at: datetime


class SideRow(Struct, frozen=True):
    """A tick, audit entry or delivery as the store keeps it: `id` says which, `row` is opaque.

    `at` is what it is pruned by, `sequence` the event that it was written from.
    """

    what: What
    org: str
    id: str
    at: datetime
    sequence: int
    row: tuple[Any, ...]


class Inspection(Protocol):
    """The record store as it is examined. All methods raise `StoreUnavailable`."""

    async def records(self, places: Sequence[Place]) -> dict[Place, Record | None]:
        """Whole records; None for one that cannot be read, or has lost its row of executions. The rest is absent."""
        ...

    async def listed(self, after: Place | None, limit: int) -> list[Listed]:
        """Executions in the order of their places."""
        ...

    async def orphans(self) -> list[Place]:
        """Executions of which there are some rows, but not the one that stands for it."""
        ...

    def side(self, sequence: int, event: Ticked | Audited | Delivered) -> SideRow:
        """The row that an event becomes."""
        ...

    async def sides(self, what: What, ids: Sequence[tuple[str, str]]) -> list[SideRow]:
        """The rows with these (organisation, id)."""
        ...

    async def sides_since(self, what: What, first: int) -> list[SideRow]:
        """The rows that were written from an event of this sequence or a later one."""
        ...

    async def replace(self, place: Place, record: Record | None) -> None:
        """Write a record anew, or remove it."""
        ...

    async def replace_side(self, was: SideRow | None, now: SideRow | None) -> bool:
        """Write or remove a row; False when it is not `was` any more."""
        ...


class Span(Struct, frozen=True):
    """The sequences that a stream holds, and how old the first message is."""

    first: int
    last: int
    oldest: datetime | None

    def should_know(self, sequence: int, at: datetime) -> bool:
        """Whether something of then, or of that event, must have left an event that is there still."""
        return sequence >= self.first or self.first <= 1 or self.oldest is None or at > self.oldest + _EDGE


class Difference(Struct, rename="camel"):
    """`missing`: the store lacks it; `extra`: the stream knows nothing of it; `unreadable`: a row is
    spoiled, or the one that stands for the rest is gone.

    `fields` is where a `changed` one differs.
    """

    kind: Literal["missing", "changed", "extra", "unreadable"]
    what: What
    org: str
    id: str
    fields: list[str] = []
    repaired: bool = False


class Report(Struct, rename="camel"):
    """What was compared, and what could not be.

    `before_events`: executions whose first events are not kept any more, so that nothing can be said of them;
    `aged_out`: what the events tell of and retention has deleted from the store; `going_on`: executions that differed
    and went on at every look; `undecodable`: events that the recorder leaves out as well.
    """

    first_sequence: int
    last_sequence: int
    executions: int = 0
    others: int = 0
    before_events: int = 0
    aged_out: int = 0
    going_on: int = 0
    undecodable: int = 0
    differences: list[Difference] = []


class Options(Struct, frozen=True, kw_only=True):
    """`keep_from`: what ended before then may have been deleted for its age. `remove_extra` counts with `repair`.

    `patience`: seconds that a recorder may stand still.
    """

    keep_from: datetime
    repair: bool = False
    remove_extra: bool = False
    open_at_most: int = _OPEN_AT_MOST
    patience: float = _PATIENCE
