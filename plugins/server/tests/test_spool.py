"""The spool: what was acknowledged is on disk, in order, until somebody else has it."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from trackflow_core.config import Settings
from trackflow_core.hooks import Hooks
from trackflow_core.testing.facts import ANNA, LINKS, click
from trackflow_core.tracking.sessions import always
from trackflow_server import facts
from trackflow_server.config import ServerConfig
from trackflow_server.connections import Connections
from trackflow_server.inbox import Inbox
from trackflow_server.job import Job
from trackflow_server.spool import SpoolReader, SpoolWriter
from trackflow_server.store import Database


def _append(path: Path, told: list[dict[str, Any]]) -> list[bool]:
    async def run() -> list[bool]:
        writer = SpoolWriter(path)
        writer.start()
        kept = await asyncio.gather(*(writer.append(fact) for fact in told))
        await writer.stop()
        return kept

    return asyncio.run(run())


def test_facts_come_back_in_order_and_share_their_writes(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    assert all(_append(path, [{"n": number, "text": "ü"} for number in range(500)]))
    reader = SpoolReader(path)
    assert len(reader) == 500
    found = reader.first(500)
    assert [fact["n"] for fact in found.facts] == [*range(500)]
    connection = sqlite3.connect(path)
    [(rows,)] = connection.execute("SELECT count(*) FROM spool").fetchall()
    connection.close()
    assert rows < 100
    reader.drop(found)
    assert (len(reader), reader.first(1).facts) == (0, [])
    reader.close()


def test_what_arrives_meanwhile_is_not_dropped(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    _append(path, [{"n": 1}])
    reader = SpoolReader(path)
    found = reader.first(10)
    _append(path, [{"n": 2}])
    reader.drop(found)
    assert reader.first(10).facts == [{"n": 2}]
    reader.close()


def test_a_disk_that_cannot_be_written_is_said_and_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> list[bool]:
        writer = SpoolWriter(tmp_path / "spool")
        writer.start()
        writer._connection.execute("PRAGMA query_only = ON")
        lost = await writer.append({"n": 1})
        writer._connection.execute("PRAGMA query_only = OFF")
        kept = await writer.append({"n": 2})
        await writer.stop()
        return [lost, kept]

    assert asyncio.run(run()) == [False, True]
    assert "1 clicks are lost" in caplog.text


def test_a_job_that_is_cut_off_before_it_drops_tells_nothing_twice(tmp_path: Path) -> None:
    path = tmp_path / "spool"
    _append(path, [facts.of_click(click(f"c{number}", number)) for number in range(3)])
    database = Database(str(tmp_path / "store"))
    database.upgrade()
    with database.transaction() as store:
        store.save_links(LINKS)
    told = Inbox(database, Hooks(), Settings(), Connections(ServerConfig(), Hooks()))
    job = Job(database, path, Hooks(), Settings(), told)
    job._spool.drop = lambda spooled: None  # type: ignore[method-assign]
    assert job.step()
    again = Job(database, path, Hooks(), Settings(), told)
    again.drain()
    assert len(again._spool) == 0
    with database.reading() as store:
        assert store.queue_lengths() == (0, 0)
        assert sorted(event.click.event_id for event in store.recorded({always(ANNA)})) == [
            "c0",
            "c1",
            "c2",
        ]
    for each in (job, again):
        each._spool.close()
    database.close()


def test_facts_survive_as_json() -> None:
    sent = click("c1", 1.5, ip="203.0.113.0", prefetch=True, data='{"a": 1}', kind="signup")
    assert facts.click_of(facts.of_click(sent)) == sent
