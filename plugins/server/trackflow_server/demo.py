"""`trackflow demo`: a server over a story in a fresh folder, in seconds and without an ERP."""

from __future__ import annotations

import os
import secrets
import tempfile
from datetime import datetime, timezone
from pathlib import Path

import typer

from trackflow_core import hooks
from trackflow_server import config as configuration
from trackflow_server import serve, story
from trackflow_server.config import PASSWORD, PREFIX, SECRET
from trackflow_server.store import Database

_PASSWORD = "admin"  # noqa: S105 - of a demo that listens on this machine only


def run(port: int) -> None:
    """Tell the story, serve it on this machine until Ctrl-C, and leave nothing behind."""
    with tempfile.TemporaryDirectory(prefix="trackflow-demo-") as folder:
        given = {
            SECRET: secrets.token_urlsafe(32),
            PASSWORD: _PASSWORD,
            f"{PREFIX}STORE": str(Path(folder) / "trackflow.sqlite"),
            f"{PREFIX}HOST": "127.0.0.1",
            f"{PREFIX}PORT": str(port),
            f"{PREFIX}WITHOUT_CONSENT": "full",
            f"{PREFIX}LOG_LEVEL": "warning",
        }
        # The worker reads its environment; what this shell has set for a real server is not meant.
        for name in [name for name in os.environ if name.startswith(PREFIX)]:
            del os.environ[name]
        os.environ.update(given)
        config = configuration.load()
        plugins = hooks.load()
        database = Database(config.store, plugins.rules)
        database.upgrade()
        now = datetime.now(timezone.utc)
        story.tell(database, plugins, config.settings(plugins.rules), now, config.public_url)
        database.close()

        def ready() -> None:
            typer.echo(f"TrackFlow demo ready: {config.public_url}/ (password: {_PASSWORD})")
            typer.echo(f"Try a tracked link: {config.public_url}/r/adWork2")

        serve.serve(config, ready)
