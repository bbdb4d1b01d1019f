"""Stores to test on: an SQLite file, and a real PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.environment import postgres
from trackflow_server.store import Database


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The address of an empty database that this run has for itself."""
    name = f"trackflow_server_{os.getpid()}"
    with postgres.running(durable=False) as server:
        server.run(f'DROP DATABASE IF EXISTS "{name}"')
        server.run(f'CREATE DATABASE "{name}"')
        password = f":{quote(server.password)}" if server.password else ""
        yield (
            f"postgresql://{quote(server.user)}{password}@/{name}"
            f"?host={quote(server.host, safe='')}&port={server.port}"
        )
        server.run(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def postgres_database(postgres_url: str) -> Iterator[Database]:
    database = Database(postgres_url)
    database.upgrade()
    yield database
    database.close()


@pytest.fixture(scope="session")
def sqlite_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = Database(str(tmp_path_factory.mktemp("store") / "trackflow.sqlite"))
    database.upgrade()
    yield database
    database.close()


@pytest.fixture
def new_file(tmp_path: Path) -> str:
    return str(tmp_path / "trackflow.sqlite")
