"""The subcommands of `trackflow` that this plugin brings.

Every host loads this file, so what a command needs is imported when it runs.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="TOML file of settings; also TRACKFLOW_CONFIG."),
]
Store = Annotated[
    str | None,
    typer.Option("--store", help="Path of an SQLite file, or postgresql://user@host/database."),
]


def serve(
    config: ConfigFile = None,
    store: Store = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
) -> None:
    """Serve redirects, tracking, REST and the dashboard until Ctrl-C."""
    from trackflow_server import config as configuration
    from trackflow_server import serve as server

    if config is not None:
        os.environ[configuration.FILE] = str(config.resolve())
    server.serve(configuration.load(store=store, host=host, port=port))
