"""`trackflow attribute` with the warehouse: files by DuckDB, and a real PostgreSQL."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trackflow_core import cli

Run = Callable[..., tuple[int, str, str]]

TOUCHES = """journey_id,touch_id,occurred_at,channel
a,1,2026-03-01T09:00:00Z,Email
a,2,2026-03-02 10:00:00,Direct
a,3,2026-03-03,Paid Search
lost,4,2026-03-01T09:00:00Z,Email
"""
CONVERSIONS = """journey_id,occurred_at,value,currency
a,2026-03-05T00:00:00Z,100.00,EUR
bare,2026-03-05T00:00:00Z,-50,EUR
yen,2026-03-05T00:00:00Z,1001,JPY
"""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command in this process: its exit code, output and errors."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["trackflow", *arguments])
        try:
            cli.main()
        except SystemExit as stop:
            return (int(stop.code or 0), *capsys.readouterr())
        return (0, *capsys.readouterr())

    return call


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("touches.csv").write_text(TOUCHES)
    Path("conversions.csv").write_text(CONVERSIONS)


def call(run: Run, *more: str, touches: str = "touches.csv") -> tuple[int, str, str]:
    files = ("--touches", touches, "--conversions", "conversions.csv")
    return run("attribute", *files, "--engine", "warehouse", *more)


def rows(output: str) -> list[dict[str, Any]]:
    return sorted(json.loads(output), key=lambda row: (row["journey_id"], row["touch_id"] or ""))


@pytest.mark.parametrize("model", ["linear", "position_based", "time_decay", "w_shaped"])
def test_files_give_what_the_core_gives(run: Run, model: str) -> None:
    ours = call(run, "--json", "--model", model)
    files = ("--touches", "touches.csv", "--conversions", "conversions.csv")
    core = run("attribute", *files, "--json", "--model", model)
    assert ours[0] == core[0] == 0
    assert rows(ours[1]) == rows(core[1])
    assert ours[2] == core[2]


@pytest.mark.parametrize("model", ["markov", "markov_value", "shapley"])
def test_rules_by_channels_learn_and_split_as_in_the_core(run: Run, model: str) -> None:
    arguments = ("--model", model, "--currency", "EUR", "--json")
    ours = call(run, *arguments)
    files = ("--touches", "touches.csv", "--conversions", "conversions.csv")
    core = run("attribute", *files, *arguments)
    assert ours[0] == core[0] == 0
    assert rows(ours[1]) == rows(core[1])
    assert ours[2] == core[2]


def test_a_fit_is_learned_once_and_applied_by_both_engines(run: Run) -> None:
    files = ("--touches", "touches.csv", "--conversions", "conversions.csv")
    found = {}
    for engine in ("core", "warehouse"):
        code, output, _ = run("fit", *files, "--out", f"{engine}.json", "--engine", engine)
        assert (code, "3 conversions in 2 journeys" in output) == (0, False)
        assert "1 conversions in 2 journeys" in output
        fit = json.loads(Path(f"{engine}.json").read_text())
        found[engine] = {**fit, "fitted_at": ""}
    assert found["core"] == found["warehouse"]
    arguments = ("--model", "core.json", "--json")
    ours, core = call(run, *arguments), run("attribute", *files, *arguments)
    assert ours[0] == core[0] == 0 and rows(ours[1]) == rows(core[1])


def test_parquet_is_read_where_it_lies(run: Run) -> None:
    moment = [datetime(2026, 3, 1, tzinfo=timezone.utc)]
    Path("parts").mkdir()
    for name in ("1", "2"):
        row = {"journey_id": ["a"], "touch_id": [name], "occurred_at": moment, "channel": ["x"]}
        pq.write_table(pa.table(row), f"parts/{name}.parquet")
    code, output, _ = call(run, "--out", "credits.parquet", touches="parts")
    assert (code, output) == (0, "Wrote 4 rows to credits.parquet.\n")
    values = pq.read_table("credits.parquet").sort_by("value").column("value").to_pylist()
    assert values == [Decimal("-50.00"), Decimal("50.00"), Decimal("50.00"), Decimal("1001.00")]


def test_the_summary_keeps_currencies_apart(run: Run) -> None:
    code, _, error = call(run, "--summary")
    assert code == 1 and "in EUR and JPY, which cannot be added up" in error
    code, output, _ = call(run, "--summary", "--json", "--currency", "JPY")
    assert code == 0
    assert json.loads(output) == [{"channel": "Unattributed", "conversions": 1.0, "value": 1001.0}]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("touches.csv", TOUCHES.replace("channel", "chanel"), "has no column 'channel': add it"),
        ("conversions.csv", CONVERSIONS.replace("-50", "much"), "is no amount of money"),
        ("conversions.csv", CONVERSIONS.replace("bare", "a"), "has two conversions"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(run: Run, name: str, text: str, reason: str) -> None:
    Path(name).write_text(text)
    code, _, error = call(run)
    assert code == 1 and name in error and reason in error and error.count("\n") == 1


@pytest.mark.slow
def test_a_database_is_read_and_written(run: Run, postgres_url: str) -> None:
    for name in ("touches", "conversions"):
        # The columns of a real database: timestamps, numerics and whole numbers as ids.
        columns = {
            "touches": "journey_id text, touch_id int, occurred_at timestamptz, channel text",
            "conversions": "journey_id text, occurred_at timestamptz, value numeric, currency text",
        }[name]
        _sql(postgres_url, f"CREATE TABLE shop_{name} ({columns})")
    _sql(
        postgres_url,
        "INSERT INTO shop_touches VALUES ('a', 1, '2026-03-01 09:00Z', 'Email'), "
        "('a', 2, '2026-03-02 10:00Z', NULL), ('a', 3, '2026-03-03 00:00Z', 'Paid Search')",
    )
    _sql(
        postgres_url,
        "INSERT INTO shop_conversions VALUES ('a', '2026-03-05 00:00Z', 100.005, 'eur'), "
        "('yen', '2026-03-05 00:00Z', 1001, 'JPY')",
    )
    urls = [f"{postgres_url}#shop_{name}" for name in ("touches", "conversions")]
    arguments = ("attribute", "--touches", urls[0], "--conversions", urls[1])
    code, output, _ = run(*arguments, "--json")
    assert code == 0
    assert [row["value"] for row in rows(output)] == [33.34, 33.34, 33.33, 1001.0]
    for _ in range(2):
        assert run(*arguments, "--out", f"{postgres_url}#credits")[0] == 0
    assert _sql(postgres_url, "SELECT count(*), sum(value)::text FROM credits") == (4, "1101.01")
    code, _, error = run(*arguments, "--out", f"{postgres_url}#shop_touches")
    assert code == 1 and "'shop_touches' has other columns" in error
    code, _, error = run(*arguments[:4], f"{postgres_url}#nothing")
    assert code == 1 and "no table 'nothing'" in error
    code, _, error = run(*arguments[:4], "conversions.csv")
    assert code == 1 and "as tables of one database" in error


@pytest.mark.slow
def test_moments_without_a_zone_are_utc_in_clickhouse(
    run: Run, clickhouse_url: str, clickhouse_connection: Any
) -> None:
    client = clickhouse_connection.con
    assert client.command("SELECT serverTimezone()") == "America/New_York"
    moment = "occurred_at DateTime"
    client.command(f"CREATE TABLE shop_t (journey_id UInt32, touch_id UUID, {moment}, "
                   "channel LowCardinality(String)) ENGINE MergeTree ORDER BY touch_id")  # fmt: skip
    client.command(f"CREATE TABLE shop_c (journey_id UInt32, {moment} ('UTC'), "
                   "value Nullable(Decimal(12, 4)), currency String) ENGINE Memory")  # fmt: skip
    # New York's noon was not yet UTC's when the deal came.
    for day, channel in ((1, "Email"), (2, "Direct")):
        client.command(
            f"INSERT INTO shop_t SELECT 7, generateUUIDv4(), '2026-07-0{day} 12:00:00', '{channel}'"
        )
    client.command("INSERT INTO shop_c SELECT 7, '2026-07-02 12:00:00', 10.015, 'eur'")
    tables = ("--touches", f"{clickhouse_url}#shop_t", "--conversions", f"{clickhouse_url}#shop_c")
    code, output, error = run("attribute", *tables, "--json")
    assert (code, error) == (0, "")
    assert [(row["journey_id"], row["value"]) for row in rows(output)] == [("7", 5.01), ("7", 5.01)]
    for _ in range(2):
        assert run("attribute", *tables, "--out", f"{clickhouse_url}#shop_credits")[0] == 0
    assert client.command("SELECT count(), toString(sum(value)) FROM shop_credits") == [
        "2",
        "10.02",
    ]
    code, _, error = run("attribute", *tables[:3], f"{clickhouse_url}#nothing")
    assert code == 1 and "no table 'nothing'" in error


def _sql(url: str, statement: str) -> Any:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(statement)
        return found.fetchone() if found.description else None


def test_a_database_that_is_not_there_is_told_without_its_password(run: Run) -> None:
    url = "postgresql://me:geheim@127.0.0.1:1/nowhere"
    code, _, error = run("attribute", "--touches", url, "--conversions", url)
    assert code == 1 and "127.0.0.1" in error and "geheim" not in error
    assert error.count("\n") == 1


def test_hosts_do_not_import_ibis() -> None:
    code = (
        "import sys; from trackflow_core import hooks; hooks.load(); print('ibis' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
