"""Cancelling and running again all that a filter matches, from the list of executions."""

import re
from pathlib import Path

from playwright.async_api import expect

from tests.console.conftest import Opened
from tests.support.desk import Desk


async def test_what_a_filter_matches_is_counted_and_then_cancelled(
    open_page: Opened, desk: Desk, tmp_path: Path
) -> None:
    ids = [await desk.start("talks", gate=str(tmp_path / "never")) for _ in range(3)]
    page = await open_page("#/demo/executions?workflow=talks&status=Running&status=Queued")
    await expect(page.locator(f"a[href$='{ids[0]}']")).to_be_visible()
    await page.get_by_role("button", name="Cancel all…").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text(re.compile(r"[3-9] executions\."))
    await dialog.get_by_label("Reason").fill("wrong mailbox")
    await dialog.get_by_role("button", name=re.compile(r"^Cancel \d+$")).click()
    await expect(dialog).to_contain_text(re.compile(r"(\d+) of \1 cancelled\."))
    await dialog.get_by_role("button", name="Close").last.click()
    await expect(page.get_by_text("No execution matches.")).to_be_visible()
    for execution_id in ids:
        record = await desk.ended(execution_id)
        assert (record["status"], record["message"]) == ("Cancelled", "wrong mailbox")


async def test_what_failed_is_run_again_and_what_a_filter_does_not_name_is_not(open_page: Opened, desk: Desk) -> None:
    failed = await desk.run("fails")
    page = await open_page("#/demo/executions?workflow=fails&status=Failed")
    await page.get_by_role("button", name="Run all again…").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("button", name=re.compile(r"^Run again \d+$")).click()
    await expect(dialog).to_contain_text(re.compile(r"(\d+) of \1 run again\."))
    await page.goto(f"{desk.url}/#/demo/executions?workflow=fails&trigger=retry")
    await expect(page.locator("tbody tr").first).to_contain_text("retry")
    again = (await desk.client.get("/executions", params={"trigger": "retry", "workflow": "fails"})).json()
    assert failed in {item["trigger"]["reference"] for item in again["executions"]}


async def test_nothing_to_do_is_said(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    page = await open_page("#/demo/executions?workflow=small&status=Success")
    await page.get_by_role("button", name="Cancel all…").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("Nothing that it matches can be cancelled.")
    await expect(dialog.get_by_role("button", name="Cancel", exact=True)).to_be_disabled()


async def test_a_gateway_that_goes_away_can_be_gone_on_with(open_page: Opened, desk: Desk, tmp_path: Path) -> None:
    execution_id = await desk.start("talks", gate=str(tmp_path / "never"))
    page = await open_page("#/demo/executions?workflow=talks&status=Running&status=Queued")
    await page.get_by_role("button", name="Cancel all…").click()
    dialog = page.get_by_role("dialog")
    go = dialog.get_by_role("button", name=re.compile(r"^Cancel \d+$"))
    await expect(go).to_be_enabled()
    await page.context.set_offline(True)
    await go.click()
    await expect(dialog.get_by_role("alert")).to_contain_text("cannot be reached")
    await page.context.set_offline(False)
    await dialog.get_by_role("button", name="Go on").click()
    await expect(dialog).to_contain_text(re.compile(r"(\d+) of \1 cancelled"))
    assert (await desk.ended(execution_id))["status"] == "Cancelled"


async def test_whoever_may_only_look_has_no_such_buttons(open_page: Opened, desk: Desk) -> None:
    made = await desk.new_key("demo", roles=["viewer"])
    page = await open_page("#/demo/executions", key=made["key"])
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    await expect(page.get_by_role("button", name="Cancel all…")).to_have_count(0)


async def test_a_dialog_is_not_left_standing_over_another_page(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    page = await open_page("#/demo/executions")
    await page.get_by_role("button", name="Cancel all…").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.evaluate("location.hash = '#/demo/code'")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Workflows")
    await expect(page.get_by_role("dialog")).to_have_count(0)
