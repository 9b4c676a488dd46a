"""A technician's day in the console: sign in, run, watch, cancel, run again, approve."""

import re
from pathlib import Path

from playwright.async_api import Page, expect

from tests.console.conftest import Opened
from tests.support.desk import Desk
from tests.support.eventually import eventually

FORM = {
    "name": "A new colleague",
    "linkedWorkflow": "onboard",
    "fields": [
        {"name": "email", "label": "E-mail address", "type": "email", "required": True},
        {"name": "department", "type": "choice", "choices": [{"value": "Sales"}, {"value": "IT"}], "default": "Sales"},
        {
            "name": "group",
            "label": "Group",
            "type": "choice",
            "choicesFrom": {"workflow": "groups_of", "inputs": {"department": "department"}},
            "visibleWhen": [{"field": "email", "operator": "filled"}],
        },
        {"name": "licences", "type": "integer", "min": 1, "max": 3, "default": 1},
    ],
}


async def status(page: Page, word: str) -> None:
    await expect(page.locator("header rl-status")).to_have_text(word, timeout=30_000)


async def test_a_key_that_is_not_known_is_refused_and_one_that_is_opens_the_console(
    open_page: Opened, desk: Desk
) -> None:
    page = await open_page(key=None)
    await page.get_by_label("API key or token").fill("rl_nobody_nothing")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("does not know this key")
    await page.get_by_label("API key or token").fill(desk.key)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Run a workflow")
    assert await page.evaluate("Object.keys(localStorage).concat(document.cookie).join()") == "runlane.org,"
    await page.reload()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Run a workflow")
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    assert await page.evaluate("sessionStorage.length") == 0


async def test_a_key_that_is_revoked_leads_back_to_the_door(open_page: Opened, desk: Desk) -> None:
    made = await desk.new_key("demo")
    page = await open_page("#/demo/executions", key=made["key"])
    await expect(page.get_by_role("heading", level=1)).to_have_text("Executions")
    await desk.admin.delete(f"/keys/{made['id']}")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in", timeout=30_000)
    await expect(page.get_by_role("alert")).to_contain_text("not valid any more")


async def test_a_workflow_is_found_filled_in_watched_and_gives_its_result(
    open_page: Opened, desk: Desk, tmp_path: Path
) -> None:
    await desk.run("small")
    gate = tmp_path / "gate"
    page = await open_page()
    await page.get_by_role("searchbox").fill("makes user onboard")
    await page.get_by_role("link", name="Onboard").first.click()
    await expect(page.get_by_text("Where the user can be reached.")).to_be_visible()
    await page.get_by_label("Email").fill("ada@initech.com")
    await page.get_by_label("Gate").fill(str(gate))
    await page.get_by_role("button", name="Run").click()
    await status(page, "Running")
    await expect(page.get_by_text("40 % · the user is there")).to_be_visible(timeout=30_000)
    await expect(page.get_by_role("log")).to_contain_text("creating ada@initech.com")
    tabs = page.get_by_role("tablist")
    watched = await tabs.bounding_box()
    gate.touch()
    await status(page, "Succeeded")
    await expect(page.get_by_role("log")).to_contain_text("no manager was given")
    await expect(page.locator(".outcome")).to_contain_text("user-123")
    assert await tabs.bounding_box() == watched, "the result pushed away what somebody was reading"


