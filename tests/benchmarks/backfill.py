"""Reading a whole Frappe CRM: 100,000 leads and 20,000 deals over HTTP, with a kill -9 on the way.

The site is the connector's own double, in a process of its own. What is measured is our side: the
processor time that this process spends on requests, mapping and keeping a page and its cursor.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sqlite3
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

from trackflow_core.connectors import Instance
from trackflow_core.model import Lead
from trackflow_core.sync import pages
from trackflow_frappe import FrappeConnector, FrappeOptions
from trackflow_frappe.testing import FrappeDouble
from trackflow_http import Pace

LEADS, DEALS = 100_000, 20_000
PER_SECOND = 5_000
MEGABYTES = 16
"""How much more memory the end may take than the first tenth did."""

_KILL_AT = 45_000


def main() -> list[str]:
    print(f"backfill: {LEADS:,} leads and {DEALS:,} deals of a Frappe CRM, killed once on the way")
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    site = context.Process(target=_serve, args=(theirs,), daemon=True)
    site.start()
    url = ours.recv()
    try:
        with tempfile.TemporaryDirectory() as folder:
            return _measure(context, url, Path(folder) / "facts.sqlite")
    finally:
        site.terminate()
        site.join()


def _serve(pipe: Connection) -> None:
    # The benchmarks' own handler would print that it was interrupted.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    site = FrappeDouble()
    site.seed(LEADS, DEALS)
    with site.running():
        pipe.send(site.url)
        signal.pause()


def _measure(context: multiprocessing.context.ForkContext, url: str, path: Path) -> list[str]:
    with sqlite3.connect(path) as database:
        database.executescript(
            "CREATE TABLE fact (ref TEXT PRIMARY KEY, lead INTEGER) WITHOUT ROWID;"
            "CREATE TABLE place (cursor TEXT); INSERT INTO place VALUES ('');"
        )
    first = context.Process(target=_read, args=(url, path, None))
    first.start()
    while _count(path) < _KILL_AT and first.is_alive():
        time.sleep(0.05)
    os.kill(first.pid or 0, signal.SIGKILL)
    first.join()
    before = _count(path)

    ours, theirs = context.Pipe()
    second = context.Process(target=_read, args=(url, path, theirs))
    second.start()
    records, seconds, grown = ours.recv()
    second.join()
    rate = records / seconds
    print(f"  killed after {before:,} facts; the rest: {records:,} records")
    print(f"  {rate:,.0f} records/s on our side (target: {PER_SECOND:,})")
    print(f"  memory: {grown:+.1f} MB from the first tenth to the end (target: {MEGABYTES})")
    leads, deals = _count(path, 1), _count(path, 0)
    print(f"  kept: {leads:,} leads, {deals:,} deals")
    missed = []
    if (leads, deals) != (LEADS, DEALS) or not 0 < before < LEADS + DEALS:
        missed.append("backfill: exact counts after kill -9")
    if rate < PER_SECOND:
        missed.append(f"backfill: {PER_SECOND:,} records/s")
    if grown > MEGABYTES:
        missed.append(f"backfill: {MEGABYTES} MB")
    return missed


def _read(url: str, path: Path, report: Connection | None) -> None:
    """Read on from the kept cursor; each page and its cursor in one transaction."""
    database = sqlite3.connect(path)
    [(cursor,)] = database.execute("SELECT cursor FROM place").fetchall()
    options = FrappeOptions(url=url, token="key:secret-4711")
    connection = FrappeConnector(Pace(per_second=0)).connect(options, Instance("frappe/acme"))
    records, early = 0, 0.0
    begin = time.process_time()
    for page in pages(connection, cursor):
        with database:
            database.executemany(
                "INSERT OR IGNORE INTO fact VALUES (?, ?)",
                [(event.ref, isinstance(event, Lead)) for event in page.events],
            )
            database.execute("UPDATE place SET cursor = ?", (page.cursor,))
        records += len(page.events)
        if not early and records > (LEADS + DEALS) / 10:
            early = _megabytes()
    if report is not None:
        report.send((records, time.process_time() - begin, _megabytes() - early))


def _count(path: Path, lead: int | None = None) -> int:
    with sqlite3.connect(path) as database:
        where = "" if lead is None else f" WHERE lead = {lead:d}"
        [(count,)] = database.execute(f"SELECT count(*) FROM fact{where}")  # noqa: S608
    return int(count)


def _megabytes() -> float:
    """The most memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
