"""`trackflow paths` tells of six journeys what one counts by hand."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from trackflow_core import cli
from trackflow_core.attribution.files import read_conversions, read_touches
from trackflow_warehouse import reports, sources
from trackflow_warehouse.paths import Paths

# Of `old`, the first touch is out of the window; `lost` and `left` did not convert.
TOUCHES = """journey_id,touch_id,occurred_at,channel,campaign
a,1,2026-03-01T09:00:00Z,Email,spring
a,2,2026-03-02T09:00:00Z,Email,spring
a,3,2026-03-03T09:00:00Z,Search,
b,1,2026-02-27T00:00:00Z,Email,autumn
b,2,2026-03-04T00:00:00Z,Search,brand
old,1,2025-03-01T00:00:00Z,Direct,
old,2,2026-03-01T00:00:00Z,Search,
old,3,2026-03-20T00:00:00Z,Direct,
lost,1,2026-03-01T09:00:00Z,Email,spring
lost,2,2026-03-05T09:00:00Z,Email,spring
left,1,2025-01-01T09:00:00Z,Direct,
left,2,2026-03-05T09:00:00Z,Email,
"""
CONVERSIONS = """journey_id,occurred_at,value,currency
a,2026-03-03T10:00:00Z,100.00,EUR
b,2026-03-06T00:00:00Z,60.50,EUR
old,2026-04-10T00:00:00Z,-20,EUR
bare,2026-03-05T00:00:00Z,7,EUR
"""
EXPECTED: dict[str, list[tuple[Any, ...]]] = {
    "top": [
        ("Email > Email > Search", 1, 1, 1.0, 100.0),
        ("Email > Search", 1, 1, 1.0, 60.5),
        ("Search > Direct", 1, 1, 1.0, -20.0),
        ("Email", 1, 0, 0.0, 0.0),
        ("Email > Email", 1, 0, 0.0, 0.0),
    ],
    "lag": [
        ("0", 0, 0.0, 0.0),
        ("1", 0, 0.0, 0.0),
        ("2-3", 1, 1 / 3, 100.0),
        ("4-7", 1, 1 / 3, 60.5),
        ("8-14", 0, 0.0, 0.0),
        ("15-30", 0, 0.0, 0.0),
        ("31-60", 1, 1 / 3, -20.0),
        ("61-90", 0, 0.0, 0.0),
        ("91+", 0, 0.0, 0.0),
    ],
    "length": [(1, 1, 0, 0.0, 0.0), (2, 3, 2, 2 / 3, 40.5), (3, 1, 1, 1.0, 100.0)],
    "cohorts": [
        ("2026-02", "Email", 1, 1, 1.0, 60.5, 1, 1, 1),
        ("2026-03", "Email", 3, 1, 1 / 3, 100.0, 1, 1, 1),
        ("2026-03", "Search", 1, 1, 1.0, -20.0, 0, 0, 1),
    ],
    # name, touches, journeys, conversions, rate, value, first, assisted, last, and their values
    "assists": [
        ("Search", 3, 3, 3, 1.0, 140.5, 1, 1, 2, -20.0, -20.0, 160.5),
        ("Email", 6, 4, 2, 0.5, 160.5, 2, 2, 0, 160.5, 160.5, 0.0),
        ("Direct", 1, 1, 1, 1.0, -20.0, 0, 0, 1, 0.0, 0.0, -20.0),
    ],
}
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Runs `trackflow paths` in a folder with both files: its exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    Path("touches.csv").write_text(TOUCHES)
    Path("conversions.csv").write_text(CONVERSIONS)

    def call(report: str, *options: str) -> tuple[int, str, str]:
        files = ["--touches", "touches.csv", "--conversions", "conversions.csv"]
        monkeypatch.setattr(sys, "argv", ["trackflow", "paths", report, *files, *options])
        try:
            cli.main()
        except SystemExit as stop:
            return (int(stop.code or 0), *capsys.readouterr())
        return (0, *capsys.readouterr())

    return call


@pytest.mark.parametrize("report", EXPECTED)
def test_files(run: Run, report: str) -> None:
    code, output, _ = run(report, "--json")
    assert code == 0
    assert [tuple(row.values()) for row in json.loads(output)] == EXPECTED[report]


@pytest.mark.slow
@pytest.mark.parametrize("report", EXPECTED)
def test_postgresql(postgres_connection: Any, tmp_path: Path, report: str) -> None:
    assert on(postgres_connection, tmp_path, report) == EXPECTED[report]


@pytest.mark.slow
@pytest.mark.parametrize("report", EXPECTED)
def test_clickhouse(clickhouse_connection: Any, tmp_path: Path, report: str) -> None:
    assert on(clickhouse_connection, tmp_path, report) == EXPECTED[report]


def on(connection: Any, folder: Path, report: str) -> list[tuple[Any, ...]]:
    """The rows of `report` over tables of a database."""
    (folder / "touches.csv").write_text(TOUCHES)
    (folder / "conversions.csv").write_text(CONVERSIONS)
    told = read_conversions(folder / "conversions.csv").table
    value = pc.divide(told.column("value").cast(pa.float64()), 100.0)
    conversions = told.select(["journey_id", "occurred_at", "currency"]).append_column(
        "value", value
    )
    source = sources.source_of(
        connection.create_table("paths_t", read_touches(folder / "touches.csv"), overwrite=True),
        connection.create_table("paths_c", conversions, overwrite=True),
    )
    with Paths(source.touches, source.conversions, timedelta(days=90)) as paths:
        rows = reports.table(report, paths, source.digits).to_pylist()
    return [
        tuple(value if isinstance(value, int | str) else float(value) for value in row.values())
        for row in rows
    ]


def test_steps_alike_count_as_one_and_may_be_campaigns(run: Run) -> None:
    code, output, _ = run("top", "--collapse", "--json")
    assert (code, json.loads(output)[0]["path"]) == (0, "Email > Search")
    assert json.loads(output)[0]["conversions"] == 2
    code, output, error = run("assists", "--by", "campaign", "--limit", "1")
    assert code == 0 and "3 more rows: raise --limit" in error
    name, touches, journeys, conversions, *_ = output.splitlines()[1].split()
    assert (name, touches, journeys, conversions) == ("-", "4", "3", "2")


def test_all_rows_are_written(run: Run) -> None:
    assert (
        run("length", "--out", "length.csv", "--limit", "1")[1] == "Wrote 3 rows to length.csv.\n"
    )
    with Path("length.csv").open(newline="") as lines:
        assert [*csv.reader(lines)][1:2] == [["1", "1", "0", "0", "0.00"]]


@pytest.mark.parametrize(
    ("options", "conversions", "reason"),
    [
        (["--by", "term"], CONVERSIONS, "The touches have no column 'term'"),
        ([], CONVERSIONS.replace("7,EUR", "7,USD"), "in EUR and USD, which cannot be added up"),
    ],
)
def test_what_cannot_be_told_is_said(
    run: Run, options: list[str], conversions: str, reason: str
) -> None:
    Path("conversions.csv").write_text(conversions)
    code, _, error = run("top", *options)
    assert code == 1 and reason in error and error.count("\n") == 1


def test_no_journey_is_said(run: Run) -> None:
    Path("touches.csv").write_text(TOUCHES.splitlines()[0] + "\n")
    assert run("top") == (0, "There are no journeys.\n", "")
