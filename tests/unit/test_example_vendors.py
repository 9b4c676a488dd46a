"""The example that uses Graph and Halo, run against stand-ins for both."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from examples.vendors.halopsa import HaloStandIn
from examples.vendors.msgraph import ENTERPRISE, GraphStandIn
from examples.vendors.settings import config, secrets
from runlane.registry import discover
from runlane.testing import FakeContext

EXAMPLES = Path(__file__).parents[2] / "examples" / "jobs"
ADA = {"email": "ada@acme.example", "first_name": "Ada", "last_name": "Lovelace"}


class Run:
    def __init__(self, graph: GraphStandIn, halo: HaloStandIn) -> None:
        self.graph, self.halo = graph, halo
        self.context = FakeContext(
            config=config(graph, halo), secrets=secrets(graph, halo), allowed_hosts=["127.0.0.1"]
        )

    async def __call__(self, **parameters: Any) -> dict[str, Any]:
        found = discover(EXAMPLES).workflows["onboard_with_vendors"]
        result: dict[str, Any] = await found.function(self.context, **parameters)
        return result


@pytest.fixture
async def run() -> AsyncIterator[Run]:
    graph, halo = GraphStandIn(), HaloStandIn()
    async with graph.serving(), halo.serving():
        run = Run(graph, halo)
        yield run
        await run.context.aclose()


async def test_somebody_gets_a_user_a_licence_a_group_and_a_ticket(run: Run) -> None:
    group_id = run.graph.add_group("Sales-Users")
    result = await run(**ADA)
    user = run.graph.users[result["user_id"]]
    assert user["licenses"] == [ENTERPRISE]
    assert run.graph.members[group_id] == [result["user_id"]]
    assert run.halo.things["tickets"][result["ticket_id"]]["client_id"] == 12
    assert run.context.logs == []


async def test_what_there_is_none_of_is_said(run: Run) -> None:
    run.graph.skus[0]["consumedUnits"] = 50
    result = await run(**ADA, department="Research")
    assert result["licensed"] is False
    assert [level for level, _ in run.context.logs] == ["warning", "warning"]
    assert "licence" in run.halo.things["tickets"][1]["details"]
