"""What a campaign earned under one model and under another, and how much the models disagree."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from math import sqrt
from types import MappingProxyType
from typing import Any

from trackflow_core.attribution.allocation import from_minor_units
from trackflow_core.attribution.fits import Progress, no_progress
from trackflow_core.attribution.ledger import Attribution, Splitting, journey_of
from trackflow_core.attribution.models import Model
from trackflow_core.errors import ConfigError
from trackflow_core.model import UNATTRIBUTED, Deal, Touch

# Of so few deals nothing can be said about how they scatter.
FEWEST_DEALS = 5
# Nine tenths of a normal distribution lie within so many standard deviations.
_NINE_TENTHS = 1.6448536269514722


@dataclass(frozen=True, slots=True)
class CampaignComparison:
    """One campaign's revenue in one currency under each model, in minor units.

    `campaign` is "" for touches without a campaign and None for deals without a touch. `ranks`
    number the campaigns of a currency under each model by revenue, the highest being 1; equal
    revenue gives equal ranks. `intervals` say between which amounts the revenue would lie nine times
    of ten, had chance brought other deals of the same kind; a model is left out where the campaign
    took part in fewer than `FEWEST_DEALS` deals.
    """

    campaign: str | None
    currency: str
    digits: int
    values: Mapping[str, int]
    ranks: Mapping[str, int]
    intervals: Mapping[str, tuple[int, int]] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def spread(self) -> int:
        """The highest minus the lowest revenue over the models: how far they disagree in money."""
        return max(self.values.values()) - min(self.values.values())

    @property
    def rank_spread(self) -> int:
        """The worst minus the best rank over the models: how far they disagree in order."""
        return max(self.ranks.values()) - min(self.ranks.values())

    @property
    def label(self) -> str:
        """The campaign's name as a report shows it."""
        return UNATTRIBUTED if self.campaign is None else self.campaign or "(no campaign)"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The campaigns under each of `models` (names), those that the models disagree on most first.

    Under every model the rows of one currency sum to the value of its deals.
    """

    models: tuple[str, ...]
    campaigns: tuple[CampaignComparison, ...]

    def receipt(self) -> dict[str, Any]:
        """The comparison as plain JSON values; amounts are integers in minor units."""
        return {
            "models": list(self.models),
            "campaigns": [
                {
                    "campaign": row.campaign,
                    "currency": row.currency,
                    "digits": row.digits,
                    "values": dict(row.values),
                    "ranks": dict(row.ranks),
                    "intervals": {name: list(found) for name, found in row.intervals.items()},
                    "spread": row.spread,
                    "rank_spread": row.rank_spread,
                }
                for row in self.campaigns
            ],
        }

    def explain(self) -> str:
        """The comparison as a text table: revenue with rank under each model, and both spreads."""
        head = ["Campaign", "Currency", *self.models, "Spread", "Ranks apart"]
        rows = [
            [
                row.label,
                row.currency,
                *(
                    f"{from_minor_units(row.values[name], row.digits)} #{row.ranks[name]}"
                    for name in self.models
                ),
                str(from_minor_units(row.spread, row.digits)),
                str(row.rank_spread),
            ]
            for row in self.campaigns
        ]
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(width) if place < 2 else cell.rjust(width)
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in [head, *rows]
        )


def compare(
    touches: Mapping[str, Iterable[Touch]],
    deals: Iterable[Deal],
    models: Sequence[Model],
    *,
    leads_created_at: Mapping[str, datetime] = MappingProxyType({}),
    progress: Progress = no_progress,
) -> Comparison:
    """Every campaign's revenue from `deals` under each of `models`.

    `touches` and `leads_created_at` are by the ref of the lead that a deal came from, as
    `Store.touches` gives them. Deals of different currencies are never added up: each currency
    has its own rows and ranks.

    Raises ConfigError when there is no model or two have one name.
    """
    names = tuple(model.name for model in models)
    if not names or len(set(names)) < len(names):
        raise ConfigError("Compare at least one model, each under a name of its own.")
    groups: dict[tuple[str, int], list[_Earnings]] = {}
    found = list(deals)
    for number, deal in enumerate(found, 1):
        journey = touches.get(deal.lead_ref, ())
        created_at = leads_created_at.get(deal.lead_ref)
        group = groups.setdefault(
            (deal.currency, deal.digits), [_Earnings(model) for model in models]
        )
        splitting = Splitting(journey, deal, created_at)
        for earnings in group:
            earnings.add(splitting.attribute(earnings.model))
        progress(number / len(found))
    rows = [
        row
        for (currency, digits), group in groups.items()
        for row in _rows(currency, digits, group)
    ]
    rows.sort(key=lambda row: (row.currency, row.digits, -row.spread, row.label))
    return Comparison(names, tuple(rows))


def _rows(currency: str, digits: int, group: Sequence[_Earnings]) -> Iterable[CampaignComparison]:
    """The campaigns of one currency."""
    falling = [sorted(-value for value in earnings.values.values()) for earnings in group]
    # A campaign that earned nothing under a model ranks behind all that did.
    campaigns = {campaign for earnings in group for campaign in earnings.values}
    for campaign in campaigns:
        values = {earnings.model.name: earnings.values.get(campaign, 0) for earnings in group}
        ranks = {
            earnings.model.name: 1 + bisect_left(order, -values[earnings.model.name])
            for earnings, order in zip(group, falling, strict=True)
        }
        intervals = {
            earnings.model.name: found
            for earnings in group
            if (found := earnings.interval(campaign)) is not None
        }
        yield CampaignComparison(
            campaign,
            currency,
            digits,
            MappingProxyType(values),
            MappingProxyType(ranks),
            MappingProxyType(intervals),
        )


class _Earnings:
    """What campaigns earn under one model, and how that scatters."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.values: dict[str | None, int] = {}
        self._squares: dict[str | None, int] = {}
        self._deals: dict[str | None, int] = {}
        self._refunded: set[str | None] = set()
        self._count = 0
        draws = len(model.fit.draws) if model.fit else 0
        self._redrawn = [
            replace(model, fit=model.fit.redrawn(number)) for number in range(draws) if model.fit
        ]
        self._drawn: list[dict[str | None, float]] = [{} for _ in self._redrawn]

    def add(self, attribution: Attribution) -> None:
        """Count the credits of one more deal."""
        self._count += 1
        parts: dict[str | None, int] = {}
        for credit in attribution.credits:
            campaign = credit.touch.campaign if credit.touch else None
            parts[campaign] = parts.get(campaign, 0) + credit.value
        for campaign, value in parts.items():
            self.values[campaign] = self.values.get(campaign, 0) + value
            self._squares[campaign] = self._squares.get(campaign, 0) + value * value
            self._deals[campaign] = self._deals.get(campaign, 0) + 1
            if value < 0:
                self._refunded.add(campaign)
        touches = tuple(credit.touch for credit in attribution.credits if credit.touch)
        if not touches:
            return
        deal = attribution.deal
        journey = journey_of(touches, deal, self.model, attribution.lead_created_at)
        for model, totals in zip(self._redrawn, self._drawn, strict=True):
            weights = model.weigh(replace(journey, fit=model.fit))
            unit = deal.value / sum(weights)
            for touch, weight in zip(touches, weights, strict=True):
                totals[touch.campaign] = totals.get(touch.campaign, 0.0) + unit * weight

    def interval(self, campaign: str | None) -> tuple[int, int] | None:
        """Nine times of ten; the deals' scatter and that of what was learned add up."""
        if self._deals.get(campaign, 0) < FEWEST_DEALS:
            return None
        value, count = self.values[campaign], self._count
        of_deals = (self._squares[campaign] * count - value * value) / (count - 1)
        drawn = [totals.get(campaign, 0.0) for totals in self._drawn]
        of_fit = 0.0
        if len(drawn) > 1:
            mean = sum(drawn) / len(drawn)
            of_fit = sum((total - mean) ** 2 for total in drawn) / (len(drawn) - 1)
        reach = _NINE_TENTHS * sqrt(of_deals + of_fit)
        low = round(value - reach)
        # Where no deal lost money, no luck would have.
        return low if campaign in self._refunded else max(low, 0), round(value + reach)