async def test_what_the_gateway_refuses_stands_beside_its_field(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    page = await open_page("#/demo/run/onboard")
    email = page.get_by_label("Email")
    await page.get_by_role("button", name="Run").click()
    await expect(page.get_by_text("This is needed.")).to_be_visible()
    await expect(email).to_be_focused()
    await email.fill("not an address")
    await page.get_by_role("button", name="Run").click()
    problem = page.locator(".field.wrong .problem")
    await expect(problem).to_have_count(1)
    await expect(problem).to_contain_text("does not have the required form")
    await expect(email).to_be_focused()
    assert await email.get_attribute("aria-invalid") == "true"
    described = (await email.get_attribute("aria-describedby") or "").split()
    assert await problem.get_attribute("id") in described


async def test_choices_follow_the_field_that_they_depend_on(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    await eventually(lambda: _saved(desk))
    page = await open_page("#/demo/run/newcomer")
    group = page.get_by_label("Group")
    await expect(group).to_be_hidden()
    await page.get_by_label("E-mail address").fill("ada@initech.com")
    await expect(group.get_by_role("option", name="Group emea")).to_be_attached(timeout=30_000)
    await page.get_by_label("Department").select_option(label="IT")
    await expect(group.get_by_role("option", name="Group ops")).to_be_attached(timeout=30_000)
    await expect(group.get_by_role("option", name="Group emea")).not_to_be_attached()
    await group.select_option(label="Group ops")
    await page.get_by_label("Licences").fill("9")
    await page.get_by_role("button", name="Run").click()
    await expect(page.locator(".field.wrong .problem")).to_have_text("At most 3.")
    await page.get_by_label("Licences").fill("2")
    await page.get_by_role("button", name="Run").click()
    await status(page, "Succeeded")
    await expect(page.locator(".outcome")).to_contain_text("ops")


async def _saved(desk: Desk) -> bool:
    return (await desk.admin.put("/forms/newcomer", json=FORM)).status_code == 200


async def test_a_running_one_is_cancelled_with_a_reason(open_page: Opened, desk: Desk, tmp_path: Path) -> None:
    execution_id = await desk.start("talks", gate=str(tmp_path / "never"))
    page = await open_page(f"#/demo/executions/{execution_id}")
    await status(page, "Running")
    await page.get_by_role("button", name="Cancel…").click()
    await page.get_by_label("Reason").fill("the wrong client")
    await page.get_by_role("button", name="Cancel it").click()
    await status(page, "Cancelled")
    assert "the wrong client" in str((await desk.ended(execution_id))["message"])


async def test_the_same_is_run_again_and_with_other_inputs(open_page: Opened, desk: Desk) -> None:
    execution_id = await desk.run("onboard", email="ada@initech.com", password="pa55w0rd-x", licences=3)
    page = await open_page(f"#/demo/executions/{execution_id}")
    await page.get_by_role("button", name="Run again").click()
    await expect(page).not_to_have_url(re.compile(execution_id))
    await status(page, "Succeeded")
    again = (await desk.client.get(f"/executions/{page.url.rpartition('/')[2]}")).json()
    assert (again["trigger"], again["input"]["licences"]) == ({"kind": "retry", "reference": execution_id}, 3)
    await page.get_by_role("link", name="Change and run").click()
    await expect(page.get_by_label("Email")).to_have_value("ada@initech.com")
    await expect(page.get_by_label("Licences")).to_have_value("3")
    await expect(page.get_by_label("Password")).to_have_value("")


async def test_an_approval_says_what_will_happen_and_is_given_with_a_reason(open_page: Opened, desk: Desk) -> None:
    execution_id = await desk.start("close_account", email="bob@initech.com")
    page = await open_page("#/demo/approvals", key=desk.admin_key)
    card = page.locator(f'[data-id="{execution_id}"]')
    await expect(card).to_contain_text("bob@initech.com")
    await expect(page.get_by_role("link", name="Approvals").locator(".badge")).to_be_visible()
    await card.get_by_role("button", name="Approve…").click()
    await page.get_by_label("Reason").fill("agreed in ticket 4711")
    await page.get_by_role("button", name="Approve", exact=True).click()
    await expect(card).not_to_be_attached()
    assert (await desk.ended(execution_id))["result"] == "bob@initech.com is closed"


async def test_a_rejection_ends_it_and_says_why(open_page: Opened, desk: Desk) -> None:
    execution_id = await desk.start("close_account", email="eve@initech.com")
    page = await open_page(f"#/demo/executions/{execution_id}", key=desk.admin_key)
    await page.get_by_role("button", name="Reject…").click()
    await page.get_by_label("Reason").fill("she stays")
    await page.get_by_role("button", name="Reject", exact=True).click()
    await status(page, "Cancelled")
    await expect(page.locator(".outcome")).to_contain_text("she stays")
    await expect(page.locator(".outcome")).to_contain_text("ApprovalRejected")


async def test_whoever_asked_is_told_that_another_has_to_decide(open_page: Opened, desk: Desk) -> None:
    await desk.run("small")
    made = await desk.new_key("demo")
    page = await open_page("#/demo/run/close_account", key=made["key"])
    await page.get_by_label("Email").fill("me@initech.com")
    await page.get_by_role("button", name="Ask for approval").click()
    await expect(page.get_by_text("Deciding is for others")).to_be_visible()
    await expect(page.get_by_role("button", name="Approve…")).to_have_count(0)
    await status(page, "Needs approval")


async def test_a_decision_that_comes_too_late_is_told_so_in_the_dialog(open_page: Opened, desk: Desk) -> None:
    execution_id = await desk.start("close_account", email="late@initech.com")
    page = await open_page("#/demo/approvals", key=desk.admin_key)
    approve = page.locator(f'[data-id="{execution_id}"]').get_by_role("button", name="Approve…")
    await approve.click()
    await page.keyboard.press("Escape")
    await expect(approve).to_be_focused()
    await approve.click()
    assert (await desk.admin.post(f"/executions/{execution_id}/reject", json={})).status_code == 200
    await page.get_by_role("button", name="Approve", exact=True).click()
    await expect(page.get_by_role("dialog").get_by_role("alert")).not_to_be_empty()


async def test_another_organisation_is_chosen_by_its_name(open_page: Opened, desk: Desk) -> None:
    for org in ("acme", "initech"):
        await desk.add_org(org)
    made = await desk.new_key("demo", "acme", "initech")
    page = await open_page("#/demo/executions", key=made["key"])
    await page.get_by_role("button", name="Organisation Demo organisation. Switch").click()
    await page.get_by_label("Find an organisation").fill("init")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Organisation Initech Ltd. Switch")).to_be_visible()
    await expect(page).to_have_url(f"{desk.url}/#/initech/overview")
    await page.go_back()
    await expect(page.get_by_role("button", name="Organisation Demo organisation. Switch")).to_be_visible()


async def test_an_organisation_that_is_not_ones_own_is_not_there(open_page: Opened, desk: Desk) -> None:
    await desk.add_org("secretive")
    page = await open_page("#/secretive/executions")
    await expect(page.get_by_role("heading", level=1)).to_have_text("There is no such organisation")


async def test_someone_without_the_permission_sees_no_button_for_it(open_page: Opened, desk: Desk) -> None:
    execution_id = await desk.run("small")
    made = await desk.new_key("demo", roles=["viewer"])
    page = await open_page(f"#/demo/executions/{execution_id}", key=made["key"])
    await status(page, "Succeeded")
    await expect(page.get_by_role("button", name="Run again")).to_have_count(0)
    await expect(page.get_by_role("link", name="Change and run")).to_have_count(0)
