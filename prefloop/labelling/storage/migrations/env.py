"""Runs migrations on the connection that `prefloop.labelling.storage` hands over."""

from alembic import context

from prefloop.labelling.storage.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
