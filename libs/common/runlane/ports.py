"""What rooms and authors' code need from the world, as Protocols. Adapters are elsewhere; fakes pass the same tests."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from msgspec import Struct

from runlane.contracts.approvals import ApprovalAsk
from runlane.contracts.audit import AuditPage, AuditQuery
from runlane.contracts.overview import Overview, OverviewQuery
from runlane.contracts.records import ExecutionPage, ExecutionQuery, Record, TickPage, TickQuery
from runlane.contracts.trace import TraceEntry
from runlane.contracts.webhooks import DeliveryPage, DeliveryQuery, WebhookDelivery

# --- bus --------------------------------------------------------------------------------------------------------------


class Message(Struct, frozen=True, kw_only=True):
    """Something to store on a stream.

    `id` deduplicates within the stream's window, so publishing again after a doubtful failure is safe.
    With `expect_last`, it is stored only if that is the sequence of the last message on `expect_on`
    (default: its own subject; a filter may hold wildcards); 0 means there is none yet.
    With `deliver_at`, it is held on `subject` until then and stored on `deliver_to`.
    """

    subject: str
    payload: bytes
    id: str
    expect_last: int | None = None
    expect_on: str | None = None
    deliver_at: datetime | None = None
    deliver_to: str | None = None


class Stored(Struct, frozen=True):
    """Something that was stored on a stream. `id` is the message id it was published with, where that is known."""

    subject: str
    sequence: int
    payload: bytes
    time: datetime
    id: str = ""


class Delivery(Protocol):
    """A message handed to this consumer, until it says what became of it."""

    @property
    def subject(self) -> str: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def sequence(self) -> int:
        """Its sequence in the stream."""
        ...

    @property
    def id(self) -> str:
        """The message id that it was published with, empty where there is none."""
        ...

    @property
    def delivered(self) -> int:
        """How often it was delivered, this time included: from 1."""
        ...

    @property
    def pending(self) -> int:
        """How many more the consumer had to deliver after this one."""
        ...

    @property
    def time(self) -> datetime:
        """When it was stored."""
        ...

    def ack(self) -> None:
        """Done with it. At most once: a lost ack means another delivery."""
        ...

    def nak(self, delay: float = 0) -> None:
        """Give it back; it is delivered again at once, or after so many seconds."""
        ...

    def in_progress(self) -> None:
        """Still working on it: the lease starts anew."""
        ...

    def term(self, reason: str) -> None:
        """Never deliver it again."""
        ...


class Consumption(Protocol):
    """A running pull on a durable consumer."""

    def pull(self) -> None:
        """Capacity was freed: ask for more if there is room."""
        ...

    async def stop(self) -> None:
        """Ask for no more. What was delivered already stays to be acknowledged."""
        ...


class Subscription(Protocol):
    """A running core subscription."""

    async def stop(self) -> None: ...


class ConsumerLag(Struct, frozen=True):
    """How far a durable consumer is. Everything up to `floor` has been acknowledged, everything up to `delivered` was
    sent to somebody."""

    floor: int
    pending: int
    unacknowledged: int
    delivered: int


class Durable(Struct, frozen=True, kw_only=True):
    """A durable consumer that is made when it is needed: of the `filters`, from what was stored at `since` on.

    What is not acknowledged within `lease` seconds is delivered again. At most `most` messages are out at a time, those
    included that were given back for later.
    """

    filters: list[str]
    since: datetime
    lease: float
    most: int


class Position(Struct, frozen=True):
    """A consumer: how the server has it, and up to where all was acknowledged."""

    config: dict[str, Any]
    floor: int


class Bus(Protocol):
    """Streams with compare-and-set, leases and direct reads, and messages that are stored nowhere."""

    @property
    def connected(self) -> bool: ...

    async def publish(self, message: Message, *, timeout: float = 5.0) -> int:
        """Store it and return its sequence, trying again until `timeout` seconds are over.

        Raises `StateConflict` when the expectation fails, `MessageTooLarge`, `StorageFull`, `BusUnavailable`.
        """
        ...

    def send(self, subject: str, payload: bytes) -> None:
        """Tell whoever listens now; stored nowhere, no answer."""
        ...

    async def listen(self, subject: str, heard: Callable[[str, bytes], None]) -> Subscription:
        """Call `heard(subject, payload)` for each message sent from now on. `heard` must not block."""
        ...

    async def listen_live(self, filter_: str, heard: Callable[[Stored], None]) -> Subscription:
        """Call `heard` for each event stored from now on; may miss some: `read` has them."""
        ...

    async def last(self, stream: str, filter_: str) -> Stored | None:
        """The last stored message on a subject or filter."""
        ...

    async def read(self, stream: str, filter_: str, *, after: int = 0, limit: int = 1000) -> list[Stored]:
        """Up to `limit` stored messages after a sequence, oldest first."""
        ...

    async def remove(self, stream: str, sequence: int) -> bool:
        """Delete one stored message; False when it is not there (any more). Raises `BusUnavailable`."""
        ...

    async def newest(self, stream: str, filter_: str) -> list[Stored]:
        """The last stored message of every subject under a filter, at most 1024."""
        ...

    async def last_of_each(self, stream: str, filter_: str) -> list[Stored]:
        """The last stored message of every subject under a filter."""
        ...

    async def counts(self, stream: str, filter_: str) -> dict[str, int]:
        """How many messages a stream has under a filter, by subject. Raises `BusUnavailable`."""
        ...

    async def consume(
        self, stream: str, consumer: str, deliver: Callable[[Delivery], None], room: Callable[[], int]
    ) -> Consumption:
        """Deliver to `deliver`, never having asked for more than `room()` messages. `deliver` must not block."""
        ...

    async def consume_durable(
        self, stream: str, consumer: str, durable: Durable, deliver: Callable[[Delivery], None], room: Callable[[], int]
    ) -> Consumption:
        """`consume` with a consumer that is made, or brought up to date, as `durable` says."""
        ...

    async def consumers(self, stream: str, prefix: str) -> list[str]:
        """The durable consumers whose names begin so."""
        ...

    async def remove_consumer(self, stream: str, consumer: str) -> None:
        """Remove a durable consumer; one that is not there is no error. Raises `BusUnavailable`."""
        ...

    async def lag(self, stream: str, consumer: str) -> ConsumerLag:
        """How far a durable consumer is."""
        ...


# --- directory --------------------------------------------------------------------------------------------------------


class DirectoryStore(Protocol):
    """A watched key-value bucket. Revisions grow by every change of any key."""

    async def put(self, key: str, value: bytes, *, expect: int | None = None) -> int:
        """Write and return the new revision. With `expect`, only if that is the key's revision (0: it does not exist),
        else `StateConflict`. Raises `BusUnavailable`."""
        ...

    async def delete(self, key: str, *, expect: int | None = None) -> None:
        """Remove a key; removing one that is not there is no error. With `expect`, only if that is its revision, else
        `StateConflict`."""
        ...

    async def watch(self, changed: Callable[[str, bytes | None, int], None]) -> None:
        """Call `changed(key, value or None, revision)` for all there is, then return; and for each change after."""
        ...


# --- secrets ----------------------------------------------------------------------------------------------------------


class SecretStore(Protocol):
    """Secrets by organisation and name. Whoever asks says for which organisation; nothing is found across."""

    async def get(self, org: str, name: str) -> str | None:
        """The secret, None where there is none. Raises `SecretsUnavailable`, `SealBroken`, `ConfigurationError` for a
        name that this store cannot hold."""
        ...

    async def names(self, org: str) -> list[str]:
        """The names of an organisation's secrets as far as the store can tell, sorted. Raises `SecretsUnavailable`."""
        ...


