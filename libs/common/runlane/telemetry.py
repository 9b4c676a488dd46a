"""Log lines and metrics of a service. JSON lines where a machine reads, coloured text on a terminal."""

import logging
import sys
from typing import Any

import structlog

from runlane.settings import Settings


def configure_logging(service: str, settings: Settings, *, for_good: bool = False) -> None:
    """Send everything, the standard library's loggers too, to stderr in one form; call once per process.

    `for_good`: the loggers may keep it, which is faster; a command that is called as a function must not ask for that,
    as the process lives on.
    """
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
    renderer: Any = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=for_good,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))
    structlog.contextvars.bind_contextvars(service=service)


def logger(name: str) -> Any:
    """A structured logger: `logger(__name__).info("claimed", execution_id=…)`."""
    return structlog.get_logger(name)
