"""Which schedules there are: a plan for each organisation and scheduled workflow. `agenda` asks."""

from datetime import datetime

from msgspec import Struct

from runlane.approving import rule_for
from runlane.contracts.directory import PLATFORM, ApprovalRule, Manifest, Org, ScheduleSetting
from runlane.directory import Directory
from runlane.errors import RunlaneError
from runlane.ids import is_token
from runlane.telemetry import logger

from .timetable import schedule_of

_log = logger(__name__)

#: Stands for the organisation's own time zone in a schedule's `time_zone`.
_ORG_ZONE = "org"


class Plan(Struct, frozen=True, kw_only=True):
    """A schedule as it holds for one organisation. `changed_at`: when the organisation last changed its setting.

    `rule` is what the organisation wants of approvals for the workflow.
    """

    org: str
    workflow: str
    expression: str
    zone: str
    manifest: Manifest
    rule: ApprovalRule | None = None
    changed_at: datetime | None = None

    @property
    def timing(self) -> tuple[str, str]:
        """What decides when it ticks."""
        return self.expression, self.zone


def orgs_of(directory: Directory) -> list[str]:
    """Everyone who may have a schedule: all organisations, and the platform for workflows that need none."""
    return list({PLATFORM, *(org.id for org in directory.orgs())})


def plan_of(directory: Directory, org_id: str, workflow: str) -> Plan | None:
    """The plan of a workflow for an organisation (or `platform`), None where it has no schedule to follow."""
    manifest = directory.workflow(workflow)
    if manifest is None or manifest.schedule is None or not is_token(workflow) or not is_token(org_id):
        return None
    org, setting = directory.org(org_id), directory.schedule(org_id, workflow)
    if manifest.requires_org == (org_id == PLATFORM) or (org is None and manifest.requires_org):
        return None
    if not directory.enabled(org_id, workflow) or (setting is not None and setting.enabled is False):
        return None
    expression, zone = _timing(manifest.schedule, manifest, org, setting)
    if not _usable(org_id, workflow, expression, zone):
        return None
    changed_at = None if setting is None else setting.changed_at
    return Plan(
        org=org_id,
        workflow=workflow,
        expression=expression,
        zone=zone,
        manifest=manifest,
        rule=rule_for(directory, org_id, workflow),
        changed_at=changed_at,
    )


def _timing(declared: str, manifest: Manifest, org: Org | None, setting: ScheduleSetting | None) -> tuple[str, str]:
    expression, zone = declared, manifest.schedule_time_zone
    if setting is not None:
        expression, zone = setting.schedule or expression, setting.time_zone or zone
    if zone == _ORG_ZONE:
        zone = "UTC" if org is None else org.time_zone
    return expression, zone


def _usable(org: str, workflow: str, expression: str, zone: str) -> bool:
    try:
        schedule_of(expression, zone)
    except (RunlaneError, ValueError) as problem:
        _log.error("unusable schedule", org=org, workflow=workflow, schedule=expression, zone=zone, reason=str(problem))
        return False
    return True
