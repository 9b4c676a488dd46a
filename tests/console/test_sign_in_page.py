"""People come to the console through an identity provider: authorization code flow with PKCE, against a real one."""

from collections.abc import Iterator

import pytest
from playwright.async_api import Browser, Page, expect

from tests.console.conftest import WORKFLOWS
from tests.support.engine import Engine
from tests.support.issuer import AUTHORIZE, TOKEN, Issuer

GRANTS = [{"group": "staff", "roles": ["technician"], "orgs": ["demo"]}]


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    started = Issuer()
    yield started
    started.close()


@pytest.fixture(scope="module")
def trusting(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine that sends people to the issuer."""
    folder = tmp_path_factory.mktemp("sign-in")
    started = Engine(folder / "data", WORKFLOWS)
    way = {"client_id": "console", "redirect_uri": f"{started.url}/", "title": "Acme ID"}
    path = issuer.identity_file(folder, grants=GRANTS, audience=["console"], sign_in=way)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNLANE_IDENTITY_FILE", str(path))
        started.start()
    yield started
    started.stop()


@pytest.fixture
async def page(browser: Browser, trusting: Engine, issuer: Issuer) -> Page:
    issuer.person, issuer.asked = {"name": "Ada Lovelace"}, []
    opened = await browser.new_page()
    await opened.goto(f"{trusting.url}/#/demo/executions?status=Failed")
    return opened


async def test_a_person_is_led_to_the_provider_and_back_to_where_they_wanted_to_go(
    page: Page, trusting: Engine, issuer: Issuer
) -> None:
    await page.get_by_role("button", name="Sign in with Acme ID").click()
    await expect(page.locator(".who .name")).to_have_text("Ada Lovelace")
    await expect(page).to_have_url(f"{trusting.url}/#/demo/executions?status=Failed")
    asked = next(path for path in issuer.asked if path.startswith(AUTHORIZE))
    assert "code_challenge_method=S256" in asked
    assert "code_verifier" not in asked
    assert issuer.asked.count(TOKEN) == 1
    await page.reload()
    await expect(page.locator(".who .name")).to_have_text("Ada Lovelace")


async def test_what_the_provider_refuses_is_said_as_text(page: Page, issuer: Issuer, trusting: Engine) -> None:
    issuer.person = None
    await page.get_by_role("button", name="Sign in with Acme ID").click()
    await expect(page.get_by_role("alert")).to_contain_text("The identity provider says: <b>No</b>")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    assert "error=" not in page.url


async def test_a_code_that_was_not_asked_for_in_this_tab_is_not_used(
    page: Page, trusting: Engine, issuer: Issuer
) -> None:
    await page.goto(f"{trusting.url}/?code=stolen&state=made-up-by-somebody")
    await expect(page.get_by_role("alert")).to_contain_text("not begun in this tab")
    assert TOKEN not in issuer.asked


async def test_another_state_than_was_sent_is_refused(page: Page, trusting: Engine, issuer: Issuer) -> None:
    begun = '{"provider": "msp", "verifier": "v", "state": "right", "place": ""}'
    await page.evaluate("(text) => sessionStorage.setItem('runlane.sign-in', text)", begun)
    await page.goto(f"{trusting.url}/?code=stolen&state=wrong")
    await expect(page.get_by_role("alert")).to_contain_text("not begun in this tab")
    assert TOKEN not in issuer.asked


async def test_somebody_who_was_granted_nothing_is_told_so(page: Page, issuer: Issuer) -> None:
    issuer.person = {"groups": ["others"]}
    await page.get_by_role("button", name="Sign in with Acme ID").click()
    await expect(page.get_by_role("alert")).to_contain_text("Nothing has been granted")
