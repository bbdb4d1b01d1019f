"""The command `trackflow`: 0 done, 1 failed, 2 misused."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, cast

import typer

from trackflow_core import __version__, analysis, hooks, quality, scaffold
from trackflow_core.connectors import RemoteConnector, Webhooks
from trackflow_core.errors import ConfigError, TrackFlowError
from trackflow_core.options import options_of
from trackflow_core.ports import WebhookConnector

app = typer.Typer(
    name="trackflow",
    help="Tells a CRM which marketing earned each lead and each deal.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
plugins = typer.Typer(invoke_without_command=True)
app.add_typer(plugins, name="plugins")
connector = typer.Typer(help="The systems that leads and deals come from.", no_args_is_help=True)
app.add_typer(connector, name="connector")
new = typer.Typer(help="Begin a plugin or a connector of your own.", no_args_is_help=True)
app.add_typer(new, name="new")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"trackflow {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Tells a CRM which marketing earned each lead and each deal."""


@plugins.callback()
def plugins_list(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the installed plugins, the hooks each implements, and why one is not in use."""
    if ctx.invoked_subcommand:
        if as_json:
            raise typer.BadParameter(f"put --json behind {ctx.invoked_subcommand!r}.")
        return
    found = hooks.describe(hooks.load())
    if as_json:
        _print_json([asdict(plugin) for plugin in found])
        return
    rows = [
        {
            "Plugin": plugin.name,
            "Distribution": plugin.distribution,
            "Version": plugin.version,
            "Hooks": ", ".join(plugin.hooks) or f"({plugin.problem})",
        }
        for plugin in found
    ]
    _print_table(rows, "No plugins are installed.")


@plugins.command("check")
def plugins_check(
    name: Annotated[str, typer.Argument(help="The plugin's name.", metavar="NAME")],
    at_least: Annotated[
        quality.Level, typer.Option("--at-least", help="Fail below this level.")
    ] = quality.Level.BRONZE,
    as_json: AsJson = False,
) -> None:
    """Check a plugin and print its level: bronze, silver, gold or platinum.

    Where the plugin was installed from its folder, its own tests are run.
    """
    report = quality.check(name)
    if as_json:
        _print_json(asdict(report))
    else:
        level = report.level.value if report.level else "below bronze"
        typer.echo(f"{report.plugin} ({report.distribution} {report.version}): {level}\n")
        rows = [
            {
                "Level": check.level.value,
                "Check": check.name,
                "Outcome": check.outcome.value,
                "What": check.title + (f": {check.detail}" if check.detail else ""),
            }
            for check in report.checks
        ]
        _print_table(rows, "")
    if not quality.reaches(report.level, at_least):
        raise typer.Exit(1)


@connector.command("list")
def connector_list(as_json: AsJson = False) -> None:
    """List the connectors that the installed plugins bring."""
    found = [
        {"name": name, "title": item.title, "webhook": isinstance(item, WebhookConnector)}
        for name, item in sorted(hooks.load().connectors.items())
    ]
    if as_json:
        _print_json(found)
        return
    rows = [
        {
            "Connector": str(item["name"]),
            "Title": str(item["title"]),
            "Webhook": f"/trackflow/hooks/{item['name']}/<instance>" if item["webhook"] else "-",
        }
        for item in found
    ]
    _print_table(rows, "No connectors are installed.")


@connector.command("describe")
def connector_describe(
    name: Annotated[str, typer.Argument(help="The connector's name.", metavar="NAME")],
    as_json: AsJson = False,
) -> None:
    """Tell what a connector can do and which options a connection has."""
    found = hooks.load().connectors
    if name not in found:
        known = ", ".join(sorted(found)) or "none"
        raise ConfigError(f"There is no connector {name!r}; there are: {known}.")
    kind = found[name]
    options = options_of(kind.options) if isinstance(kind, RemoteConnector) else ()
    able = asdict(kind.capabilities) if isinstance(kind, RemoteConnector) else {}
    if as_json:
        told = [{**asdict(item), "kind": item.kind.__name__} for item in options]
        _print_json({"name": name, "title": kind.title, "capabilities": able, "options": told})
        return
    typer.echo(f"{kind.title} ({name})\n")
    for ability, value in able.items():
        typer.echo(f"{ability.replace('_', ' ').capitalize()}: {_in_words(value)}")
    rows = [
        {
            "Option": item.name,
            "Title": item.title,
            "Default": "(required)" if item.required else str(item.default),
            "Meaning": item.help + (" Secret." if item.secret else ""),
        }
        for item in options
    ]
    typer.echo("" if able else "It maps what a host hands to it.\n")
    _print_table(rows, "It has no options.")


def _in_words(value: bool | str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value.value if isinstance(value, Webhooks) else value


NewName = Annotated[str, typer.Argument(help="Its name, such as newsletter.", metavar="NAME")]


@new.command("plugin")
def new_plugin(name: NewName) -> None:
    """Make a folder with a plugin that brings an attribution rule, and its tests."""
    _create(scaffold.Kind.PLUGIN, name)


@new.command("connector")
def new_connector(name: NewName) -> None:
    """Make a folder with a connector for another CRM, and its tests."""
    _create(scaffold.Kind.CONNECTOR, name)


def _create(kind: scaffold.Kind, name: str) -> None:
    if problem := scaffold.problem_with(name):
        typer.echo(f"trackflow: {problem}", err=True)
        raise typer.Exit(2)
    folder = scaffold.create(kind, name, Path())
    typer.echo(f"Made {folder}. Next: cd {folder} && pip install -e '.[test]' && pytest")


Touches = Annotated[
    str,
    typer.Option(
        "--touches",
        help="Parquet, CSV or a database's URL: journey_id, touch_id, occurred_at, channel, and "
        "where known source, medium, campaign, content, term.",
        metavar="FILE",
    ),
]
Conversions = Annotated[
    str,
    typer.Option(
        "--conversions",
        help="Parquet, CSV or a database's URL: journey_id, occurred_at, value, currency, and for "
        "rules with milestones lead_created_at, deal_created_at, closed_at.",
        metavar="FILE",
    ),
]
RuleName = Annotated[
    str,
    typer.Option(
        "--model",
        help="An attribution rule, ours or a plugin's, or what trackflow fit wrote (.json).",
        metavar="NAME",
    ),
]
Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="A parameter of the rule, such as half_life_days=3. Repeat it for others.",
        metavar="NAME=NUMBER",
    ),
]
Lookback = Annotated[
    float,
    typer.Option(
        "--lookback", help="Days before the conversion that count.", metavar="DAYS", min=0
    ),
]
ChannelRules = Annotated[
    Path | None,
    typer.Option(
        "--channel-rules",
        help="CSV: weight and any of channel, source, medium, campaign, priority.",
        exists=True,
        dir_okay=False,
        metavar="FILE",
    ),
]
Zone = Annotated[
    str, typer.Option("--zone", help="The time zone of moments without an offset.", metavar="ZONE")
]
Currency = Annotated[
    str | None, typer.Option("--currency", help="Only conversions in this one.", metavar="CODE")
]


@app.command("attribute")
def attribute(
    touches: Touches,
    conversions: Conversions,
    model: RuleName = "linear",
    parameters: Parameters = None,
    lookback: Lookback = 90,
    channel_rules: ChannelRules = None,
    zone: Zone = "UTC",
    currency: Currency = None,
    summary: Annotated[
        bool, typer.Option("--summary", help="One row for each channel instead of each touch.")
    ] = False,
    out: Annotated[
        str | None,
        typer.Option(
            help="Write .parquet, .csv or a database's table instead of printing.", metavar="FILE"
        ),
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            help="What does the work: core, a plugin's, or auto, which is a plugin's for URLs.",
            metavar="NAME",
        ),
    ] = "auto",
    as_json: AsJson = False,
) -> None:
    """Split the value of every conversion over the touches of its journey, to the cent.

    Rows are journey_id, touch_id, channel, weight, value; with --summary channel, conversions,
    value. A conversion without touches has one row on the channel Unattributed.
    """
    chosen = analysis.model_of(model, parameters or (), lookback, channel_rules)
    hidden = not sys.stderr.isatty()
    with typer.progressbar(length=2, label="Splitting", file=sys.stderr, hidden=hidden) as bar:
        found = analysis.split(
            touches,
            conversions,
            chosen,
            engine=engine,
            zone=zone,
            currency=currency,
            summary=summary,
        )
        bar.label = "Writing"
        bar.update(1)
        written = analysis.write(out, found.rows) if out else 0
        bar.update(1)
    for note in found.notes:
        typer.echo(f"trackflow: {note}", err=True)
    if out and as_json:
        _print_json({"out": out, "rows": written, "conversions": found.conversions})
    elif out:
        typer.echo(f"Wrote {written} rows to {out}.")
    elif as_json:
        _print_json(analysis.rows_for_programs(found.rows))
    else:
        _print_table(analysis.rows_for_people(found.rows), "There are no conversions.")


@app.command("explain")
def explain(
    journey: Annotated[str, typer.Argument(help="The journey to explain.", metavar="JOURNEY_ID")],
    touches: Touches,
    conversions: Conversions,
    model: RuleName = "linear",
    parameters: Parameters = None,
    lookback: Lookback = 90,
    channel_rules: ChannelRules = None,
    zone: Zone = "UTC",
    as_json: AsJson = False,
) -> None:
    """Print the receipt of one conversion: the rule, each touch with its share, and the sum."""
    chosen = analysis.model_of(model, parameters or (), lookback, channel_rules)
    read_touches, told = analysis.read(touches, conversions, zone)
    receipt = analysis.explanation_of(read_touches, told, chosen, journey)
    if as_json:
        _print_json(receipt.receipt())
    else:
        typer.echo(receipt.explain())


@app.command("check-receipt")
def check_receipt(
    file: Annotated[
        typer.FileBinaryRead,
        typer.Argument(help="The receipt as JSON; - for standard input.", metavar="FILE"),
    ],
    as_json: AsJson = False,
) -> None:
    """Split a receipt's deal again from what it tells, and compare the credits and the digest."""
    found = analysis.differences_in(file.read())
    if as_json:
        _print_json({"adds_up": not found, "differences": found})
    else:
        typer.echo("\n".join(found) or "The receipt adds up.")
    if found:
        raise typer.Exit(1)


def _print_json(value: object) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _print_table(rows: Sequence[Mapping[str, str]], empty: str) -> None:
    for line in analysis.lines_of(rows) or [empty]:
        typer.echo(line)


def _extended() -> typer.Typer:
    """The command with what plugins add; without it, and a warning, when a plugin is broken."""
    try:
        added = hooks.load().commands
    except TrackFlowError as error:
        typer.echo(
            f"trackflow: commands of plugins are missing: {error} Leave a plugin out by "
            "TRACKFLOW_DISABLE_PLUGINS=NAME.",
            err=True,
        )
        return app
    whole = _copy(app)
    groups = {str(info.name): info for info in whole.registered_groups}
    for name, item in sorted(added.items()):
        group, _, last = name.rpartition(" ")
        home = whole
        if group:
            if group not in groups:
                whole.add_typer(typer.Typer(no_args_is_help=True), name=group)
                groups[group] = whole.registered_groups[-1]
            home = cast(typer.Typer, groups[group].typer_instance)
        if last in {*(info.name for info in home.registered_commands), *_groups_of(home)}:
            raise ConfigError(f"The command {name!r} of a plugin is TrackFlow's own: rename it.")
        if isinstance(item.run, typer.Typer):
            home.add_typer(item.run, name=last)
        else:
            home.command(last)(item.run)
    return whole


def _groups_of(home: typer.Typer) -> set[str]:
    return {str(info.name) for info in home.registered_groups}


def _copy(original: typer.Typer) -> typer.Typer:
    """A command to which subcommands can be added without touching `original`."""
    twin = copy(original)
    twin.registered_commands = [*original.registered_commands]
    twin.registered_groups = []
    for info in original.registered_groups:
        group = copy(info)
        group.typer_instance = _copy(cast(typer.Typer, info.typer_instance))
        twin.registered_groups.append(group)
    return twin


def main() -> None:
    """Run the command; an error that a person can mend is one line on standard error."""
    try:
        _extended()(prog_name="trackflow")
    except TrackFlowError as error:
        typer.echo(f"trackflow: {error}", err=True)
        sys.exit(2 if isinstance(error, analysis.Misuse) else 1)
