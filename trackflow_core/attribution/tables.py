"""Whole tables of journeys at once: what `attribute` gives for each deal, as columns.

Needs `trackflow-core[tables]` (numpy, pyarrow). A rule whose weights depend on nothing but the
number of touches is weighed once for each length of journey; any other rule is asked journey by
journey.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import cached_property
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trackflow_core.attribution.allocation import allocate
from trackflow_core.attribution.fits import Path
from trackflow_core.attribution.models import Journey, Model
from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.model import UNATTRIBUTED, Touch

Array: TypeAlias = np.ndarray

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
_MICROSECONDS = pa.timestamp("us", tz="UTC")
_DETAILS = ("source", "medium", "campaign", "content", "term")
_MILESTONES = ("lead_created_at", "deal_created_at", "closed_at")
# Products of value and weight stay below this, or Python's own integers are used.
_SAFE = 2**62


class Journeys:
    """Touches brought into the journeys of their deals, ready for any number of models.

    `touches` has the columns `journey_id`, `touch_id`, `occurred_at`, `channel` and any of
    `source`, `medium`, `campaign`, `content`, `term`; `deals` has `journey_id`, `occurred_at` (what
    the window counts back from), `value` (integers in minor units) and, for rules with milestones,
    any of `lead_created_at`, `deal_created_at`, `closed_at`, whose rows may be empty. Moments are
    timestamps with a time zone. Touches without a deal are left out; a row that is repeated counts
    once.

    Raises InvalidEvent when a column is missing or holds what it must not, or when a journey has
    two deals.
    """

    def __init__(self, touches: pa.Table, deals: pa.Table) -> None:
        self._touches = touches
        self._names = _column(deals, "deals", "journey_id", pa.string())
        journey = _column(touches, "touches", "journey_id", pa.string())
        count = len(self._names)
        channel = _column(touches, "touches", "channel", pa.string())
        # Arrow works on strings without holding the interpreter: the longest steps share the cores.
        with ThreadPoolExecutor() as pool:
            half = len(journey) // 2
            places = [
                pool.submit(_places, part, self._names) for part in (journey[:half], journey[half:])
            ]
            distinct = pool.submit(pc.unique, self._names)
            encoded = pool.submit(channel.dictionary_encode)
        if len(distinct.result()) != count:
            raise InvalidEvent("A journey has two deals: give each deal a journey of its own.")
        deal = np.concatenate([part.result() for part in places])
        channels = encoded.result()
        self._anchor = _moments(deals, "deals")
        self._value = _column(deals, "deals", "value", pa.int64()).to_numpy()
        self._deals = deals
        self._channels = (*channels.dictionary.to_pylist(), UNATTRIBUTED)
        # The last number is for row -1: no touch.
        self._channel = np.append(channels.indices.to_numpy(), len(self._channels) - 1).astype(
            np.int32
        )
        self._ids = _column(touches, "touches", "touch_id", pa.string())
        time = _moments(touches, "touches")
        order, deal = _sorted_by(deal, time)
        known = int(np.searchsorted(deal, count))
        order, deal = order[:known], deal[:known]
        self._row, self._deal, self._time = self._settle_ties(order, deal, time[order])
        self._windows: dict[timedelta, _Window] = {}

    @cached_property
    def _milestones(self) -> Mapping[str, Sequence[datetime | None]]:
        return {
            name: _utc(self._deals, "deals", name).to_pylist()
            for name in _MILESTONES
            if name in self._deals.column_names
        }

    def _settle_ties(self, order: Array, deal: Array, time: Array) -> tuple[Array, Array, Array]:
        """All three with touches of one deal and moment by id, and none of them twice."""
        same = (deal[1:] == deal[:-1]) & (time[1:] == time[:-1])
        if not same.any():
            return order, deal, time
        keep = np.ones(len(order), dtype=bool)
        edges = np.flatnonzero(np.diff(np.concatenate(([0], same.astype(np.int8), [0]))))
        for start, end in edges.reshape(-1, 2).tolist():
            rows = order[start : end + 1].tolist()
            by_id = dict(zip(self._ids.take(pa.array(rows)).to_pylist(), rows, strict=True))
            settled = [by_id[name] for name in sorted(by_id)]
            order[start : start + len(settled)] = settled
            keep[start + len(settled) : end + 1] = False
        return order[keep], deal[keep], time[keep]

    def attribute(self, model: Model) -> Credits:
        """The credits of all deals under `model`; those of each deal sum to its value exactly.

        Raises ConfigError when the rule needs milestones and the table of deals has no column of
        them, or when it returns weights that cannot be used.
        """
        if model.rule.milestones and not self._milestones:
            raise ConfigError(
                f"The rule {model.rule.name!r} needs milestones, of which the table of deals has "
                f"none: add a column {' or '.join(_MILESTONES)}, or choose another rule."
            )
        window = self._window(model.lookback)
        weight, value = np.zeros(len(window.rows)), np.zeros(len(window.rows), dtype=np.int64)
        uniform = model.rule.positional and not model.channel_rules
        touches = None if uniform else self._read(window.rows)
        for length, deals, start, end in window.blocks:
            values = self._value[deals]
            shape = (len(deals), length)
            if length == 0:
                weight[start:end], value[start:end] = 1.0, values
            elif touches is None:
                weights = model.weigh(_journey((_ANY,) * length, 0, model))
                weight[start:end].reshape(shape)[:] = np.array(weights) / sum(weights)
                _allocate(values, weights, value[start:end].reshape(shape))
            else:
                anchors = self._anchor[deals].tolist()
                for place, (amount, anchor) in enumerate(
                    zip(values.tolist(), anchors, strict=True)
                ):
                    journey = _journey(tuple(islice(touches, length)), anchor, model)
                    if model.rule.milestones:
                        journey = self._with_milestones(journey, int(deals[place]))
                    weights, first = model.weigh(journey), start + place * length
                    weight[first : first + length] = np.array(weights, dtype=float) / sum(weights)
                    value[first : first + length] = allocate(amount, weights)
        return Credits(self, window, weight, value)

    def _with_milestones(self, journey: Journey, deal: int) -> Journey:
        moments: dict[str, Any] = {name: held[deal] for name, held in self._milestones.items()}
        return replace(journey, **moments)

    def _window(self, lookback: timedelta) -> _Window:
        if lookback not in self._windows:
            anchor = self._anchor[self._deal]
            start = anchor - lookback // _MICROSECOND
            inside = (self._time <= anchor) & (self._time >= start)
            rows, deal = self._row, self._deal
            if not inside.all():
                rows, deal = rows[inside], deal[inside]
            self._windows[lookback] = self._blocks(
                rows, np.bincount(deal, minlength=len(self._value))
            )
        return self._windows[lookback]

    def _blocks(self, rows: Array, counts: Array) -> _Window:
        """`rows`, which lie deal by deal, brought into blocks of deals with equally many."""
        starts = np.cumsum(counts) - counts
        parts, owners, blocks, end = [], [], [], 0
        # Deals without a touch come last, so that touches can be read one after the other.
        for length in sorted(np.unique(counts).tolist(), key=lambda length: (length == 0, length)):
            deals = np.flatnonzero(counts == length)
            if length:
                parts.append(rows[starts[deals][:, None] + np.arange(length)].ravel())
            else:
                parts.append(np.full(len(deals), -1))
            owners.append(np.repeat(deals, max(length, 1)))
            start, end = end, end + len(owners[-1])
            blocks.append((length, deals, start, end))
        empty = np.empty(0, dtype=np.int64)
        rows = np.concatenate([empty, *parts])
        return _Window(rows, np.concatenate([empty, *owners]), self._channel[rows], blocks)

    def _read(self, rows: Array) -> Iterator[Touch]:
        """The touches of `rows`, which end in those without one, as rules see them."""
        wanted = pa.array(rows[rows >= 0])
        found = [
            _column(self._touches, "touches", name, pa.string()).take(wanted).to_pylist()
            if name in self._touches.column_names
            else [""] * len(wanted)
            for name in ("touch_id", "channel", *_DETAILS)
        ]
        moments = _moments(self._touches, "touches")[rows[rows >= 0]].tolist()
        return (
            Touch(touch_id, _EPOCH + moment * _MICROSECOND, channel, *details)
            for moment, touch_id, channel, *details in zip(moments, *found, strict=True)
        )


@dataclass(frozen=True)
class _Window:
    """Rows of touches and of their deals and numbers of their channels, in blocks of journeys of
    one length; row -1 stands for no touch. A block is (length, its deals, start, end)."""

    rows: Array
    deal: Array
    channel: Array
    blocks: Sequence[tuple[int, Array, int, int]]


@dataclass(frozen=True)
class Credits:
    """The credits of a table of journeys under one model."""

    _journeys: Journeys
    _window: _Window
    _weight: Array
    _value: Array

    def table(self) -> pa.Table:
        """One row for each credit, in the order of deals, then of their touches: `journey_id`,
        `touch_id` (null without a touch), `channel`, `weight` (0 to 1, for display) and `value`
        (minor units)."""
        journeys, order = self._journeys, np.argsort(self._window.deal, kind="stable")
        rows = self._window.rows[order]
        channels = pa.DictionaryArray.from_arrays(
            pa.array(self._window.channel[order]), pa.array(journeys._channels)
        )
        return pa.table(
            {
                "journey_id": journeys._names.take(pa.array(self._window.deal[order])),
                "touch_id": journeys._ids.take(pa.array(rows, mask=rows < 0)),
                "channel": channels.cast(pa.string()),
                "weight": self._weight[order],
                "value": self._value[order],
            }
        )

    def by_channel(self) -> dict[str, tuple[float, int]]:
        """Each channel's conversions (the sum of its weights) and value, the most value first."""
        names = self._journeys._channels
        number = self._window.channel
        held = np.bincount(number, minlength=len(names))
        conversions = np.bincount(number, self._weight, len(names))
        value = np.zeros(len(names), dtype=np.int64)
        np.add.at(value, number, self._value)
        found = [
            (name, float(conversions[place]), int(value[place]))
            for place, name in enumerate(names)
            if held[place]
        ]
        found.sort(key=lambda row: (-row[2], row[0]))
        return {name: (weight, amount) for name, weight, amount in found}


