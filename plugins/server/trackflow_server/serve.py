"""`trackflow serve`: the server's processes from start to end."""

from __future__ import annotations

import logging
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels

from trackflow_core import hooks
from trackflow_core.errors import ConfigError
from trackflow_server import logs, spool
from trackflow_server.config import PREFIX, ServerConfig
from trackflow_server.connections import Connections
from trackflow_server.dispatcher import Dispatcher
from trackflow_server.edge import Edge, check_store
from trackflow_server.inbox import Inbox
from trackflow_server.job import Job
from trackflow_server.polling import Poller, Polls
from trackflow_server.store import Database

_log = logging.getLogger("trackflow.server")

_ASKED_SECONDS = 0.05


def serve(config: ServerConfig, answers: Callable[[], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then answer what has begun and leave nothing behind.

    This process works behind the answers, which are given by another, so that neither waits for
    the other's Python. `answers` is called, in a thread of its own, as soon as that one listens.
    """
    logs.configure(config)
    _check_address(config)
    loaded = hooks.load()
    database = Database(config.store, loaded.rules)
    database.upgrade()
    spool.make(config.spool_path)
    workers = _edge(config, database) if config.upstream else _whole(config, database, loaded)
    # The worker is a process of its own from the start: a fork would inherit the locks that the
    # threads of this one hold.
    multiprocessing.set_start_method("spawn", force=True)
    server = Granian(
        "trackflow_server.app:create",
        factory=True,
        address=config.host,
        port=config.port,
        interface=Interfaces.ASGI,
        websockets=False,
        # A worker that is still starting may miss the signal; the others need less than this.
        workers_kill_timeout=30,
        log_level=LogLevels(config.log_level),
        log_dictconfig=logs.settings_of(config),
    )
    told = answers or (lambda: _log.info("TrackFlow answers on %s", config.public_url))
    waiting = threading.Thread(target=_tell_when_answering, args=(config, told), daemon=True)
    server.on_startup(waiting.start)
    for worker in workers:
        worker.start()
    try:
        with _told_to_workers(config):
            server.serve()
    finally:
        for worker in workers:
            worker.stop()
        database.close()


def _check_address(config: ServerConfig) -> None:
    """Raises ConfigError where this machine cannot listen, before anything is started."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.host, config.port))
        except OSError as error:
            raise ConfigError(
                f"The server cannot listen on {config.host}, port {config.port}: "
                f"{error.strerror}. Choose others, such as by --port."
            ) from None


def _tell_when_answering(config: ServerConfig, told: Callable[[], None]) -> None:
    while True:
        try:
            socket.create_connection((config.host, config.port), timeout=1).close()
        except OSError:
            time.sleep(_ASKED_SECONDS)
        else:
            break
    told()


class _Worker(Protocol):
    """What works beside the answers."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


def _whole(config: ServerConfig, database: Database, loaded: hooks.Hooks) -> Sequence[_Worker]:
    check_store(database, is_edge=False)
    settings = config.settings(loaded.rules)
    connections = Connections(config, loaded)
    told = Inbox(database, loaded, settings, connections)
    return [
        Job(database, config.spool_path, loaded, settings, told),
        Poller(Polls(database, loaded, settings, connections)),
        Dispatcher(config, database, loaded),
    ]


def _edge(config: ServerConfig, database: Database) -> Sequence[_Worker]:
    edge = Edge(config, database)
    edge.prepare()
    return [edge]


@contextmanager
def _told_to_workers(config: ServerConfig) -> Iterator[None]:
    """Hand what the command line changed to the workers, which read the environment."""
    changed = {
        "STORE": config.store,
        "SPOOL": str(config.spool_path),
        "HOST": config.host,
        "PORT": str(config.port),
        "UPSTREAM": config.upstream,
        "UPSTREAM_KEY": config.upstream_key,
    }
    before = dict(os.environ)
    os.environ.update({f"{PREFIX}{name}": value for name, value in changed.items()})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
