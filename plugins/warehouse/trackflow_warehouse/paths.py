"""The ways that journeys went, with and without a conversion, as Ibis expressions.

One definition of a path for what rules learn from and for the reports: the touches from `lookback`
before the conversion up to it, or, without a conversion, up to the journey's last touch.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import ibis
import ibis.expr.types as ir

from trackflow_core.attribution import Path
from trackflow_warehouse.journeys import Journeys
from trackflow_warehouse.steps import gathered, names_of, numbered


def with_ends(touches: ir.Table, conversions: ir.Table) -> ir.Table:
    """`conversions` and, as rows of no value, the last touches of the journeys without one.

    `converted` is 1 for the former and 0 for the latter.
    """
    columns = ["journey_id", "anchor", "value", "converted"]
    told = conversions.mutate(converted=ibis.literal(1, "int64")).select(columns)
    ends = (
        touches.anti_join(conversions, "journey_id")
        .group_by("journey_id")
        .aggregate(anchor=touches.moment.max())
        .mutate(value=ibis.literal(0, "int64"), converted=ibis.literal(0, "int64"))
    )
    return told.union(ends.select(columns))


class Paths:
    """The journeys of `touches` and `conversions` (see `journeys.Journeys`), as sequences of names.

    `by` is the column that names a step: the channel, or one of the touches' details. With
    `collapse`, steps of one name that follow each other count as one.
    """

    def __init__(
        self,
        touches: ir.Table,
        conversions: ir.Table,
        lookback: timedelta,
        by: str = "channel",
        *,
        collapse: bool = False,
    ) -> None:
        self._journeys = Journeys(touches, with_ends(touches, conversions))
        window, _ = self._journeys.window(lookback, details=by != "channel")
        self.names, steps = numbered(window, by)
        self.steps = _collapsed(steps) if collapse else steps

    def __enter__(self) -> Paths:
        return self

    def __exit__(self, *error: object) -> None:
        self._journeys.__exit__(*error)

    def journeys(self) -> ir.Table:
        """One row for each journey with a touch: `steps` (an array), `touches` (how many),
        `began` and `first` (the moment and the name's number of the first), `anchor`, `converted`
        and `value`."""
        steps = self.steps
        return gathered(
            steps,
            *("journey_id", "anchor", "converted", "value"),
            touches=steps.count().cast("int64"),
            began=steps.moment.min(),
            first=(steps.place == 1).ifelse(steps.number, -1).max(),
        )

    def rows(self) -> Sequence[Path]:
        """What rules learn from: journeys of one path and value go together."""
        journeys = self.journeys()
        cells = journeys.group_by("steps", "value").aggregate(
            journeys=journeys.count().cast("int64"),
            conversions=journeys.converted.sum().cast("int64"),
        )
        names = ("steps", "journeys", "conversions", "value")
        columns = [column.to_pylist() for column in cells.select(names).to_pyarrow().columns]
        return [
            Path(names_of(self.names, steps), journeys, conversions, conversions * value)
            for steps, journeys, conversions, value in zip(*columns, strict=True)
        ]


def _collapsed(steps: ir.Table) -> ir.Table:
    in_order = ibis.window(group_by=steps.journey_id, order_by=steps.place)
    before = steps.mutate(before=steps.number.lag().over(in_order))
    kept = before.filter((before.place == 1) | (before.before != before.number)).drop("before")
    again = ibis.window(group_by=kept.journey_id, order_by=kept.place)
    whole = ibis.window(group_by=kept.journey_id)
    return kept.mutate(
        place=(ibis.row_number().over(again) + 1).cast("int64"),
        length=kept.count().over(whole).cast("int64"),
    )
