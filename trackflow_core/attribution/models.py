"""The rules: how the touches of one journey share one deal.

A rule gives each touch a relative weight as a non-negative integer. Integers, because the same
journey must give the same bytes on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import lcm
from types import MappingProxyType

from trackflow_core.errors import ConfigError
from trackflow_core.model import Deal, Touch

# A weight of 1 in time decay; ratios below one part in 10^12 count as nothing.
_SCALE = 10**12


@dataclass(frozen=True, slots=True)
class Journey:
    """What a rule sees: the touches inside the window, in order, and the moment they led to."""

    touches: Sequence[Touch]
    anchor: datetime
    parameters: Mapping[str, Decimal]


Weigh = Callable[[Journey], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Rule:
    """A way to weigh touches, ours or a plugin's.

    `name` is stable and unique; it goes into every receipt together with `version`, which must
    change whenever `weigh` could answer differently. `parameters` are the names a model may set,
    with their defaults. `weigh` gets a journey of at least one touch and returns one
    non-negative integer for each touch, not all zero; only their proportions matter.
    """

    name: str
    title: str
    description: str
    weigh: Weigh
    parameters: Mapping[str, Decimal] = field(default_factory=lambda: MappingProxyType({}))
    version: str = "1"


@dataclass(frozen=True, slots=True)
class Model:
    """A rule with its parameters, window and anchor: what a marketer chooses.

    `lookback` is counted back from the anchor, both ends included. `anchor` is "created" (the
    deal was created) or "won" (it was won; until then, created).

    Raises ConfigError on an unknown parameter, a negative one, or an anchor that does not exist.
    """

    rule: Rule
    parameters: Mapping[str, Decimal] = field(default_factory=lambda: MappingProxyType({}))
    lookback: timedelta = timedelta(days=90)
    anchor: str = "created"
    name: str = ""

    def __post_init__(self) -> None:
        unknown = sorted(set(self.parameters) - set(self.rule.parameters))
        if unknown:
            known = ", ".join(sorted(self.rule.parameters)) or "none"
            raise ConfigError(
                f"The rule {self.rule.name!r} has no parameter {unknown[0]!r}; it knows: {known}."
            )
        if self.anchor not in ("created", "won"):
            raise ConfigError(f"anchor is {self.anchor!r}; use 'created' or 'won'.")
        if self.lookback < timedelta(0):
            raise ConfigError("The attribution window must not be negative.")
        values = {**self.rule.parameters, **self.parameters}
        for key, value in values.items():
            if not value.is_finite() or value < 0:
                raise ConfigError(f"{key} is {value}; it must be zero or more.")
        object.__setattr__(self, "parameters", MappingProxyType(values))
        object.__setattr__(self, "name", self.name or self.rule.name)

    def anchor_of(self, deal: Deal) -> datetime:
        """The moment this model looks back from for `deal`."""
        if self.anchor == "won" and deal.won_at is not None:
            return deal.won_at
        return deal.began_at


def _first(journey: Journey) -> Sequence[int]:
    return [1] + [0] * (len(journey.touches) - 1)


def _last(journey: Journey) -> Sequence[int]:
    return [0] * (len(journey.touches) - 1) + [1]


def _linear(journey: Journey) -> Sequence[int]:
    return [1] * len(journey.touches)


def _time_decay(journey: Journey) -> Sequence[int]:
    half_life = float(journey.parameters["half_life_days"]) * 86400
    newest = journey.touches[-1].occurred_at
    ages = [(newest - touch.occurred_at).total_seconds() for touch in journey.touches]
    if half_life == 0:
        return [int(age == 0) for age in ages]
    # Measured from the newest touch, not the anchor: the proportions are the same, and a journey
    # of only old touches does not vanish.
    return [round(_SCALE * 2.0 ** max(-age / half_life, -1000.0)) for age in ages]


def _position_based(journey: Journey) -> Sequence[int]:
    first = Fraction(journey.parameters["first_percent"])
    last = Fraction(journey.parameters["last_percent"])
    middle = max(100 - first - last, Fraction(0))
    count = len(journey.touches)
    if count == 1:
        return [1]
    shares = [first] + [middle / (count - 2)] * (count - 2) + [last] if count > 2 else [first, last]
    if not any(shares):
        return [1] * count
    denominator = lcm(*(share.denominator for share in shares))
    return [int(share * denominator) for share in shares]


BUILTIN_RULES: tuple[Rule, ...] = (
    Rule("first_touch", "First touch", "The first touch earns the whole deal.", _first),
    Rule("last_touch", "Last touch", "The last touch earns the whole deal.", _last),
    Rule("linear", "Linear", "Every touch earns the same.", _linear),
    Rule(
        "time_decay",
        "Time decay",
        "A touch earns half as much as one a half-life later: 2^(-(anchor - t) / half_life).",
        _time_decay,
        MappingProxyType({"half_life_days": Decimal(7)}),
    ),
    Rule(
        "position_based",
        "Position based",
        "First and last touch earn their percentages; those between share the rest. "
        "Two touches share in proportion of the two percentages.",
        _position_based,
        MappingProxyType({"first_percent": Decimal(40), "last_percent": Decimal(40)}),
    ),
)
