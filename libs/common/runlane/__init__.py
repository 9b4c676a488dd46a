"""Runlane: durable automation for IT service providers. The author's door: everything a workflow file imports.

Most names are loaded when they are first asked for: services import their parts of this package without these.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

# Not on demand: importing the module `runlane.workflow` binds the name `workflow` to it, and this rebinds it.
from runlane.workflow import RetryPolicy, workflow

if TYPE_CHECKING:
    from runlane.context import Context
    from runlane.contracts.events import ApprovalDecision
    from runlane.errors import (
        ConfigurationError,
        DefinitionError,
        IntegrationError,
        PermissionError,
        SerializationError,
        TimeoutError,
        ValidationError,
        WorkflowException,
    )
    from runlane.integrations.base import BaseIntegration

__all__ = [
    "ApprovalDecision",
    "BaseIntegration",
    "ConfigurationError",
    "Context",
    "DefinitionError",
    "IntegrationError",
    "PermissionError",
    "RetryPolicy",
    "SerializationError",
    "TimeoutError",
    "ValidationError",
    "WorkflowException",
    "workflow",
]

_HOMES = {
    "ApprovalDecision": "runlane.contracts.events",
    "BaseIntegration": "runlane.integrations.base",
    "Context": "runlane.context",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'runlane' has no attribute {name!r}")
    value = getattr(import_module(_HOMES.get(name, "runlane.errors")), name)
    globals()[name] = value
    return value
