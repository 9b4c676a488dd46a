"""What goes wrong in a real engine and is mended at the console: dead letters, drained executors, skipped ticks."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.console.conftest import Opened
from tests.support.desk import Desk
from tests.support.engine import Engine

WORKFLOWS = Path(__file__).parent / "troubled_workflows"
#: A schedule fires at most once a minute: the second tick, which is skipped, comes within two.
TWO_TICKS_MS = 150_000


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    started = Engine(tmp_path_factory.mktemp("trouble") / "data", WORKFLOWS)
    started.start()
    yield started
    started.stop()


async def poisoned(open_page: Opened, desk: Desk, antidote: Path) -> tuple[str, Page]:
    """An execution that the engine gave up, and the page that says so."""
    execution = await desk.run("poison", antidote=str(antidote))
    page = await open_page("#/demo/dead-letters", key=desk.admin_key)
    row = page.locator("tbody tr").filter(has_text=execution[-8:])
    await expect(row).to_contain_text("crash_loop", timeout=20_000)
    return execution, page


async def test_what_was_given_up_is_looked_at_mended_and_run_again(
    open_page: Opened, desk: Desk, tmp_path: Path
) -> None:
    antidote = tmp_path / "antidote"
    execution, page = await poisoned(open_page, desk, antidote)
    row = page.locator("tbody tr").filter(has_text=execution[-8:])
    await row.get_by_role("button", name="Look").click()
    dialog = page.get_by_role("dialog")
    for told in (execution, "crash_loop", "The process that ran the workflow died", "poison", "runlane.request."):
        await expect(dialog).to_contain_text(told)
    await expect(dialog).not_to_contain_text(str(antidote))
    await page.keyboard.press("Escape")
    antidote.touch()
    await row.get_by_role("button", name="Retry…").click()
    await page.get_by_role("dialog").get_by_role("button", name="Run it again").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(row).to_have_count(0)
    await page.goto(f"{desk.url}/#/demo/executions?workflow=poison&status=Success")
    await expect(page.locator("tbody tr")).to_have_count(1, timeout=20_000)


async def test_what_was_given_up_is_thrown_away(open_page: Opened, desk: Desk, tmp_path: Path) -> None:
    execution, page = await poisoned(open_page, desk, tmp_path / "never")
    row = page.locator("tbody tr").filter(has_text=execution[-8:])
    await row.get_by_role("button", name="Discard…").click()
    await page.get_by_role("dialog").get_by_role("button", name="Throw it away").click()
    await expect(row).to_have_count(0)
    letters = (await desk.admin.get("/dead-letters")).json()["deadLetters"]
    assert execution not in [letter["executionId"] for letter in letters]


async def test_what_was_given_up_says_why_at_its_execution(open_page: Opened, desk: Desk, tmp_path: Path) -> None:
    execution, page = await poisoned(open_page, desk, tmp_path / "never")
    await page.locator("tbody tr").filter(has_text=execution[-8:]).get_by_role("link").click()
    error = page.get_by_role("group", name="Error")
    await expect(error).to_contain_text("WorkerCrashed")
    await expect(error).to_contain_text("The code ended its own process")


async def test_an_executor_is_drained_and_another_takes_its_place(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    page = await open_page("#/demo/executors", key=desk.admin_key)
    name = await page.locator("tbody tr code, tbody tr td.code").first.inner_text()
    await page.get_by_role("button", name="Drain…").first.click()
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text(name)
    await dialog.get_by_role("button", name="Drain").click()
    await expect(dialog).to_have_count(0)
    serving = page.locator("tbody tr").filter(has_text="Serving")
    await expect(serving.filter(has_text=re.compile(f"^(?!.*{name})"))).to_have_count(1, timeout=60_000)
    await expect(page.locator("tbody tr").filter(has_text=name)).to_have_count(0, timeout=60_000)
    await desk.run("small")


async def test_a_tick_that_was_skipped_says_why(open_page: Opened, desk: Desk) -> None:
    page = await open_page("#/demo/schedules/overlaps")
    ticks = page.get_by_role("region", name="Past ticks").locator("tbody tr")
    skipped = ticks.filter(has_text="skipped").first
    await expect(skipped).to_contain_text("overlap_policy is skip", timeout=TWO_TICKS_MS)
    await expect(skipped).to_contain_text("is still")
    await expect(ticks.filter(has_text="fired").get_by_role("link").first).to_be_visible()
