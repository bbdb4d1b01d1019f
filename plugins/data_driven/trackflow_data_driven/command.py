"""`trackflow fit`: learn a model from files or a database, and keep it as a file."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from trackflow_core import analysis
from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_data_driven.rules import MARKOV, MARKOV_VALUE

_RULES = {rule.name: rule for rule in (MARKOV, MARKOV_VALUE)}
_TABLE = typer.Option(help="Parquet, CSV or a database's URL.", metavar="FILE")


def fit(
    touches: Annotated[str, _TABLE],
    conversions: Annotated[str, _TABLE],
    out: Annotated[Path, typer.Option(help="The file to write: the fitted model as JSON.")],
    model: Annotated[str, typer.Option(help="markov or markov_value.")] = "markov",
    order: Annotated[int, typer.Option(help="How many touches back the chain remembers.")] = 1,
    prior_conversions: Annotated[
        int, typer.Option(help="With so many conversions half of each split is learned.")
    ] = 100,
    lookback: Annotated[
        float, typer.Option(help="Days before a journey's end that count.", metavar="DAYS", min=0)
    ] = 90,
    zone: Annotated[str, typer.Option(help="The time zone of moments without an offset.")] = "UTC",
    currency: Annotated[str | None, typer.Option(help="Only conversions in this one.")] = None,
    engine: Annotated[
        str, typer.Option(help="What reads the tables: core, a plugin's, or auto.", metavar="NAME")
    ] = "auto",
) -> None:
    """Learn from journeys with and without a conversion which weight each channel has.

    The tables are those of trackflow attribute, which takes the file with --model.
    """
    rule = _RULES.get(model)
    if rule is None or rule.learn is None:
        raise ConfigError(f"There is no model {model!r} to fit: use {' or '.join(_RULES)}.")
    found = analysis.paths(
        touches, conversions, lookback, engine=engine, zone=zone, currency=currency
    )
    if rule is MARKOV_VALUE and len(found.currencies) > 1:
        there = " and ".join(found.currencies)
        raise InvalidEvent(f"The conversions are in {there}: choose one with --currency.")
    parameters = {"order": Decimal(order), "prior_conversions": Decimal(prior_conversions)}
    hidden = not sys.stderr.isatty()
    with typer.progressbar(length=100, label="Fitting", file=sys.stderr, hidden=hidden) as bar:
        learned = rule.learn(
            found.paths,
            parameters,
            datetime.now(timezone.utc),
            lambda part: bar.update(round(100 * part) - bar.pos),
        )
    try:
        out.write_text(learned.to_json() + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror or error}.") from error
    typer.echo(learned.note)
