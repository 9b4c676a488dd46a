"""What others wrote is shown as it is and never done: not in names, logs, results, errors, nor as a link."""

from playwright.async_api import Browser, Page, expect

from tests.console.conftest import Opened
from tests.console.workflows.desk import EVIL
from tests.support.desk import Desk

FORM = {
    "name": EVIL,
    "description": EVIL,
    "linkedWorkflow": "spiteful",
    "fields": [
        {"name": "text", "label": EVIL, "help": EVIL, "default": EVIL},
        {"name": "fail", "type": "boolean", "label": EVIL},
    ],
}

_MADE = "document.querySelectorAll('img, iframe, object, embed, [onerror], [onclick], body script').length"


async def harmless(page: Page) -> None:
    """Nothing ran, and nothing was made of it. `open_page` fails for dialogs and violations of the policy."""
    assert await page.evaluate("window.pwned") is None
    assert await page.evaluate(_MADE) == 0
    assert await page.locator("a[href^='javascript:' i]").count() == 0


async def test_what_a_workflow_says_is_text(open_page: Opened, desk: Desk) -> None:
    good, bad = await desk.run("spiteful"), await desk.run("spiteful", fail=True)
    for execution_id, shown in ((good, "javascript:alert(3)"), (bad, "What to do")):
        page = await open_page(f"#/demo/executions/{execution_id}")
        await expect(page.locator(".outcome")).to_contain_text(shown)
        await expect(page.get_by_role("log")).to_contain_text("<script>")
        await page.get_by_role("log").focus()
        await page.keyboard.press("ArrowDown")
        for tab in ("Timeline", "Data", "As a call"):
            await page.get_by_role("tab", name=tab).click()
            await harmless(page)
    await page.goto(f"{desk.url}/#/demo/executions")
    await expect(page.locator("tbody")).to_contain_text("<img")
    await harmless(page)


async def test_what_people_design_and_write_is_text(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    assert (await desk.admin.put("/forms/evil", json=FORM)).status_code == 200
    await desk.add_org("wicked", name=EVIL, tags=["evil"])
    made = await desk.new_key("demo", "wicked", name=EVIL)
    page = await open_page("#/demo/run", key=made["key"])
    await expect(page.get_by_role("link", name="<img").first).to_be_visible()
    await harmless(page)
    await page.goto(f"{desk.url}/#/demo/run/evil")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("<img")
    await harmless(page)
    await page.goto(f"{desk.url}/#/wicked/executions?workflow={EVIL}&tag={EVIL}")
    await expect(page.get_by_label("Tag")).to_have_value(EVIL)
    await page.get_by_role("button", name="Organisation").click()
    await harmless(page)


async def test_what_waits_for_an_approval_is_text(open_page: Opened, desk: Desk) -> None:
    execution_id = await desk.start("close_account", email=EVIL)
    page = await open_page("#/demo/approvals", key=desk.admin_key)
    card = page.locator(f'[data-id="{execution_id}"]')
    await expect(card).to_contain_text("<script>")
    await card.get_by_role("button", name="Reject…").click()
    await page.get_by_label("Reason").fill(EVIL)
    await page.get_by_role("button", name="Reject", exact=True).click()
    await page.goto(f"{desk.url}/#/demo/executions/{execution_id}")
    await expect(page.locator(".outcome")).to_contain_text("<script>")
    await harmless(page)


async def test_the_browser_refuses_to_make_markup_of_text(browser: Browser, desk: Desk) -> None:
    page = await browser.new_page()
    await page.goto(f"{desk.url}/")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    refused = await page.evaluate(
        "(() => { try { document.body.innerHTML = '<b>x</b>'; return 'made'; } catch (e) { return e.name; } })()"
    )
    assert refused == "TypeError"


async def test_elements_are_made_without_scripts_whatever_a_page_hands_over(open_page: Opened, desk: Desk) -> None:
    page = await open_page(key=None)
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    made = await page.evaluate(
        """async (evil) => {
          const base = document.querySelector('script[type="module"]').src.replace('app.js', '');
          const { h } = await import(base + 'core/dom.js');
          const link = (href) => h('a', { href }).getAttribute('href');
          let handler = 'taken';
          try { h('p', { onclick: 'alert(1)' }); } catch { handler = 'refused'; }
          const evils = ['javascript:alert(1)', 'JaVaScript:x', ' javascript:x', 'data:text/html,x', '//evil.example'];
          return { links: evils.map(link), own: link('#/demo/run'), handler, children: h('p', evil).children.length };
        }""",
        EVIL,
    )
    assert made == {"links": ["#"] * 5, "own": "#/demo/run", "handler": "refused", "children": 0}


async def test_an_address_cannot_lead_out_of_the_console(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    page = await open_page("#//evil.example/x")
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    assert page.url.startswith(desk.url)
    await harmless(page)