@runtime_checkable
class WritableSecretStore(SecretStore, Protocol):
    """A store outside the directory that takes changes, too."""

    async def put(self, org: str, name: str, value: str) -> None:
        """Set a secret. Raises what `get` raises."""
        ...

    async def remove(self, org: str, name: str) -> None:
        """Remove a secret; one that is not there is no error. Raises what `get` raises."""
        ...


# --- record store -----------------------------------------------------------------------------------------------------


class RecordStore(Protocol):
    """The records, folded from EVENTS. Applying an event again changes nothing."""

    async def apply(self, events: Sequence[Stored]) -> None:
        """Fold events in, in one transaction. Undecodable ones are the caller's to sort out first.
        Raises `StoreUnavailable`; then nothing was written."""
        ...

    async def get(self, org: str, execution_id: str) -> Record | None:
        """One whole record."""
        ...

    async def find(self, query: ExecutionQuery) -> ExecutionPage:
        """A page of executions, newest first, without inputs, results and traces."""
        ...

    async def count(self, query: ExecutionQuery, most: int) -> int:
        """How many executions of named organisations match on all pages together; `most` where there are more.
        `after` and `limit` of the query mean nothing here."""
        ...

    async def overview(self, query: OverviewQuery) -> Overview:
        """How an organisation is doing. Looks at a bounded number of rows, however many there are."""
        ...

    async def ticks(self, query: TickQuery) -> TickPage:
        """A page of schedule ticks, newest first."""
        ...

    async def audit(self, query: AuditQuery) -> AuditPage:
        """A page of the audit trail, newest first."""
        ...

    async def deliveries(self, query: DeliveryQuery) -> DeliveryPage:
        """A page of a webhook's deliveries, newest first."""
        ...

    async def delivery(self, org: str, workflow: str, delivery_id: str) -> WebhookDelivery | None:
        """One delivery of a webhook."""
        ...

    async def prune(self, before: datetime, limit: int = 1000) -> int:
        """Delete up to `limit` executions that ended before then, old ticks and old deliveries; how many went."""
        ...

    async def prune_audit(self, before: datetime, limit: int = 1000) -> int:
        """Delete up to `limit` audit entries of before then; how many went."""
        ...

    async def ping(self) -> None:
        """Raises `StoreUnavailable` with the reason."""
        ...


