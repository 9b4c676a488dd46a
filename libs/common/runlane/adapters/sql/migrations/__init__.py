"""The schema's history, run by Alembic. `runlane.adapters.sql.schema` starts it; nobody else imports from here."""
