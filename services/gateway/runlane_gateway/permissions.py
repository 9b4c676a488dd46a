"""What callers may be permitted to do, and the roles that stand for sets of it. Used by every door and by `auth`.

A workflow may demand any other name as its `required_permission`; such a one is granted by name, or with `EVERYTHING`.
"""

import re
from collections.abc import Iterable

EXECUTE_WORKFLOWS = "canExecuteWorkflows"
VIEW_EXECUTIONS = "canViewExecutions"
MANAGE_EXECUTIONS = "canManageExecutions"
VIEW_INTERNALS = "canViewInternals"
MANAGE_CONFIG = "canManageConfig"
MANAGE_SECRETS = "canManageSecrets"
MANAGE_ORGS = "canManageOrgs"
MANAGE_KEYS = "canManageKeys"
MANAGE_WEBHOOKS = "canManageWebhooks"
MANAGE_FORMS = "canManageForms"
APPROVE_EXECUTIONS = "canApproveExecutions"
VIEW_AUDIT = "canViewAudit"

EVERYTHING = "*"

_VIEWER = frozenset({VIEW_EXECUTIONS})
_TECHNICIAN = _VIEWER | {EXECUTE_WORKFLOWS, MANAGE_EXECUTIONS}
_AUTHOR = _TECHNICIAN | {VIEW_INTERNALS, MANAGE_CONFIG, MANAGE_WEBHOOKS, MANAGE_FORMS}

#: An approver does not execute and an operator does not approve: whoever should do both is given both roles.
ROLES: dict[str, frozenset[str]] = {
    "owner": frozenset({EVERYTHING}),
    "operator": _AUTHOR | {MANAGE_SECRETS, MANAGE_ORGS, VIEW_AUDIT},
    "author": _AUTHOR,
    "technician": _TECHNICIAN,
    "approver": _VIEWER | {APPROVE_EXECUTIONS},
    "viewer": _VIEWER,
}

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,63}")


def permissions_of(roles: Iterable[str], permissions: Iterable[str] = ()) -> frozenset[str]:
    """Everything that these roles and permissions amount to. An unknown role amounts to nothing."""
    return frozenset(permissions).union(*(ROLES.get(role, frozenset()) for role in roles))


def is_permission(name: str) -> bool:
    """Whether a permission may be called so."""
    return name == EVERYTHING or _NAME.fullmatch(name) is not None


def missing(wanted: Iterable[str], held: frozenset[str]) -> list[str]:
    """What is wanted and not held, sorted."""
    return [] if EVERYTHING in held else sorted(frozenset(wanted) - held)