# --- vendors ----------------------------------------------------------------------------------------------------------


class Budget(Struct, frozen=True):
    """How often something may happen: so many a minute on average, so many at once after a pause."""

    per_minute: float
    burst: float


class Allowance(Struct, frozen=True):
    """What came of asking for some at once. `wait`: they are there in so many seconds, 0 when they were taken. `left`:
    how many more are there at once. `full_in`: seconds until the bucket is full again."""

    wait: float
    left: int
    full_in: float


class Limiter(Protocol):
    """Token buckets by key."""

    async def take(self, key: str, budget: Budget, count: int = 1) -> Allowance:
        """Take so many if they are there, all or none; more than the bucket holds when it is full, and then it takes
        as much longer until there is one again."""
        ...

    async def reserve(self, key: str, budget: Budget, within: float, count: int = 1) -> float | None:
        """Take `count` from the bucket, and return after how many seconds they may be used. None when that is beyond
        `within`: then nothing was taken."""
        ...


class TokenStore(Protocol):
    """Sealed access tokens by key, for as long as they are good."""

    async def get(self, key: str) -> bytes | None: ...
    async def put(self, key: str, sealed: bytes, seconds: float) -> None: ...
    async def drop(self, key: str, sealed: bytes) -> None:
        """Forget this token, unless there is another by now."""
        ...


class Vendors(Protocol):
    """What clients of vendors' APIs share with the other executions of their organisation."""

    @property
    def allowed_hosts(self) -> frozenset[str]:
        """Hosts that the operator allows at any address and without TLS (`addresses.is_allowed`)."""
        ...

    async def cached_token(self, client: str, refused: str | None = None) -> str | None:
        """The token that is kept for `client`, unless it is the `refused` one.

        None: the caller is the one to fetch it. It tells `remember_token`, and others who ask wait for that.
        """
        ...

    def remember_token(self, client: str, token: str | None, seconds: float = 0) -> None:
        """Keep a token that was fetched, for so long; None when that failed."""
        ...

    async def reserve_call(self, vendor: str, budget: Budget, within: float, count: int = 1) -> float | None:
        """`Limiter.reserve` for this organisation's calls to a vendor."""
        ...

    async def pause(self, seconds: float) -> None:
        """Wait in the slot."""
        ...


# --- what a Context stands on -----------------------------------------------------------------------------------------


class Runtime(Protocol):
    """The executor as one execution sees it. In a child it speaks over a pipe; in `runlane.testing` it is memory."""

    def trace(self, entry: TraceEntry, true_value: bytes | None = None) -> Awaitable[None]:
        """Queue an entry in order; awaiting what it returns waits until it is stored.

        `true_value`: the JSON that resume needs, where the entry holds a sanitized form of it.
        """
        ...

    async def secret(self, name: str) -> str | None:
        """A secret of this organisation."""
        ...

    def config(self) -> Mapping[str, Any]:
        """This organisation's configuration, inherited values included."""
        ...

    async def sleep(self, until: datetime) -> None:
        """Wait in the slot for a short while, or raise `Suspend` to give it up until then."""
        ...

    async def wait(self, reason: str, until: datetime, approval: ApprovalAsk | None = None) -> None:
        """Raise `Suspend` to give up the slot until what `reason` names has come, `until` at the latest; return when
        it is known not to have come by then."""
        ...

    def vendors(self) -> Vendors:
        """For integrations."""
        ...


class Suspend(BaseException):
    """Unwinds a workflow that waits without holding a slot.

    Not an `Exception`: authors' `except Exception` must not stop it. Raised by a `Runtime`, caught by whoever called
    the workflow; `until` None means until somebody resumes it.
    """

    def __init__(self, reason: str, until: datetime | None = None, approval: ApprovalAsk | None = None) -> None:
        super().__init__(reason)
        self.reason, self.until, self.approval = reason, until, approval
