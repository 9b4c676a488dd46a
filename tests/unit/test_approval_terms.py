"""Whose rule counts, who is named, and when the office is open."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from msgspec import Raw

from runlane.approving import needs_approval, rule_for, terms_of
from runlane.contracts.approvals import OfficeHours, clock_time, is_open, named, next_opening
from runlane.contracts.directory import ApprovalRule, Manifest
from runlane.directory import Directory, approval_key

NOW = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)  # a Monday


def manifest(requires_approval: bool) -> Manifest:
    return Manifest(name="wipe", description="", parameters=Raw(b"{}"), requires_approval=requires_approval)


def directory(*rules: ApprovalRule) -> Directory:
    made = Directory()
    for revision, rule in enumerate(rules, 1):
        made.apply(approval_key(rule.org, rule.workflow), msgspec.json.encode(rule), revision)
    return made


@pytest.mark.parametrize(
    ("declared", "required", "needed"),
    [(True, None, True), (False, None, False), (True, False, False), (False, True, True)],
)
def test_a_rule_overrides_the_declaration_only_if_it_says_so(
    declared: bool, required: bool | None, needed: bool
) -> None:
    rule = ApprovalRule(org="acme", workflow="wipe", required=required)
    assert needs_approval(manifest(declared), rule) is needed
    assert needs_approval(manifest(declared), None) is declared


def test_the_rule_of_the_workflow_comes_before_the_one_for_all_and_others_have_neither() -> None:
    own, every = ApprovalRule(org="acme", workflow="wipe", count=2), ApprovalRule(org="acme", workflow="*", count=3)
    known = directory(own, every)
    assert (rule_for(known, "acme", "wipe"), rule_for(known, "acme", "x"), rule_for(known, "globex", "wipe")) == (
        own,
        every,
        None,
    )
    assert {rule.workflow for rule in known.approval_rules("acme")} == {"wipe", "*"}


def test_terms_are_those_of_the_rule() -> None:
    rule = ApprovalRule(org="acme", workflow="wipe", approvers=["ann"], count=2, expires_seconds=60)
    terms = terms_of(manifest(True), rule, NOW)
    assert terms is not None
    assert (terms.expires_at, terms.approvers, terms.count, terms.rule) == (
        NOW + timedelta(minutes=1),
        ["ann"],
        2,
        "acme/wipe",
    )
    assert terms_of(manifest(False), None, NOW) is None


@pytest.mark.parametrize(
    ("zone", "now", "open_"),
    [
        ("UTC", NOW, False),
        ("Europe/Vienna", NOW, True),
        ("Europe/Vienna", NOW + timedelta(hours=7, minutes=30), False),
        ("Europe/Vienna", NOW - timedelta(days=1), False),
        ("Asia/Tokyo", NOW, False),
    ],
)
def test_office_hours_are_the_organisations_own(zone: str, now: datetime, open_: bool) -> None:
    assert is_open(OfficeHours(), zone, now) is open_


def test_the_office_opens_again_after_the_weekend() -> None:
    saturday = datetime(2026, 3, 7, 12, tzinfo=UTC)
    assert next_opening(OfficeHours(), "Europe/Vienna", saturday) == datetime(2026, 3, 9, 8, tzinfo=UTC)
    assert next_opening(OfficeHours(days=[]), "UTC", saturday) is None


@pytest.mark.parametrize("text", ["", "9", "9:00", "24:00", "09:60", "09-00", "०९:००", "09:00:00"])
def test_what_is_no_time_of_day(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        clock_time(text)


def test_case_does_not_count_in_names() -> None:
    assert named(["Ann@MSP.com"], ["x", "ann@msp.com"])
    assert not named(["ann"], ["ann@msp.com"])
