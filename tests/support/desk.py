"""What the tests of the console do behind its back: start workflows, make keys and organisations, look at records."""

from typing import Any

import httpx

from tests.support.eventually import eventually


class Desk:
    """The API as a colleague of whoever sits before the console uses it."""

    def __init__(
        self, url: str, credentials: dict[str, Any], client: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        self.url, self.client, self.admin = url, client, admin
        self.key: str = credentials["org_key"]
        self.admin_key: str = credentials["admin_key"]

    async def start(self, workflow: str, /, **parameters: Any) -> str:
        """Start a workflow; its execution's id."""

        async def accepted() -> httpx.Response:
            # An executor that has just started tells of its workflows in a moment.
            answer = await self.client.post(
                f"/workflows/{workflow}", json=parameters, headers={"Prefer": "respond-async"}
            )
            assert answer.status_code == 202, answer.text
            return answer

        return str((await eventually(accepted)).json()["executionId"])

    async def ended(self, execution_id: str) -> dict[str, Any]:
        """Its record once it has ended."""

        async def looked() -> dict[str, Any] | None:
            record = (await self.client.get(f"/executions/{execution_id}", params={"wait": 20})).json()
            return record if record["status"] in ("Success", "Failed", "Cancelled") else None

        found = await eventually(looked)
        assert found is not None
        return found

    async def run(self, workflow: str, /, **parameters: Any) -> str:
        """Start it and wait for its end."""
        execution_id = await self.start(workflow, **parameters)
        await self.ended(execution_id)
        return execution_id

    async def new_key(self, *orgs: str, **rights: Any) -> dict[str, Any]:
        """A key of these organisations; an owner's unless said otherwise."""
        body = {"name": "made for a test", "orgs": list(orgs), **({"roles": ["owner"]} | rights)}
        made = await self.admin.post("/keys", json=body)
        assert made.status_code == 201, made.text
        return dict(made.json())

    async def add_org(self, org: str, **settings: Any) -> None:
        """Make an organisation, or change it."""
        answer = await self.admin.put(f"/orgs/{org}", json={"name": f"{org.title()} Ltd", **settings})
        assert answer.status_code == 200, answer.text
