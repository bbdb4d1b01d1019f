"""Attribution where the data is: TrackFlow's models as Ibis expressions over whole tables.

DuckDB, which comes along, works on files; PostgreSQL, Spark and ClickHouse on their own tables.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

from trackflow_core.attribution import Model
from trackflow_core.hooks import Command, hookimpl
from trackflow_core.ports import CreditRows, PathRows, TableEngine
from trackflow_warehouse import command

if TYPE_CHECKING:
    import pyarrow as pa


class Warehouse:
    """The engine `warehouse` of `trackflow attribute`."""

    name = "warehouse"
    schemes: Collection[str] = ("clickhouse", "duckdb", "postgres", "postgresql", "sqlite")

    def split(
        self,
        touches: str,
        conversions: str,
        model: Model,
        *,
        zone: str = "UTC",
        currency: str | None = None,
        summary: bool = False,
    ) -> CreditRows:
        """See `trackflow_core.ports.TableEngine`."""
        # Ibis takes a second to import, and every host loads every plugin.
        from trackflow_warehouse import engine

        return engine.split(touches, conversions, model, zone, currency, summary=summary)

    def paths(
        self,
        touches: str,
        conversions: str,
        lookback: timedelta,
        *,
        zone: str = "UTC",
        currency: str | None = None,
    ) -> PathRows:
        """See `trackflow_core.ports.TableEngine`."""
        from trackflow_warehouse import engine

        return engine.paths(touches, conversions, lookback, zone, currency)

    def write(self, url: str, rows: pa.RecordBatchReader) -> int:
        """See `trackflow_core.ports.TableEngine`."""
        from trackflow_warehouse import engine

        return engine.write(url, rows)


@hookimpl
def trackflow_register_table_engines() -> Iterable[TableEngine]:
    """DuckDB for files, and the databases that Ibis knows."""
    return [Warehouse()]


@hookimpl
def trackflow_register_cli_commands() -> Iterable[Command]:
    """`trackflow export` and `trackflow paths`."""
    return [Command("export", command.export), Command("paths", command.paths)]
