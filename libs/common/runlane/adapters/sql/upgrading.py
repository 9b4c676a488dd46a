"""Runs Alembic: apart, as loading it takes a fifth of a service's start, and most starts find nothing to upgrade."""

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def upgrade(connection: Connection) -> None:
    """Create the schema, or bring it up to date, in the transaction of this connection."""
    config = configuration()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def configuration() -> Config:
    """Alembic's, without a file."""
    config = Config()
    config.set_main_option("script_location", "runlane.adapters.sql:migrations")
    return config
