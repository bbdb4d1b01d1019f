"""What keeps a server well: doctor, backup and restore."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import tracemalloc
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from trackflow_core.api.storage import WebhookEndpoint
from trackflow_core.errors import ConfigError
from trackflow_core.model import Click, Link
from trackflow_core.outbox import DEAL_ATTRIBUTED
from trackflow_server import backup, commands, config, doctor, facts, spool
from trackflow_server.config import ServerConfig
from trackflow_server.job import take_in
from trackflow_server.spool import SpoolReader, SpoolWriter
from trackflow_server.store import Database
from trackflow_server.store.catalog import SqlCatalog
from trackflow_server.store.outbox import SqlOutbox

SECRET = "a secret of this test run"


def _config(**environment: object) -> ServerConfig:
    return config.load(None, {f"TRACKFLOW_{name}": str(told) for name, told in environment.items()})


def _of(served: Any) -> ServerConfig:
    """The configuration of a running server."""
    return _config(
        SECRET=SECRET,
        STORE=served.database.url.database,
        SPOOL=served.log.with_name("spool"),
        PORT=served.url.rpartition(":")[2],
    )


def _parts(settings: ServerConfig) -> dict[str, str]:
    """What is said of each part: "ok", "skipped", or the problem."""
    return {
        found.part: "skipped" if found.skipped else found.problem or "ok"
        for found in doctor.examine(settings)
    }


@pytest.mark.slow
def test_a_healthy_server_is_told_so_and_keeps_nothing_of_it(server: Any) -> None:
    assert set(_parts(_of(server)).values()) == {"ok"}
    with server.database.reading() as store:
        assert store.deals() == []
        assert store.queue_lengths() == (0, 0)


@pytest.mark.slow
def test_a_receiver_that_takes_nothing_is_named(server: Any) -> None:
    with server.database.transaction() as store:
        catalog = SqlCatalog(store, "", (SECRET,))
        wanted = WebhookEndpoint("", "https://crm.example/hook", frozenset({DEAL_ATTRIBUTED}))
        [endpoint] = catalog.create([wanted])
        SqlOutbox(lambda: store).disable(f"webhook/{endpoint.id}", "It answered 410.")
    found = _parts(_of(server))
    assert found.pop("messages") == "https://crm.example/hook takes no messages: It answered 410."
    assert set(found.values()) == {"ok"}
    with server.database.transaction() as store:
        SqlCatalog(store, "", (SECRET,)).delete(WebhookEndpoint, [endpoint.id])


def test_the_broken_part_is_named(new_file: str) -> None:
    found = _parts(_config(STORE=new_file))
    assert "TRACKFLOW_SECRET is not set" in found["keys"]
    assert found["store"] == found["server"] == "skipped"
    settings = _config(STORE=new_file, SECRET=SECRET, PORT=1)
    assert "another version" in _parts(settings)["store"]
    database = Database(new_file)
    database.upgrade()
    database.close()
    found = _parts(settings)
    assert (found["store"], found["click to deal"]) == ("ok", "ok")
    assert "start the server" in found["server"]
    connection = sqlite3.connect(new_file)
    connection.execute("ALTER TABLE credit RENAME TO gone")
    connection.close()
    assert "credit" in _parts(settings)["click to deal"]


def test_a_spool_that_is_nearly_full_is_named(new_file: str, tmp_path: Path) -> None:
    database = Database(new_file)
    database.upgrade()
    database.close()
    waiting = SpoolReader(tmp_path / "spool")
    waiting.set_aside({"data": "x" * 1_000_000}, "nobody takes it")
    waiting.close()
    limited = {"STORE": new_file, "SECRET": SECRET, "SPOOL": tmp_path / "spool"}
    found = _parts(_config(SPOOL_MEGABYTES=1, **limited))
    assert "nearly full" in found["spool"]
    assert found["click to deal"] == "skipped"
    assert _parts(_config(SPOOL_MEGABYTES=50, **limited))["spool"] == "ok"


def test_a_broken_part_fails_the_command(new_file: str, monkeypatch: Any) -> None:

    monkeypatch.setenv("TRACKFLOW_STORE", new_file)
    monkeypatch.delenv("TRACKFLOW_SECRET", raising=False)
    app = typer.Typer()
    app.command()(commands.doctor)
    done = CliRunner().invoke(app)
    assert done.exit_code == 1
    assert "keys          BROKEN   TRACKFLOW_SECRET" in done.output
    assert "server        skipped" in done.output


@pytest.mark.slow
def test_a_backup_holds_all_that_was_answered(serving: Any, tmp_path: Path) -> None:
    copy = tmp_path / "copy.sqlite"
    with serving(tmp_path / "first") as served:
        served.save(Link("offer22", "https://shop.example/"))
        for _ in range(5):
            served.get("/r/offer22")
        assert backup.save(_of(served), copy) == copy.stat().st_size
        with pytest.raises(ConfigError, match="exists"):
            backup.save(_of(served), copy)
        with pytest.raises(ConfigError, match="stop the server first"):
            backup.restore(_of(served), copy)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.sqlite", "first"]
    backup.restore(_config(STORE=tmp_path / "second" / "trackflow.sqlite"), copy)
    with serving(tmp_path / "second") as restored:
        assert len(restored.clicks(5)) == 5
        assert restored.get("/r/offer22").status_code == 302
        restored.clicks(6)


def test_a_backup_holds_what_the_job_moves_meanwhile(
    new_file: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings, copied = _config(STORE=new_file), backup._copy
    database = Database(new_file)
    database.upgrade()
    asyncio.run(_spool(settings.spool_path, "0" * 32))

    def copy_slowly(source: Path, target: Path) -> None:
        copied(source, target)
        reader = SpoolReader(settings.spool_path)
        spooled = reader.first(1)
        with database.transaction() as store:
            take_in(store, spooled.facts)
        reader.drop(spooled)
        reader.close()

    monkeypatch.setattr(backup, "_copy", copy_slowly)
    backup.save(settings, tmp_path / "copy.sqlite")
    database.close()
    saved = Database(str(tmp_path / "copy.sqlite"))
    with saved.reading() as store:
        assert store.queue_lengths() == (1, 0)
    saved.close()


@pytest.mark.slow
def test_a_backup_of_a_long_spool_needs_little_memory(new_file: str, tmp_path: Path) -> None:
    settings = _config(STORE=new_file)
    database = Database(new_file)
    database.upgrade()
    database.close()
    now = datetime.now(timezone.utc)
    spool.make(settings.spool_path)
    with closing(sqlite3.connect(settings.spool_path)) as connection, connection:
        for number in range(10_000):
            click = Click(f"{number:032}", now, "offer22", "https://shop.example/", "x" * 2000)
            told = json.dumps([facts.of_click(click)])
            connection.execute("INSERT INTO spool (number, facts) VALUES (1, ?)", [told])
    tracemalloc.start()
    backup.save(settings, tmp_path / "copy.sqlite")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000
    assert sorted(path.name for path in tmp_path.glob("copy*")) == ["copy.sqlite"]
    saved = Database(str(tmp_path / "copy.sqlite"))
    with saved.reading() as store:
        assert store.queue_lengths() == (10_000, 0)
    saved.close()


async def _spool(path: Path, event_id: str) -> None:
    now = datetime.now(timezone.utc)
    writer = SpoolWriter(path)
    writer.start()
    await writer.append(facts.of_click(Click(event_id, now, "offer22", "https://shop.example/")))
    await writer.stop()


def test_a_restore_keeps_what_was_there(tmp_path: Path) -> None:
    target, copy = tmp_path / "store", tmp_path / "copy"
    settings = _config(STORE=target)
    for code in ("first22", "second2"):
        database = Database(str(target))
        database.upgrade()
        with database.transaction() as store:
            store.save_links([Link(code, "https://shop.example/")])
        database.close()
        if code == "first22":
            backup.save(settings, copy)
    backup.restore(settings, copy)
    for path, codes in ((target, {"first22"}), (Path(f"{target}.before-restore"), None)):
        database = Database(str(path))
        with database.reading() as store:
            found = store.links({"first22", "second2"}).keys()
        database.close()
        assert found == (codes or {"first22", "second2"})
    with pytest.raises(ConfigError, match="from an earlier restore"):
        backup.restore(settings, copy)


def test_a_restore_that_fails_changes_nothing(new_file: str, tmp_path: Path) -> None:
    settings, copy = _config(STORE=new_file), tmp_path / "copy"
    database = Database(new_file)
    database.upgrade()
    database.close()
    backup.save(settings, copy)
    newer = sqlite3.connect(copy, isolation_level=None)
    newer.execute("UPDATE alembic_version SET version_num = 'm9999'")
    newer.close()
    held = Path(new_file).read_bytes()
    with pytest.raises(ConfigError, match="newer TrackFlow"):
        backup.restore(settings, copy)
    assert Path(new_file).read_bytes() == held
    assert not Path(f"{new_file}.before-restore").exists()


def test_what_is_no_backup_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "trackflow.sqlite"
    for content in (b"not a database at all, only text", b""):
        wrong = tmp_path / "wrong"
        wrong.write_bytes(content)
        with pytest.raises(ConfigError, match="no backup of TrackFlow"):
            backup.restore(_config(STORE=target), wrong)
    assert not target.exists()
    with pytest.raises(ConfigError, match="There is no file"):
        backup.restore(_config(STORE=target), tmp_path / "missing")
    with pytest.raises(ConfigError, match="pg_dump"):
        backup.save(_config(STORE="postgresql://me@db/x"), tmp_path / "x")
