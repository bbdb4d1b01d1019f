"""The rules: how what was learned, or the Shapley value, splits one deal over its own touches.

Markov: each distinct channel of the journey has the weight that was learned for it, which its
touches share equally. That split and the position-based one are mixed in the proportion of
`conversions : prior_conversions` (Bühlmann's credibility), so that few conversions change little.
Where no channel of the journey has a weight, and before the first fit, the split is position based.

Shapley: the distinct channels share equally, and the touches of each share its part equally. Summed
over deals, this is the Shapley value of `trackflow_data_driven.games`; there is nothing to fit.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from math import gcd, lcm
from types import MappingProxyType

from trackflow_core.attribution import BUILTIN_RULES, Fit, Journey, Path, Rule
from trackflow_core.attribution.fits import Progress
from trackflow_core.attribution.models import Learn
from trackflow_core.model import Touch

_POSITION_BASED = next(rule for rule in BUILTIN_RULES if rule.name == "position_based")


def _weigh_learned(journey: Journey) -> Sequence[int]:
    position = _position(len(journey.touches))
    fit = journey.fit
    if fit is None:
        return position
    channels = tuple(touch.channel for touch in journey.touches)
    return _mixed(
        channels,
        tuple(map(fit.weight, channels)),
        position,
        fit.conversions,
        Fraction(journey.parameters["prior_conversions"]),
    )


@lru_cache(maxsize=1024)
def _position(count: int) -> tuple[int, ...]:
    """The position-based weights of `count` touches; nothing else bears on them."""
    touch = Touch("", datetime(1970, 1, 1, tzinfo=timezone.utc), "")
    journey = Journey((touch,) * count, touch.occurred_at, _POSITION_BASED.parameters)
    return tuple(_POSITION_BASED.weigh(journey))


@lru_cache(maxsize=2**16)
def _mixed(
    channels: tuple[str, ...],
    weights: tuple[int, ...],
    position: tuple[int, ...],
    conversions: int,
    prior: Fraction,
) -> Sequence[int]:
    """`weights` of the touches' channels and `position`, mixed as conversions to prior."""
    learned = sum(dict(zip(channels, weights, strict=True)).values())
    if not learned or not conversions:
        return position
    shares, parts = _equally(channels)
    of_learned = conversions * prior.denominator * sum(position)
    of_position = prior.numerator * learned * parts
    mixed = [
        of_learned * weight * share + of_position * place
        for weight, share, place in zip(weights, shares, position, strict=True)
    ]
    divisor = gcd(*mixed)
    return tuple(weight // divisor for weight in mixed)


def _weigh_shapley(journey: Journey) -> Sequence[int]:
    shares, _ = _equally(tuple(touch.channel for touch in journey.touches))
    return shares


def _equally(channels: tuple[str, ...]) -> tuple[Sequence[int], int]:
    """Each touch's part of its channel, and how many parts each channel has."""
    times = Counter(channels)
    parts = lcm(*times.values())
    return [parts // times[channel] for channel in channels], parts


def _learner(rule: str, by_value: bool) -> Learn:
    def learn(
        paths: Sequence[Path],
        parameters: Mapping[str, Decimal],
        fitted_at: datetime,
        progress: Progress,
    ) -> Fit:
        # numpy and scipy are loaded where something is learned, not where plugins are.
        from trackflow_data_driven.learning import learn as learn_chain

        return learn_chain(rule, by_value, paths, parameters, fitted_at, progress)

    return learn


_PARAMETERS = MappingProxyType({"order": Decimal(1), "prior_conversions": Decimal(100)})
_HOW = (
    "The touches of a channel share its weight. Mixed with position based in the proportion of "
    "conversions to prior_conversions; position based until it is fitted."
)

MARKOV = Rule(
    name="markov",
    title="Markov chain",
    description=(
        "A channel weighs as much as the part of all conversions that would be lost without it. "
        + _HOW
    ),
    weigh=_weigh_learned,
    parameters=_PARAMETERS,
    learn=_learner("markov", by_value=False),
    by_channels=True,
)

MARKOV_VALUE = Rule(
    name="markov_value",
    title="Markov chain by value",
    description=(
        "A channel weighs as much as the part of all revenue that would be lost without it. " + _HOW
    ),
    weigh=_weigh_learned,
    parameters=_PARAMETERS,
    learn=_learner("markov_value", by_value=True),
    by_channels=True,
)

SHAPLEY = Rule(
    name="shapley",
    title="Shapley value",
    description=(
        "The different channels of the journey share the deal equally, and the touches of a "
        "channel share its part."
    ),
    weigh=_weigh_shapley,
    by_channels=True,
)