def paths(touches: pa.Table, deals: pa.Table, lookback: timedelta) -> Sequence[Path]:
    """What rules that learn take from tables as `Journeys` takes them: the channels of all
    journeys in order, those alike together.

    A journey without a deal is looked back on from its last touch.
    """
    journey = _column(touches, "touches", "journey_id", pa.string())
    names = journey.unique()
    anchor = np.full(len(names), np.iinfo(np.int64).min)
    np.maximum.at(anchor, _places(journey, names), _moments(touches, "touches"))
    value, converted = np.zeros(len(names), dtype=np.int64), np.zeros(len(names), dtype=bool)
    place = _places(_column(deals, "deals", "journey_id", pa.string()), names)
    known = place < len(names)
    anchor[place[known]] = _moments(deals, "deals")[known]
    value[place[known]] = _column(deals, "deals", "value", pa.int64()).to_numpy()[known]
    converted[place[known]] = True
    every = pa.table(
        {
            "journey_id": names,
            "occurred_at": pa.array(anchor).cast(_MICROSECONDS),
            "value": pa.array(np.arange(len(names))),
        }
    )
    table = Journeys(touches, every)
    rows, owner = table._row, table._deal
    inside = (table._time <= anchor[owner]) & (
        table._time >= anchor[owner] - lookback // _MICROSECOND
    )
    rows, owner = rows[inside], owner[inside]
    ends = np.flatnonzero(np.diff(owner, append=-1)) + 1
    channels = table._channel[rows].tolist()
    found: dict[tuple[tuple[int, ...], int], list[int]] = {}
    start = 0
    for end in ends.tolist():
        number = int(owner[start])
        earned = int(value[number])
        # Journeys of one path and value go together: what a fit learns stays the same.
        counts = found.setdefault((tuple(channels[start:end]), earned), [0, 0])
        counts[0] += 1
        counts[1] += int(converted[number])
        start = end
    return [
        Path(
            tuple(table._channels[number] for number in numbers),
            journeys,
            conversions,
            earned * conversions,
        )
        for (numbers, earned), (journeys, conversions) in found.items()
    ]


