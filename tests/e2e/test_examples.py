"""The ten examples, each as examples/README.md has a user run it, against the vendors' stand-ins."""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.documents import ROOT, Block, sections
from tests.support.engine import Engine
from tests.support.reader import Reader
from tests.support.vendors import vendors

JOBS = ROOT / "examples" / "jobs"
SECTIONS = sections(ROOT / "examples" / "README.md")
NUMBERS = [f"{number:02}" for number in range(1, 11)]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    directory = tmp_path_factory.mktemp("examples")
    (directory / "examples").symlink_to(ROOT / "examples")
    os.environ["RUNLANE_ALLOWED_HOSTS"] = "127.0.0.1"
    engine = Engine(directory / ".runlane", JOBS)
    try:
        engine.start()
    finally:
        del os.environ["RUNLANE_ALLOWED_HOSTS"]
    with vendors() as settings:
        reader = Reader(engine, directory, RUNLANE_ORG="demo")
        reader.run(Block("what the vendors print", settings))
        yield reader
    engine.stop()


def example(reader: Reader, number: str) -> Any:
    """What the section's commands did: the result of the newest execution of its workflow."""
    title = next(title for title in SECTIONS if title.startswith(number))
    said = reader.run(*SECTIONS[title])
    assert reader.engine.log().count("Traceback") == 0
    return said


def newest(reader: Reader, workflow: str) -> Any:
    """The record of the newest execution of a workflow, once it has ended."""
    listed = reader.run(Block("test", f"runlane executions list --workflow {workflow} --limit 1 --json"))
    execution_id = json.loads(listed)["executions"][0]["executionId"]
    return json.loads(reader.run(Block("test", f"runlane executions tail {execution_id} --json")))


def test_there_are_ten_each_with_a_file_a_line_in_the_index_and_a_section() -> None:
    files = sorted(path.name[:2] for path in JOBS.glob("[0-9]*.py"))
    index = (ROOT / "examples" / "README.md").read_text()

    assert files == NUMBERS
    assert [title[:2] for title in SECTIONS if title[:1].isdigit()] == NUMBERS
    for path in JOBS.glob("[0-9]*.py"):
        assert f"(jobs/{path.name})" in index


def test_01_somebody_gets_an_account_a_licence_and_a_ticket(reader: Reader) -> None:
    assert "POST" in example(reader, "01")

    done = newest(reader, "onboard_with_vendors")
    assert done["result"]["licensed"] is True
    assert {call["integration"] for call in done["integrationCalls"]} == {"msgraph", "halopsa"}


def test_02_licences_of_accounts_that_are_off_are_found(reader: Reader) -> None:
    assert "licence_audit" in example(reader, "02")

    found = newest(reader, "licence_audit")["result"]
    assert found["licensed_but_off"] == ["alan.turing@acme.example"]
    assert found["spare"]["ENTERPRISEPACK"] > 0


def test_03_a_ticket_that_comes_by_webhook_gets_its_note(reader: Reader) -> None:
    example(reader, "03")

    done = newest(reader, "ticket_opened")
    assert (done["trigger"]["kind"], done["result"]["ticket_id"]) == ("webhook", 1)
    assert done["result"]["note"] == "Grace Hopper, Sales; account on."


def test_04_nothing_is_taken_before_somebody_agreed(reader: Reader) -> None:
    example(reader, "04")

    done = newest(reader, "offboard_user")
    assert done["result"]["licences"] == 1
    assert "PendingApproval" in [entry["status"] for entry in done["transitions"]]


def test_05_a_migration_goes_on_after_its_process_was_killed(reader: Reader) -> None:
    example(reader, "05")

    result = newest(reader, "migrate_all_mailboxes")["result"]
    assert [one["user"] for one in result["mailboxes"]] == ["ada", "grace", "barbara"]
    assert result["resumed"] is True
    assert result["mailboxes"][0]["process"] != result["mailboxes"][-1]["process"]


def test_06_who_has_to_change_the_password_soon_is_noticed(reader: Reader) -> None:
    assert "0 8 * * mon-fri" in example(reader, "06")

    noticed = newest(reader, "password_expiry")["result"]["noticed"]
    assert set(noticed) == {"grace.hopper@acme.example"}


def test_07_devices_that_nobody_uses_are_reported(reader: Reader) -> None:
    example(reader, "07")

    assert newest(reader, "stale_devices")["result"] == {"days": 90, "devices": ["KIOSK-07", "LAPTOP-02"]}


def test_07_a_nonsensical_number_of_days_is_refused(reader: Reader) -> None:
    refused = Block("test", "! runlane run stale_devices --param days=0")

    reader.run(refused)


def test_08_a_backup_that_runs_is_looked_at_again_and_one_that_failed_gets_a_ticket(reader: Reader) -> None:
    example(reader, "08")

    assert newest(reader, "backup_check")["result"] == {"checked": 3, "failed": ["mail"], "attempt": 3}


def test_09_a_new_client_is_chosen_for_from_what_halopsa_has(reader: Reader) -> None:
    example(reader, "09")

    assert newest(reader, "new_client")["result"]["groups"] == ["Lab-Users", "Field-Users"]
    reader.run(Block("test", "! runlane forms submit new-client --field name=Umbrella --field parent=4711"))


def test_10_groups_become_what_the_rules_say_and_stay_so(reader: Reader) -> None:
    example(reader, "10")

    changes = newest(reader, "group_sync")["result"]["Sales-Users"]
    assert "barbara.liskov" in changes["added"]
    again = json.loads(reader.run(Block("test", "runlane run group_sync")))
    assert again == {"Sales-Users": {"added": [], "removed": []}}
