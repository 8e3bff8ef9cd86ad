"""Runs migrations on the connection that `prefloop.labelling.server.storage` hands over."""

from alembic import context

from prefloop.labelling.server.storage.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
