"""`trackflow attribute` with whole tables: from sources to rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from typing import Any

import ibis.expr.types as ir
import pyarrow as pa

from trackflow_core.analysis import fitted
from trackflow_core.attribution import Model
from trackflow_core.attribution.files import (
    check_one_currency,
    in_major_units,
    notes_on_milestones,
)
from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.ports import CreditRows, PathRows
from trackflow_warehouse import reports, sources
from trackflow_warehouse.journeys import Journeys
from trackflow_warehouse.paths import Paths

_COLUMNS = ("journey_id", "touch_id", "channel", "weight", "value")
_SUMMARY = ("channel", "conversions", "value")
_BATCH = 100_000
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def split(
    touches: str,
    conversions: str,
    model: Model,
    zone: str = "UTC",
    currency: str | None = None,
    *,
    summary: bool = False,
) -> CreditRows:
    """The credits of tables that are named by paths or by URLs; see `ports.TableEngine`."""
    with ExitStack() as stack:
        source = stack.enter_context(sources.opened(touches, conversions, zone, currency))
        if summary:
            check_one_currency(source.currencies)
        if model.rule.learn and model.fit is None:
            model = fitted(model, _paths_of(source, model.lookback))
        journeys = stack.enter_context(Journeys(source.touches, source.conversions))
        found = journeys.by_channel(model) if summary else journeys.credits(model)
        expression = found.select(*(_SUMMARY if summary else _COLUMNS))
        count = source.conversions.count().to_pyarrow().as_py()
        notes = [*notes_on_milestones(model, source.milestones)]
        if model.fit is not None and model.fit.note:
            notes.append(model.fit.note)
        # The connection lives as long as somebody reads.
        rows = _rows(expression, source.digits, stack.pop_all())
        return CreditRows(rows, count, notes)


def paths(
    touches: str,
    conversions: str,
    lookback: timedelta,
    zone: str = "UTC",
    currency: str | None = None,
) -> PathRows:
    """What rules learn from, of the same tables; see `ports.TableEngine`."""
    with sources.opened(touches, conversions, zone, currency) as source:
        return _paths_of(source, lookback)


def report(
    which: str,
    touches: str,
    conversions: str,
    lookback: timedelta,
    by: str = "channel",
    *,
    collapse: bool = False,
    zone: str = "UTC",
    currency: str | None = None,
) -> pa.Table:
    """The rows of a path report; `by` names the column that steps are told by.

    Raises InvalidEvent, naming table and column, when there is no such column or the conversions
    are in several currencies; ConfigError when the tables cannot be opened.
    """
    with sources.opened(touches, conversions, zone, currency) as source:
        check_one_currency(source.currencies)
        if by not in source.touches.columns:
            raise InvalidEvent(f"The touches have no column {by!r}: add it, or leave out --by.")
        with Paths(source.touches, source.conversions, lookback, by, collapse=collapse) as paths:
            return reports.table(which, paths, source.digits)


def _paths_of(source: sources.Source, lookback: timedelta) -> PathRows:
    latest = source.conversions.anchor.max().to_pyarrow().as_py()
    moment = None if latest is None else _EPOCH + timedelta(microseconds=latest)
    with Paths(source.touches, source.conversions, lookback) as found:
        return PathRows(found.rows(), source.currencies, moment)


def _rows(expression: ir.Table, digits: int, open_until_read: ExitStack) -> pa.RecordBatchReader:
    schema = expression.schema().to_pyarrow()
    place = schema.get_field_index("value")
    decimals = schema.set(place, pa.field("value", pa.decimal128(38, digits)))

    def batches() -> Iterator[pa.RecordBatch | None]:
        with open_until_read:
            yield None
            for batch in expression.to_pyarrow_batches(chunk_size=_BATCH):
                columns = batch.columns
                columns[place] = in_major_units(columns[place], digits)
                yield pa.RecordBatch.from_arrays(columns, schema=decimals)

    begun = batches()
    # Once begun it closes the connection even when nobody reads.
    next(begun)
    return pa.RecordBatchReader.from_batches(decimals, begun)


def write(url: str, rows: pa.RecordBatchReader) -> int:
    """Replace the table that `url` names behind its # (`credits`) by `rows`.

    Raises ConfigError when there is a table of other columns, which is left alone.
    """
    name = sources.table_name(url, "credits")
    connection: Any = sources.connect(url)
    try:
        if name in connection.list_tables():
            held = connection.table(name).columns
            if tuple(held) != tuple(rows.schema.names):
                raise ConfigError(
                    f"The table {name!r} has other columns ({', '.join(held)}): "
                    "name another behind the URL's #."
                )
        table = rows.read_all()
        connection.create_table(name, table, overwrite=True)
        return len(table)
    finally:
        connection.disconnect()
