"""Credits of all conversions at once, as Ibis expressions over touches and conversions.

To the touch and the cent what `trackflow_core.attribution.attribute` gives deal by deal.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import ibis
import ibis.expr.types as ir

from trackflow_core.attribution import Model
from trackflow_core.attribution.files import MILESTONES, TOUCH_DETAILS
from trackflow_core.errors import InvalidEvent
from trackflow_core.model import UNATTRIBUTED
from trackflow_warehouse import allocation, rules

_MICROSECOND = timedelta(microseconds=1)
_OF_CONVERSIONS = (*MILESTONES, "converted")


class Journeys:
    """Touches brought into the journeys of their conversions, ready for any number of models.

    `touches` has `journey_id`, `touch_id`, `channel` and any of `source`, `medium`, `campaign`,
    `content`, `term`, all of them text that is never null, and `moment`, microseconds since 1970
    UTC. `conversions` has one row for each `journey_id` with `anchor` (what the window counts back
    from) and any of `lead_created_at`, `deal_created_at`, `closed_at`, microseconds too, and
    `value`, in minor units; `sources` makes such tables. Both belong to one engine, which keeps
    the windows in temporary tables.

    Raises InvalidEvent when a value has 2^51 minor units or more.
    """

    def __init__(self, touches: ir.Table, conversions: ir.Table) -> None:
        self.touches = touches
        self.conversions = conversions
        self._windows: dict[tuple[timedelta, bool], tuple[ir.Table, int]] = {}
        self._kept: list[Any] = []
        largest = conversions.value.abs().max().to_pyarrow().as_py() or 0
        if largest >= allocation.LARGEST_VALUE:
            raise InvalidEvent(
                f"A conversion is worth {largest} minor units, more than an engine of tables can "
                "split exactly: use --engine core."
            )

    def __enter__(self) -> Journeys:
        return self

    def __exit__(self, *_error: object) -> None:
        """Drop the temporary tables; nothing that came from here can be read any more."""
        self._windows.clear()
        while self._kept:
            self._kept.pop().release()

    def _keep(self, table: ir.Table) -> ir.Table:
        self._kept.append(table.cache())
        return self._kept[-1]

    def window(self, lookback: timedelta, *, details: bool = False) -> tuple[ir.Table, int]:
        """The touches that count, and how many the longest journey has.

        Beside the columns of both tables, a touch has its `place` in the journey, from 1, and the
        journey's `length`; with `details` also `source`, `medium`, `campaign`, `content`, `term`.
        """
        key = (lookback, details)
        if key not in self._windows:
            window = self._keep(self._ordered(self._inside(self.touches, lookback, details)))
            repeated = window.aggregate(found=window.repeated.max()).to_pyarrow()
            if repeated.column("found")[0].as_py():
                key_columns = ["journey_id", "touch_id", "moment"]
                others = [name for name in self.touches.columns if name not in key_columns]
                once = self.touches.group_by(key_columns).aggregate(
                    **{name: self.touches[name].max() for name in others}
                )
                window = self._keep(self._ordered(self._inside(once, lookback, details)))
            longest = window.length.max().to_pyarrow().as_py() or 0
            # Spark numbers and counts in 32 bits, whatever it was told.
            whole = {name: window[name].cast("int64") for name in ("place", "length")}
            self._windows[key] = (window.drop("repeated").mutate(whole), longest)
        return self._windows[key]

    def _inside(self, touches: ir.Table, lookback: timedelta, details: bool) -> ir.Table:
        columns = ["journey_id", "touch_id", "moment", "channel"]
        if details:
            columns += [name for name in TOUCH_DETAILS if name in touches.columns]
        found = [name for name in _OF_CONVERSIONS if name in self.conversions.columns]
        conversions = self.conversions.select("journey_id", "anchor", "value", *found)
        joined = touches.select(columns).inner_join(conversions, "journey_id")
        start = joined.anchor - lookback // _MICROSECOND
        return joined.filter((joined.moment <= joined.anchor) & (joined.moment >= start))

    def _ordered(self, inside: ir.Table) -> ir.Table:
        in_order = ibis.window(
            group_by=inside.journey_id, order_by=[inside.moment, _by_bytes(inside.touch_id)]
        )
        same = (inside.touch_id.lag().over(in_order) == inside.touch_id) & (
            inside.moment.lag().over(in_order) == inside.moment
        )
        return inside.mutate(
            place=(ibis.row_number().over(in_order) + 1).cast("int64"),
            length=rules.per_journey(inside, inside.count()).cast("int64"),
            repeated=allocation.one_if(same),
        )

    def credits(self, model: Model) -> ir.Table:
        """One row for each touch that counts and for each conversion without one: `journey_id`,
        `touch_id`, `channel`, `weight` (for display), `value` (minor units) and `place`.

        Raises ConfigError when the rule is a plugin's that must see each journey, InvalidEvent
        when a journey is too long for the model.
        """
        window, longest = self.window(model.lookback, details=bool(model.channel_rules))
        weighed = rules.weigh(window, model, longest)
        split = _split(weighed, longest)
        columns = ["journey_id", "touch_id", "channel", "weight", "value", "place"]
        without = self.conversions.anti_join(window, "journey_id").select(
            "journey_id",
            touch_id=ibis.null("string"),
            channel=ibis.literal(UNATTRIBUTED),
            weight=ibis.literal(1.0),
            value="value",
            place=ibis.literal(0, "int64"),
        )
        return split.select(columns).union(without)

    def by_channel(self, model: Model) -> ir.Table:
        """Each channel's `conversions` (the sum of its weights) and `value`, the most value first."""
        credits = self.credits(model)
        return (
            credits.group_by("channel")
            .aggregate(conversions=credits.weight.sum(), value=credits.value.sum().cast("int64"))
            .order_by(ibis.desc("value"), "channel")
        )


