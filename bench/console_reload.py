"""`python -m bench.console_reload [--rounds N]`: `runlane up --reload`, from a saved file to its row on the screen."""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

from playwright.async_api import Page, async_playwright

from tests.support.chromium import chromium
from tests.support.engine import Engine

WORKFLOW = """from runlane import Context, workflow


@workflow(name="{name}", description="{name} is here")
async def made(context: Context) -> int:
    return 1
"""


async def seen(page: Page, folder: Path, number: int) -> float:
    """Seconds until a new file's workflow stands in the page, which is not loaded again."""
    name = f"saved_{number}"
    began = time.perf_counter()
    (folder / f"{name}.py").write_text(WORKFLOW.format(name=name))
    await page.locator("tbody tr", has_text=f"{name} is here").wait_for(timeout=30_000)
    return time.perf_counter() - began


async def measure(engine: Engine, rounds: int) -> list[float]:
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=options)
        page = await browser.new_page()
        key = engine.credentials()["org_key"]
        await page.add_init_script(f"sessionStorage.setItem('runlane.key', {key!r})")
        await page.goto(f"{engine.url}/#/demo/code")
        await page.locator("tbody tr", has_text="saved_0 is here").wait_for(timeout=30_000)
        took = []
        for number in range(1, rounds + 1):
            await asyncio.sleep(0.5 + number * 0.37 % 1)  # no two at the same point of the page's second
            took.append(await seen(page, engine.workflows, number))
        await browser.close()
    return took


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=20)
    rounds = options.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        workflows = Path(folder) / "workflows"
        workflows.mkdir()
        (workflows / "saved_0.py").write_text(WORKFLOW.format(name="saved_0"))
        engine = Engine(Path(folder) / "data", workflows, "--reload")
        engine.start()
        try:
            took = asyncio.run(measure(engine, rounds))
        finally:
            engine.stop()
    print(
        f"save → on the screen, {rounds} rounds: p50 {statistics.median(took):.2f} s, "
        f"p95 {statistics.quantiles(took, n=20)[18]:.2f} s, slowest {max(took):.2f} s"
    )


if __name__ == "__main__":
    main()
