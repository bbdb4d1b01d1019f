"""The demo's story: ninety days of three campaigns, as facts for the engine.

The same seed tells the same story, ending today. Every lead, deal and credit of the demo follows
from these facts by the ways that real ones take.
"""

import random
from datetime import datetime, timedelta

from trackflow_core.model import PAGE_VIEW, Click, Deal, DealStatus, Lead

DAYS = 90
VISITORS = 140
LEADS = 60
WON, LOST, OPEN = 20, 7, 12

# How likely a first click, and a later click, is on each link: people find us by ads and come
# back through the newsletter.
LINKS = {
    "SprAdwd": (9, 2),
    "SprRetg": (1, 4),
    "SprFace": (6, 2),
    "SprInst": (5, 2),
    "SprLink": (4, 2),
    "NwsMar2": (1, 6),
    "NwsApr2": (1, 6),
    "NwsMay2": (1, 5),
    "FaiStnd": (4, 1),
    "FaiBroc": (3, 2),
    "FaiSpkr": (2, 1),
    "PrtBlog": (3, 1),
}
# What people read after they have followed a link.
PAGES = ("/", "/about-us", "/our-services", "/pricing", "/contactus")
BROWSERS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.5 Safari/605.1.15",
    "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
    "Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like "
    "Gecko) Mobile/15E148 Instagram 333.0.0.33.111 (iPhone14,5; iOS 17_5; en_US)",
)
AUTOMATA = (
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "LinkedInBot/1.0 (compatible; Mozilla/5.0; +http://www.linkedin.com)",
    "WhatsApp/2.23.20.0",
    "curl/8.5.0",
)
TRADES = (
    "Bakery", "Brewery", "Clinic", "Foundry", "Gardens", "Hotel", "Joinery", "Laboratory",
    "Logistics", "Optics", "Printing", "Roastery", "Sawmill", "School", "Studio",
)  # fmt: skip
PLACES = ("Northfield", "Easton", "Southgate", "Westbrook")
WISHES = (
    "Offer for a new workshop", "Request for a demonstration", "Question about prices",
    "Replacement of the old system", "Plan for a second site",
)  # fmt: skip


