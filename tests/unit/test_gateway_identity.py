"""The identity file: what is read from it, and what a mistake in it says."""

import json
from pathlib import Path
from typing import Any

import pytest

from runlane.errors import ConfigurationError
from runlane_gateway.identity import read_providers
from runlane_gateway.permissions import ROLES, is_permission, missing, permissions_of

GRANT = {"group": "staff", "roles": ["viewer"], "orgs": "*"}
PROVIDER: dict[str, Any] = {
    "name": "msp",
    "issuer": "https://login.example.com/msp",
    "audience": ["runlane"],
    "grants": [GRANT],
}


def written(path: Path, *providers: object) -> Path:
    path.write_text(json.dumps({"providers": providers}))
    return path


def test_a_file_is_read_with_its_defaults(tmp_path: Path) -> None:
    (provider,) = read_providers(written(tmp_path / "identity.json", PROVIDER))
    assert (provider.leeway_seconds, provider.claims.groups) == (60, ["groups", "roles"])
    assert not any(algorithm.startswith("HS") or algorithm == "none" for algorithm in provider.algorithms)
    assert read_providers(None) == []


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"name": "a.b"}, "name"),
        ({"name": 5}, "name"),
        ({"issuer": "http://login.example.com"}, "https"),
        ({"issuer": "https://"}, "https"),
        ({"issuer": "https://[oops"}, "https"),
        ({"audience": []}, "audience"),
        ({"audience": [""]}, "audience"),
        ({"audience": "runlane"}, "audience"),
        ({"algorithms": []}, "algorithm"),
        ({"algorithms": ["none"]}, "none"),
        ({"algorithms": ["HS256"]}, "HS256"),
        ({"leeway_seconds": -1}, "leeway"),
        ({"leeway_seconds": 3600}, "leeway"),
        ({"secret": "x"}, "secret"),
        ({"claims": {"group": "x"}}, "group"),
        ({"grants": [{**GRANT, "roles": ["boss"]}]}, "boss"),
        ({"grants": [{**GRANT, "roles": []}]}, "neither"),
        ({"grants": [{**GRANT, "permissions": ["can run"]}]}, "can run"),
        ({"grants": [{**GRANT, "orgs": []}]}, "organisations"),
        ({"grants": [{**GRANT, "orgs": ["platform"]}]}, "platform"),
        ({"grants": [{**GRANT, "orgs": ["a.b"]}]}, "a.b"),
        ({"grants": [{**GRANT, "orgs": "all"}]}, "all"),
        ({"grants": [{**GRANT, "orgs": "claim"}]}, "claims.orgs"),
        ({"grants": [{"group": "staff", "roles": ["viewer"]}]}, "orgs"),
    ],
)
def test_a_mistake_is_named_when_the_gateway_starts(tmp_path: Path, changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigurationError, match="RUNLANE_IDENTITY_FILE") as refused:
        read_providers(written(tmp_path / "identity.json", {**PROVIDER, **changed}))
    assert reason in refused.value.message


def test_two_providers_are_told_apart(tmp_path: Path) -> None:
    other = {**PROVIDER, "name": "clients", "issuer": "https://other.example.com"}
    assert len(read_providers(written(tmp_path / "identity.json", PROVIDER, other))) == 2
    for same in ({**other, "name": "msp"}, {**other, "issuer": PROVIDER["issuer"]}):
        with pytest.raises(ConfigurationError, match="same name or issuer"):
            read_providers(written(tmp_path / "identity.json", PROVIDER, same))


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"\xff", b'{"providers": 1}'])
def test_what_is_no_identity_file_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "identity.json").write_bytes(text)
    with pytest.raises(ConfigurationError):
        read_providers(tmp_path / "identity.json")
    with pytest.raises(ConfigurationError):
        read_providers(tmp_path / "absent.json")


def test_roles_stand_for_permissions_and_unknown_ones_for_nothing() -> None:
    assert permissions_of(["owner"]) == {"*"}
    assert permissions_of(["boss", "viewer"], ["canX"]) == {"canViewExecutions", "canX"}
    assert missing(["canX", "canY"], frozenset({"canX"})) == ["canY"]
    assert missing(["*"], frozenset({"canX"})) == ["*"]
    assert missing(["canX", "*"], frozenset({"*"})) == []


def test_whoever_runs_does_not_approve_and_only_owners_hand_out_keys() -> None:
    for role, permissions in ROLES.items():
        assert role == "owner" or not {"canManageKeys", "*"} & permissions
        assert not {"canExecuteWorkflows", "canApproveExecutions"} <= permissions


@pytest.mark.parametrize("name", ["", " ", "can run", "1can", "can\n", "é", "a" * 65, "**", "can*"])
def test_a_permission_has_a_plain_name(name: str) -> None:
    assert not is_permission(name)
