"""A real engine, a real Chromium; a page that complains of every error and of everything the policy had to stop."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright

from tests.support.chromium import chromium
from tests.support.desk import Desk
from tests.support.engine import Engine

WORKFLOWS = Path(__file__).parent / "workflows"

Opened = Callable[..., Awaitable[Page]]


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    started = Engine(tmp_path_factory.mktemp("console") / "data", WORKFLOWS)
    started.start()
    yield started
    started.stop()


@pytest.fixture
async def desk(engine: Engine) -> AsyncIterator[Desk]:
    async with engine.client() as client, engine.client(admin=True) as admin:
        yield Desk(engine.url, engine.credentials(), client, admin)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    # Chromium's sandbox refuses root, who runs the tests in containers.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(executable_path=chromium(), args=options)
        yield opened
        await opened.close()


@pytest.fixture
async def open_page(browser: Browser, desk: Desk) -> AsyncIterator[Opened]:
    """Opens the console, signed in with the organisation's key or another; what went wrong in it fails the test."""
    complaints: list[str] = []

    async def opened(address: str = "#/", *, key: str | None = "", **options: Any) -> Page:
        context = await browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        page = await context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda problem: complaints.append(f"error: {problem}"))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        page.on("console", lambda said: complaints.append(said.text) if _is_serious(said.text) else None)
        page.on("request", lambda asked: None if asked.url.startswith(desk.url) else complaints.append(asked.url))
        if key is not None:
            await page.add_init_script(f"sessionStorage.setItem('runlane.key', {key or desk.key!r})")
        await page.goto(f"{desk.url}/{address}")
        return page

    yield opened
    assert not complaints, complaints


def _is_serious(text: str) -> bool:
    return "Content Security Policy" in text or "TrustedHTML" in text