class Story:
    """The facts: `clicks` and `views`, then `leads`, then `deals`. `destinations` maps each code of
    `LINKS` to where it leads, `site` begins the address of every page; `currency` and its `digits`
    are the company's; `end` is an aware moment."""

    def __init__(
        self,
        end: datetime,
        site: str,
        destinations: dict[str, str],
        currency: str,
        digits: int,
    ) -> None:
        self._random = random.Random(19)  # noqa: S311 - a story, not a secret
        self._end = end.replace(microsecond=0)
        self._site, self._destinations = site, destinations
        self._currency, self._digits = currency, digits
        self._journeys = self._travel()
        self.clicks = [*(click for journey in self._journeys for click in journey), *self._noise()]
        self.leads = self._ask()
        self.deals = self._negotiate()
        self.views = [
            view for journey in self._journeys for click in journey for view in self._read(click)
        ]

    def _travel(self) -> list[list[Click]]:
        firsts = [weight for weight, _ in LINKS.values()]
        laters = [weight for _, weight in LINKS.values()]
        journeys = []
        for _ in range(VISITORS):
            visitor = f"{self._random.getrandbits(128):032x}"
            moment = self._end - timedelta(days=self._random.uniform(3, DAYS))
            browser = self._random.choice(BROWSERS)
            journey: list[Click] = []
            for _ in range(self._random.choice((1, 2, 2, 3, 3, 4, 5, 6))):
                (code,) = self._random.choices(list(LINKS), laters if journey else firsts)
                journey.append(self._click(code, moment, browser, visitor))
                moment += timedelta(days=self._random.expovariate(1 / 6), minutes=11)
                if moment > self._end - timedelta(days=1):
                    break
            journeys.append(journey)
        return journeys

    def _noise(self) -> list[Click]:
        """Crawlers and previews that find the links, and colleagues who try them."""
        noise = []
        for number in range(80):
            moment = self._end - timedelta(days=self._random.uniform(0, DAYS))
            code = self._random.choice(list(LINKS))
            if number % 5:
                noise.append(self._click(code, moment, self._random.choice(AUTOMATA)))
            else:
                noise.append(self._click(code, moment, BROWSERS[0], internal=True))
        return noise

    def _click(
        self,
        code: str,
        moment: datetime,
        browser: str,
        visitor: str | None = None,
        internal: bool = False,
    ) -> Click:
        return Click(
            event_id=f"demo-{self._random.getrandbits(96):024x}",
            occurred_at=moment.replace(microsecond=0),
            link_code=code,
            destination=self._destinations[code],
            visitor_id=visitor,
            ip=self._random.choice(("192.0.2.0", "198.51.100.0", "203.0.113.0")),
            user_agent=browser,
            internal=internal,
        )

    def _read(self, click: Click) -> list[Click]:
        """The pages that somebody reads within minutes of a click, and then looks at no more."""
        views = []
        moment = click.occurred_at
        for page in self._random.sample(PAGES, self._random.choice((0, 0, 1, 2, 4))):
            moment += timedelta(seconds=self._random.randint(8, 90))
            views.append(
                Click(
                    event_id=f"demo-{self._random.getrandbits(96):024x}",
                    occurred_at=moment,
                    link_code="",
                    kind=PAGE_VIEW,
                    destination=f"{self._site}{page}",
                    visitor_id=click.visitor_id,
                    ip=click.ip,
                    user_agent=click.user_agent,
                )
            )
        return views

    def _ask(self) -> list[Lead]:
        """Sixty leads: most from visitors, some soon after their last click; six by telephone."""
        asking = self._random.sample(self._journeys, LEADS - 6)
        leads = []
        for number in range(LEADS):
            company = f"{PLACES[number % len(PLACES)]} {TRADES[number % len(TRADES)]}"
            journey = asking[number] if number < len(asking) else None
            if journey:
                moment = journey[-1].occurred_at + timedelta(minutes=self._random.randint(2, 40))
            else:
                moment = self._end - timedelta(days=self._random.randint(5, DAYS - 10))
            leads.append(
                Lead(
                    ref=f"demo/lead-{number:02}",
                    event_id=f"demo-lead-{number:02}",
                    occurred_at=moment.replace(microsecond=0),
                    visitor_ids=frozenset({journey[0].visitor_id or ""} if journey else ()),
                    name=f"{company}: {self._random.choice(WISHES)}",
                    email=f"office@{company.lower().replace(' ', '-')}.example",
                    company=company,
                )
            )
        return leads

    def _negotiate(self) -> list[Deal]:
        """Deals of the older leads: as they were created, then how the closed ones ended."""
        oldest = sorted(self.leads, key=lambda lead: lead.came_in_at)
        endings = [DealStatus.WON] * WON + [DealStatus.LOST] * LOST + [DealStatus.OPEN] * OPEN
        self._random.shuffle(endings)
        deals = []
        for number, (lead, ending) in enumerate(zip(oldest, endings, strict=False)):
            created = lead.came_in_at + timedelta(hours=self._random.randint(3, 60))
            value = self._random.randint(8, 120) * 100 + self._random.choice((0, 0, 50, 99))
            deal = Deal(
                ref=f"demo/deal-{number:02}",
                event_id=f"demo-deal-{number:02}-created",
                occurred_at=min(created, self._end),
                value=value * 10**self._digits,
                currency=self._currency,
                digits=self._digits,
                lead_ref=lead.ref,
                name=lead.name,
            )
            deals.append(deal)
            if ending is not DealStatus.OPEN:
                deals.append(self._end_of(deal, ending))
        return deals

    def _end_of(self, deal: Deal, ending: DealStatus) -> Deal:
        closed = min(deal.began_at + timedelta(days=self._random.randint(4, 25)), self._end)
        return Deal(
            ref=deal.ref,
            event_id=f"{deal.event_id}-{ending.value}",
            occurred_at=closed,
            value=deal.value,
            currency=deal.currency,
            digits=deal.digits,
            lead_ref=deal.lead_ref,
            created_at=deal.created_at,
            closed_at=closed,
            status=ending,
            name=deal.name,
        )
