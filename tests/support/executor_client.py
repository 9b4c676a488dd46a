"""Submits requests to an executor as a gateway would. The fixture `caller` is one."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from runlane.adapters.nats.bus import NatsBus
from runlane.contracts import subjects
from runlane.contracts.encoding import encode
from runlane.contracts.events import AnyEvent, Cancelled, Failed, Succeeded, decode_event
from runlane.contracts.requests import Caller, Request, parameters_context
from runlane.ids import new_execution_id
from runlane.ports import Message
from runlane.settings import Settings
from tests.support.eventually import eventually


class Client:
    """Submits requests as a gateway would and reads what became of them."""

    def __init__(self, bus: NatsBus, settings: Settings) -> None:
        self.bus, self.sealer = bus, settings.sealer()

    def request(self, workflow: str, parameters: dict[str, Any], **more: Any) -> Request:
        execution_id = new_execution_id()
        context = parameters_context("acme", execution_id)
        return Request(
            execution_id=execution_id,
            org="acme",
            workflow=workflow,
            caller=Caller(id="tester"),
            accepted_at=datetime.now(UTC),
            sealed_parameters=self.sealer.seal(msgspec.json.encode(parameters), context),
            **more,
        )

    async def submit(self, request: Request, id_: str | None = None) -> None:
        subject = subjects.request("0", request.org, request.workflow)
        await self.bus.publish(Message(subject=subject, payload=encode(request), id=id_ or request.execution_id))

    async def events(self, request: Request) -> list[AnyEvent]:
        filter_ = subjects.all_events("acme", request.execution_id)
        return [decode_event(stored.payload) for stored in await self.bus.read(subjects.EVENTS, filter_)]

    async def ended(self, request: Request, within: float = 20) -> AnyEvent:
        async def look() -> AnyEvent | None:
            events = await self.events(request)
            return next((e for e in events if isinstance(e, Succeeded | Failed | Cancelled)), None)

        found = await eventually(look, within=within)
        assert found is not None
        return found

    async def queue_is_empty(self) -> bool:
        lag = await self.bus.lag(subjects.REQUESTS, subjects.executors("0"))
        return lag.pending == 0 and lag.unacknowledged == 0
