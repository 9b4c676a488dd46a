"""What operators change in the console, and what authors read there: each change is seen in the API afterwards."""

import asyncio
import os
import re
import sys

import pytest
from playwright.async_api import Page, expect

from tests.console.conftest import Opened
from tests.support.desk import Desk
from tests.support.eventually import eventually


async def answered(page: Page, button: str, **fields: str) -> None:
    """Fill a dialog in and send it."""
    dialog = page.get_by_role("dialog")
    for label, value in fields.items():
        await dialog.get_by_label(label, exact=True).fill(value)
    await dialog.get_by_role("button", name=button, exact=True).click()


async def test_a_schedule_shows_five_fires_is_paused_and_goes_on(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    page = await open_page("#/demo/schedules/nightly", key=desk.admin_key)
    await expect(page.locator(".fires > li")).to_have_count(5)
    await expect(page.locator(".card")).to_contain_text("Europe/Berlin")
    await page.get_by_role("button", name="Pause nightly").click()
    await expect(page.get_by_role("button", name="Resume nightly")).to_be_visible()
    assert (await desk.admin.get("/schedules/nightly")).json()["enabled"] is False
    await page.get_by_role("button", name="Resume nightly").click()
    await expect(page.get_by_role("button", name="Pause nightly")).to_be_visible()
    assert (await desk.admin.get("/schedules/nightly")).json()["enabled"] is True


async def test_a_schedule_says_what_daylight_saving_does_to_it(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    await desk.admin.put("/schedules/nightly", json={"schedule": "0 9 1 * *"})
    page = await open_page("#/demo/schedules/nightly", key=desk.admin_key)
    # Of monthly fires a change of clocks is among any eight, so it is noted at a fire or as one later.
    await expect(page.locator(".card")).to_contain_text("The clocks of Europe/Berlin change before")
    await expect(page.locator(".card")).to_contain_text(
        re.compile(r"UTC\+01:00 becomes UTC\+02:00|UTC\+02:00 becomes UTC\+01:00")
    )
    await desk.admin.delete("/schedules/nightly")


async def test_a_schedule_is_run_now(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    page = await open_page("#/demo/schedules/nightly", key=desk.admin_key)
    await page.get_by_role("button", name="Run now").click()
    await expect(page).to_have_url(re.compile("executions/"))
    await expect(page.locator("header rl-status")).to_have_text("Succeeded", timeout=30_000)


async def test_an_expression_that_cannot_be_read_is_said_in_its_dialog(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    page = await open_page("#/demo/schedules/nightly", key=desk.admin_key)
    await page.get_by_role("button", name="Change…").click()
    await answered(page, "Save", **{"Cron expression": "nonsense"})
    await expect(page.get_by_role("dialog").get_by_role("alert")).not_to_be_empty()


async def test_a_webhook_is_set_up_rotated_and_its_delivery_replayed(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    page = await open_page("#/demo/webhooks/ticket", key=desk.admin_key)
    await page.get_by_role("button", name="Set up…").click()
    await answered(page, "Save")
    secret = await page.get_by_role("dialog").locator("pre").inner_text()
    await page.get_by_role("button", name="Done").click()
    sent = await desk.client.post(
        "/webhooks/demo/ticket", json={"subject": "printer"}, headers={"X-Webhook-Secret": secret}
    )
    assert sent.status_code == 202, sent.text
    await page.get_by_role("button", name="Rotate the secret…").click()
    await answered(page, "Rotate")
    assert await page.get_by_role("dialog").locator("pre").inner_text() != secret
    await page.get_by_role("button", name="Done").click()
    assert len((await desk.admin.get("/webhooks/demo/ticket")).json()["secrets"]) == 2
    await page.get_by_role("button", name="End the old secret…").click()
    await answered(page, "End it")
    await expect(page.get_by_role("button", name="Rotate the secret…")).to_be_visible()
    await page.get_by_role("button", name=re.compile("^Replay")).first.click()
    await expect(page).to_have_url(re.compile("executions/"))
    assert secret not in await page.content()


async def test_configuration_is_set_changed_and_taken_back(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    page = await open_page("#/demo/config", key=desk.admin_key)
    await page.get_by_role("button", name="Set a value…").click()
    await answered(page, "Save", Key="desk_limit", Value="12")
    row = page.locator("tbody tr").filter(has_text="desk_limit")
    await expect(row).to_contain_text("own")
    assert (await desk.admin.get("/orgs/demo/config/desk_limit")).json()["value"] == 12
    await row.get_by_role("button", name="Remove desk_limit").click()
    await answered(page, "Remove")
    await expect(row).to_have_count(0)


async def test_a_secret_is_set_and_never_shown(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    page = await open_page("#/demo/secrets", key=desk.admin_key)
    await page.get_by_role("button", name="Set a secret…").click()
    await answered(page, "Save", Name="halo-password", Value="t0p-s3cret-x")
    row = page.locator("tbody tr").filter(has_text="halo-password")
    await expect(row).to_be_visible()
    assert "t0p-s3cret-x" not in await page.content()
    await row.get_by_role("button", name="Remove halo-password").click()
    await answered(page, "Remove")
    await expect(row).to_have_count(0)


async def test_a_key_is_shown_once_works_and_is_revoked(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    page = await open_page("#/demo/keys", key=desk.admin_key)
    await page.get_by_role("button", name="Make a key…").click()
    await answered(page, "Make", **{"Whose it is, or what for": "Key of Ada"})
    key = await page.get_by_role("dialog").locator("pre").inner_text()
    await page.get_by_role("button", name="Done").click()
    await expect(page.locator("dialog")).to_have_count(0)
    assert key not in await page.content()

    async def status(wanted: int) -> bool:
        return (await desk.client.get("/me", headers={"Authorization": f"Bearer {key}"})).status_code == wanted

    await eventually(lambda: status(200))
    await page.get_by_role("button", name="Revoke Key of Ada").click()
    await answered(page, "Revoke")
    await expect(page.locator("tbody tr").filter(has_text="Key of Ada")).to_have_count(0)
    await eventually(lambda: status(401))


async def test_an_organisation_is_made_once_and_the_audit_trail_tells(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    page = await open_page("#/demo/orgs", key=desk.admin_key)
    for problem in (False, True):
        await page.get_by_role("button", name="New organisation…").click()
        await answered(page, "Save", Id="hooli", Name="Hooli")
        if problem:
            await expect(page.get_by_role("dialog").get_by_role("alert")).not_to_be_empty()
        else:
            await expect(page.get_by_role("dialog")).to_have_count(0)
    page = await open_page("#/hooli/audit", key=desk.admin_key)
    await expect(page.locator("tbody tr").filter(has_text="hooli").first).to_be_visible()
    await page.get_by_role("button", name="Look").first.click()
    await expect(page.get_by_role("dialog")).to_contain_text("requestId")


async def test_a_file_that_failed_to_import_is_told_with_its_traceback(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    page = await open_page("#/demo/code", key=desk.admin_key)
    broken = page.get_by_role("article", name=re.compile("broken.py failed to import"))
    await expect(broken).to_contain_text("the licence file is missing")
    await expect(broken.locator("details pre")).to_contain_text("line 3")


async def test_an_author_sees_where_a_workflow_stands_and_how_to_call_it(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    page = await open_page("#/demo/code/onboard", key=desk.admin_key)
    await expect(page.locator("main")).to_contain_text(re.compile(r"desk\.py:\d+"))
    for sample in (f"curl -X POST {desk.url}/workflows/onboard", "from runlane.client import Client"):
        await expect(page.locator("pre").filter(has_text=sample)).to_have_count(1)
    assert desk.admin_key not in await page.content()


async def test_the_python_sample_of_a_workflow_runs_as_it_is_shown(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    page = await open_page("#/demo/code/small", key=desk.admin_key)
    sample = await page.locator("pre").filter(has_text="from runlane.client").inner_text()
    environment = {**os.environ, "RUNLANE_API_KEY": desk.key}
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", sample, env=environment, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await program.communicate()
    assert (program.returncode, said.strip()) == (0, b"0")


async def test_an_executor_that_serves_is_listed_and_can_be_drained(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    page = await open_page("#/demo/executors", key=desk.admin_key)
    await expect(page.locator("tbody tr").first).to_contain_text("Serving")
    await page.get_by_role("button", name="Drain…").first.click()
    await expect(page.get_by_role("dialog")).to_contain_text("ends once")


MANAGING = ["Webhooks", "Keys", "Secrets", "Audit trail", "Executors"]
OPERATING = ["Executions", "Schedules", "Dead letters"]


@pytest.mark.parametrize(
    ("role", "seen", "unseen"), [("technician", OPERATING, MANAGING), ("owner", OPERATING + MANAGING, [])]
)
async def test_pages_are_there_for_whoever_may_use_them(
    open_page: Opened, desk: Desk, role: str, seen: list[str], unseen: list[str]
) -> None:
    await desk.run("small")
    made = await desk.new_key("demo", roles=[role])
    page = await open_page("#/demo/schedules", key=made["key"])
    await expect(page.get_by_role("heading", level=1)).to_have_text("Schedules")
    for name in seen:
        await expect(page.get_by_role("link", name=name, exact=True)).to_have_count(1)
    for name in unseen:
        await expect(page.get_by_role("link", name=name, exact=True)).to_have_count(0)
    if role == "technician":
        await expect(page.get_by_role("button", name="Pause nightly")).to_have_count(0)