def _split(weighed: rules.Weighed, longest: int) -> ir.Table:
    """The window with each touch's `weight` as a share and its exact part of the `value`."""
    table = weighed.table
    if weighed.one_earner:
        earns = table.weight > 0
        return table.mutate(
            weight=allocation.one_if(earns).cast("float64"), value=earns.ifelse(table.value, 0)
        )
    size = table.value.abs()
    if weighed.equal:
        part = allocation.quotient(size, table.length)
        left = size % table.length
        weight: Any = 1.0 / table.length.cast("float64")
        extra = allocation.one_if(table.place <= left)
        return table.mutate(weight=weight, value=_signed(part + extra, table.value))
    table = table.mutate(
        total=rules.per_journey(table, table.weight.sum()).cast("int64"), size=size
    )
    largest = max(weighed.largest, 1)
    part, remainder = allocation.share(
        table.size,
        table.weight,
        table.total,
        largest_weight=largest,
        largest_total=largest * max(longest, 1),
    )
    table = table.mutate(part=part, remainder=remainder)
    table = table.mutate(
        left=table.size - rules.per_journey(table, table.part.sum()).cast("int64"),
        rank=ibis.row_number().over(
            ibis.window(
                group_by=table.journey_id, order_by=[ibis.desc(table.remainder), table.place]
            )
        ),
    )
    extra = allocation.one_if(table.rank < table.left)
    weight = table.weight.cast("float64") / table.total.cast("float64")
    return table.mutate(weight=weight, value=_signed(table.part + extra, table.value))


def _signed(size: Any, value: Any) -> Any:
    return (value < 0).ifelse(-size, size)


@ibis.udf.scalar.builtin(name="convert_to")  # type: ignore[untyped-decorator]
def _postgres_bytes(text: str, encoding: str) -> bytes:  # type: ignore[empty-body]
    """PostgreSQL's bytes of a text."""


def _by_bytes(text: Any) -> Any:
    """`text` as it is ordered by code points; PostgreSQL would follow the database's language."""
    engine = text.get_backend().name if text._find_backends()[0] else ""
    return _postgres_bytes(text, "UTF8") if engine == "postgres" else text
