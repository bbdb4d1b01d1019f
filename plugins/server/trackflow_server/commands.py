"""The subcommands of `trackflow` that this plugin brings.

Every host loads this file, so what a command needs is imported when it runs.
"""

from __future__ import annotations

import json
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
    upstream: Annotated[
        str | None,
        typer.Option(help="Answer in the stead of the Odoo or TrackFlow at this address."),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            help="Its API key, with edge:read and events:write.",
            envvar="TRACKFLOW_UPSTREAM_KEY",
            show_envvar=True,
        ),
    ] = None,
) -> None:
    """Serve redirects, tracking, REST and the dashboard until Ctrl-C."""
    from trackflow_server import config as configuration
    from trackflow_server import serve as server

    if config is not None:
        os.environ[configuration.FILE] = str(config.resolve())
    server.serve(
        configuration.load(store=store, host=host, port=port, upstream=upstream, upstream_key=key)
    )


def demo(
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8060,
) -> None:
    """Serve ninety days of a made-up company's marketing, with a dashboard, until Ctrl-C."""
    from trackflow_server import demo as show

    show.run(port)


keys = typer.Typer(help="The keys of the REST API.", no_args_is_help=True)
KeyId = Annotated[str, typer.Argument(help="The key's visible prefix.", metavar="KEY")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@keys.command("create")
def keys_create(
    name: Annotated[str, typer.Argument(help="Whose or what for it is.", metavar="NAME")],
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help="Such as links:read; may be repeated; all where left out."),
    ] = None,
    network: Annotated[
        list[str] | None,
        typer.Option("--network", help="Network (CIDR) it may be used from; may be repeated."),
    ] = None,
    days: Annotated[int | None, typer.Option("--days", min=1, help="Days it is good for.")] = None,
    hourly_limit: Annotated[
        int, typer.Option(min=0, help="Requests it may make in an hour; 0 for the server's own.")
    ] = 0,
    as_json: AsJson = False,
    config: ConfigFile = None,
    store: Store = None,
) -> None:
    """Make a key and print it; it cannot be shown again."""
    from trackflow_server import keyring

    with keyring.opened(config, store) as ring:
        issued = ring.create(name, scope or [], network or [], days, hourly_limit)
    _print_token(issued.key.id, issued.token, as_json)


@keys.command("list")
def keys_list(as_json: AsJson = False, config: ConfigFile = None, store: Store = None) -> None:
    """List the keys, newest first."""
    from trackflow_server import keyring

    with keyring.opened(config, store) as ring:
        found = ring.rows()
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    if not found:
        typer.echo("There are no keys: make one with `trackflow keys create NAME`.")
    for row in found:
        typer.echo(
            f"{row['id']}  {row['state']:<9}{row['usage_count']:>8} uses  {row['name']}  "
            f"{' '.join(row['scopes'])}"
        )


@keys.command("rotate")
def keys_rotate(
    key: KeyId,
    hours: Annotated[int, typer.Option(min=0, help="Hours that the old one stays good.")] = 24,
    as_json: AsJson = False,
    config: ConfigFile = None,
    store: Store = None,
) -> None:
    """Give a key a new secret and print it; the old one stays good for a while."""
    from trackflow_server import keyring

    with keyring.opened(config, store) as ring:
        issued = ring.rotate(key, hours)
    _print_token(issued.key.id, issued.token, as_json)


@keys.command("revoke")
def keys_revoke(key: KeyId, config: ConfigFile = None, store: Store = None) -> None:
    """End a key at once."""
    from trackflow_server import keyring

    with keyring.opened(config, store) as ring:
        ring.revoke(key)
    typer.echo(f"The key {key} is revoked.")


def _print_token(key: str, token: str, as_json: bool) -> None:
    typer.echo(json.dumps({"id": key, "token": token}, indent=2) if as_json else token)


def doctor(as_json: AsJson = False, config: ConfigFile = None, store: Store = None) -> None:
    """Drive a made-up click to an attributed deal and name the part that is broken."""
    from dataclasses import asdict

    from trackflow_server import config as configuration
    from trackflow_server import doctor as surgery

    found = [*surgery.examine(configuration.load(config, store=store))]
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in found], indent=2))
    for finding in [] if as_json else found:
        state = "skipped" if finding.skipped else "BROKEN" if finding.problem else "ok"
        typer.echo(f"{finding.part:<14}{state:<9}{finding.problem or finding.detail}".rstrip())
    if any(finding.problem for finding in found):
        raise typer.Exit(1)


def import_links(
    source: Annotated[
        str, typer.Argument(help="bitly, dub, shlink, yourls or kutt.", metavar="SOURCE")
    ],
    file: Annotated[Path, typer.Argument(help="Its export, CSV or JSON.", metavar="FILE")],
    as_json: AsJson = False,
    config: ConfigFile = None,
    store: Store = None,
) -> None:
    """Take over the links of another shortener under their codes."""
    from dataclasses import asdict

    from trackflow_core.errors import ConfigError
    from trackflow_server import config as configuration
    from trackflow_server import importers
    from trackflow_server.store import Database
    from trackflow_server.store.catalog import SqlCatalog

    if source not in importers.SOURCES:
        raise typer.BadParameter(f"{source!r} is none of {', '.join(importers.SOURCES)}.")
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}.") from error
    links = importers.read(text, importers.SOURCES[source])
    settings = configuration.load(config, store=store)
    database = Database(settings.store)
    database.upgrade()
    with database.transaction() as kept:
        catalog = SqlCatalog(kept, settings.public_url, settings.secrets)
        told = importers.save(catalog, links)
    database.close()
    if as_json:
        typer.echo(json.dumps(asdict(told), indent=2))
        return
    for problem in told.problems:
        typer.echo(problem, err=True)
    typer.echo(
        f"{told.made} links made, {told.known} known already, {len(told.problems)} left out."
    )


def backup(
    file: Annotated[Path, typer.Argument(help="The new file.", metavar="FILE")],
    config: ConfigFile = None,
    store: Store = None,
) -> None:
    """Write the store to a file, while the server runs."""
    from trackflow_server import backup as copies
    from trackflow_server import config as configuration

    size = copies.save(configuration.load(config, store=store), file)
    typer.echo(f"Wrote {file} ({size:,} bytes).")


def restore(
    file: Annotated[Path, typer.Argument(help="What `backup` wrote.", metavar="FILE")],
    config: ConfigFile = None,
    store: Store = None,
) -> None:
    """Make a backup the store; the server must not run."""
    from trackflow_server import backup as copies
    from trackflow_server import config as configuration

    copies.restore(configuration.load(config, store=store), file)
    typer.echo(f"{file} is the store now; what was there is beside it.")
