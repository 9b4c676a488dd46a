"""Forms as people use them: a page reads one, offers choices, submits it; an operator keeps it in a file."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from tests.support.engine import Engine
from tests.support.executions import finished

FORM: dict[str, Any] = {
    "id": "newcomer",
    "name": "A new colleague",
    "linkedWorkflow": "new_user",
    "fields": [
        {"name": "email", "type": "email", "required": True, "label": "E-mail"},
        {
            "name": "department",
            "type": "choice",
            "choices": [{"value": "Sales"}, {"value": "IT"}],
            "default": "Sales",
        },
        {
            "name": "group",
            "type": "choice",
            "choicesFrom": {"workflow": "groups_of", "inputs": {"department": "department"}},
            "visibleWhen": [{"field": "department", "operator": "filled"}],
        },
        {"name": "door_code", "pattern": "[0-9]{6}", "sensitive": True},
    ],
}


async def test_a_generated_form_is_submitted_and_waited_for(client: httpx.AsyncClient) -> None:
    form = (await client.get("/forms/greeting")).json()
    assert form["LinkedWorkflow"] == "greeting"
    assert [(field["name"], field["type"]) for field in form["fields"]] == [("name", "text"), ("loud", "boolean")]
    answer = await client.post("/forms/greeting/submit", json={"name": "Ada"})
    assert (answer.status_code, answer.json()["result"]) == (200, "hello Ada")
    answer = await client.post("/forms/greeting/submit", json={"name": ""})
    assert (answer.status_code, answer.json()["details"]) == (400, {"field": "name"})
    assert (await client.post("/forms/backstage/submit", json={})).status_code == 403


async def test_a_designed_form_is_submitted_and_its_secret_stays_one(
    client: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    """What a page does (SPEC §6): read the form, offer its choices, submit, poll."""
    assert (await admin.put("/forms/newcomer", json={**FORM, "id": None})).status_code == 400
    body = {name: value for name, value in FORM.items() if name != "id"}
    assert (await admin.put("/forms/newcomer", json=body)).status_code == 200
    form = (await client.get("/forms/newcomer")).json()
    offered = await client.get(form["fields"][2]["choicesUrl"], params={"department": "IT"})
    assert offered.json() == {"choices": [{"value": "ops", "label": "ops of demo"}]}
    wrong = await client.post(
        "/forms/newcomer/submit", json={"email": "a@b.c", "department": "IT", "group": "emea", "door_code": "481516"}
    )
    assert (wrong.status_code, wrong.json()["details"]) == (400, {"field": "group"})
    given = {"email": "a@b.c", "department": "IT", "group": "ops", "door_code": "481516"}
    answer = await client.post("/forms/newcomer/submit", json=given)
    assert answer.status_code == 202, answer.text
    record = await finished(client, answer.json()["executionId"])
    assert record["status"] == "Success"
    assert (record["result"]["group"], record["result"]["by"]) == ("ops", "newcomer")
    assert record["result"]["code"] == "[REDACTED]"
    assert record["input"]["door_code"] == "[REDACTED]"
    assert record["logs"][0]["message"] == "the code is [REDACTED]"
    assert "481516" not in json.dumps(record)


async def test_the_code_gets_the_true_value_of_a_sensitive_field(
    client: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    await admin.put("/forms/newcomer", json={name: value for name, value in FORM.items() if name != "id"})
    answer = await client.post("/forms/newcomer/submit", json={"email": "a@b.c", "door_code": "481517"})
    again = await client.post(f"/executions/{answer.json()['executionId']}/retry")
    if again.status_code == 409:  # it still ran
        await finished(client, answer.json()["executionId"])
        again = await client.post(f"/executions/{answer.json()['executionId']}/retry")
    record = await finished(client, again.json()["executionId"])
    assert (record["result"]["code"], record["result"]["digits"]) == ("[REDACTED]", 26)
    assert "481517" not in json.dumps(record)


async def test_a_provider_that_raises_is_unavailable_and_says_no_more(
    client: httpx.AsyncClient, admin: httpx.AsyncClient
) -> None:
    body = {name: value for name, value in FORM.items() if name != "id"}
    field = {**FORM["fields"][2], "choicesFrom": {"workflow": "groups_of", "parameters": {"department": "Moon"}}}
    await admin.put("/forms/moon", json={**body, "fields": [FORM["fields"][0], FORM["fields"][1], field]})
    answer = await client.get("/forms/moon/choices/group")
    assert (answer.status_code, answer.json()["error"]) == (503, "ChoicesUnavailable")
    assert "no such department" not in answer.text
    record = (await client.get(f"/executions/{answer.json()['details']['executionId']}")).json()
    assert (record["status"], record["trigger"]["reference"]) == ("Failed", "moon/group")


def run(engine: Engine, *arguments: str, key: str = "admin_key") -> subprocess.CompletedProcess[str]:
    known = {"RUNLANE_URL": engine.url, "RUNLANE_API_KEY": engine.credentials()[key], "RUNLANE_ORG": "demo"}
    command = [sys.executable, "-m", "runlane_cli.main", "forms", *arguments]
    return subprocess.run(command, env={**os.environ, **known}, capture_output=True, text=True, timeout=60)


def test_the_command_line_keeps_forms_in_files(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "form.json"
    file.write_text(json.dumps({**FORM, "id": "from_file"}))
    assert "from_file runs new_user" in run(engine, "apply", str(file)).stdout
    shown = json.loads(run(engine, "show", "from_file", "--json").stdout)
    file.write_text(json.dumps({**shown, "name": "Changed"}))
    applied = run(engine, "apply", str(file))
    assert applied.returncode == 0, applied.stderr
    listed = json.loads(run(engine, "list", "--json").stdout)["forms"]
    assert [form["name"] for form in listed if form["id"] == "from_file"] == ["Changed"]
    assert "from groups_of" in run(engine, "show", "from_file").stdout
    ran = run(engine, "submit", "greeting", "--field", "name=Ada", "--field", "loud=true")
    assert (ran.returncode, json.loads(ran.stdout)) == (0, "HELLO Ada"), ran.stderr
    refused = run(engine, "submit", "from_file", "--field", "email=nobody")
    assert refused.returncode != 0
    assert "email" in refused.stderr
    assert run(engine, "delete", "from_file").returncode == 0
    gone = run(engine, "show", "from_file")
    assert gone.returncode != 0
    assert "There is no form" in gone.stderr


def test_the_command_line_says_what_is_wrong_with_a_file(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "form.json"
    for text, said in (("{", "not JSON"), ("[]", "JSON object"), ("{}", "no id"), ('{"id": "x"}', "name")):
        file.write_text(text)
        refused = run(engine, "apply", str(file))
        assert refused.returncode == 2
        assert said in refused.stderr
    assert "cannot be read" in run(engine, "apply", str(tmp_path / "nothing.json")).stderr
