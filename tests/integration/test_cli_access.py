"""`runlane keys …` and `runlane whoami` against a gateway that serves."""

import asyncio
import json
import logging
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import structlog

from runlane_cli.main import main
from tests.support.gateway_bus import Gateway

pytest_plugins = ["tests.support.gateway_fixtures"]


class Ran(NamedTuple):
    code: object
    out: str
    err: str


Command = Callable[..., Awaitable[Ran]]


@pytest.fixture
def runlane(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Command]:
    """Run a command line in a thread, in an empty directory; `key` says whose it is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUNLANE_URL", gateway.url)
    # The gateway of this process would log to the stdout that is looked at.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))

    def command(words: tuple[str, ...]) -> object:
        monkeypatch.setattr(sys, "argv", ["runlane", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code

    async def run(*words: str, key: str = "rl_admin_secret-admin") -> Ran:
        monkeypatch.setenv("RUNLANE_API_KEY", key)
        capsys.readouterr()
        code = await asyncio.to_thread(command, words)
        return Ran(code, *capsys.readouterr())

    yield run
    structlog.reset_defaults()


async def test_a_key_is_made_shown_listed_and_revoked(runlane: Command) -> None:
    made = await runlane("keys", "create", "Ticket sync", "--role", "viewer", "--days", "30", "--org", "acme")
    key = made.out.strip()
    key_id = key.split("_")[1]
    assert (made.code, key.startswith("rl_"), "not shown again" in made.err) == (0, True, True)

    shown = json.loads((await runlane("keys", "show", key_id, "--json")).out)
    assert (shown["name"], shown["orgs"], shown["roles"]) == ("Ticket sync", ["acme"], ["viewer"])
    assert "key" not in shown
    assert "Ticket sync" in (await runlane("keys", "show", key_id)).out
    listed = await runlane("keys", "list", "--org", "globex")
    assert key_id not in listed.out
    listed = await runlane("keys", "list", "--org", "acme")
    assert (key_id in listed.out, "viewer" in listed.out, key.split("_")[2] in listed.out) == (True, True, False)

    assert (await runlane("whoami", key=key)).code == 0
    assert (await runlane("keys", "revoke", key_id)).code == 0
    after = await runlane("whoami", key=key)
    assert (after.code, "not valid" in after.err) == (2, True)


async def test_a_key_for_some_and_for_all_organisations(runlane: Command) -> None:
    some = await runlane(
        "keys", "create", "x", "--permission", "canX", "--for-org", "acme", "--for-org", "globex", "--json"
    )
    assert (json.loads(some.out)["orgs"], json.loads(some.out)["permissions"]) == (["acme", "globex"], ["canX"])
    everywhere = await runlane("keys", "create", "x", "--role", "owner", "--all-orgs", "--json")
    assert json.loads(everywhere.out)["orgs"] is None
    pages = await runlane("keys", "list", "--all-orgs", "--limit", "2")
    assert "There are more: --after" in pages.err


async def test_who_am_i_is_answered_for_people_and_programs(runlane: Command) -> None:
    me = await runlane("whoami", key="rl_acme_secret-acme")
    assert "acme" in me.out
    assert "canExecuteWorkflows" in me.out
    assert json.loads((await runlane("whoami", "--json")).out)["permissions"] == ["*"]
    assert "all organisations" in (await runlane("whoami")).out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("keys", "create", "x", "--role", "boss", "--org", "acme"), "There is no role 'boss'"),
        (("keys", "create", "x", "--org", "acme"), "Give it roles or permissions"),
        (("keys", "create", "x", "--role", "viewer"), "name one in X-Organization-Id"),
        (("keys", "create", "x", "--role", "viewer", "--for-org", "nowhere"), "There is no such organisation"),
        (("keys", "show", "../orgs"), "There is no"),
        (("keys", "revoke", "nobody"), "There is no key 'nobody'"),
    ],
)
async def test_a_refusal_is_a_sentence(runlane: Command, words: tuple[str, ...], said: str) -> None:
    ran = await runlane(*words)
    assert (ran.code, said in ran.err, ran.out) == (2, True, ""), ran.err
