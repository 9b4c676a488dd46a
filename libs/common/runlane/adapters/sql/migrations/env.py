"""What Alembic runs to migrate: on the connection that `schema.migrate` opened, in its transaction."""

from alembic import context

from runlane.adapters.sql.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
