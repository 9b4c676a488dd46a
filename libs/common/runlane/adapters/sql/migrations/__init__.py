"""The schema's history, run by Alembic. `runlane.adapters.sql.upgrading` starts it; nobody else imports from here."""
