"""The rules: how the touches of one journey share one deal.

A rule gives each touch a relative weight as a non-negative integer. Integers, because the same
journey must give the same bytes on every machine. A model is a rule with its parameters, window,
anchor and channel rules. Every formula and its source: docs/reference/attribution.md.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from math import gcd, lcm
from types import MappingProxyType
from typing import Protocol

from trackflow_core.attribution.fits import Fit, Path, Progress
from trackflow_core.errors import ConfigError
from trackflow_core.model import Deal, Touch

# A weight of 1 in time decay; ratios below one part in 10^12 count as nothing.
_SCALE = 10**12
_DIRECT = "Direct"


@dataclass(frozen=True, slots=True)
class Journey:
    """What a rule sees: the touches inside the window, in order, and the moment they led to.

    A rule with `milestones` also sees when the lead and the deal were created and when the deal
    was won or lost; each is None where that has not happened or is not known. `fit` is what a rule
    that learns took from past journeys; None for other rules, and before the first fit.
    """

    touches: Sequence[Touch]
    anchor: datetime
    parameters: Mapping[str, Decimal]
    lead_created_at: datetime | None = None
    deal_created_at: datetime | None = None
    closed_at: datetime | None = None
    fit: Fit | None = None


Weigh = Callable[[Journey], Sequence[int]]


class Learn(Protocol):
    """What a rule learns from past journeys."""

    def __call__(
        self,
        paths: Sequence[Path],
        parameters: Mapping[str, Decimal],
        fitted_at: datetime,
        progress: Progress,
    ) -> Fit:
        """The fit of `paths`, whatever their order, under the rule's `parameters`.

        The same arguments give an equal fit. Raises ConfigError on parameters that cannot be used.
        """


@dataclass(frozen=True, slots=True)
class Rule:
    """A way to weigh touches, ours or a plugin's.

    `name` is stable and unique; it goes into every receipt together with `version`, which must
    change whenever `weigh` could answer differently. `parameters` are the names a model may set,
    with their defaults. `weigh` gets a journey of at least one touch and returns one
    non-negative integer for each touch, not all zero; only their proportions matter.

    `milestones` says that `weigh` reads the journey's milestones, which then go into every
    receipt. `positional` says that the weights depend on nothing but the number of touches and
    the parameters, so that tables of journeys are weighed once for each length. `by_channels` says
    that they depend on nothing but the channels of the touches, in their order, the parameters and
    the fit: engines of tables then weigh once for each different path.

    A rule with `learn` is fitted to past journeys. Its `weigh` finds the fit in the journey, and
    must do without one before the first fit.
    """

    name: str
    title: str
    description: str
    weigh: Weigh
    parameters: Mapping[str, Decimal] = field(default_factory=lambda: MappingProxyType({}))
    version: str = "1"
    milestones: bool = False
    positional: bool = False
    learn: Learn | None = None
    by_channels: bool = False


@dataclass(frozen=True, slots=True)
class ChannelRule:
    """Multiplies the weight of the touches that meet all of its conditions.

    A condition is compared without regard to case; `*` stands for any characters, and an empty
    condition is met by every touch. Of several rules that a touch meets, the one of the highest
    `priority` counts, of equal ones the first.

    Raises ConfigError when `weight` is negative or no number.
    """

    weight: Decimal
    channel: str = ""
    source: str = ""
    medium: str = ""
    campaign: str = ""
    priority: int = 0

    def __post_init__(self) -> None:
        if not self.weight.is_finite() or self.weight < 0:
            raise ConfigError(f"A channel rule's weight is {self.weight}; it must be zero or more.")

    @property
    def conditions(self) -> Mapping[str, str]:
        """The conditions that are set, by field name."""
        fields = {
            "channel": self.channel,
            "source": self.source,
            "medium": self.medium,
            "campaign": self.campaign,
        }
        return {name: pattern for name, pattern in fields.items() if pattern}

    def matches(self, touch: Touch) -> bool:
        """Whether `touch` meets every condition."""
        return all(
            _pattern(pattern).fullmatch(getattr(touch, name)) is not None
            for name, pattern in self.conditions.items()
        )


@lru_cache(maxsize=1024)
def _pattern(condition: str) -> re.Pattern[str]:
    parts = (re.escape(part) for part in condition.split("*"))
    return re.compile(".*".join(parts), re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Model:
    """A rule with its parameters, window, anchor and channel rules: what a marketer chooses.

    `lookback` is counted back from the anchor, both ends included. `anchor` is "created" (the
    deal was created) or "won" (it was won; until then, created). A model with `channel_rules` is
    what marketers call a custom model: they multiply the weights that `rule` gives. Where every
    touch of a journey would weigh nothing, the weights of `rule` stand. `fit` is what `rule`
    learned; the parameters that it was learned with take the place of others.

    Raises ConfigError on an unknown parameter, a negative one, an anchor that does not exist, or a
    fit of another rule.
    """

    rule: Rule
    parameters: Mapping[str, Decimal] = field(default_factory=lambda: MappingProxyType({}))
    lookback: timedelta = timedelta(days=90)
    anchor: str = "created"
    name: str = ""
    channel_rules: tuple[ChannelRule, ...] = ()
    fit: Fit | None = None
    _by_length: dict[int, Sequence[int]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if self.fit is not None and (self.rule.learn is None or self.fit.rule != self.rule.name):
            raise ConfigError(
                f"The fit is one of {self.fit.rule!r}, not of the rule {self.rule.name!r}: "
                "fit the model again."
            )
        learned = self.fit.parameters if self.fit else {}
        unknown = sorted({*self.parameters, *learned} - set(self.rule.parameters))
        if unknown:
            known = ", ".join(sorted(self.rule.parameters)) or "none"
            raise ConfigError(
                f"The rule {self.rule.name!r} has no parameter {unknown[0]!r}; it knows: {known}."
            )
        if self.anchor not in ("created", "won"):
            raise ConfigError(f"anchor is {self.anchor!r}; use 'created' or 'won'.")
        if self.lookback < timedelta(0):
            raise ConfigError("The attribution window must not be negative.")
        values = {**self.rule.parameters, **self.parameters, **learned}
        for key, value in values.items():
            if not value.is_finite() or value < 0:
                raise ConfigError(f"{key} is {value}; it must be zero or more.")
        object.__setattr__(self, "parameters", MappingProxyType(values))
        object.__setattr__(self, "name", self.name or self.rule.name)
        object.__setattr__(self, "channel_rules", tuple(self.channel_rules))

    def anchor_of(self, deal: Deal) -> datetime:
        """The moment this model looks back from for `deal`."""
        if self.anchor == "won" and deal.won_at is not None:
            return deal.won_at
        return deal.began_at

    def weigh(self, journey: Journey) -> Sequence[int]:
        """The weights of a journey of at least one touch, channel rules included.

        Raises ConfigError when the rule (a plugin's, say) fails or returns weights that cannot be
        used.
        """
        if not self.rule.positional:
            return self._multiplied(self._weigh(journey), journey)
        count = len(journey.touches)
        if count not in self._by_length:
            self._by_length[count] = self._weigh(journey)
        return self._multiplied(self._by_length[count], journey)

    def weights_of(self, count: int) -> Sequence[int] | None:
        """The weights of every journey of so many touches, where they are known and the same for
        all of them; None where it takes the journey to tell."""
        return None if self.channel_rules else self._by_length.get(count)

    def _weigh(self, journey: Journey) -> Sequence[int]:
        """What the rule answers, where it can be used."""
        try:
            weights = list(self.rule.weigh(journey))
        except Exception as error:
            # A rule may be a plugin's, which fails alone.
            raise ConfigError(f"The rule {self.rule.name!r} failed: {error!r:.200}.") from error
        usable = (
            len(weights) == len(journey.touches)
            and all(isinstance(weight, int) and weight >= 0 for weight in weights)
            and any(weights)
        )
        if not usable:
            raise ConfigError(
                f"The rule {self.rule.name!r} must return {len(journey.touches)} non-negative "
                f"integers, not all zero; it returned {weights!r:.200}."
            )
        return weights

    def _multiplied(self, weights: Sequence[int], journey: Journey) -> Sequence[int]:
        """`weights` with the channel rules applied."""
        if not self.channel_rules:
            return weights
        multiplied = [
            weight * self.factor(touch)
            for weight, touch in zip(weights, journey.touches, strict=True)
        ]
        return _integers(multiplied) if any(multiplied) else weights

    def factor(self, touch: Touch) -> Fraction:
        """What the channel rules multiply the weight of `touch` by."""
        met = [rule for rule in self.channel_rules if rule.matches(touch)]
        # max() keeps the first of equal ones.
        return Fraction(max(met, key=lambda rule: rule.priority).weight) if met else Fraction(1)


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
    return _integers(shares) if any(shares) else [1] * count


def _last_non_direct(journey: Journey) -> Sequence[int]:
    places = [place for place, touch in enumerate(journey.touches) if touch.channel != _DIRECT]
    earner = places[-1] if places else len(journey.touches) - 1
    return [int(place == earner) for place in range(len(journey.touches))]


def _w_shaped(journey: Journey) -> Sequence[int]:
    return _by_milestones(
        journey, (journey.lead_created_at, journey.deal_created_at), share=30, rest=10
    )


def _full_path(journey: Journey) -> Sequence[int]:
    moments = (journey.lead_created_at, journey.deal_created_at, journey.closed_at)
    return _by_milestones(journey, moments, share=45, rest=20)


def _by_milestones(
    journey: Journey, moments: Sequence[datetime | None], share: int, rest: int
) -> Sequence[int]:
    """`share` for the first touch and for each moment's touch, `rest` for all others together.

    What nobody can take is left out: only proportions matter, so the others share it in theirs.
    """
    times = [touch.occurred_at for touch in journey.touches]
    # bisect gives the place after the last touch at or before the moment; 0 when there is none.
    counts = (bisect_right(times, moment) for moment in moments if moment is not None)
    earners = (0, *(count - 1 for count in counts if count))
    return _shares_of(earners, len(times), share, rest)


@lru_cache(maxsize=4096)
def _shares_of(earners: tuple[int, ...], count: int, share: int, rest: int) -> Sequence[int]:
    """The weights of `count` touches; whoever earns twice gets two shares."""
    others = count - len(set(earners))
    shares = [Fraction(rest, others or 1)] * count
    for place in earners:
        shares[place] = Fraction(0)
    for place in earners:
        shares[place] += share
    return _integers(shares)


def _integers(shares: Sequence[Fraction]) -> list[int]:
    """The smallest integers in the proportion of `shares`, which are not all zero."""
    denominator = lcm(*(share.denominator for share in shares))
    integers = [int(share * denominator) for share in shares]
    divisor = gcd(*integers)
    return [integer // divisor for integer in integers]


BUILTIN_RULES: tuple[Rule, ...] = (
    Rule(
        "first_touch",
        "First touch",
        "The first touch earns the whole deal.",
        _first,
        positional=True,
    ),
    Rule(
        "last_touch",
        "Last touch",
        "The last touch earns the whole deal.",
        _last,
        positional=True,
    ),
    Rule(
        "last_non_direct",
        "Last non-direct touch",
        "The last touch that is not Direct earns the whole deal; the last one where all are.",
        _last_non_direct,
    ),
    Rule("linear", "Linear", "Every touch earns the same.", _linear, positional=True),
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
        positional=True,
    ),
    Rule(
        "w_shaped",
        "W-shaped",
        "First touch, lead created and deal created earn 30 % each, all other touches 10 % "
        "together. What no touch can take is shared in proportion.",
        _w_shaped,
        milestones=True,
    ),
    Rule(
        "full_path",
        "Full path",
        "First touch, lead created, deal created and deal closed earn 22.5 % each, all other "
        "touches 10 % together. What no touch can take is shared in proportion.",
        _full_path,
        milestones=True,
    ),
)
