"""`runlane up --reload`: an author saves a file and sees it in the console, without loading the page again."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect

from tests.support.engine import Engine

GOOD = """from runlane import Context, workflow


@workflow(name="{name}", description="{description}")
async def made(context: Context) -> int:
    return 1
"""


@pytest.fixture(scope="module")
def reloading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("reload")
    (folder / "workflows").mkdir()
    (folder / "workflows" / "first.py").write_text(GOOD.format(name="first", description="was here"))
    started = Engine(folder / "data", folder / "workflows", "--reload")
    started.start()
    yield started
    started.stop()


async def test_a_file_that_is_saved_shows_and_one_that_is_broken_says_where(
    browser: Browser, reloading: Engine
) -> None:
    page = await browser.new_page()
    key = reloading.credentials()["org_key"]
    await page.add_init_script(f"sessionStorage.setItem('runlane.key', {key!r})")
    await page.goto(f"{reloading.url}/#/demo/code")
    rows = page.locator("tbody tr")
    await expect(rows.filter(has_text="was here")).to_be_visible(timeout=20_000)
    file = Path(reloading.workflows) / "second.py"
    file.write_text(GOOD.format(name="second", description="just saved"))
    # bench/console.py measures how soon; a machine that is busy with tests takes longer.
    await expect(rows.filter(has_text="just saved")).to_be_visible(timeout=20_000)
    file.write_text("def broken(:\n")
    failed = page.get_by_role("article", name="second.py failed to import")
    await expect(failed).to_contain_text("SyntaxError", timeout=20_000)
    file.write_text(GOOD.format(name="second", description="mended"))
    await expect(rows.filter(has_text="mended")).to_be_visible(timeout=20_000)
    await expect(failed).to_have_count(0)
