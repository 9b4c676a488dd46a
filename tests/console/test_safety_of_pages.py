"""Every page shows what others wrote as text: names, reasons, values, tracebacks, deliveries, schedules, keys."""

from pathlib import Path

from playwright.async_api import expect

from tests.console.conftest import Opened
from tests.console.test_safety import harmless
from tests.console.workflows.desk import EVIL
from tests.support.desk import Desk


async def test_every_page_that_shows_what_people_wrote_shows_text(open_page: Opened, desk: Desk) -> None:
    failed = await desk.run("spiteful", fail=True)
    assert (await desk.admin.put("/orgs/demo/config/spite", json={"value": {EVIL: [EVIL]}})).status_code == 200
    await desk.new_key("demo", name=EVIL)
    await desk.add_org("spiteful", name=EVIL, tags=["spite"])
    assert (
        await desk.admin.post(f"/executions/{await desk.start('talks', gate='/never')}/cancel", json={"reason": EVIL})
    ).status_code == 200
    secret = {"secret": "a-secret-that-is-long-enough-for-a-hook"}
    await desk.admin.put("/webhooks/demo/ticket", json=secret)
    sent = {"X-Webhook-Secret": secret["secret"], "User-Agent": EVIL}
    await desk.client.post("/webhooks/demo/ticket", json={"subject": EVIL}, headers=sent)
    await desk.client.post("/webhooks/demo/ticket", json={"subject": EVIL}, headers={"X-Webhook-Secret": "wrong" * 8})
    shown = {
        "overview": "Ended",
        "executions": "<img",
        "code": "<img",
        "code/spiteful": "<img",
        f"code/spiteful?failure={failed}": "<img",
        "config": "<img",
        "keys": "<img",
        "orgs": "<img",
        "audit": "cancel executions",
        "webhooks/ticket": "ticket",
        "schedules": "nightly",
        "secrets": "Secrets",
        "dead-letters": "Dead letters",
        "executors": "executor-",
        "approvals": "Approvals",
        "run": "<img",
        "run/spiteful": "<img",
    }
    page = await open_page("#/demo/run", key=desk.admin_key)
    for address, text in shown.items():
        await page.goto(f"{desk.url}/#/demo/{address}")
        await expect(page.locator("main")).to_contain_text(text)
        await harmless(page)


async def test_a_traceback_and_the_name_of_a_file_are_text(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    page = await open_page("#/demo/code")
    await expect(page.get_by_role("article", name="broken.py failed to import")).to_contain_text("<script>")
    await harmless(page)


async def test_what_an_address_names_is_text(open_page: Opened, desk: Desk, tmp_path: Path) -> None:
    await desk.run("small")
    page = await open_page("#/demo/run")
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    for address in ("executions", "code", "schedules", "webhooks", "run"):
        await page.goto(f"{desk.url}/#/demo/{address}/{EVIL.replace('/', '%2F').replace('?', '%3F')}")
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        await harmless(page)
