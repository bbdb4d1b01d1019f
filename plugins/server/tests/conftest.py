"""Stores to test on, an SQLite file and a real PostgreSQL, and real servers over them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from sqlalchemy import select

from tests.environment import postgres
from trackflow_core.model import Link
from trackflow_core.testing.facts import BROWSER
from trackflow_server.store import Database, schema


@pytest.fixture(scope="session")
def new_postgres() -> Iterator[Callable[[str], str]]:
    """Make an empty database for the one that names it, and give its address."""
    made: list[str] = []
    with postgres.running(durable=False) as server:

        def make(label: str) -> str:
            name = f"trackflow_{label}_{os.getpid()}"
            server.run(f'DROP DATABASE IF EXISTS "{name}"')
            server.run(f'CREATE DATABASE "{name}"')
            made.append(name)
            password = f":{quote(server.password)}" if server.password else ""
            return (
                f"postgresql://{quote(server.user)}{password}@/{name}"
                f"?host={quote(server.host, safe='')}&port={server.port}"
            )

        yield make
        for name in made:
            server.run(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def postgres_database(new_postgres: Callable[[str], str]) -> Iterator[Database]:
    database = Database(new_postgres("store"))
    database.upgrade()
    yield database
    database.close()


@pytest.fixture(scope="session")
def sqlite_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = Database(str(tmp_path_factory.mktemp("store") / "trackflow.sqlite"))
    database.upgrade()
    yield database
    database.close()


@pytest.fixture
def new_file(tmp_path: Path) -> str:
    return str(tmp_path / "trackflow.sqlite")


@dataclass
class Served:
    """A server of this test run, answering at `url` over the store `database`."""

    url: str
    database: Database
    process: subprocess.Popen[bytes]
    log: Path

    def get(self, path: str, **options: Any) -> requests.Response:
        """A GET as a browser sends it, not following redirects."""
        headers = {"User-Agent": BROWSER, **options.pop("headers", {})}
        return requests.get(
            self.url + path, headers=headers, allow_redirects=False, timeout=20, **options
        )

    def save(self, *links: Link) -> None:
        """Keep links, and wait until the server has seen that they changed."""
        with self.database.transaction() as store:
            store.save_links(links)
        time.sleep(1.5)

    def clicks(self, number: int) -> Sequence[Mapping[str, Any]]:
        """The recorded clicks, once there are `number` of them."""
        for _ in range(100):
            with self.database.reading() as store:
                found = store.connection.execute(
                    select(schema.click).order_by(schema.click.c.occurred_at)
                )
                rows = [*found.mappings()]
            if len(rows) >= number:
                break
            time.sleep(0.1)
        assert len(rows) == number, self.log.read_text()
        return rows

    def health(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("/trackflow/health").json()
        return found

    def kill(self) -> None:
        """As a power cut would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(60)


ServerFactory = Callable[..., AbstractContextManager[Served]]


@contextmanager
def _serving(folder: Path, store: str = "", port: int = 0, **settings: str) -> Iterator[Served]:
    if not port:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    folder.mkdir(exist_ok=True)
    store = store or str(folder / "trackflow.sqlite")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRACKFLOW_")}
    given = {f"TRACKFLOW_{name.upper()}": value for name, value in settings.items()}
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("trackflow"), "serve", "--port", str(port)],
            env={
                **kept,
                "TRACKFLOW_SECRET": "a secret of this test run",
                "TRACKFLOW_STORE": store,
                "TRACKFLOW_SPOOL": str(folder / "spool"),
                **given,
            },
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    database = Database(store)
    served = Served(f"http://127.0.0.1:{port}", database, process, log)
    try:
        _wait_until_it_answers(served)
        yield served
    finally:
        try:
            if process.poll() is None:
                served.stop()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            database.close()


def _wait_until_it_answers(served: Served) -> None:
    for _ in range(600):
        assert served.process.poll() is None, served.log.read_text()
        with suppress(requests.ConnectionError):
            served.get("/trackflow/health")
            return
        time.sleep(0.1)
    raise AssertionError(f"The server did not answer in a minute: {served.log.read_text()}")


@pytest.fixture(scope="session")
def serving() -> ServerFactory:
    """Starts a server in a folder with settings, for the duration of a block."""
    return _serving


@pytest.fixture(scope="module")
def server(serving: ServerFactory, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that may keep everything of a visitor who has not answered."""
    with serving(tmp_path_factory.mktemp("server"), without_consent="full") as served:
        yield served