_ANY = Touch("", _EPOCH, "")


def _journey(touches: tuple[Touch, ...], anchor: int, model: Model) -> Journey:
    return Journey(touches, _EPOCH + anchor * _MICROSECOND, model.parameters, fit=model.fit)


def _allocate(values: Array, weights: Sequence[int], parts: Array) -> None:
    """`allocate` for many values and one row of weights, into `parts`: a row for each value."""
    total = sum(weights)
    size = np.abs(values)
    if int(size.max()) * max(weights) >= _SAFE:
        parts[:] = [allocate(value, weights) for value in values.tolist()]
        return
    earning = np.flatnonzero(weights)
    shares, place = np.unique(np.array(weights, dtype=np.int64)[earning], return_inverse=True)
    # Division is slow: once for each different weight.
    whole, remainders = np.divmod(size[:, None] * shares, total)
    whole, ranks = whole[:, place], np.arange(len(place))[None, :]
    left = size - whole.sum(axis=1)
    if len(shares) > 1:
        order = np.argsort(-remainders[:, place], axis=1, kind="stable")
        ranks = np.empty_like(order)
        np.put_along_axis(ranks, order, np.arange(len(place))[None, :], axis=1)
    whole += ranks < left[:, None]
    parts[:, earning] = whole if (values >= 0).all() else whole * np.sign(values)[:, None]


