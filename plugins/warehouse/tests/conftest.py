"""Engines to test on: DuckDB, a real PostgreSQL, and Spark where it is installed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import ibis
import pytest

from tests.environment import postgres


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The address of an empty database that this run has for itself."""
    name = f"trackflow_warehouse_{os.getpid()}"
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
def duckdb_connection() -> Iterator[Any]:
    connection = ibis.duckdb.connect()
    yield connection
    connection.disconnect()


@pytest.fixture(scope="session")
def postgres_connection(postgres_url: str) -> Iterator[Any]:
    from trackflow_warehouse import sources

    connection = sources.connect(postgres_url)
    yield connection
    connection.disconnect()


@pytest.fixture(scope="session")
def spark_connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    sql = pytest.importorskip("pyspark.sql", reason="the extra 'spark' is not installed")
    session = (
        sql.SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.warehouse.dir", str(tmp_path_factory.mktemp("spark")))
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    gateway = session.sparkContext._gateway
    yield ibis.pyspark.connect(session)
    session.stop()
    # Spark leaves its Java running, and the pipe to it open.
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait(30)
