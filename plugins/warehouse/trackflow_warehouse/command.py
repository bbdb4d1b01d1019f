"""The commands `trackflow export` and `trackflow paths`.

Ibis takes a second to import, and every host loads every plugin: what works is imported by need.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from trackflow_core import analysis

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


class Report(str, Enum):
    """What `trackflow paths` tells."""

    TOP = "top"
    LAG = "lag"
    LENGTH = "length"
    COHORTS = "cohorts"
    ASSISTS = "assists"


class Step(str, Enum):
    """The columns of touches that steps are told by."""

    CHANNEL = "channel"
    SOURCE = "source"
    MEDIUM = "medium"
    CAMPAIGN = "campaign"
    CONTENT = "content"
    TERM = "term"


_TABLE = "Parquet, CSV or a database's URL, as for trackflow attribute."


def paths(
    report: Annotated[
        Report,
        typer.Argument(
            help="top: the most frequent paths; lag: days from first touch to conversion; length: "
            "touches before it; cohorts: by month and name of the first touch; assists: what "
            "began, helped and closed."
        ),
    ],
    touches: Annotated[str, typer.Option(help=_TABLE, metavar="FILE")],
    conversions: Annotated[str, typer.Option(help=_TABLE, metavar="FILE")],
    by: Annotated[Step, typer.Option(help="What a step of a path is.")] = Step.CHANNEL,
    collapse: Annotated[
        bool, typer.Option("--collapse", help="Steps alike that follow each other count as one.")
    ] = False,
    lookback: Annotated[
        float, typer.Option(help="Days before the journey's end that count.", metavar="DAYS", min=0)
    ] = 90,
    limit: Annotated[int, typer.Option(help="Print so many rows.", metavar="ROWS", min=1)] = 20,
    zone: Annotated[
        str, typer.Option(help="The time zone of moments without an offset.", metavar="ZONE")
    ] = "UTC",
    currency: Annotated[
        str | None, typer.Option(help="Only conversions in this one.", metavar="CODE")
    ] = None,
    out: Annotated[
        str | None,
        typer.Option(
            help="Write all rows to .parquet, .csv or a database's table.", metavar="FILE"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tell how journeys went, with and without a conversion."""
    from trackflow_warehouse import engine

    found = engine.report(
        report.value,
        touches,
        conversions,
        timedelta(days=lookback),
        by.value,
        collapse=collapse,
        zone=zone,
        currency=currency,
    )
    if out:
        typer.echo(f"Wrote {analysis.write(out, found.to_reader())} rows to {out}.")
        return
    rows = found.slice(0, limit).to_reader()
    if as_json:
        typer.echo(json.dumps(analysis.rows_for_programs(rows), indent=2, ensure_ascii=False))
        return
    for line in analysis.lines_of(analysis.rows_for_people(rows)) or ["There are no journeys."]:
        typer.echo(line)
    if len(found) > limit:
        typer.echo(f"trackflow: {len(found) - limit} more rows: raise --limit.", err=True)


def export(
    source: Annotated[
        str,
        typer.Argument(
            help="The database of a TrackFlow server or an Odoo: postgresql://... or sqlite:///...",
            metavar="URL",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The folder of the files.", metavar="FOLDER")],
    as_json: AsJson = False,
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
