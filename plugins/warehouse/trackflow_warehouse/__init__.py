"""Attribution where the data is: TrackFlow's models as Ibis expressions over whole tables.

DuckDB, which comes along, works on files; PostgreSQL, Spark and ClickHouse on their own tables.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trackflow_core.attribution import Model
from trackflow_core.hooks import Command, hookimpl
from trackflow_core.ports import CreditRows, TableEngine

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
    """`trackflow export`."""
    return [Command("export", export)]


def export(
    source: Annotated[
        str,
        typer.Argument(
            help="The database of a TrackFlow server or an Odoo: postgresql://... or sqlite:///...",
            metavar="URL",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The folder of the files.", metavar="FOLDER")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Write touches, sessions, conversions, credits and spend as Parquet, a file for each month.

    Months that have not changed since the last export into FOLDER are left alone.
    """
    from trackflow_warehouse import star

    hidden = not sys.stderr.isatty()
    with typer.progressbar(
        length=len(star.SCHEMAS), label="Exporting", file=sys.stderr, hidden=hidden
    ) as bar:
        found = star.export(source, out, lambda _table: bar.update(1))
    if as_json:
        typer.echo(json.dumps([asdict(item) for item in found], indent=2))
        return
    for item in found:
        changed = f"{len(item.written)} months written, {len(item.dropped)} dropped"
        typer.echo(f"{item.table}: {item.rows} rows, {changed}")
