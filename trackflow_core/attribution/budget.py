"""What a shift of budget would bring under each model, and where the models would decide otherwise.

Simple arithmetic on a comparison and what campaigns cost; its assumptions come with every answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from itertools import combinations

from trackflow_core.attribution.compare import CampaignComparison, Comparison
from trackflow_core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Shift:
    """What comes of moving `moved` (minor units) from one campaign's cost to another's.

    `changes` is the change of revenue under each model, in minor units. `assumptions` are sentences
    that must hold for it.
    """

    source: str
    target: str
    currency: str
    digits: int
    moved: int
    changes: Mapping[str, int]
    assumptions: tuple[str, ...]

    @property
    def agreed(self) -> bool:
        """Whether no two models say opposite things."""
        return min(self.changes.values()) >= 0 or max(self.changes.values()) <= 0


@dataclass(frozen=True, slots=True)
class Flip:
    """Two campaigns of which one brings more revenue for its cost under some models, and the other
    under others: whose budget should grow depends on the model."""

    first: str
    second: str
    for_first: tuple[str, ...]
    for_second: tuple[str, ...]


def shift(
    comparison: Comparison,
    costs: Mapping[str, int],
    source: str,
    target: str,
    percent: Decimal,
    *,
    currency: str,
    elasticity: Decimal = Decimal(1),
) -> Shift:
    """Move `percent` of the cost of `source` to `target` (names of campaigns).

    `costs` are in minor units of `currency`, over the time of the comparison's deals. A campaign's
    revenue follows its cost as `revenue * (new cost / cost) ^ elasticity`: 1 is in proportion, less
    means diminishing returns.

    Raises ConfigError when a campaign is unknown or without a cost, when both are the same, or when
    `percent` or `elasticity` is out of range (0 to 100, above 0 to 1).
    """
    if source == target:
        raise ConfigError("Choose two campaigns: budget cannot move to where it is.")
    if not 0 < percent <= 100:
        raise ConfigError(f"{percent} % cannot be moved: use more than 0 and at most 100.")
    if not 0 < elasticity <= 1:
        raise ConfigError(f"The elasticity is {elasticity}: use more than 0 and at most 1.")
    giver = _row(comparison, costs, source, currency)
    taker = _row(comparison, costs, target, currency)
    moved = int((costs[source] * percent / 100).quantize(Decimal(1), rounding=ROUND_HALF_UP))
    factors = {
        source: _factor(costs[source] - moved, costs[source], elasticity),
        target: _factor(costs[target] + moved, costs[target], elasticity),
    }
    changes = {
        name: round(
            giver.values[name] * (factors[source] - 1) + taker.values[name] * (factors[target] - 1)
        )
        for name in comparison.models
    }
    return Shift(
        source,
        target,
        currency,
        giver.digits,
        moved,
        changes,
        _assumptions(source, target, elasticity),
    )


def flips(comparison: Comparison, costs: Mapping[str, int], *, currency: str) -> tuple[Flip, ...]:
    """The pairs of campaigns with a cost whose order by revenue for their cost depends on the
    model, the pairs that cost the most first. A model under which both are equal is in neither list.
    """
    rows = sorted(
        (row for row in comparison.campaigns if row.currency == currency and _cost(row, costs) > 0),
        key=lambda row: (-_cost(row, costs), row.label),
    )
    found = []
    for first, second in combinations(rows, 2):
        better: list[str] = []
        worse: list[str] = []
        for name in comparison.models:
            one = first.values[name] * _cost(second, costs)
            other = second.values[name] * _cost(first, costs)
            if one != other:
                (better if one > other else worse).append(name)
        if better and worse:
            flip = Flip(first.campaign or "", second.campaign or "", tuple(better), tuple(worse))
            found.append((_cost(first, costs) + _cost(second, costs), flip))
    found.sort(key=lambda pair: -pair[0])
    return tuple(flip for _, flip in found)


def _cost(row: CampaignComparison, costs: Mapping[str, int]) -> int:
    return costs.get(row.campaign, 0) if row.campaign else 0


def _row(
    comparison: Comparison, costs: Mapping[str, int], campaign: str, currency: str
) -> CampaignComparison:
    for row in comparison.campaigns:
        if row.campaign == campaign and row.currency == currency:
            if _cost(row, costs) <= 0:
                raise ConfigError(f"The campaign {campaign!r} has no cost: enter what it cost.")
            return row
    raise ConfigError(f"No deal in {currency} has a touch of the campaign {campaign!r}.")


def _factor(new: int, old: int, elasticity: Decimal) -> Fraction:
    ratio = Fraction(new, old)
    return ratio if elasticity == 1 else Fraction(float(ratio) ** float(elasticity))


def _assumptions(source: str, target: str, elasticity: Decimal) -> tuple[str, ...]:
    returns = (
        "Revenue changes in proportion to cost: the next amount spent brings as much as those before."
        if elasticity == 1
        else f"Returns diminish: twice the cost brings {2 ** float(elasticity):.2f} times the revenue."
    )
    return (
        returns,
        "What a model credits to a campaign is what the campaign caused: no model can prove that.",
        f"Nothing else changes: prices, season, audience, and how {source} and {target} help others.",
        "Costs and deals are those of the period compared; later deals of its clicks are not counted.",
    )
