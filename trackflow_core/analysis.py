"""What `trackflow attribute` and `trackflow explain` do with files of touches and conversions."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from trackflow_core import hooks
from trackflow_core.attribution import Attribution, ChannelRule, Fit, Model, Rule, attribute
from trackflow_core.attribution.allocation import currency_digits, from_minor_units
from trackflow_core.attribution.fits import no_progress
from trackflow_core.attribution.receipts import check
from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.model import Deal, DealStatus, Touch, zone_named
from trackflow_core.ports import CreditRows, PathRows, TableEngine

if TYPE_CHECKING:
    import pyarrow as pa

    from trackflow_core.attribution.files import Conversions


class Misuse(ConfigError):
    """The command was called with an option that cannot be used."""


def model_of(
    name: str, settings: Iterable[str], lookback_days: float, channel_rules: Path | None
) -> Model:
    """The model that the options describe: any installed rule, its parameters (`half_life_days=3`),
    its window and a file of channel rules; or the file of a fit (`.json`), with the rule and the
    parameters that it was learned with.

    Raises Misuse when there is no such rule, parameter or file, ConfigError when a file is wrong.
    """
    fit = _read_fit(Path(name)) if name.endswith(".json") else None
    rule = _rule_named(fit.rule if fit else name)
    texts = list(settings)
    if fit and texts:
        raise Misuse(f"{name} was learned with its parameters: fit again to change {texts[0]!r}.")
    parameters = dict(_setting(rule, text) for text in texts)
    rules_of_channels = _read_channel_rules(channel_rules) if channel_rules else ()
    try:
        lookback = timedelta(days=lookback_days)
        return Model(rule, parameters, lookback, channel_rules=rules_of_channels, fit=fit)
    except ConfigError as error:
        raise Misuse(str(error)) from error
    except OverflowError:
        raise Misuse(f"A look-back of {lookback_days} days is longer than time.") from None


def _rule_named(name: str) -> Rule:
    rules = hooks.load().rules
    rule = rules.get(name.replace("-", "_")) or rules.get(name)
    if rule is None:
        raise Misuse(f"There is no model {name!r}; there are: {', '.join(sorted(rules))}.")
    return rule


def _read_fit(path: Path) -> Fit:
    try:
        return Fit.from_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Misuse(f"There is no file {path}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _setting(rule: Rule, text: str) -> tuple[str, Decimal]:
    name, _, value = text.partition("=")
    known = ", ".join(f"{key}={item}" for key, item in sorted(rule.parameters.items())) or "none"
    try:
        return name.strip().replace("-", "_"), Decimal(value.strip())
    except InvalidOperation:
        raise Misuse(
            f"The setting {text!r} is not NAME=NUMBER; {rule.name!r} knows: {known}."
        ) from None


def _read_channel_rules(path: Path) -> tuple[ChannelRule, ...]:
    """Rules from CSV: `weight` and any of `channel`, `source`, `medium`, `campaign`, `priority`."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            return tuple(
                _channel_rule(path, number, row)
                for number, row in enumerate(csv.DictReader(lines), 1)
            )
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from error


def _channel_rule(path: Path, number: int, row: dict[str | None, Any]) -> ChannelRule:
    known = ("weight", "channel", "source", "medium", "campaign", "priority")
    unknown = [name for name in row if name not in known]
    if unknown or "weight" not in row:
        problem = f"has no column {'weight'!r}" if not unknown else f"has a column {unknown[0]!r}"
        raise ConfigError(f"{path} {problem}; channel rules have: {', '.join(known)}.")
    texts = {str(name): (value or "").strip() for name, value in row.items()}
    try:
        return ChannelRule(
            Decimal(texts.pop("weight")), priority=int(texts.pop("priority", "") or 0), **texts
        )
    except (InvalidOperation, ValueError):
        raise ConfigError(
            f"{path}: row {number} holds a weight or priority that is no number."
        ) from None


def split(
    touches: str,
    conversions: str,
    model: Model,
    *,
    engine: str = "auto",
    zone: str = "UTC",
    currency: str | None = None,
    summary: bool = False,
) -> CreditRows:
    """The credits of tables that are named by paths or by URLs of databases.

    `engine` is "core", an installed plugin's, or "auto": the core for files, and for URLs the
    engine that reads them.

    Raises Misuse when what is named does not exist, ConfigError where something is not installed,
    InvalidEvent as `attribution.files`.
    """
    chosen = _engine(engine, touches, conversions)
    if chosen is not None:
        _check_zone(zone)
        return chosen.split(
            touches, conversions, model, zone=zone, currency=currency, summary=summary
        )
    read_touches, told = read(touches, conversions, zone, currency)
    model = _fitted(model, read_touches, told)
    table = (_summary_of if summary else _credits_of)(read_touches, told, model)
    return CreditRows(table.to_reader(), len(told.table), _notes_on(model, told))


