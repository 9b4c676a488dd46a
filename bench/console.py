"""`python -m bench.console [--rows N] [--json FILE]`: the console's speed in Chromium, beside many records."""

import argparse
import asyncio
import json
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import httpx
from playwright.async_api import Browser, Page, async_playwright

from runlane.adapters.sql.tables import executions
from runlane_gateway.console_files import read_console
from tests.support.chromium import chromium
from tests.support.engine import Engine
from tests.support.eventually import eventually

WORKFLOWS = Path(__file__).parent / "console_workflows"
ROUNDS = 4

#: When the first row stands in the page; when each line of a log is painted, beside when it says it was written.
WATCH = """
  window.rowAt = null; window.told = [];
  new MutationObserver((changes) => {
    if (window.rowAt === null && document.querySelector('tbody tr a')) window.rowAt = performance.now();
    for (const { addedNodes } of changes) for (const node of addedNodes) {
      const said = node.classList?.contains('line') && /at=([0-9.]+)/.exec(node.textContent);
      if (said && !window.told.some(([at]) => at === said[1])) {
        const entry = [said[1], 0];
        window.told.push(entry);
        requestAnimationFrame(() => { entry[1] = performance.timeOrigin + performance.now() - Number(said[1]); });
      }
    }
  }).observe(document, { childList: true, subtree: true });
"""
PAINTED = "() => performance.getEntriesByName('first-contentful-paint')[0].startTime"
ASKED = """() => performance.getEntriesByType('resource').filter((one) => one.name.includes('/executions?'))
    .map((one) => one.responseEnd - one.startTime)[0]"""

Figures = dict[str, float]


def multiply(path: Path, rows: int) -> None:
    """Make so many executions of the ones that are there, a second apart, most of them succeeded."""
    own = {
        "execution_id": "printf('%032x', n)",
        "listed_at": "listed_at - n * 1000000",
        "queued_at": "queued_at - n * 1000000",
        "completed_at": "completed_at - n * 1000000",
        "duration_ms": "n % 4000",
        "status": "CASE WHEN n % 25 THEN status ELSE 'Failed' END",
    }
    names = [column.name for column in executions.columns]
    values = ", ".join(own.get(name, name) for name in names)
    count = "WITH RECURSIVE count(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM count WHERE n < ?)"
    with closing(sqlite3.connect(path)) as store:
        chosen = "(SELECT * FROM executions WHERE status = 'Success' LIMIT 1)"
        store.execute(
            f"{count} INSERT INTO executions ({', '.join(names)}) SELECT {values} FROM count, {chosen}", (rows,)
        )
        store.commit()
        store.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@asynccontextmanager
async def opened(engine: Engine, browser: Browser) -> AsyncIterator[Page]:
    """A page without anything kept of an earlier one, signed in."""
    context = await browser.new_context()
    page = await context.new_page()
    key = engine.credentials()["org_key"]
    await page.add_init_script(f"sessionStorage.setItem('runlane.key', {key!r}); {WATCH}")
    yield page
    await context.close()


async def first_sight(engine: Engine, browser: Browser) -> Figures:
    """A browser that has nothing of the console yet opens the list of executions."""
    painted, rows, asked = [], [], []
    for _ in range(ROUNDS):
        async with opened(engine, browser) as page:
            await page.goto(f"{engine.url}/#/demo/executions")
            await page.locator("tbody tr a").first.wait_for()
            painted.append(await page.evaluate(PAINTED))
            rows.append(await page.evaluate("window.rowAt"))
            asked.append(await page.evaluate(ASKED))
    return {"first_paint_ms": max(painted), "interactive_ms": max(rows), "list_in_page_ms": max(asked)}


async def lists(engine: Engine) -> Figures:
    """Pages as the gateway answers them, the slowest of some."""

    async def slowest(ask: Callable[[], Awaitable[httpx.Response]]) -> float:
        took = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            answer = await ask()
            took.append((time.perf_counter() - began) * 1000)
            assert answer.status_code == 200, answer.text
            await asyncio.sleep(1.1)  # what the gateway keeps for a second is not what is measured
        return max(took)

    async with engine.client() as client:
        after = (await client.get("/executions", params={"limit": 200})).json()["next"]
        paths = {
            "list_ms": "/executions",
            "list_failed_ms": "/executions?status=Failed",
            "list_of_a_workflow_ms": "/executions?workflow=noop",
            "list_deep_ms": f"/executions?after={after}",
            "overview_hour_ms": "/overview",
            "overview_week_ms": "/overview?minutes=10080",
        }
        return {name: await slowest(lambda path=path: client.get(path)) for name, path in paths.items()}  # type: ignore[misc]


async def tail(engine: Engine, browser: Browser) -> Figures:
    """From `context.log` to the frame that shows the line."""
    async with engine.client() as client, opened(engine, browser) as page:
        answer = await client.post("/workflows/tells", json={}, headers={"Prefer": "respond-async"})
        await page.goto(f"{engine.url}/#/demo/executions/{answer.json()['executionId']}")
        await page.locator("header rl-status", has_text="Succeeded").wait_for(timeout=60_000)
        late = [entry[1] for entry in await page.evaluate("window.told") if entry[1] > 0]
    assert len(late) > 200, f"only {len(late)} lines were seen"
    return {"tail_p50_ms": statistics.median(late), "tail_p95_ms": statistics.quantiles(late, n=20)[18]}


def assets() -> Figures:
    console = read_console()
    files = [console.page, *console.files.values()]
    return {
        "assets_kib": sum(len(file.body) for file in files) / 1024,
        "assets_sent_kib": sum(len(file.compressed) for file in files) / 1024,
    }


async def measure(engine: Engine) -> Figures:
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=options)
        found = {**assets(), **await first_sight(engine, browser), **await lists(engine), **await tail(engine, browser)}
        await browser.close()
    return found


async def one_execution(engine: Engine) -> None:
    """One that is recorded as succeeded."""

    async def recorded() -> bool:
        answer = await client.get("/executions", params={"status": "Success"})
        return bool(answer.json()["executions"])

    async def ran() -> bool:
        answer = await client.post("/workflows/noop", json={}, headers={"Prefer": "wait=20"})
        return answer.status_code == 200

    async with engine.client() as client:
        await eventually(ran, within=60)
        await eventually(recorded, within=60)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(Path(folder) / "data", WORKFLOWS)
        engine.start()
        try:
            asyncio.run(one_execution(engine))
            engine.stop()
            multiply(engine.data / "records.db", given.rows)
            engine.start()
            found: dict[str, Any] = {"rows": given.rows, **asyncio.run(measure(engine))}
        finally:
            engine.stop()
    for name, value in found.items():
        print(f"{name:24} {value:10,.1f}")
    if given.json:
        given.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
