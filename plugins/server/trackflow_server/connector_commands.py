"""`trackflow connector …`: the CRMs of this server.

Every host loads this file, so what a command needs is imported when it runs.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from trackflow_core.errors import ConfigError
from trackflow_core.options import Option

if TYPE_CHECKING:
    from trackflow_core.connectors import Change
    from trackflow_server.connections import Secrets

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="TOML file of settings; also TRACKFLOW_CONFIG."),
]
Store = Annotated[
    str | None,
    typer.Option("--store", help="Path of an SQLite file, or postgresql://user@host/database."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Name = Annotated[str, typer.Argument(help="Such as frappe/acme.", metavar="CONNECTOR/INSTANCE")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it without asking.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


# -- one command for each connector, made of its options -----------------------------------------


class _ByConnector(TyperGroup):
    """Subcommands named after the connectors that are installed."""

    make: Callable[[str], Callable[..., None]]

    def list_commands(self, _context: Any) -> list[str]:
        from trackflow_core import hooks

        return sorted(hooks.load().connectors)

    def get_command(self, context: Any, name: str) -> Any:
        if name not in self.list_commands(context):
            return None
        single = typer.Typer(rich_markup_mode=None, add_completion=False)
        single.command(name)(type(self).make(name))
        return typer.main.get_command(single)


class _Adding(_ByConnector):
    make = staticmethod(lambda name: _command(name, _add, changing=False))


class _Changing(_ByConnector):
    make = staticmethod(lambda name: _command(name, _change, changing=True))


add = typer.Typer(cls=_Adding, help="Add a CRM.", no_args_is_help=True)
change = typer.Typer(
    cls=_Changing,
    help="Change a CRM's settings or renew its secrets; its cursor stays.",
    no_args_is_help=True,
)


def _command(connector: str, run: Callable[..., None], *, changing: bool) -> Callable[..., None]:
    """A function with an option for each option of `connector`, which calls `run`."""
    from trackflow_core import hooks
    from trackflow_core.connectors import RemoteConnector
    from trackflow_core.options import options_of

    kind = hooks.load().connectors[connector]
    options = options_of(kind.options) if isinstance(kind, RemoteConnector) else ()

    def command(**values: Any) -> None:
        run(connector, options, values)

    parameters = [
        _parameter("instance", str, typer.Argument(help="What you call it, such as acme.")),
        *(_secret(item) if item.secret else _plain(item, changing) for item in options),
        _parameter(
            "signing_file",
            Path | None,
            typer.Option(
                "--signing-secret-file",
                help="File with the secret that signs its webhooks; - for standard input.",
            ),
            None,
        ),
        _parameter(
            "poll_minutes",
            int | None,
            typer.Option(min=0, help="Minutes between polls; 0 to poll by hand. [default: 5]"),
            None,
        ),
        _parameter(
            "writes_back",
            bool | None,
            typer.Option("--write-back/--no-write-back", help="Whether it gets attribution."),
            None,
        ),
        _parameter(
            "enabled",
            bool | None,
            typer.Option("--enabled/--disabled", help="Whether it is polled and heard."),
            None,
        ),
        _parameter("config", ConfigFile, default=None),
        _parameter("store", Store, default=None),
    ]
    command.__doc__ = f"{'Change' if changing else 'Add'} one {kind.title}."
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {item.name: item.annotation for item in parameters}
    return command


def _parameter(
    name: str, kind: Any, told: Any = None, default: Any = inspect.Parameter.empty
) -> inspect.Parameter:
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        annotation=kind if told is None else Annotated[kind, told],
        default=default,
    )


def _plain(item: Option, changing: bool) -> inspect.Parameter:
    flag = f"--{item.name.replace('_', '-')}"
    required = item.required and not changing
    help = item.help
    if item.choices:
        help += f" One of: {', '.join(choice or '(empty)' for choice in item.choices)}."
    if not item.required:
        help += f" [default: {item.default!r}]" if item.default not in ("", None) else ""
    names = [f"{flag}/--no-{flag.removeprefix('--')}"] if item.kind is bool else [flag]
    told = typer.Option(*names, help=help, metavar=None if item.kind is bool else "TEXT")
    # All values are text here: the connector's own declaration reads and checks them.
    kind = bool | None if item.kind is bool else str if required else str | None
    default = inspect.Parameter.empty if required else None
    return _parameter(f"option_{item.name}", kind, told, default)


def _secret(item: Option) -> inspect.Parameter:
    flag = f"--{item.name.replace('_', '-')}-file"
    help = f"File with it, - for standard input; without one it is asked for. {item.help}"
    return _parameter(f"secret_{item.name}", Path | None, typer.Option(flag, help=help), None)


def _add(connector: str, options: Sequence[Option], values: Mapping[str, Any]) -> None:
    from trackflow_server import switchboard

    instance = values["instance"]
    secrets = _secrets(f"{connector}/{instance}", options, values, asking=True)
    with switchboard.opened(values["config"], values["store"]) as board:
        added = board.add(
            connector, instance, _settings(options, values), secrets, **_choices(values)
        )
        url = board.connections.webhook_url(added.namespace)
    typer.echo(f"Added {added.namespace}. Next: trackflow connector check {added.namespace}")
    typer.echo(f"Its webhooks arrive at {url or '(set base_url first)'}.")


def _change(connector: str, options: Sequence[Option], values: Mapping[str, Any]) -> None:
    from trackflow_server import switchboard

    namespace = f"{connector}/{values['instance']}"
    secrets = _secrets(namespace, options, values, asking=False)
    with switchboard.opened(values["config"], values["store"]) as board:
        board.change(namespace, _settings(options, values), secrets, **_choices(values))
    typer.echo(f"Changed {namespace}.")


def _settings(options: Sequence[Option], values: Mapping[str, Any]) -> dict[str, Any]:
    given = {item.name: values.get(f"option_{item.name}") for item in options if not item.secret}
    return {name: value for name, value in given.items() if value is not None}


def _choices(values: Mapping[str, Any]) -> dict[str, Any]:
    names = ("poll_minutes", "writes_back", "enabled")
    return {name: values[name] for name in names if values[name] is not None}


def _secrets(
    namespace: str, options: Sequence[Option], values: Mapping[str, Any], *, asking: bool
) -> Secrets:
    """Secrets from files or, where one may ask, from a hidden prompt; never from the command line,
    which other users of the machine can read."""
    from trackflow_server.config import load
    from trackflow_server.connections import Secrets, variable

    environment = load(values["config"], store=values["store"]).connector_secrets
    given = {}
    for item in filter(lambda option: option.secret, options):
        file = values.get(f"secret_{item.name}")
        if file is not None:
            given[item.name] = _read(file)
        elif asking and variable(namespace, item.name) not in environment and item.required:
            given[item.name] = _asked(namespace, item)
    signing = values["signing_file"]
    return Secrets(given, [_read(signing)] if signing else ())


def _asked(namespace: str, item: Option) -> str:
    from trackflow_server.connections import variable

    if not sys.stdin.isatty():
        raise ConfigError(
            f"{item.title} is missing: give --{item.name.replace('_', '-')}-file, or set the "
            f"variable {variable(namespace, item.name)}."
        )
    return str(typer.prompt(f"{item.title} ({item.help})", hide_input=True))


def _read(file: Path) -> str:
    try:
        return (sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}.") from error


# -- what is done with them ----------------------------------------------------------------------


def connector_status(
    as_json: AsJson = False, config: ConfigFile = None, store: Store = None
) -> None:
    """Tell how each CRM that was added stands: read until when, what failed and why."""
    from trackflow_server import switchboard

    with switchboard.opened(config, store) as board:
        rows = board.rows()
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        typer.echo(f"{row['name']}  {_state(row)}")
    if not rows:
        typer.echo("No CRM was added yet: see `trackflow connector add --help`.")


def _state(row: Mapping[str, Any]) -> str:
    state = "disabled" if not row["enabled"] else f"PROBLEM: {row['problem']}"
    if row["enabled"] and not row["problem"]:
        state = f"read until {row['polled_at']}" if row["polled_at"] else "ready"
    counts = (f"{number} {name}" for name, number in sorted(row["events"].items()))
    return "  ".join([state, *counts])


def connector_check(
    name: Name, as_json: AsJson = False, config: ConfigFile = None, store: Store = None
) -> None:
    """Ask a CRM whether it is reachable, and whether permissions, fields and webhooks are there."""
    from dataclasses import asdict

    from trackflow_server import switchboard

    with switchboard.opened(config, store) as board:
        findings = board.check(name)
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    for finding in [] if as_json else findings:
        remedy = "" if finding.ok else f" {finding.remedy}"
        typer.echo(f"{'ok  ' if finding.ok else 'TODO'}  {finding.what}{remedy}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def connector_provision(
    name: Name,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
    store: Store = None,
) -> None:
    """Prepare a CRM: make the fields and webhooks that it lacks, after showing which."""
    _provision(name, yes, dry_run, as_json, config, store, undo=False)


def connector_deprovision(
    name: Name,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    config: ConfigFile = None,
    store: Store = None,
) -> None:
    """Clean up a CRM: remove our fields, with what they hold, and webhooks, after showing which."""
    _provision(name, yes, dry_run, as_json, config, store, undo=True)


def _provision(
    name: str,
    yes: bool,
    dry_run: bool,
    as_json: bool,
    config: Path | None,
    store: str | None,
    *,
    undo: bool,
) -> None:
    from trackflow_server import switchboard

    with switchboard.opened(config, store) as board:
        planned = board.provision(name, dry_run=True, undo=undo)
        if not as_json:
            _print_changes(planned, "There is nothing to do.")
        if planned and not dry_run:
            if not yes:
                typer.confirm(f"Do this in {name}?", abort=True, err=True)
            planned = board.provision(name, dry_run=False, undo=undo)
            if not as_json:
                typer.echo("Done.")
    if as_json:
        typer.echo(json.dumps([{"verb": item.verb, "what": item.what} for item in planned]))


def _print_changes(changes: Sequence[Change], none: str) -> None:
    for item in changes:
        typer.echo(f"{item.verb:<7}{item.what}")
    if not changes:
        typer.echo(none)


def connector_poll(
    name: Name, as_json: AsJson = False, config: ConfigFile = None, store: Store = None
) -> None:
    """Read now all that a CRM has to tell; it may be stopped and goes on where it was."""
    from trackflow_server import switchboard

    facts = rejected = 0
    with switchboard.opened(config, store) as board:
        for page in board.poll(name):
            facts += len(page.events)
            rejected += len(page.rejected)
            if sys.stderr.isatty() and page.more:
                typer.echo(f"{facts:,} leads and deals so far", err=True)
    if as_json:
        typer.echo(json.dumps({"facts": facts, "rejected": rejected}))
    else:
        typer.echo(f"{facts:,} leads and deals read, {rejected:,} records set aside.")


def connector_retry(
    name: Name,
    event: Annotated[int | None, typer.Argument(help="Its number; all where left out.")] = None,
    as_json: AsJson = False,
    config: ConfigFile = None,
    store: Store = None,
) -> None:
    """Work again on events that failed."""
    from trackflow_server import switchboard

    with switchboard.opened(config, store) as board:
        tried = board.retry(name, event)
    failed = [item for item in tried if item.reason]
    if as_json:
        told = [{"event": item.place, "state": item.state, "reason": item.reason} for item in tried]
        typer.echo(json.dumps(told, indent=2))
    else:
        for item in failed:
            typer.echo(f"{item.place}: {item.reason}", err=True)
        typer.echo(f"{len(tried) - len(failed)} events taken in, {len(failed)} failed again.")
    if failed:
        raise typer.Exit(1)


def connector_secret(
    name: Name, as_json: AsJson = False, config: ConfigFile = None, store: Store = None
) -> None:
    """Make a secret that signs a CRM's webhooks and print it; it cannot be shown again.

    The one before stays good, so that the sender can be changed in peace.
    """
    from trackflow_server import switchboard

    with switchboard.opened(config, store) as board:
        secret = board.new_signing_secret(name)
    typer.echo(json.dumps({"name": name, "secret": secret}) if as_json else secret)


def connector_remove(
    name: Name, yes: Yes = False, config: ConfigFile = None, store: Store = None
) -> None:
    """Forget a CRM with its secrets and events; its leads and deals stay."""
    from trackflow_server import switchboard

    with switchboard.opened(config, store) as board:
        if not yes:
            typer.confirm(f"Forget {name}?", abort=True, err=True)
        board.remove(name)
    typer.echo(f"Removed {name}.")
