"""`trackflow fit`: learn a model from files, and keep it as a file."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trackflow_core.attribution import Rule
from trackflow_core.attribution.allocation import currency_digits, to_minor_units
from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_data_driven.rules import MARKOV, MARKOV_VALUE

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]

_RULES = {rule.name: rule for rule in (MARKOV, MARKOV_VALUE)}
_FILE = typer.Option(help="Parquet or CSV.", exists=True, dir_okay=False)


def fit(
    touches: Annotated[Path, _FILE],
    conversions: Annotated[Path, _FILE],
    out: Annotated[Path, typer.Option(help="The file to write: the fitted model as JSON.")],
    model: Annotated[str, typer.Option(help="markov or markov_value.")] = "markov",
    order: Annotated[int, typer.Option(help="How many touches back the chain remembers.")] = 1,
    prior_conversions: Annotated[
        int, typer.Option(help="With so many conversions half of each split is learned.")
    ] = 100,
    lookback_days: Annotated[int, typer.Option(help="How far back touches count.")] = 90,
) -> None:
    """Learn from journeys with and without a conversion which weight each channel has.

    Touches: journey_id, touch_id, occurred_at, channel. Conversions: journey_id, occurred_at, value,
    currency. A journey without a conversion did not convert.
    """
    rule = _RULES.get(model)
    if rule is None or rule.learn is None:
        raise ConfigError(f"There is no model {model!r} to fit: use {' or '.join(_RULES)}.")
    try:
        from trackflow_data_driven.tables import paths_of
    except ImportError as error:
        raise ConfigError("Install trackflow-data-driven[tables]: files need pyarrow.") from error
    columns = paths_of(
        _read(touches), _in_minor_units(_read(conversions), rule), timedelta(days=lookback_days)
    )
    parameters = {"order": Decimal(order), "prior_conversions": Decimal(prior_conversions)}
    found = rule.learn(
        list(columns.rows()), parameters, datetime.now(timezone.utc), lambda part: None
    )
    out.write_text(found.to_json() + "\n", encoding="utf-8")
    typer.echo(found.note)


def _read(path: Path) -> pa.Table:
    import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]
    from pyarrow import csv, parquet  # type: ignore[import-untyped,unused-ignore]

    try:
        return csv.read_csv(path) if path.suffix == ".csv" else parquet.read_table(path)
    except pa.ArrowInvalid as error:
        raise InvalidEvent(f"{path} cannot be read: {error}") from error


def _in_minor_units(table: pa.Table, rule: Rule) -> pa.Table:
    """Conversions with their values as integers; the values of one currency only can be learned."""
    import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]

    missing = {"journey_id", "occurred_at", "value", "currency"} - set(table.column_names)
    if missing:
        raise InvalidEvent(f"The table of conversions has no column {min(missing)!r}.")
    currencies = table.column("currency").to_pylist()
    if rule is MARKOV_VALUE and len(set(currencies)) > 1:
        raise InvalidEvent("The conversions have several currencies: fit each on its own.")
    values = [
        to_minor_units(value, currency_digits(currency or ""))
        for value, currency in zip(table.column("value").to_pylist(), currencies, strict=True)
    ]
    place = table.column_names.index("value")
    return table.set_column(place, "value", pa.array(values, pa.int64()))
