"""What a campaign earned under one model and under another, and how much the models disagree."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from trackflow_core.attribution.allocation import from_minor_units
from trackflow_core.attribution.ledger import attribute
from trackflow_core.attribution.models import Model
from trackflow_core.errors import ConfigError
from trackflow_core.model import UNATTRIBUTED, Deal, Touch


@dataclass(frozen=True, slots=True)
class CampaignComparison:
    """One campaign's revenue in one currency under each model, in minor units.

    `campaign` is "" for touches without a campaign and None for deals without a touch. `ranks`
    number the campaigns of a currency under each model by revenue, the highest being 1; equal
    revenue gives equal ranks.
    """

    campaign: str | None
    currency: str
    digits: int
    values: Mapping[str, int]
    ranks: Mapping[str, int]

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
    totals: dict[tuple[str, int], dict[str | None, dict[str, int]]] = {}
    for deal in deals:
        journey = tuple(touches.get(deal.lead_ref, ()))
        created_at = leads_created_at.get(deal.lead_ref)
        campaigns = totals.setdefault((deal.currency, deal.digits), {})
        for model in models:
            for credit in attribute(journey, deal, model, lead_created_at=created_at).credits:
                campaign = credit.touch.campaign if credit.touch else None
                values = campaigns.setdefault(campaign, dict.fromkeys(names, 0))
                values[model.name] += credit.value
    rows = []
    for (currency, digits), campaigns in totals.items():
        falling = {name: sorted(-values[name] for values in campaigns.values()) for name in names}
        for campaign, values in campaigns.items():
            ranks = {name: 1 + bisect_left(falling[name], -values[name]) for name in names}
            rows.append(
                CampaignComparison(
                    campaign, currency, digits, MappingProxyType(values), MappingProxyType(ranks)
                )
            )
    rows.sort(key=lambda row: (row.currency, row.digits, -row.spread, row.label))
    return Comparison(names, tuple(rows))
