"""`trackflow attribute` with whole tables: from sources to rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import ibis.expr.types as ir
import pyarrow as pa

from trackflow_core.attribution import Model
from trackflow_core.attribution.files import (
    check_one_currency,
    in_major_units,
    notes_on_milestones,
)
from trackflow_core.errors import ConfigError
from trackflow_core.ports import CreditRows
from trackflow_warehouse import sources
from trackflow_warehouse.journeys import Journeys

_COLUMNS = ("journey_id", "touch_id", "channel", "weight", "value")
_SUMMARY = ("channel", "conversions", "value")
_BATCH = 100_000


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
        journeys = stack.enter_context(Journeys(source.touches, source.conversions))
        found = journeys.by_channel(model) if summary else journeys.credits(model)
        expression = found.select(*(_SUMMARY if summary else _COLUMNS))
        count = source.conversions.count().to_pyarrow().as_py()
        notes = notes_on_milestones(model, source.milestones)
        # The connection lives as long as somebody reads.
        rows = _rows(expression, source.digits, stack.pop_all())
        return CreditRows(rows, count, notes)


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
