"""`trackflow export` from the store of a real TrackFlow server, on SQLite and PostgreSQL."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from trackflow_core import cli
from trackflow_core.engine import Engine
from trackflow_core.hooks import Hooks
from trackflow_core.model import DealStatus, Touch
from trackflow_core.testing.facts import ANNA, BEN, LINKS, at, click, deal, lead

Run = Callable[..., tuple[int, str, str]]
server = pytest.importorskip("trackflow_server.store", reason="trackflow-server is not installed")


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


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store with two visitors, one of whom became a lead with two deals."""
    if request.param == "postgres":
        address = str(request.getfixturevalue("postgres_url"))
    else:
        address = f"sqlite:///{tmp_path / 'trackflow.sqlite'}"
    database = server.Database(address)
    database.upgrade()
    with database.transaction() as store:
        store.save_links(LINKS)
        engine = Engine(store, Hooks())
        for fact in (
            click("c1", 1),
            click("c2", 35, "mailNws"),
            click("c3", 2, visitor_id=BEN),
            click("bot", 2, user_agent="Googlebot/2.1"),
        ):
            engine.record_click(fact)
        engine.process_clicks()
        engine.apply(
            [lead(days=36)],
            [
                deal(value=10001, days=40, created_at=at(40), status=DealStatus.WON),
                deal("crm/deal-2", value=7, days=41, created_at=at(41), currency="JPY", digits=0),
            ],
        )
        engine.record_touch("crm/lead-1", Touch("call-1", at(37), "Phone", kind="call"))
    database.close()
    return address


def rows(folder: Path, table: str, *columns: str) -> list[tuple[object, ...]]:
    found = pq.read_table(folder / table).select(columns)
    return [tuple(row.values()) for row in found.to_pylist()]


def test_a_server_is_exported(run: Run, url: str, tmp_path: Path) -> None:
    folder = tmp_path / "star"
    code, output, _ = run("export", url, "--out", str(folder), "--json")
    assert code == 0
    assert {item["table"]: item["rows"] for item in json.loads(output)} == {
        "touches": 4,
        "sessions": 3,
        "conversions": 2,
        "credits": 6,
        "spend": 0,
    }
    assert rows(folder, "touches", "journey_id", "touch_id", "kind", "channel") == [
        ("crm/lead-1", "c1", "click", "Paid Search"),
        (BEN, "c3", "click", "Paid Search"),
        ("crm/lead-1", "c2", "click", "Email"),
        ("crm/lead-1", "call-1", "call", "Phone"),
    ]
    assert rows(folder, "conversions", "conversion_id", "value", "currency", "status") == [
        ("crm/deal-1", Decimal("100.0100"), "EUR", "won"),
        ("crm/deal-2", Decimal("7.0000"), "JPY", "open"),
    ]
    credits = rows(folder, "credits", "conversion_id", "touch_id", "value", "model")
    assert credits[:3] == [
        ("crm/deal-1", "c1", Decimal("33.3400"), "linear"),
        ("crm/deal-1", "c2", Decimal("33.3400"), "linear"),
        ("crm/deal-1", "call-1", Decimal("33.3300"), "linear"),
    ]
    assert sum(row[2] for row in credits[3:]) == 7
    assert {row[0] for row in rows(folder, "sessions", "visitor_id")} == {ANNA, BEN}
    assert pq.read_table(folder / "spend").num_rows == 0
    assert (folder / "touches" / "2026-03.parquet").exists()


def test_months_that_did_not_change_are_left_alone(run: Run, url: str, tmp_path: Path) -> None:
    folder = tmp_path / "star"
    assert run("export", url, "--out", str(folder))[0] == 0
    files = {path: path.stat().st_mtime_ns for path in folder.glob("*/2026-*.parquet")}
    database = server.Database(url)
    with database.transaction() as store:
        Engine(store, Hooks()).forget(BEN)
        Engine(store, Hooks()).record_touch("crm/lead-1", Touch("call-2", at(38), "Phone"))
    database.close()
    code, output, _ = run("export", url, "--out", str(folder), "--json")
    written = {item["table"]: item["written"] for item in json.loads(output)}
    assert code == 0
    assert written == {
        "touches": ["2026-03", "2026-04"],
        "sessions": ["2026-03"],
        "conversions": [],
        "credits": ["2026-04"],
        "spend": [],
    }
    unchanged = folder / "conversions" / "2026-04.parquet"
    assert unchanged.stat().st_mtime_ns == files[unchanged]
    assert all(row[0] != "c3" for row in rows(folder, "touches", "touch_id"))


def test_a_month_that_has_no_rows_any_more_is_dropped(run: Run, tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path / 'small.sqlite'}"
    database = server.Database(address)
    database.upgrade()
    with database.transaction() as store:
        store.save_links(LINKS)
        engine = Engine(store, Hooks())
        engine.record_click(click("c1", 1))
        engine.process_clicks()
    folder = tmp_path / "star"
    run("export", address, "--out", str(folder))
    with database.transaction() as store:
        Engine(store, Hooks()).forget(ANNA)
    database.close()
    code, output, _ = run("export", address, "--out", str(folder))
    assert code == 0 and "touches: 0 rows, 0 months written, 1 dropped" in output
    assert pq.read_table(folder / "touches").num_rows == 0


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("sqlite:///nothing.sqlite", "There is no file nothing.sqlite"),
        ("sqlite:///other.sqlite", "neither a TrackFlow server's nor an Odoo's"),
        ("sqlite:///broken.sqlite", "cannot be read"),
        ("mysql://host/db", "Name a database as postgresql://"),
        ("postgresql://me:geheim@127.0.0.1:1/db", "The database cannot be read"),
    ],
)
def test_a_database_that_cannot_be_exported(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("other.sqlite").touch()
    Path("broken.sqlite").write_text("no database " * 100)
    code, _, error = run("export", name, "--out", "star")
    assert code == 1 and reason in error and "geheim" not in error and error.count("\n") == 1


def test_a_folder_of_other_files_is_left_alone(run: Run, url: str, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/letter.txt").touch()
    code, _, error = run("export", url, "--out", str(tmp_path / "full"))
    assert code == 1 and "holds other files" in error
