"""Ticks of workflows that need an approval."""

from runlane.contracts import subjects
from runlane.contracts.directory import ApprovalRule, Org
from runlane.contracts.events import PendingApproval, decode_event
from runlane.contracts.requests import decode_request
from runlane.directory import approval_key
from tests.support.scheduler_bus import SchedulerBus
from tests.support.scheduling import World, at, manifest

ACME = Org(id="acme", name="Acme")


def kinds(world: World) -> list[str]:
    assert isinstance(world.bus, SchedulerBus)
    return [message.subject.split(".")[1] + "." + message.subject.rpartition(".")[2] for message in world.bus.published]


async def test_a_tick_that_needs_an_approval_waits_for_it() -> None:
    world = World.starting("2026-03-02T08:00")
    world.put(ACME, manifest(requires_approval=True))
    await world.open()
    await world.at("2026-03-02T09:00:01")
    assert kinds(world) == ["tick.audit", "event.queued", "delayed.expiry", "event.pending_approval"]
    assert isinstance(world.bus, SchedulerBus)
    expiry, pending = world.bus.published[2:]
    event = decode_event(pending.payload)
    assert isinstance(event, PendingApproval)
    assert (event.data.step, expiry.deliver_at) == (None, event.data.terms.expires_at)
    assert decode_request(expiry.payload).wake
    assert (pending.expect_last, pending.expect_on) == (0, subjects.state_line("acme", "audit", event.subject))


async def test_a_rule_that_changes_holds_for_the_next_tick() -> None:
    world = World.starting("2026-03-02T08:00")
    world.put(ACME, manifest(schedule="0 * * * *"))
    await world.open()
    world.put(ApprovalRule(org="acme", workflow="*", required=True))
    await world.at("2026-03-02T09:00:01")
    assert kinds(world)[-1] == "event.pending_approval"
    world.remove(approval_key("acme", "*"))
    await world.at("2026-03-02T10:00:01")
    assert kinds(world)[-1] == "request.audit"


async def test_a_second_scheduler_puts_nothing_up_twice() -> None:
    world = World.starting("2026-03-02T08:00")
    world.put(ACME, manifest(requires_approval=True))
    await world.open("one")
    await world.open("two")
    await world.at("2026-03-02T09:00:01")
    world.clock.set(at("2026-03-02T09:00:02"))
    await world.restart()
    assert kinds(world).count("event.pending_approval") == 1
