"""Run by Alembic, always on the connection that `Database` hands over."""

from alembic import context

from trackflow_server.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    user_module_prefix="",
    transactional_ddl=False,
)
context.run_migrations()
