"""Engines to test on: DuckDB, PostgreSQL, and where they are installed ClickHouse and Spark."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import ibis
import pytest

from tests.environment import java, postgres


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
def clickhouse_url() -> Iterator[str]:
    """The address of a ClickHouse whose own time zone is not UTC: its engine, in this process.

    Only HTTP is left out, with which Ibis would send tables of Python's along.
    """
    if importlib.util.find_spec("chdb") is None:
        pytest.skip("ClickHouse is not installed: make test brings it")
    with pytest.MonkeyPatch.context() as patch:
        # Read when the engine is loaded.
        patch.setenv("TZ", "America/New_York")
        import clickhouse_connect
        from clickhouse_connect.driver._chdbclient import ChdbClient

    class Embedded(ChdbClient):
        def __init__(self, **_settings: Any) -> None:
            super().__init__()

        def raw_query(self, *query: Any, external_data: Any = None, **settings: Any) -> Any:
            self._take_along(external_data)
            return super().raw_query(*query, **settings)

        def query_column_block_stream(
            self, *query: Any, external_data: Any = None, **settings: Any
        ) -> Any:
            self._take_along(external_data)
            return super().query_column_block_stream(*query, **settings)

        def _take_along(self, external_data: Any) -> None:
            for table in external_data.files if external_data else ():
                with tempfile.NamedTemporaryFile() as file:
                    file.write(table.data)
                    file.flush()
                    made = f"CREATE OR REPLACE TABLE {table.name} ({table.structure}) ENGINE Memory"
                    self.command(f"{made} AS FROM file('{file.name}', '{table.fmt}')")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clickhouse_connect, "get_client", Embedded)
        # The engine lives, with its tables, as long as anybody is connected.
        open_all_the_while = Embedded()
        yield "clickhouse://embedded"
        open_all_the_while.close()


@pytest.fixture(scope="session")
def clickhouse_connection(clickhouse_url: str) -> Iterator[Any]:
    from trackflow_warehouse import sources

    connection = sources.connect(clickhouse_url)
    yield connection
    connection.disconnect()


# Tiny tables want neither compiled code nor many tasks: a tenth of the time.
_SPARK = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.sql.shuffle.partitions": "1",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
}


@pytest.fixture(scope="session")
def spark_connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    sql = pytest.importorskip("pyspark.sql", reason="Spark is not installed: make test brings it")
    builder = sql.SparkSession.builder.master("local[2]")
    builder.config("spark.sql.warehouse.dir", str(tmp_path_factory.mktemp("spark")))
    for name, value in _SPARK.items():
        builder.config(name, value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAVA_HOME", str(java.home()))
        session = builder.getOrCreate()
    gateway = session.sparkContext._gateway
    yield ibis.pyspark.connect(session)
    session.stop()
    # Spark leaves its Java running, and the pipe to it open.
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait(30)
