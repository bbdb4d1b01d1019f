"""Path reports over whole tables: how journeys went, and which of them converted.

Which columns each has, and what they mean: docs/guides/warehouse.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from trackflow_core.attribution.allocation import from_minor_units
from trackflow_warehouse.allocation import one_if, quotient
from trackflow_warehouse.paths import Paths
from trackflow_warehouse.steps import names_of

_EPOCH = date(1970, 1, 1)
_DAY = timedelta(days=1) // timedelta(microseconds=1)
# The first and the last day of each row of the time lag; the last row has no end.
_LAGS = ((0, 0), (1, 1), (2, 3), (4, 7), (8, 14), (15, 30), (31, 60), (61, 90), (91, None))
_WITHIN = (7, 30, 90)


def table(report: str, paths: Paths, digits: int) -> pa.Table:
    """The rows of `report`, one of `command.Report`; amounts are decimals with `digits` places."""
    return _REPORTS[report](paths, digits)


def _top(paths: Paths, digits: int) -> pa.Table:
    found = _counted(paths.journeys(), "steps")
    ordered = found.order_by(
        ibis.desc("conversions"), ibis.desc("value"), ibis.desc("journeys"), "steps"
    )
    rows = _rows(ordered)
    names = [
        " > ".join(name or "-" for name in names_of(paths.names, row["steps"])) for row in rows
    ]
    return _table({"path": names, **_outcome(rows, digits)}, digits)


def _length(paths: Paths, digits: int) -> pa.Table:
    rows = _rows(_counted(paths.journeys(), "touches").order_by("touches"))
    return _table({"touches": _column(rows, "touches"), **_outcome(rows, digits)}, digits)


def _lag(paths: Paths, digits: int) -> pa.Table:
    journeys = paths.journeys()
    converted = journeys.filter(journeys.converted == 1)
    lag = converted.mutate(days=quotient(converted.anchor - converted.began, _DAY))
    by_day = _rows(_counted(lag, "days"))
    columns: dict[str, list[Any]] = {"days": [], "conversions": [], "share": [], "value": []}
    total = sum(row["conversions"] for row in by_day)
    for first, last in _LAGS:
        rows = [
            row for row in by_day if first <= row["days"] <= (row["days"] if last is None else last)
        ]
        conversions = sum(row["conversions"] for row in rows)
        words = f"{first}+" if last is None else f"{first}" if first == last else f"{first}-{last}"
        columns["days"].append(words)
        columns["conversions"].append(conversions)
        columns["share"].append(conversions / total if total else 0.0)
        columns["value"].append(from_minor_units(sum(row["value"] for row in rows), digits))
    return _table(columns, digits)


def _cohorts(paths: Paths, digits: int) -> pa.Table:
    journeys = paths.journeys()
    lag = journeys.anchor - journeys.began
    within = {
        f"within_{days}_days": journeys.converted * one_if(lag <= days * _DAY) for days in _WITHIN
    }
    # Days become months here: engines differ in what they make of numbers.
    cohorts = journeys.mutate(day=quotient(journeys.began, _DAY), **within)
    sums = {name: cohorts[name].sum().cast("int64") for name in within}
    counts = ("journeys", "conversions", "value", *within)
    months: dict[tuple[str, str], dict[str, int]] = {}
    for row in _rows(_counted(cohorts, "day", "first", **sums)):
        month = f"{_EPOCH + timedelta(days=row['day']):%Y-%m}"
        of_month = months.setdefault((month, paths.names[row["first"]]), dict.fromkeys(counts, 0))
        for name in counts:
            of_month[name] += row[name]
    rows = [
        {"month": month, "first": first, **found}
        for (month, first), found in sorted(months.items())
    ]
    key = {name: _column(rows, name) for name in ("month", "first")}
    return _table(
        {**key, **_outcome(rows, digits), **{name: _column(rows, name) for name in within}}, digits
    )


def _assists(paths: Paths, digits: int) -> pa.Table:
    steps = paths.steps
    of_one = steps.group_by("journey_id", "number", "converted", "value").aggregate(
        touches=steps.count(),
        first=one_if(steps.place == 1).max(),
        last=one_if(steps.place == steps.length).max(),
    )
    begun, closed = of_one.converted * of_one.first, of_one.converted * of_one.last
    assisted = of_one.converted - closed
    sums = {
        "touches": of_one.touches,
        "first": begun,
        "last": closed,
        "assisted": assisted,
        "first_value": begun * of_one.value,
        "last_value": closed * of_one.value,
        "assisted_value": assisted * of_one.value,
    }
    found = _counted(of_one, "number", **{k: v.sum().cast("int64") for k, v in sums.items()})
    rows = _rows(found.order_by(ibis.desc("conversions"), ibis.desc("value"), "number"))
    counts = {name: _column(rows, name) for name in ("first", "assisted", "last")}
    values = {
        name: _amounts(rows, name, digits)
        for name in ("first_value", "assisted_value", "last_value")
    }
    names = [paths.names[row["number"]] for row in rows]
    columns = {"name": names, "touches": _column(rows, "touches"), **_outcome(rows, digits)}
    return _table({**columns, **counts, **values}, digits)


_REPORTS: Mapping[str, Callable[[Paths, int], pa.Table]] = {
    "top": _top,
    "lag": _lag,
    "length": _length,
    "cohorts": _cohorts,
    "assists": _assists,
}


def _counted(journeys: ir.Table, *key: str, **more: Any) -> ir.Table:
    return journeys.group_by(key).aggregate(
        journeys=journeys.count().cast("int64"),
        conversions=journeys.converted.sum().cast("int64"),
        value=journeys.value.sum().cast("int64"),
        **more,
    )


def _rows(expression: ir.Table) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = expression.to_pyarrow().to_pylist()
    return found


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    return [row[name] for row in rows]


def _amounts(rows: Sequence[Mapping[str, Any]], name: str, digits: int) -> list[Any]:
    return [from_minor_units(row[name], digits) for row in rows]


def _outcome(rows: Sequence[Mapping[str, Any]], digits: int) -> dict[str, list[Any]]:
    return {
        "journeys": _column(rows, "journeys"),
        "conversions": _column(rows, "conversions"),
        "rate": [row["conversions"] / row["journeys"] for row in rows],
        "value": _amounts(rows, "value", digits),
    }


def _table(columns: Mapping[str, Sequence[Any]], digits: int) -> pa.Table:
    kinds = {"rate": pa.float64(), "share": pa.float64()}
    kinds |= dict.fromkeys(("path", "days", "month", "name"), pa.string())
    kinds |= {name: pa.decimal128(38, digits) for name in columns if name.endswith("value")}
    if "month" in columns:
        kinds["first"] = pa.string()
    return pa.table(
        {name: pa.array(rows, kinds.get(name, pa.int64())) for name, rows in columns.items()}
    )
