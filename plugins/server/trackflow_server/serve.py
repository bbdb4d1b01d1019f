"""`trackflow serve`: the server's processes from start to end."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels

from trackflow_core import hooks
from trackflow_server import logs
from trackflow_server.config import PREFIX, ServerConfig
from trackflow_server.dispatcher import Dispatcher
from trackflow_server.job import Job
from trackflow_server.store import Database

_log = logging.getLogger("trackflow.server")


def serve(config: ServerConfig) -> None:
    """Serve until SIGTERM or SIGINT, then answer what has begun and leave nothing behind.

    This process runs the job and sends what waits in the outbox; the answers are given by another, so that neither waits for the
    other's Python.
    """
    logs.configure(config)
    loaded = hooks.load()
    settings = config.settings(loaded.rules)
    database = Database(config.store, loaded.rules)
    database.upgrade()
    # No connection may be carried over into the worker, which is a fork of this process.
    database.close()
    job = Job(database, config.spool_path, loaded, settings)
    dispatcher = Dispatcher(config, database, loaded)
    server = Granian(
        "trackflow_server.app:create",
        factory=True,
        address=config.host,
        port=config.port,
        interface=Interfaces.ASGI,
        websockets=False,
        log_level=LogLevels(config.log_level),
        log_dictconfig=logs.settings_of(config),
    )
    server.on_startup(lambda: _log.info("TrackFlow answers on %s", config.public_url))
    job.start()
    dispatcher.start()
    try:
        with _told_to_workers(config):
            server.serve()
    finally:
        job.stop()
        dispatcher.stop()
        database.close()


@contextmanager
def _told_to_workers(config: ServerConfig) -> Iterator[None]:
    """Hand what the command line changed to the workers, which read the environment."""
    changed = {
        "STORE": config.store,
        "SPOOL": str(config.spool_path),
        "HOST": config.host,
        "PORT": str(config.port),
    }
    before = dict(os.environ)
    os.environ.update({f"{PREFIX}{name}": value for name, value in changed.items()})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
