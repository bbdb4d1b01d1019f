"""Golden scenarios: stories with the credits that every host must reach, cent by cent.

A scenario is a set of facts without order. Delivered in any order, any number of times, with the
click job run whenever the host likes, it ends in `credits`. Times of leads and deals are whole
seconds, because Odoo keeps no finer ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trackflow_core.model import Click, Deal, DealStatus, Lead, Link, Touch
from trackflow_core.testing.facts import BEN, LINKS, at, click, deal, lead, page_view, touch


@dataclass(frozen=True)
class Contact:
    """The fact that people touched a lead other than by a click."""

    lead_ref: str
    touch: Touch


Fact = Click | Lead | Deal | Contact


@dataclass(frozen=True)
class Scenario:
    """One story. `credits` maps each deal's ref to (touch id or None, minor units) in order, as
    the linear model over 90 days splits it. `summaries` maps each lead's ref to (first touch id,
    last touch id, number of touches). `account_journeys` is the setting of that name."""

    name: str
    facts: tuple[Fact, ...]
    credits: Mapping[str, tuple[tuple[str | None, int], ...]]
    summaries: Mapping[str, tuple[str | None, str | None, int]] = field(default_factory=dict)
    links: tuple[Link, ...] = LINKS
    account_journeys: bool = False


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
        "visits without a click are touches, pages within a visit are not",
        (
            page_view("p1", 1, referrer="https://www.google.com/"),
            page_view("p2", 1, 5),
            click("c1", 4, "mailNws"),
            page_view("p3", 4, 1, referrer="https://www.example.org/"),
            page_view("p4", 6, kind="signup"),
            page_view("bot", 7, user_agent=CRAWLER),
            lead(),
            deal(),
        ),
        {"crm/deal-1": (("p1", 3334), ("c1", 3333), ("p4", 3333))},
        {"crm/lead-1": ("p1", "p4", 3)},
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
    Scenario(
        "calls and meetings are touches like clicks",
        (
            click("c1", 1),
            Contact("crm/lead-1", touch("call", 3, "Call", kind="call", campaign="spring")),
            Contact("crm/lead-1", touch("meeting", 11, "Meeting", kind="meeting")),
            Contact("crm/lead-2", touch("other", 4, "Call", kind="call")),
            lead(),
            deal(),
        ),
        {"crm/deal-1": (("c1", 3334), ("call", 3333), ("meeting", 3333))},
        {"crm/lead-1": ("c1", "call", 2)},
    ),
    Scenario(
        "the leads of an account share their journey, and one that left no longer does",
        (
            click("c1", 1),
            click("c2", 2, "mailNws", visitor_id=BEN),
            click("c3", 3, visitor_id="c" * 32),
            lead(account="crm/acme"),
            lead("crm/lead-2", 11, visitor_ids=frozenset({BEN}), account="crm/acme"),
            lead("crm/lead-3", 10, visitor_ids=frozenset({"c" * 32}), account="crm/acme"),
            lead("crm/lead-3", 11, visitor_ids=frozenset({"c" * 32}), account="crm/other"),
            deal(),
            deal("crm/deal-3", lead_ref="crm/lead-3"),
        ),
        {
            "crm/deal-1": (("c1", 5000), ("c2", 5000)),
            "crm/deal-3": (("c3", 10_000),),
        },
        {"crm/lead-1": ("c1", "c1", 1), "crm/lead-2": ("c2", "c2", 1)},
        account_journeys=True,
    ),
    Scenario(
        "a deal keeps the lead that was last named, whatever later facts leave out",
        (
            click("c1", 1),
            click("c2", 2, "mailNws", visitor_id=BEN),
            lead(),
            lead("crm/lead-2", 11, visitor_ids=frozenset({BEN})),
            deal(),
            deal(days=13, lead_ref="crm/lead-2"),
            deal(days=30, lead_ref="", status=DealStatus.WON),
            deal("crm/deal-2"),
            deal("crm/deal-2", 20, lead_ref=""),
        ),
        {"crm/deal-1": (("c2", 10_000),), "crm/deal-2": (("c1", 10_000),)},
    ),
    Scenario(
        "without account journeys every lead keeps its own",
        (
            click("c1", 1),
            click("c2", 2, "mailNws", visitor_id=BEN),
            lead(account="crm/acme"),
            lead("crm/lead-2", 11, visitor_ids=frozenset({BEN}), account="crm/acme"),
            deal(),
        ),
        {"crm/deal-1": (("c1", 10_000),)},
    ),
)