def paths(
    touches: str,
    conversions: str,
    lookback_days: float,
    *,
    engine: str = "auto",
    zone: str = "UTC",
    currency: str | None = None,
) -> PathRows:
    """What rules that learn take from the same tables as `split`; raises as it does."""
    lookback = timedelta(days=lookback_days)
    chosen = _engine(engine, touches, conversions)
    if chosen is not None:
        _check_zone(zone)
        return chosen.paths(touches, conversions, lookback, zone=zone, currency=currency)
    return _paths(*read(touches, conversions, zone, currency), lookback)


def _paths(touches: pa.Table, conversions: Conversions, lookback: timedelta) -> PathRows:
    import pyarrow.compute as pc

    from trackflow_core.attribution import tables

    found = tables.paths(touches, conversions.table, lookback)
    latest = pc.max(conversions.table.column("occurred_at")).as_py()
    return PathRows(found, conversions.currencies, latest)


def _engine(name: str, *sources: str) -> TableEngine | None:
    """The engine of that name, or the one that reads the sources; None for the core."""
    engines = hooks.load().table_engines
    schemes = {urlsplit(source).scheme for source in sources if "://" in source}
    if name == "core" and not schemes:
        return None
    if name not in ("auto", "core"):
        if name not in engines:
            there = ", ".join(("auto", "core", *sorted(engines)))
            raise Misuse(f"There is no engine {name!r}; there are: {there}.")
        return engines[name]
    if not schemes:
        return None
    scheme = min(schemes).partition("+")[0]
    for item in engines.values():
        if scheme in item.schemes and name == "auto":
            return item
    raise Misuse(
        f"A URL of {scheme!r} is read by no engine that could be used: "
        "run pip install trackflow-warehouse, and leave out --engine."
    )


def write(out: str, rows: pa.RecordBatchReader) -> int:
    """Write rows to a file, or replace the table that a URL names; returns how many."""
    if "://" in out:
        engine = _engine("auto", out)
        return engine.write(out, rows) if engine else 0
    return int(_files().write(Path(out), rows))


def read(
    touches: str, conversions: str, zone: str, currency: str | None = None
) -> tuple[pa.Table, Conversions]:
    """Both files; of the conversions those in `currency`, where one is named.

    Raises Misuse when there is no such file or zone or no conversion in that currency, ConfigError
    where what reads files is not installed, InvalidEvent as `attribution.files`.
    """
    _check_zone(zone)
    for name in (touches, conversions):
        if not Path(name).exists():
            raise Misuse(f"There is no file {name}.")
    told = _files().read_conversions(Path(conversions), zone)
    if currency:
        code = currency.upper()
        if code not in told.currencies:
            there = ", ".join(told.currencies) or "none"
            raise Misuse(f"No conversion in {conversions} is in {code}; there are: {there}.")
        told = told.in_currency(code)
    return _files().read_touches(Path(touches), zone), told


def _check_zone(zone: str) -> None:
    try:
        zone_named(zone)
    except ConfigError as error:
        raise Misuse(str(error)) from error


def _files() -> Any:
    try:
        from trackflow_core.attribution import files
    except ImportError as error:
        raise ConfigError(
            f"Files are read by numpy and pyarrow, and {error.name} is not installed: "
            "run pip install 'trackflow-core[tables]'."
        ) from None
    return files


def _fitted(model: Model, touches: pa.Table, conversions: Conversions) -> Model:
    if not model.rule.learn or model.fit is not None:
        return model
    return fitted(model, _paths(touches, conversions, model.lookback))


def fitted(model: Model, found: PathRows) -> Model:
    """`model` with what its rule learns from all journeys, dated by the last of the conversions.

    Raises InvalidEvent when there is no conversion, ConfigError when the rule does not learn.
    """
    if model.rule.learn is None:
        raise ConfigError(f"The rule {model.rule.name!r} does not learn: choose another rule.")
    if found.latest is None:
        raise InvalidEvent(f"The rule {model.rule.name!r} learns from conversions: there is none.")
    fit = model.rule.learn(found.paths, model.parameters, found.latest, no_progress)
    return replace(model, fit=fit)


