"""Runlane: durable automation for IT service providers. The author's door: everything a workflow file imports.

Names are loaded when they are first asked for: the services import their parts of this package without paying for these.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runlane.context import Context
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
    from runlane.workflow import RetryPolicy, workflow

__all__ = [
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
    "BaseIntegration": "runlane.integrations.base",
    "Context": "runlane.context",
    "RetryPolicy": "runlane.workflow",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'runlane' has no attribute {name!r}")
    # `runlane.workflow` is a module too: once it is imported, the name must still mean the decorator.
    value = getattr(import_module(_HOMES.get(name, "runlane.errors")), name)
    globals()[name] = value
    return value
