"""An operator's pages: the list with its filters, one execution over time, its log, its data."""

import re
from pathlib import Path
from typing import Any

from playwright.async_api import Page, expect

from tests.console.conftest import Opened
from tests.support.desk import Desk
from tests.support.engine import Engine
from tests.support.eventually import eventually

LOG = """async (count) => {
  const base = document.querySelector('script[type="module"]').src.replace('app.js', '');
  const { log } = await import(base + 'parts/log.js');
  const element = log();
  document.querySelector('main').replaceChildren(element);
  element.lines = Array.from({ length: count }, (_, n) => ({
    timestamp: '2026-01-01T00:00:00.000Z', level: n % 1000 ? 'info' : 'error', message: 'line ' + n,
  }));
}"""


async def names(page: Page) -> list[str]:
    return await page.locator("tbody tr td:nth-child(2) a").all_inner_texts()


async def test_filters_are_in_the_address_and_answered_by_the_gateway(open_page: Opened, desk: Desk) -> None:
    await desk.run("fails")
    await desk.run("small")
    page = await open_page("#/demo/executions")
    await page.get_by_text("Failed", exact=True).first.click()
    await expect(page).to_have_url(re.compile("status=Failed"))
    await expect(page.locator("tbody rl-status").first).to_have_text("Failed")
    await page.get_by_label("Workflow", exact=True).fill("fails")
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("workflow=fails"))
    await page.reload()
    await expect(page.get_by_role("checkbox", name="Failed")).to_be_checked()
    await expect(page.get_by_label("Workflow", exact=True)).to_have_value("fails")
    await expect(page.locator("tbody tr").first).to_be_visible()
    assert set(await names(page)) == {"fails"}
    await page.go_back()
    await expect(page).not_to_have_url(re.compile("workflow="))
    await expect(page.get_by_label("Workflow", exact=True)).to_have_value("")
    await page.get_by_role("button", name="Clear").click()
    await expect(page.get_by_role("checkbox", name="Failed")).not_to_be_checked()


