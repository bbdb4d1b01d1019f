"""Run Odoo on a database of its own: for the demo, for benchmarks.

A benchmark says what it needs and gets a running server:

    with odoo_server.fresh(["link_tracker"], workers=2) as odoo:
        requests.get(f"{odoo.url}/web/health")
        odoo.shell("env['link.tracker'].create({...}); env.cr.commit()")
        odoo.sql("SELECT count(*) FROM link_tracker_click")
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.environment import cache, odoo_source, postgres
from tests.environment.failure import SetupError
from tests.environment.odoo_databases import OdooDatabases

HOST = "127.0.0.1"
_START_SECONDS = 180
_STOP_SECONDS = 20
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class RunningOdoo:
    """An Odoo that answers at `url`."""

    databases: OdooDatabases
    database: str
    port: int
    evented_port: int
    configuration: Path
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def evented_url(self) -> str:
        """The process that serves websockets; there is one beside workers only."""
        return f"http://{HOST}:{self.evented_port}"

    def sql(self, statement: str, *values: object) -> Any:
        """Rows of one statement, outside Odoo."""
        return self.databases.server.run(statement, *values, database=self.database)

    def shell(self, script: str) -> str:
        """What a Python `script` prints in an Odoo shell (`env`); it commits what it wants kept."""
        return self.databases.shell(self.configuration, script)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def require_free(port: int) -> None:
    """Refuse a port that something already listens on."""
    with socket.socket() as probe:
        # As Odoo does: a connection that has just been closed is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except PermissionError as error:
            raise SetupError(
                f"port {port} is not open to this account: choose one above 1023 with PORT=..."
            ) from error
        except OSError as error:
            raise SetupError(
                f"port {port} is already in use: stop what listens there, or choose another with "
                f"`make demo PORT={port + 1}`"
            ) from error


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@contextmanager
def connected(*, durable: bool) -> Iterator[OdooDatabases]:
    """Odoo's source and a PostgreSQL server, ready to make databases."""
    source = odoo_source.obtain()
    script = odoo_source.link(source)
    with postgres.running(durable=durable) as server:
        yield OdooDatabases(server, source, script)


@contextmanager
def serving(
    databases: OdooDatabases,
    database: str,
    *,
    port: int | None = None,
    workers: int = 0,
    options: Sequence[str] = (),
    log: Path | None = None,
) -> Iterator[RunningOdoo]:
    """Odoo on an existing database for the duration of the block.

    `options` are added to its command line. With `workers` it is the prefork server.
    """
    port, evented_port = port or free_port(), free_port()
    folder = Path(tempfile.mkdtemp(prefix="trackflow-odoo-"))
    log = log or cache.root() / "logs" / f"{database}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    configuration = databases.configuration(
        database, folder, http_port=port, gevent_port=evented_port, workers=workers
    )
    try:
        with process(databases, configuration, options, log) as odoo:
            _wait_until_it_answers(odoo, port, log)
            yield RunningOdoo(databases, database, port, evented_port, configuration, log, odoo)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def process(
    databases: OdooDatabases, configuration: Path, options: Sequence[str | Path], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Odoo's process with `options`, its output in `log`; it is stopped when the block ends."""
    with log.open("w", encoding="utf-8") as sink:
        odoo = subprocess.Popen(
            [sys.executable, databases.script, "--config", configuration, *options],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            # Ctrl-C reaches us first; we stop it in order.
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
    try:
        yield odoo
    finally:
        _stop(odoo)


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        if process.poll() is not None:
            raise SetupError(f"Odoo stopped while it was starting (log: {log})")
        if time.monotonic() > deadline:
            raise SetupError(f"Odoo did not answer within {_START_SECONDS} s (log: {log})")
        try:
            with opener.open(f"http://{HOST}:{port}/web/login", timeout=60):
                return
        except urllib.error.HTTPError as error:
            raise SetupError(
                f"Odoo answers its login page with {error.code} (log: {log})"
            ) from error
        except OSError:
            time.sleep(0.2)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        # Its session is its own: this reaches its workers and nobody else.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def fresh(
    modules: Sequence[str],
    *,
    workers: int = 0,
    durable: bool = True,
    demo: bool = False,
    options: Sequence[str] = (),
) -> Iterator[RunningOdoo]:
    """Odoo with `modules` in a new database, which is dropped when the block ends."""
    with connected(durable=durable) as databases:
        template = databases.template(modules, demo=demo)
        with (
            databases.scratch(template) as database,
            serving(databases, database, workers=workers, options=options) as odoo,
        ):
            yield odoo
