"""The demo's story: ninety days of three campaigns, told to the engine as facts.

The same moment tells the same story. Every lead, deal and credit follows from these facts by the
ways that real ones take.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from trackflow_core.api.storage import TrackedLink
from trackflow_core.config import Settings
from trackflow_core.engine import Engine
from trackflow_core.hooks import Hooks
from trackflow_core.model import Click, Deal, DealStatus, Lead, Link
from trackflow_core.tracking.urls import build_destination
from trackflow_server.store import Database
from trackflow_server.store.catalog import SqlCatalog

DAYS = 90
_VISITORS = 160
_LEADS = 56
_DEALS = 34
_SITE = "https://www.example.com"

# Name, link, and how likely a first and a later click on it is: people find us by ads and come
# back through the newsletter.
_LINKS: Sequence[tuple[str, Link, int, int]] = (
    ("Search ad, workshops", Link("adWork2", f"{_SITE}/workshops", "google", "cpc", "spring"), 9, 2),
    ("Retargeting banner", Link("bannRt2", f"{_SITE}/offer", "google", "display", "spring"), 1, 4),
    ("Facebook post", Link("fbPost2", f"{_SITE}/stories", "facebook", "paid_social", "spring"), 6, 2),
    ("LinkedIn article", Link("linArt2", f"{_SITE}/articles/roi", "linkedin", "social", "brand"), 4, 2),
    ("March newsletter", Link("nwsMar2", f"{_SITE}/news/march", "newsletter", "email", "newsletter"), 1, 6),
    ("April newsletter", Link("nwsApr2", f"{_SITE}/news/april", "newsletter", "email", "newsletter"), 1, 6),
    ("QR code on the stand", Link("qrFair2", f"{_SITE}/fair", "fair", "qr", "fair"), 4, 1),
    ("Partner's blog", Link("blogPa2", f"{_SITE}/partners", "partner", "referral", "brand"), 3, 1),
)  # fmt: skip
_BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.5 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
    "Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0.0.0 Mobile Safari/537.36",
)
_AUTOMATA = (
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "LinkedInBot/1.0 (compatible; Mozilla/5.0; +http://www.linkedin.com)",
    "WhatsApp/2.23.20.0",
)
_TRADES = ("Bakery", "Brewery", "Clinic", "Hotel", "Joinery", "Logistics", "Optics", "Roastery")
_PLACES = ("Easton", "Northfield", "Southgate", "Westbrook", "Millbrook", "Harbour", "Hill")
_WISHES = ("New workshop", "Demonstration", "Second site", "Replacement", "Maintenance contract")


def tell(
    database: Database, hooks: Hooks, settings: Settings, end: datetime, base_url: str
) -> None:
    """Put the story that ends at `end` into an empty store."""
    chance = random.Random(19)  # noqa: S311 - a story, not a secret
    end = end.replace(microsecond=0)
    journeys = [_journey(chance, end) for _ in range(_VISITORS)]
    with database.transaction() as store:
        catalog = SqlCatalog(store, base_url, ())
        catalog.create([TrackedLink(link, name) for name, link, _, _ in _LINKS])
        engine = Engine(store, hooks, settings)
        clicks = [click for journey in journeys for click in journey]
        engine.record_events([*clicks, *_noise(chance, end)])
        while engine.process_clicks().claimed:
            pass
        leads = [*_leads(chance, end, journeys)]
        engine.apply(leads=leads, deals=[*_deals(chance, end, leads)])


def _journey(chance: random.Random, end: datetime) -> list[Click]:
    visitor = f"{chance.getrandbits(128):032x}"
    moment = end - timedelta(days=chance.uniform(3, DAYS))
    browser = chance.choice(_BROWSERS)
    found: list[Click] = []
    for _ in range(chance.choice((1, 1, 2, 2, 3, 4, 5))):
        weights = [later if found else first for _, _, first, later in _LINKS]
        [(_, link, _, _)] = chance.choices(_LINKS, weights)
        found.append(_click(chance, link, moment, browser, visitor))
        moment += timedelta(days=chance.expovariate(1 / 6), minutes=11)
        if moment > end - timedelta(hours=6):
            break
    return found


def _noise(chance: random.Random, end: datetime) -> Iterator[Click]:
    """Crawlers and previews that find the links."""
    for _ in range(60):
        moment = end - timedelta(days=chance.uniform(0, DAYS))
        _, link, _, _ = chance.choice(_LINKS)
        yield _click(chance, link, moment, chance.choice(_AUTOMATA), None)


def _click(
    chance: random.Random, link: Link, moment: datetime, browser: str, visitor: str | None
) -> Click:
    utm = {"source": link.source, "medium": link.medium, "campaign": link.campaign}
    return Click(
        event_id=f"demo-{chance.getrandbits(96):024x}",
        occurred_at=moment,
        link_code=link.code,
        destination=build_destination(link.destination, utm),
        visitor_id=visitor,
        ip="203.0.113.0",
        user_agent=browser,
    )


def _leads(
    chance: random.Random, end: datetime, journeys: Sequence[Sequence[Click]]
) -> Iterator[Lead]:
    for number, journey in enumerate(chance.sample(journeys, _LEADS), 1):
        company = f"{chance.choice(_PLACES)} {chance.choice(_TRADES)}"
        came = journey[-1].occurred_at + timedelta(minutes=chance.uniform(3, 600))
        yield Lead(
            ref=f"webhook/shop/lead/{number}",
            event_id=f"demo-lead-{number}",
            occurred_at=min(came, end),
            visitor_ids=frozenset({journey[0].visitor_id or ""}),
            name=f"{chance.choice(_WISHES)}, {company}",
            company=company,
        )


def _deals(chance: random.Random, end: datetime, leads: Sequence[Lead]) -> Iterator[Deal]:
    for number, lead in enumerate(leads[:_DEALS], 1):
        began = min(lead.came_in_at + timedelta(days=chance.uniform(0.1, 4)), end)
        closed = began + timedelta(days=chance.uniform(2, 25))
        decided = chance.choice((DealStatus.WON, DealStatus.WON, DealStatus.LOST, DealStatus.OPEN))
        status = decided if closed < end else DealStatus.OPEN
        yield Deal(
            ref=f"webhook/shop/deal/{number}",
            event_id=f"demo-deal-{number}",
            occurred_at=began if status is DealStatus.OPEN else closed,
            value=chance.randrange(60_000, 1_900_000, 5_000),
            currency="EUR",
            lead_ref=lead.ref,
            created_at=began,
            status=status,
            name=lead.name,
        )
