"""People of an identity provider at the console: a token instead of a key, until it ends."""

import time
from collections.abc import Iterator

import pytest
from playwright.async_api import Browser, Page, expect

from tests.console.conftest import WORKFLOWS
from tests.support.engine import Engine
from tests.support.issuer import Issuer

GRANTS = [{"group": "staff", "roles": ["technician"], "orgs": ["demo"]}]


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    started = Issuer()
    yield started
    started.close()


@pytest.fixture(scope="module")
def trusting(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine that trusts the issuer."""
    folder = tmp_path_factory.mktemp("people")
    path = issuer.identity_file(folder, grants=GRANTS, leeway_seconds=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNLANE_IDENTITY_FILE", str(path))
        started = Engine(folder / "data", WORKFLOWS)
        started.start()
    yield started
    started.stop()


async def sign_in(browser: Browser, engine: Engine, token: str) -> Page:
    page = await browser.new_page()
    await page.goto(f"{engine.url}/")
    await page.get_by_label("API key or token").fill(token)
    await page.keyboard.press("Enter")
    return page


async def test_a_person_signs_in_with_a_token(browser: Browser, trusting: Engine, issuer: Issuer) -> None:
    page = await sign_in(browser, trusting, issuer.token(name="Ada Lovelace"))
    await expect(page.get_by_role("heading", level=1)).to_have_text("Run a workflow")
    await expect(page.locator(".who .name")).to_have_text("Ada Lovelace")
    await expect(page.locator("div.org")).to_have_text("Demo organisation")


async def test_a_token_that_ends_leads_back_to_the_door(browser: Browser, trusting: Engine, issuer: Issuer) -> None:
    page = await sign_in(browser, trusting, issuer.token(exp=int(time.time()) + 8))
    await expect(page.get_by_role("heading", level=1)).to_have_text("Run a workflow")
    await page.get_by_role("link", name="Executions").click()
    await expect(page.get_by_role("alert")).to_contain_text("not valid any more", timeout=60_000)


async def test_a_person_who_was_granted_nothing_is_told_so(browser: Browser, trusting: Engine, issuer: Issuer) -> None:
    page = await sign_in(browser, trusting, issuer.token(groups=["others"]))
    await expect(page.get_by_role("alert")).not_to_be_empty()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
