"""What this distribution adds to TrackFlow: its subcommands."""

from __future__ import annotations

from collections.abc import Iterable

from trackflow_core.hooks import Command, hookimpl
from trackflow_server import commands
from trackflow_server import connector_commands as connectors


@hookimpl
def trackflow_register_cli_commands() -> Iterable[Command]:
    """The subcommands of the standalone host."""
    return [
        Command("backup", commands.backup),
        Command("connector add", connectors.add),
        Command("connector change", connectors.change),
        Command("connector check", connectors.connector_check),
        Command("connector deprovision", connectors.connector_deprovision),
        Command("connector poll", connectors.connector_poll),
        Command("connector provision", connectors.connector_provision),
        Command("connector remove", connectors.connector_remove),
        Command("connector retry", connectors.connector_retry),
        Command("connector secret", connectors.connector_secret),
        Command("connector status", connectors.connector_status),
        Command("demo", commands.demo),
        Command("doctor", commands.doctor),
        Command("import", commands.import_links),
        Command("keys", commands.keys),
        Command("restore", commands.restore),
        Command("serve", commands.serve),
    ]
