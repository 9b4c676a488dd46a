"""The console with a keyboard, a screen reader, poor sight, a phone and a very large screen."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from tests.console.conftest import Opened
from tests.support.desk import Desk

CHECK = (Path(__file__).parent / "usable.js").read_text().partition("\n")[2]
ACTIVE = "(document.activeElement.getAttribute('aria-label') || document.activeElement.textContent || '').trim()"

PLACES = """['h1', '[role=tablist]', '[role=log]', 'progress']
    .map((name) => document.querySelector(name).getBoundingClientRect().top)"""

WAYS: list[dict[str, Any]] = [
    {"viewport": {"width": 360, "height": 740}, "color_scheme": "light"},
    {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark"},
    {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    {"viewport": {"width": 3840, "height": 2160}, "color_scheme": "light"},
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way['viewport']['width']}-{way['color_scheme']}")
async def test_every_page_can_be_read_named_and_reached(open_page: Opened, desk: Desk, way: dict[str, Any]) -> None:
    good, bad = await desk.run("onboard", email="ada@initech.com"), await desk.run("fails")
    waiting = await desk.start("close_account", email="bob@initech.com")
    pages = ["run", "run/onboard", "approvals", "executions", "executions?status=Failed&status=Running", "nowhere"]
    pages += [f"executions/{good}{tab}" for tab in ("", "?tab=timeline", "?tab=data", "?tab=call")]
    pages += [f"executions/{bad}", f"executions/{waiting}"]
    pages += ["schedules", "overview", "schedules/nightly", "webhooks", "webhooks/ticket", "dead-letters"]
    pages += [
        "executors",
        "code",
        "code/onboard",
        f"code/fails?failure={bad}",
        "config",
        "secrets",
        "keys",
        "orgs",
        "audit",
    ]
    page = await open_page("#/demo/run", key=desk.admin_key, **way)
    problems = {}
    for name in pages:
        await page.goto(f"{desk.url}/#/demo/{name}")
        await page.reload()
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        problems[name] = await page.evaluate(CHECK)
    await desk.admin.post(f"/executions/{waiting}/reject", json={})
    assert {name: found for name, found in problems.items() if found} == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_door_can_be_read_too(open_page: Opened, desk: Desk, scheme: str) -> None:
    page = await open_page(key=None, color_scheme=scheme)
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).not_to_be_empty()
    assert await page.evaluate(CHECK) == []


async def test_the_checks_find_what_they_look_for(open_page: Opened, desk: Desk) -> None:
    page = await open_page(key=None)
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    await page.evaluate(
        """() => {
          const bad = Object.assign(document.createElement('button'), {className: 'button'});
          const pale = Object.assign(document.createElement('p'), {textContent: 'pale'});
          pale.style.color = '#ccc';
          const wide = document.createElement('div');
          wide.style.cssText = 'width: 9000px; height: 1px';
          document.body.append(bad, pale, wide);
        }"""
    )
    found = " ".join(await page.evaluate(CHECK))
    for problem in ("no name", "contrast", "wider than the screen"):
        assert problem in found


async def pressed(page: Page, key: str, wanted: str, most: int = 40) -> None:
    """Press a key until what has the focus is called so."""
    for _ in range(most):
        if wanted in str(await page.evaluate(ACTIVE)):
            return
        await page.keyboard.press(key)
    raise AssertionError(f"{wanted!r} is not reached with {key}")


async def test_everything_a_technician_does_is_done_with_the_keyboard(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    page = await open_page(key=None)
    await page.keyboard.type(desk.key)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_be_focused()
    await page.keyboard.press("/")
    await page.keyboard.type("onboard")
    await pressed(page, "Tab", "Onboard")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1, name="Onboard")).to_be_focused()
    await page.keyboard.press("Tab")
    await page.keyboard.type("ada@initech.com")
    await page.keyboard.press("Enter")
    await expect(page.locator("header rl-status")).to_have_text("Succeeded", timeout=30_000)
    await expect(page.get_by_role("heading", level=1, name="Onboard")).to_be_focused()
    await pressed(page, "Tab", "Log")
    await page.keyboard.press("ArrowRight")
    await expect(page.get_by_role("tab", name="Timeline")).to_be_focused()
    await expect(page.locator("rl-waterfall")).to_contain_text("create_user")


async def test_the_first_stop_leads_over_the_navigation_to_the_content(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    page = await open_page("#/demo/executions")
    await expect(page.get_by_role("heading", level=1)).to_be_focused()
    await page.evaluate("document.activeElement.blur()")
    await page.locator(".skip").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_be_focused()
    assert page.url.endswith("#/demo/executions")


async def test_a_dialog_keeps_the_focus_and_gives_it_back(open_page: Opened, desk: Desk) -> None:
    waiting = await desk.start("close_account", email="bob@initech.com")
    page = await open_page(f"#/demo/executions/{waiting}", key=desk.admin_key)
    await page.get_by_role("button", name="Approve…").click()
    for _ in range(12):
        await page.keyboard.press("Tab")
        # The browser's own bar is a stop too, where nothing of the page behind has the focus.
        assert await page.evaluate(
            "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
        )
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("button", name="Approve…")).to_be_focused()
    await desk.admin.post(f"/executions/{waiting}/reject", json={})


async def test_what_happens_is_said_to_those_who_do_not_see_it(open_page: Opened, desk: Desk, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    execution_id = await desk.start("talks", gate=str(gate))
    page = await open_page(f"#/demo/executions/{execution_id}")
    await expect(page.locator("header rl-status")).to_have_text("Running", timeout=30_000)
    gate.touch()
    await expect(page.locator(".unseen[role=status]")).to_have_text("Succeeded", timeout=30_000)


async def test_nothing_moves_while_an_execution_is_watched(open_page: Opened, desk: Desk, tmp_path: Path) -> None:
    gate, end = tmp_path / "gate", tmp_path / "end"
    execution_id = await desk.start("talks", gate=str(gate), lines=200, end=str(end))
    page = await open_page(f"#/demo/executions/{execution_id}")
    log = page.get_by_role("log")
    await expect(log).to_contain_text("before 199")
    before = await page.evaluate(PLACES)
    gate.touch()
    await expect(log).to_contain_text("after 199", timeout=30_000)
    await expect(page.get_by_text("50 % · half of it")).to_be_visible()
    assert await page.evaluate(PLACES) == before
    end.touch()


async def test_where_an_error_was_raised_has_its_place_before_it_is_known(open_page: Opened, desk: Desk) -> None:
    execution_id = await desk.run("fails")
    page = await open_page("#/demo/run", key=desk.admin_key)
    known = asyncio.Event()

    async def later(route: Route) -> None:
        await known.wait()
        await route.continue_()

    await page.route("**/workflows/fails", later)
    await page.goto(f"{desk.url}/#/demo/executions/{execution_id}")
    tabs = page.get_by_role("tablist")
    await expect(tabs).to_be_visible()
    before = await tabs.bounding_box()
    known.set()
    await expect(page.get_by_role("heading", name="Where")).to_be_visible()
    assert await tabs.bounding_box() == before


async def test_colours_are_chosen_and_stay_chosen(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    page = await open_page("#/demo/run", color_scheme="light")
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light = await page.evaluate(ground)
    await page.get_by_role("button", name="Colours: auto").click()
    await page.get_by_role("button", name="Colours: light").click()
    await expect(page.get_by_role("button", name="Colours: dark")).to_be_visible()
    assert await page.evaluate(ground) != light
    await page.reload()
    await expect(page.get_by_role("button", name="Colours: dark")).to_be_visible()
    assert await page.evaluate(ground) != light


async def test_on_a_phone_the_navigation_is_a_drawer(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    page = await open_page("#/demo/run", viewport={"width": 360, "height": 740})
    link = page.get_by_role("link", name="Executions")
    await expect(link).to_be_hidden()
    await page.get_by_role("button", name="Menu").click()
    await link.click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Executions")
    await expect(link).to_be_hidden()
