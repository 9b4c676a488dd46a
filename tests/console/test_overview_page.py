"""The operator's first page: figures and charts that follow what happens, and stay where they are."""

from typing import Any

from playwright.async_api import Page, expect

from tests.console.conftest import Opened
from tests.support.desk import Desk
from tests.support.eventually import eventually

PLACES = """[...document.querySelectorAll('.tiles > div, .card, rl-chart svg, .lanes, h1')]
    .map((element) => element.getBoundingClientRect()).map(({ x, y, width, height }) => [x, y, width, height])"""
WATCH = """() => { window.shifted = 0; new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) window.shifted += entry.value; }).observe({ type: 'layout-shift' }); }"""


async def tile(page: Page, name: str) -> str:
    return await page.locator(".tiles > div", has_text=name).locator("dd").inner_text()


async def test_whoever_looks_after_organisations_begins_at_the_overview(open_page: Opened, desk: Desk) -> None:
    page = await open_page("#/", key=desk.admin_key)
    await expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    await expect(page.locator(".meters li")).to_contain_text("executor-")
    await expect(page.get_by_role("region", name="Lanes").locator("tbody tr")).to_have_count(4)


async def test_what_happens_is_counted_and_drawn_and_nothing_moves(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    page = await open_page("#/demo/overview?minutes=15")
    chart = page.get_by_role("img", name="Ended, now")
    await expect(chart).to_be_visible()
    before = int((await tile(page, "Ended")).replace(",", ""))
    bars = await chart.locator("rect:not(.part)").count()
    assert bars >= 1
    places = await page.evaluate(PLACES)
    await page.evaluate(WATCH)
    for _ in range(3):
        await desk.run("small")
    failed = await desk.run("fails")
    assert failed

    async def counted() -> bool:
        return int((await tile(page, "Ended")).replace(",", "")) >= before + 4

    await eventually(counted, within=30)
    assert "%" in await tile(page, "Failed")
    assert await chart.locator("rect.bad").count() >= 1
    assert await page.evaluate(PLACES) == places
    assert await page.evaluate("window.shifted") == 0


async def test_the_time_that_is_looked_at_is_in_the_address(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    asked: list[str] = []
    page = await open_page("#/demo/overview")
    page.on("request", lambda request: asked.append(request.url))
    await page.get_by_label("Time").select_option("Week")
    await expect(page).to_have_url(f"{desk.url}/#/demo/overview?minutes=10080")
    await eventually(lambda: any("minutes=10080" in url for url in asked), within=20)
    await page.reload()
    await expect(page.get_by_label("Time")).to_have_value("10080")


async def test_a_figure_leads_to_its_executions(open_page: Opened, desk: Desk) -> None:
    waiting = await desk.start("close_account", email="bob@initech.com")
    page = await open_page("#/demo/overview")
    await page.get_by_role("link", name="Needs approval").click()
    await expect(page.get_by_role("checkbox", name="Needs approval")).to_be_checked()
    await expect(page.locator(f"a[href$='{waiting}']")).to_be_visible()
    await desk.admin.post(f"/executions/{waiting}/reject", json={})


async def test_whoever_may_not_see_internals_sees_nothing_of_the_engine(open_page: Opened, desk: Desk) -> None:
    made: dict[str, Any] = await desk.new_key("demo", roles=["viewer"])
    page = await open_page("#/demo/overview", key=made["key"])
    await expect(page.get_by_role("img", name="Ended, now")).to_be_visible()
    await expect(page.get_by_text("Queues of the engine")).to_have_count(0)


async def test_a_chart_draws_what_it_is_given_to_scale(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    page = await open_page("#/demo/run")
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    drawn = await page.evaluate(
        """async () => {
          const base = document.querySelector('script[type="module"]').src.replace('app.js', '');
          const { chart, ceiling } = await import(base + 'parts/chart.js');
          const [bars, lines] = [chart(), chart()];
          document.querySelector('main').replaceChildren(bars, lines);
          const series = [{ name: '<b>one</b>', tone: 'good' }, { name: 'two', tone: 'bad' }];
          const parts = [[10, 40], [0, 0], [100, 0]].map((values) => ({ at: '2026-01-01T00:00:00Z', values }));
          bars.data = { title: 'T', series, parts, show: String };
          const gaps = [[10, 20], [null, 20], [30, 20]].map((values) => ({ at: '2026-01-01T00:00:00Z', values }));
          lines.data = { title: 'L', series, parts: gaps, show: String, lines: true };
          return { ceilings: [0, 3, 10, 11, 4700].map(ceiling),
            bars: [...bars.querySelectorAll('rect:not(.part)')]
              .map((one) => ['y', 'height'].map((name) => Number(one.getAttribute(name)))),
            paths: [...lines.querySelectorAll('path')].map((one) => one.getAttribute('d')),
            markup: bars.querySelectorAll('b').length };
        }"""
    )
    assert drawn["ceilings"] == [1, 5, 10, 20, 5000]
    assert drawn["bars"] == [[90, 10], [50, 40], [0, 100]]
    assert drawn["paths"] == [
        "M0.2 80.00L0.8 80.00M2.2 40.00L2.8 40.00",
        "M0.2 60.00L0.8 60.00L1.2 60.00L1.8 60.00L2.2 60.00L2.8 60.00",
    ]
    assert drawn["markup"] == 0
