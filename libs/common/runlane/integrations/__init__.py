"""Clients of vendors' APIs. An author's subclass of `BaseIntegration` is found by its `integration_name`."""

from runlane.integrations.base import BaseIntegration

__all__ = ["BaseIntegration"]
