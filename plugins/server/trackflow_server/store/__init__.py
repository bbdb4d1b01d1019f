"""The store: `trackflow_core.ports.Store` over SQLAlchemy, on an SQLite file or PostgreSQL."""

from trackflow_server.store.database import Database, SqlStore

__all__ = ["Database", "SqlStore"]