def _places(values: pa.Array, among: pa.Array) -> Array:
    """Where each value first stands among others; the number of these where it does not."""
    return pc.index_in(values, value_set=among).fill_null(len(among)).to_numpy()


def _sorted_by(deal: Array, time: Array) -> tuple[Array, Array]:
    """The order of rows by deal, then time, then place; and the deals in that order."""
    order = None
    if (time[1:] < time[:-1]).any():
        order = np.argsort(time, kind="stable")
        deal = deal[order]
    # Numpy sorts plain numbers many times faster than it finds their order.
    keys = (deal.astype(np.int64) << 32) | np.arange(len(deal))
    keys.sort()
    place = keys & 0xFFFFFFFF
    return (place if order is None else order[place]), keys >> 32


def _column(table: pa.Table, what: str, name: str, kind: pa.DataType) -> pa.Array:
    if name not in table.column_names:
        raise InvalidEvent(f"The table of {what} has no column {name!r}.")
    column = table.column(name)
    try:
        column = column.cast(kind).combine_chunks()
    except pa.ArrowInvalid as error:
        raise InvalidEvent(f"Column {name!r} of the table of {what}: {error}") from error
    if column.null_count:
        if kind != pa.string():
            raise InvalidEvent(f"Column {name!r} of the table of {what} has empty rows.")
        column = column.fill_null("")
    return column


def _moments(table: pa.Table, what: str) -> Array:
    """`occurred_at` in microseconds since 1970 UTC."""
    moments = _utc(table, what, "occurred_at")
    if moments.null_count:
        raise InvalidEvent(f"Column 'occurred_at' of the table of {what} has empty rows.")
    return moments.cast(pa.int64()).to_numpy()


def _utc(table: pa.Table, what: str, name: str) -> pa.Array:
    if name not in table.column_names:
        raise InvalidEvent(f"The table of {what} has no column {name!r}.")
    kind = table.schema.field(name).type
    if not pa.types.is_timestamp(kind) or kind.tz is None:
        raise InvalidEvent(
            f"Column {name!r} of the table of {what} is {kind}, not a timestamp with a "
            "time zone: write moments like 2026-03-02T09:00:00Z."
        )
    return table.column(name).cast(_MICROSECONDS).combine_chunks()
