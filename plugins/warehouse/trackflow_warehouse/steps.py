"""Journeys as arrays of numbers, which every engine gathers and sorts alike.

A step is a touch's place in its journey and the number of its name in one integer.
"""

from __future__ import annotations

from collections.abc import Sequence

import ibis
import ibis.expr.types as ir
import pyarrow as pa

_NAMES = 2**24


def numbered(window: ir.Table, by: str) -> tuple[Sequence[str], ir.Table]:
    """The names in the column `by`, sorted, and `window` with the `number` of each touch's."""
    names = sorted(window.select(by).distinct().to_pyarrow().column(by).to_pylist())
    columns = {by: pa.array(names, pa.string()), "number": pa.array(range(len(names)), pa.int64())}
    return names, window.inner_join(ibis.memtable(pa.table(columns)), by)


def gathered(window: ir.Table, /, *key: str, **more: ir.Scalar) -> ir.Table:
    """One row for each `key` of `window`, which is `numbered`, with its `steps` in order and `more`
    aggregates."""
    step = window.place * _NAMES + window.number
    found = window.group_by(key).aggregate(steps=step.collect(), **more)
    return found.mutate(steps=found.steps.sort())


def names_of(names: Sequence[str], steps: Sequence[int]) -> tuple[str, ...]:
    """The names that an array of steps stands for, in order."""
    return tuple(names[step % _NAMES] for step in steps)
