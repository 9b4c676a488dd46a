"""A failure leads to the line of the author's code that raised it."""

from playwright.async_api import expect

from tests.console.conftest import WORKFLOWS, Opened
from tests.support.desk import Desk

TOLD = """Traceback (most recent call last):
  File "/lib/runlane/x.py", line 1, in run
    call()
  File "/w/flows/users.py", line 12, in onboard
    check()
  File "/w/flows/lib/checks.py", line 3, in check
    raise KeyError(1)
          ^^^^^^
  File "/py/site-packages/a.py", line 9, in b
    c()
KeyError: 1"""

FRAMES = """async (told) => {
  const base = document.querySelector('script[type="module"]').src.replace('app.js', '');
  const { framesOf } = await import(base + 'parts/frames.js');
  return [framesOf(told, 'flows/users.py').map((one) => one.place + ' ' + one.name + ' ' + one.code),
    framesOf(told, 'other.py'), framesOf(null, 'x.py'), framesOf(told, '')];
}"""


def line_of(text: str) -> int:
    lines = (WORKFLOWS / "desk.py").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


async def test_a_failure_leads_to_the_line_that_raised_it(open_page: Opened, desk: Desk) -> None:
    raising = 'raise IntegrationError("halopsa", "HaloPSA answered 503", 503)'
    place = f"desk.py:{line_of(raising)}"
    execution_id = await desk.run("fails")
    page = await open_page(f"#/demo/executions/{execution_id}")
    await page.get_by_role("group", name="Error").get_by_role("link", name=place).click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Fails")
    where = page.get_by_role("group", name="Where it failed")
    await expect(where.locator("li").first).to_contain_text(place)
    await expect(where).to_contain_text(raising)


async def test_whoever_may_not_see_internals_sees_no_line(open_page: Opened, desk: Desk) -> None:
    made = await desk.new_key("demo", roles=["technician"])
    execution_id = await desk.run("fails")
    page = await open_page(f"#/demo/executions/{execution_id}", key=made["key"])
    await expect(page.get_by_role("group", name="Error")).to_contain_text("What to do")
    await expect(page.get_by_role("group", name="Error")).not_to_contain_text("desk.py")


async def test_a_file_that_failed_to_import_names_its_line(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    page = await open_page("#/demo/code")
    failed = page.get_by_role("article", name="broken.py failed to import")
    await expect(failed.locator(".frames")).to_contain_text("broken.py:3")


async def test_only_the_authors_own_lines_are_told(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    page = await open_page("#/demo/run")
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    found = await page.evaluate(FRAMES, TOLD)
    assert found[0] == ["flows/users.py:12 onboard check()", "flows/lib/checks.py:3 check raise KeyError(1)"]
    assert found[1:] == [[], [], []]
