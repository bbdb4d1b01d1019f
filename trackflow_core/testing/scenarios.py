"""Golden scenarios: stories with the credits that every host must reach, cent by cent.

A scenario is a set of facts without order. Delivered in any order, any number of times, with the
click job run whenever the host likes, it ends in `credits`. Times of leads and deals are whole
seconds, because Odoo keeps no finer ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trackflow_core.model import Click, Deal, DealStatus, Lead, Link
from trackflow_core.testing.facts import BEN, LINKS, at, click, deal, lead

Fact = Click | Lead | Deal


@dataclass(frozen=True)
class Scenario:
    """One story. `credits` maps each deal's ref to (touch id or None, minor units) in order, as
    the linear model over 90 days splits it. `summaries` maps each lead's ref to (first touch id,
    last touch id, number of touches)."""

    name: str
    facts: tuple[Fact, ...]
    credits: Mapping[str, tuple[tuple[str | None, int], ...]]
    summaries: Mapping[str, tuple[str | None, str | None, int]] = field(default_factory=dict)
    links: tuple[Link, ...] = LINKS


CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"

SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "three touches share 100.00",
        (click("c1", 1), click("c2", 4, "mailNws"), click("c3", 9, "postFbk"), lead(), deal()),
        {"crm/deal-1": (("c1", 3334), ("c2", 3333), ("c3", 3333))},
        {"crm/lead-1": ("c1", "c3", 3)},
    ),
    Scenario(
        "no touch leaves the deal unattributed",
        (lead(visitor_ids=frozenset()), deal()),
        {"crm/deal-1": ((None, 10_000),)},
        {"crm/lead-1": (None, None, 0)},
    ),
    Scenario(
        "staff, bots, previews and other people are not touches",
        (
            click("c1", 1),
            click("staff", 2, internal=True),
            click("bot", 3, user_agent=CRAWLER),
            click("ahead", 4, prefetch=True),
            click("other", 5, visitor_id=BEN),
            click("nobody", 6, visitor_id=None),
            lead(),
            deal(),
        ),
        {"crm/deal-1": (("c1", 10_000),)},
        {"crm/lead-1": ("c1", "c1", 1)},
    ),
    Scenario(
        "touches outside the window or after the deal earn nothing",
        (click("old", -79), click("edge", -78), click("in", 3), click("late", 13), lead(), deal()),
        {"crm/deal-1": (("edge", 5000), ("in", 5000))},
        {"crm/lead-1": ("old", "in", 3)},
    ),
    Scenario(
        "an open deal is revalued, then won, and keeps its creation as anchor",
        (
            click("c1", 1),
            click("c2", 2),
            click("after", 14),
            lead(),
            deal(),
            deal(days=13, value=20_001),
            deal(days=30, value=25_000, status=DealStatus.WON),
        ),
        {"crm/deal-1": (("c1", 12_500), ("c2", 12_500))},
    ),
    Scenario(
        "two visitors of one lead make one journey",
        (
            click("c1", 1),
            click("c2", 2, "mailNws", visitor_id=BEN),
            lead(),
            lead(days=11, visitor_ids=frozenset({BEN}), created_at=at(10)),
            deal(value=-101),
        ),
        {"crm/deal-1": (("c1", -51), ("c2", -50))},
        {"crm/lead-1": ("c1", "c2", 2)},
    ),
    Scenario(
        "one visitor, two leads: each deal is whole",
        (
            click("c1", 1),
            click("c2", 20),
            lead(),
            lead("crm/lead-2", 21),
            deal(),
            deal("crm/deal-2", 22, 7, lead_ref="crm/lead-2", created_at=at(22)),
        ),
        {
            "crm/deal-1": (("c1", 10_000),),
            "crm/deal-2": (("c1", 4), ("c2", 3)),
        },
        {"crm/lead-1": ("c1", "c1", 1), "crm/lead-2": ("c1", "c2", 2)},
    ),
    Scenario(
        "equal times are ordered by id",
        (click("b", 1), click("a", 1), click("c", 1), lead(), deal(value=100)),
        {"crm/deal-1": (("a", 34), ("b", 33), ("c", 33))},
    ),
    Scenario(
        "a deal worth nothing still shows its touches",
        (click("c1", 1), click("c2", 2), lead(), deal(value=0)),
        {"crm/deal-1": (("c1", 0), ("c2", 0))},
    ),
)
