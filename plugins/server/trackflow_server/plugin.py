"""What this distribution adds to TrackFlow: its subcommands."""

from __future__ import annotations

from collections.abc import Iterable

from trackflow_core.hooks import Command, hookimpl
from trackflow_server import commands


@hookimpl
def trackflow_register_cli_commands() -> Iterable[Command]:
    """The subcommands of the standalone host."""
    return [
        Command("backup", commands.backup),
        Command("demo", commands.demo),
        Command("doctor", commands.doctor),
        Command("import", commands.import_links),
        Command("keys", commands.keys),
        Command("restore", commands.restore),
        Command("serve", commands.serve),
    ]