def _notes_on(model: Model, conversions: Conversions) -> Sequence[str]:
    """What somebody who reads the result must know, in sentences."""
    if model.fit is not None:
        return (model.fit.note,) if model.fit.note else ()
    notes: Sequence[str] = _files().notes_on_milestones(model, conversions.milestones)
    return notes


def _credits_of(touches: pa.Table, conversions: Conversions, model: Model) -> pa.Table:
    from trackflow_core.attribution.tables import Journeys

    table = Journeys(touches, conversions.table).attribute(model).table()
    place = table.schema.get_field_index("value")
    values = conversions.in_major_units(table.column("value"), table.column("journey_id"))
    return table.set_column(place, "value", values)


def _summary_of(touches: pa.Table, conversions: Conversions, model: Model) -> pa.Table:
    import pyarrow as pa

    from trackflow_core.attribution.tables import Journeys

    _files().check_one_currency(conversions.currencies)
    found = Journeys(touches, conversions.table).attribute(model).by_channel()
    return pa.table(
        {
            "channel": pa.array(found, pa.string()),
            "conversions": pa.array([weight for weight, _ in found.values()], pa.float64()),
            "value": pa.array(
                [from_minor_units(value, conversions.digits) for _, value in found.values()],
                pa.decimal128(38, conversions.digits),
            ),
        }
    )


def explanation_of(
    touches: pa.Table, conversions: Conversions, model: Model, journey_id: str
) -> Attribution:
    """The receipt of one journey's conversion.

    Raises InvalidEvent when the journey has no conversion.
    """
    import pyarrow.compute as pc

    held = conversions.table
    rows = held.filter(pc.equal(held.column("journey_id"), journey_id)).to_pylist()
    if not rows:
        raise InvalidEvent(f"There is no conversion of the journey {journey_id!r}.")
    told = rows[0]
    closed_at = told["closed_at"]
    if told["deal_created_at"] != told["occurred_at"]:
        model = replace(model, anchor="won")
    deal = Deal(
        ref=journey_id,
        event_id=journey_id,
        occurred_at=told["occurred_at"],
        value=told["value"],
        currency=told["currency"],
        digits=currency_digits(told["currency"]),
        created_at=told["deal_created_at"],
        closed_at=closed_at,
        status=DealStatus.WON if closed_at else DealStatus.OPEN,
    )
    found = touches.filter(pc.equal(touches.column("journey_id"), journey_id)).to_pylist()
    items = [
        Touch(id=row.pop("touch_id"), **{k: v for k, v in row.items() if k != "journey_id"})
        for row in found
    ]
    model = _fitted(model, touches, conversions)
    return attribute(items, deal, model, lead_created_at=told["lead_created_at"])


def differences_in(text: bytes) -> Sequence[str]:
    """What does not add up in a receipt that was written as JSON.

    Raises Misuse when `text` is no receipt or cannot be checked here.
    """
    try:
        receipt = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Misuse(f"The receipt cannot be read: it is no JSON ({error}).") from None
    if not isinstance(receipt, dict):
        raise Misuse("This is no receipt of TrackFlow: it is no JSON object.")
    rules = hooks.load().rules
    try:
        return check(receipt, rules)
    except (ConfigError, InvalidEvent) as error:
        raise Misuse(str(error)) from error


def rows_for_programs(rows: pa.RecordBatchReader) -> Sequence[dict[str, object]]:
    """Rows as JSON values; amounts are numbers with their decimal places."""
    return [
        {name: float(value) if isinstance(value, Decimal) else value for name, value in row.items()}
        for batch in rows
        for row in batch.to_pylist()
    ]


def rows_for_people(rows: pa.RecordBatchReader) -> Sequence[dict[str, str]]:
    """Rows as text: shares with four places, nothing as a dash."""
    return [
        {
            name: "-"
            if value in (None, "")
            else f"{value:.4f}"
            if type(value) is float
            else str(value)
            for name, value in row.items()
        }
        for batch in rows
        for row in batch.to_pylist()
    ]


def lines_of(rows: Sequence[Mapping[str, str]]) -> Sequence[str]:
    """Columns of plain text, as wide as they need: a pipe must not cut a name in two.

    The first line has the names of the columns; of no rows there is no line.
    """
    if not rows:
        return []
    lines = [tuple(rows[0]), *(tuple(row.values()) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