async def test_a_filter_that_cannot_be_read_is_said_and_not_hidden(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    page = await open_page("#/demo/executions?status=Nonsense")
    await expect(page.get_by_role("alert").filter(has_text="status")).to_be_visible()


async def test_pages_are_read_by_keys_forth_and_back(open_page: Opened, desk: Desk) -> None:
    for number in range(55):
        await desk.start("small", number=number)
    page = await open_page("#/demo/executions?workflow=small")
    await expect(page.locator("tbody tr")).to_have_count(50)
    first = await page.locator("tbody tr a").first.get_attribute("href")
    await page.get_by_role("button", name="Older").click()
    await expect(page).to_have_url(re.compile("after="))
    await expect(page.locator("tbody tr a").first).not_to_have_attribute("href", str(first))
    await page.get_by_role("button", name="Newest").click()
    await expect(page.locator("tbody tr a").first).to_have_attribute("href", str(first))


async def test_new_executions_wait_until_they_are_asked_for_so_that_nothing_moves(
    open_page: Opened, desk: Desk
) -> None:
    await desk.run("fails")
    page = await open_page("#/demo/executions?workflow=fails")
    row = page.locator("tbody tr").first
    await expect(row).to_be_visible()
    before, told = await row.bounding_box(), await row.inner_text()
    await desk.run("fails")
    button = page.get_by_role("button", name=re.compile(r"^1 new$"))
    await expect(button).to_be_visible(timeout=30_000)
    assert (await row.bounding_box(), await row.inner_text()) == (before, told)
    count = await page.locator("tbody tr").count()
    await button.click()
    await expect(page.locator("tbody tr")).to_have_count(count + 1)


async def test_an_execution_is_shown_over_time(open_page: Opened, desk: Desk) -> None:
    execution_id = await desk.run("onboard", email="ada@initech.com")
    page = await open_page(f"#/demo/executions/{execution_id}")
    await page.get_by_role("tab", name=re.compile("Timeline")).click()
    rows = page.locator("rl-waterfall li")
    for name in ("States", "Attempt 1", "create_user", "msgraph POST /v1.0/users", "user_created"):
        await expect(rows.filter(has_text=name)).to_have_count(1)
    await page.get_by_role("tab", name="Data").click()
    await expect(page.get_by_role("tabpanel")).to_contain_text("user-123")


async def test_a_wait_is_as_long_on_the_time_line_as_it_was(open_page: Opened, desk: Desk) -> None:
    execution_id = await desk.run("rests")
    page = await open_page(f"#/demo/executions/{execution_id}?tab=timeline")
    took = page.locator("rl-waterfall li[data-kind=wait] .took")
    await expect(took).to_have_text(re.compile(r"^(5\d\d ms|0\.5 s)$"))


async def test_no_time_leaves_the_time_line_on_a_telephone(open_page: Opened, desk: Desk) -> None:
    execution_id = await desk.run("onboard", email="ada@initech.com")
    page = await open_page(f"#/demo/executions/{execution_id}?tab=timeline", viewport={"width": 360, "height": 740})
    times = page.locator("rl-waterfall .took")
    await expect(times.filter(has_text=":")).to_have_count(1)
    assert await times.evaluate_all("(all) => all.every((one) => one.scrollWidth <= one.clientWidth)")


async def test_an_error_says_what_to_do(open_page: Opened, desk: Desk) -> None:
    execution_id = await desk.run("fails")
    page = await open_page(f"#/demo/executions/{execution_id}")
    error = page.get_by_role("group", name="Error")
    await expect(error).to_contain_text("HaloPSA answered 503")
    await expect(error).to_contain_text("What to do")
    await expect(error).to_contain_text("run this again")


async def test_a_call_is_copied_as_curl_without_a_key_in_it(open_page: Opened, desk: Desk) -> None:
    execution_id = await desk.run("onboard", email="o'neill@initech.com", password="pa55w0rd-x")
    page = await open_page(
        f"#/demo/executions/{execution_id}?tab=call", permissions=["clipboard-read", "clipboard-write"]
    )
    await page.get_by_role("button", name="Copy as curl").first.click()
    copied = await page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith(f"curl -X POST {desk.url}/workflows/onboard")
    assert r"o'\''neill@initech.com" in copied
    assert desk.key not in copied
    assert "pa55w0rd-x" not in copied


async def test_a_log_goes_on_without_gap_or_repetition_when_its_gateway_is_killed(
    open_page: Opened, desk: Desk, engine: Engine, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    execution_id = await desk.start("talks", gate=str(gate), lines=5)
    page = await open_page(f"#/demo/executions/{execution_id}")
    await expect(page.get_by_role("log")).to_contain_text("before 4")
    engine.kill_service("gateway")
    gate.touch()
    await expect(page.locator("header rl-status")).to_have_text("Succeeded", timeout=30_000)
    await expect(page.get_by_role("log")).to_contain_text("after 4")
    lines = await page.locator("rl-log .message").all_inner_texts()
    assert lines == [f"{when} {number}" for when in ("before", "after") for number in range(5)]


async def test_a_hundred_thousand_lines_are_a_few_elements(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    page = await open_page("#/demo/run")
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    await page.evaluate(LOG, 100_000)
    log = page.get_by_role("log")
    await expect(log).to_contain_text("line 99999")
    assert await page.locator("rl-log .line").count() < 150
    await log.evaluate("(element) => { element.scrollTop = element.scrollHeight / 2; }")
    await expect(log).to_contain_text("line 50000")
    assert await page.locator("rl-log .line").count() < 150
    await page.get_by_label("Find in the log").fill("line 4711")
    await expect(page.get_by_text("11 of 100,000 lines")).to_be_visible()
    await page.get_by_label("Find in the log").fill("")
    await page.get_by_label("Least level").select_option("error")
    await expect(page.get_by_text("100 of 100,000 lines")).to_be_visible()


async def test_the_log_says_how_many_lines_were_not_kept(open_page: Opened, desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "gate").touch()
    execution_id = await desk.run("talks", gate=str(tmp_path / "gate"), lines=5100)
    page = await open_page(f"#/demo/executions/{execution_id}")
    await expect(page.get_by_text("10,000 lines; 200 more were not kept")).to_be_visible()


async def test_a_line_of_the_log_is_opened_with_the_keyboard(open_page: Opened, desk: Desk) -> None:
    execution_id = await desk.run("onboard", email="ada@initech.com")
    page = await open_page(f"#/demo/executions/{execution_id}")
    await expect(page.get_by_role("log")).to_contain_text("creating")
    await page.get_by_role("log").focus()
    await page.keyboard.press("ArrowDown")
    await expect(page.locator("rl-log .detail")).to_contain_text("department")
    await page.keyboard.press("Escape")
    await expect(page.locator("rl-log .detail")).to_be_hidden()


async def test_times_are_those_of_the_organisation(open_page: Opened, desk: Desk) -> None:
    await desk.add_org("tokyo", timeZone="Asia/Tokyo")
    started = await desk.admin.post(
        "/workflows/small", json={}, headers={"X-Organization-Id": "tokyo", "Prefer": "wait=20"}
    )
    record: dict[str, Any] = (
        await desk.admin.get(f"/executions/{started.json()['executionId']}", headers={"X-Organization-Id": "tokyo"})
    ).json()
    page = await open_page("#/tokyo/executions", key=desk.admin_key, timezone_id="America/New_York")
    shown = page.locator("tbody rl-time").first
    hour = (int(record["queuedAt"][11:13]) + 9) % 24
    await expect(shown).to_contain_text(f", {hour:02}:{record['queuedAt'][14:19]}")
    assert "Asia/Tokyo" in str(await shown.get_attribute("title"))


async def test_an_execution_that_is_not_there_is_said_so(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    page = await open_page(f"#/demo/executions/{'0' * 32}")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Not found")


async def test_while_the_gateway_is_away_the_console_says_so_and_comes_back(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    page = await open_page("#/demo/executions")
    await expect(page.locator("tbody tr").first).to_be_visible()
    await page.context.set_offline(True)
    await expect(page.get_by_text("The gateway cannot be reached")).to_be_visible(timeout=30_000)
    assert await page.locator("tbody tr").count() > 0
    await page.context.set_offline(False)

    async def told() -> bool:
        return await page.get_by_text("The gateway cannot be reached").count() == 0

    await eventually(told, within=60)
