"""Tables of touches and deals as paths, a million journeys at once. Needs pyarrow."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]
import pyarrow.compute as pc  # type: ignore[import-untyped,unused-ignore]

from trackflow_core.errors import InvalidEvent
from trackflow_data_driven.paths import Array, Paths

_MICROSECOND = timedelta(microseconds=1)


def paths_of(touches: pa.Table, deals: pa.Table, lookback: timedelta) -> Paths:
    """Each journey with a touch as a path of its own, those without a deal as not converted.

    `touches` has the columns `journey_id`, `touch_id`, `occurred_at` and `channel`; `deals` has
    `journey_id`, `occurred_at` and `value` (integers in minor units). A touch counts when it is at
    most `lookback` before the deal, or, where there is none, before the journey's last touch.
    Touches of one moment follow by id.

    Raises InvalidEvent when a column is missing or holds what it must not, or when a journey has
    two deals.
    """
    names = _column(touches, "touches", "journey_id", pa.string()).dictionary_encode()
    channels = _column(touches, "touches", "channel", pa.string())
    journey, time = names.indices.to_numpy(), _moments(touches, "touches")
    count = len(names.dictionary)
    found = pc.index_in(
        _column(deals, "deals", "journey_id", pa.string()), value_set=names.dictionary
    )
    known = np.flatnonzero(~np.asarray(found.is_null()))
    owner = found.drop_null().to_numpy()
    if len(np.unique(owner)) < len(owner):
        raise InvalidEvent("A journey has two deals: give each deal a journey of its own.")
    # Without a deal, a journey is looked back on from its last touch.
    anchor = np.full(count, np.iinfo(np.int64).min)
    np.maximum.at(anchor, journey, time)
    anchor[owner] = _moments(deals, "deals")[known]
    converted, value = np.zeros(count), np.zeros(count)
    converted[owner] = 1
    value[owner] = _column(deals, "deals", "value", pa.int64()).to_numpy()[known]
    age = anchor[journey] - time
    rows = np.flatnonzero((age >= 0) & (age <= lookback // _MICROSECOND))
    rows = rows[_order(journey[rows], time[rows], touches, rows)]
    channels = channels.take(pa.array(rows)).dictionary_encode()
    lengths = np.bincount(journey[rows], minlength=count)
    held = lengths > 0
    return Paths.of_columns(
        channels.dictionary.to_pylist(),
        channels.indices.to_numpy(),
        lengths[held],
        converted[held],
        value[held],
    )


def _order(journey: Array, time: Array, touches: pa.Table, rows: Array) -> Array:
    """The order of `rows` by journey, then moment, then id of the touch."""
    order = np.lexsort((time, journey))
    same = (np.diff(journey[order]) == 0) & (np.diff(time[order]) == 0)
    if not same.any():
        return order
    ids = _column(touches, "touches", "touch_id", pa.string()).take(pa.array(rows))
    rank = np.empty(len(rows), dtype=np.int64)
    rank[pc.sort_indices(ids).to_numpy()] = np.arange(len(rows))
    return np.lexsort((rank, time, journey))


def _moments(table: pa.Table, what: str) -> Array:
    column = _column(table, what, "occurred_at", pa.timestamp("us", tz="UTC"))
    return np.asarray(column.cast(pa.int64()).to_numpy())


def _column(table: pa.Table, what: str, name: str, kind: pa.DataType) -> pa.Array:
    if name not in table.column_names:
        raise InvalidEvent(f"The table of {what} has no column {name!r}.")
    try:
        column = table.column(name).cast(kind).combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InvalidEvent(f"Column {name!r} of the table of {what}: {error}") from error
    if column.null_count:
        raise InvalidEvent(f"Column {name!r} of the table of {what} has empty rows.")
    return column
