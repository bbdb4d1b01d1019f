"""What each touch of a window weighs, as expressions over all journeys at once.

A rule that looks at nothing but the number of touches, ours or a plugin's, is asked by the core for
each length, and its answers are joined. The others are said here again in the engine's words; the
tests hold them to what the core says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from math import lcm
from typing import Any

import ibis
import ibis.expr.types as ir
import pyarrow as pa

from trackflow_core.attribution import BUILTIN_RULES, Journey, Model
from trackflow_core.errors import ConfigError
from trackflow_core.model import Touch
from trackflow_warehouse import allocation, steps
from trackflow_warehouse.allocation import one_if

_SCALE = 10**12
_DIRECT = "Direct"
_SECOND = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_DETAILS = ("channel", "source", "medium", "campaign")


@dataclass(frozen=True)
class Weighed:
    """A window with the column `weight`, which is at most `largest`.

    `one_earner` says that each journey has a single touch that weighs anything, `equal` that all
    touches of a journey weigh the same: both are split without looking at remainders.
    """

    table: ir.Table
    largest: int
    one_earner: bool = False
    equal: bool = False


def weigh(window: ir.Table, model: Model, longest: int) -> Weighed:
    """`window` (`trackflow_warehouse.journeys`), whose longest journey has so many touches, weighed.

    Raises ConfigError when the rule is a plugin's that must see each journey.
    """
    rule = model.rule
    if rule.positional:
        weighed = _by_length(window, model)
    elif rule.by_channels:
        weighed = _by_channels(window, model)
    elif rule in BUILTIN_RULES and rule.name in _EXPRESSIONS:
        weighed = _EXPRESSIONS[rule.name](window, model, longest)
    else:
        raise ConfigError(
            f"The rule {rule.name!r} looks at each journey by itself, which an engine of tables "
            "cannot: use --engine core."
        )
    return _multiplied(weighed, model) if model.channel_rules else weighed


def per_journey(window: ir.Table, value: Any) -> Any:
    """An aggregate over all touches of the same journey."""
    return value.over(ibis.window(group_by=window.journey_id))


def _by_length(window: ir.Table, model: Model) -> Weighed:
    lengths = window.select("length").distinct().to_pyarrow().column("length").to_pylist()
    rows = [
        (length, place, weight)
        for length in sorted(lengths)
        for place, weight in enumerate(_weights(model, length), 1)
    ]
    weights = [weight for *_, weight in rows]
    table = {"length": [row[0] for row in rows], "place": [row[1] for row in rows]}
    answers = ibis.memtable(pa.table({**table, "weight": weights}, schema=_LENGTHS))
    earners: dict[int, int] = {}
    for length, _, weight in rows:
        earners[length] = earners.get(length, 0) + bool(weight)
    return Weighed(
        window.inner_join(answers, ["length", "place"]),
        max(weights, default=1),
        one_earner=all(count == 1 for count in earners.values()),
        equal=all(weight == weights[0] for weight in weights),
    )


_LENGTHS = pa.schema([("length", pa.int64()), ("place", pa.int64()), ("weight", pa.int64())])


def _weights(model: Model, length: int) -> list[int]:
    touches = (Touch("", _EPOCH, ""),) * length
    return list(model.rule.weigh(Journey(touches, _EPOCH, model.parameters)))


def _by_channels(window: ir.Table, model: Model) -> Weighed:
    names, numbers = steps.numbered(window, "channel")
    journeys = steps.gathered(numbers, "journey_id")
    # Joined as text: not every engine joins arrays.
    journeys = journeys.select("journey_id", "steps", path=_text(journeys.steps))
    found = journeys.select("path", "steps").distinct().to_pyarrow()
    rows: list[tuple[int, int, int]] = []
    for number, way in enumerate(found.column("steps").to_pylist()):
        touches = tuple(Touch("", _EPOCH, name) for name in steps.names_of(names, way))
        weights = model.rule.weigh(Journey(touches, _EPOCH, model.parameters, fit=model.fit))
        rows += [(number, place, weight) for place, weight in enumerate(weights, 1)]
    largest = max((weight for *_, weight in rows), default=1)
    allocation.check_room(largest)
    columns = dict(zip(_ANSWERS.names, zip(*rows, strict=True), strict=True)) if rows else {}
    paths = pa.table(
        {"path": found.column("path"), "number": pa.array(range(len(found)), pa.int64())}
    )
    answers = pa.table({**_NO_ANSWERS, **columns}, schema=_ANSWERS)
    ways = journeys.inner_join(ibis.memtable(paths), "path").select("journey_id", "number")
    table = window.inner_join(ways, "journey_id").inner_join(
        ibis.memtable(answers), ["number", "place"]
    )
    return Weighed(table.drop("number"), largest)


_NO_ANSWERS: Mapping[str, Sequence[int]] = {"number": (), "place": (), "weight": ()}
_ANSWERS = pa.schema([("number", pa.int64()), ("place", pa.int64()), ("weight", pa.int64())])


def _text(numbers: Any) -> Any:
    return numbers.cast("array<string>").join(",")


def _last_non_direct(window: ir.Table, model: Model, longest: int) -> Weighed:
    places = (window.channel != _DIRECT).ifelse(window.place, 0)
    latest = per_journey(window, places.max())
    earner = (latest > 0).ifelse(latest, window.length)
    weight = one_if(window.place == earner)
    return Weighed(window.mutate(weight=weight), 1, one_earner=True)


def _time_decay(window: ir.Table, model: Model, longest: int) -> Weighed:
    age = per_journey(window, window.moment.max()) - window.moment
    half_life = float(model.parameters["half_life_days"]) * 86400
    if half_life == 0:
        return Weighed(window.mutate(weight=one_if(age == 0)), 1)
    exponent = -(age.cast("float64") / float(_SECOND)) / half_life
    power = ibis.literal(2.0) ** ibis.greatest(exponent, -1000.0)
    aged = window.mutate(scaled=power * float(_SCALE))
    # Half to even, as Python rounds; engines differ in theirs.
    whole = aged.scaled.floor().cast("int64")
    rest = aged.scaled - whole.cast("float64")
    up = (rest > 0.5) | ((rest == 0.5) & (whole % 2 == 1))
    return Weighed(aged.mutate(weight=whole + one_if(up)).drop("scaled"), _SCALE)


def _milestones(*names: str, share: int, rest: int) -> Callable[..., Weighed]:
    def weighed(window: ir.Table, model: Model, longest: int) -> Weighed:
        reached = {
            f"reached_{name}": per_journey(
                window, one_if(window.moment <= window[name]).sum()
            ).cast("int64")
            for name in names
        }
        table = window.mutate(reached)
        # A moment that is not known, or before every touch, is nobody's.
        hits = [
            table.place == 1,
            *(table[name] == table.place for name in reached),
        ]
        table = table.mutate(earned=sum(one_if(hit) for hit in hits))
        others = per_journey(table, one_if(table.earned == 0).sum()).cast("int64")
        table = table.mutate(others=others)
        weight = ibis.cases(
            (table.others == 0, table.earned),
            (table.earned > 0, table.earned * share * table.others),
            else_=rest,
        )
        largest = len(hits) * share * longest
        extra = [*reached, "earned", "others"]
        return Weighed(table.mutate(weight=weight.cast("int64")).drop(*extra), largest)

    return weighed


_EXPRESSIONS: Mapping[str, Callable[..., Weighed]] = {
    "last_non_direct": _last_non_direct,
    "time_decay": _time_decay,
    "w_shaped": _milestones("lead_created_at", "deal_created_at", share=30, rest=10),
    "full_path": _milestones("lead_created_at", "deal_created_at", "closed_at", share=45, rest=20),
}


def _multiplied(weighed: Weighed, model: Model) -> Weighed:
    """The weights times the channel rules' factors; a journey that would weigh nothing keeps its
    own. The core matches the rules, once for each combination of what they look at."""
    window = weighed.table
    looked_at = [name for name in _DETAILS if name in window.columns]
    combinations = window.select(looked_at).distinct().to_pyarrow()
    factors = [model.factor(Touch("", _EPOCH, **row)) for row in combinations.to_pylist()]
    scale = lcm(*(factor.denominator for factor in factors)) if factors else 1
    integers = [int(factor * scale) for factor in factors]
    answers = ibis.memtable(combinations.append_column("factor", pa.array(integers, pa.int64())))
    table = window.inner_join(answers, looked_at)
    table = table.mutate(multiplied=table.weight * table.factor)
    heard = per_journey(table, table.multiplied.max()) > 0
    weight = heard.ifelse(table.multiplied, table.weight)
    largest = weighed.largest * max([1, *integers])
    return Weighed(
        table.mutate(weight=weight).drop("factor", "multiplied"), largest, weighed.one_earner
    )
