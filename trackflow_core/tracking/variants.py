"""Which variant of a link is ahead, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

# Below this a normal distribution says nothing about a share.
_MIN_EXPECTED = 5


@dataclass(frozen=True, slots=True)
class Result:
    """What a variant has brought: so many `conversions` of so many `clicks`."""

    name: str
    clicks: int
    conversions: int

    @property
    def rate(self) -> float:
        """conversions / clicks; 0 without clicks."""
        return self.conversions / self.clicks if self.clicks else 0.0


@dataclass(frozen=True, slots=True)
class Standing:
    """The `leader` by rate, and the probability (0 to 1) that it really is better than the second.

    `confidence` is None while there is not enough data to tell.
    """

    leader: str
    confidence: float | None


def standing(results: Iterable[Result]) -> Standing | None:
    """How a test of variants stands; None with fewer than two variants.

    A one-sided test of the difference of two shares with unpooled variance. There is enough data
    once five conversions and five clicks without one are to be expected of each of the two.
    """
    ranked = sorted(results, key=lambda result: (-result.rate, result.name))
    if len(ranked) < 2:
        return None
    first, second = ranked[:2]
    clicks = first.clicks + second.clicks
    pooled = (first.conversions + second.conversions) / clicks if clicks else 0.0
    least = min(first.clicks, second.clicks) * min(pooled, 1 - pooled)
    if least < _MIN_EXPECTED:
        return Standing(first.name, None)
    variance = sum(result.rate * (1 - result.rate) / result.clicks for result in (first, second))
    if not variance:
        return Standing(first.name, None)
    return Standing(first.name, NormalDist().cdf((first.rate - second.rate) / sqrt(variance)))
