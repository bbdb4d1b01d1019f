"""Which destination a click on a link gets."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from hashlib import sha256
from itertools import accumulate
from zoneinfo import ZoneInfo

from trackflow_core.errors import InvalidEvent
from trackflow_core.model import Link, LinkRule, LinkStatus, Variant
from trackflow_core.tracking.urls import is_short_url, query_pairs

# No browser sends more; a header beyond this is not read to its end.
_MAX_HEADER = 1000
_DAY = timedelta(days=1)


IN_USE = frozenset(("destination", "rule", "variant"))
"""The reasons of a `Choice` of a link that leads somewhere."""


@dataclass(frozen=True, slots=True)
class Request:
    """What of a request decides where it goes.

    `languages` is the header `Accept-Language`, `query` the raw query string, `country` two
    letters, "" where unknown. `draw` is a random number of 32 bits or more, for a click without a
    visitor.
    """

    device: str = ""
    languages: str = ""
    country: str = ""
    query: str = ""
    visitor_id: str | None = None
    draw: int = 0


@dataclass(frozen=True, slots=True)
class Choice:
    """Where a click goes: `destination`, or None when the link leads nowhere.

    `reason` is "destination", "rule", "variant", or why the link itself is out of use: "paused",
    "archived", "not started", "expired". `rule` is the place of the rule, `variant` the name.
    """

    destination: str | None
    reason: str
    rule: int | None = None
    variant: str = ""


def choose(link: Link, request: Request, now: datetime) -> Choice:
    """The destination of one click at `now`.

    In this order: status, start and end; the first rule whose conditions are all met; a variant by
    weight; the link's own destination. A visitor always gets the same variant as long as the
    weights stay.
    """
    unusable = _unusable(link, now)
    if unusable:
        return Choice(link.fallback or None, unusable)
    today = now.astimezone(ZoneInfo(link.zone)).date()
    languages = _accepted(request.languages)
    offered = (link.language, *(rule.language for rule in link.rules))
    best = max(_quality(languages, tag) for tag in offered)
    for place, rule in enumerate(link.rules):
        if _meets(request, rule, today) and _speaks(rule, languages, best):
            return Choice(rule.destination, "rule", rule=place)
    variant = _variant(link, request)
    if variant is not None:
        return Choice(variant.destination, "variant", variant=variant.name)
    return Choice(link.destination, "destination")


def refuse_short_urls(link: Link, bases: Sequence[str], held: Link | None = None) -> None:
    """Raise InvalidEvent where `link` leads to a short link of ours: visitors could go round.

    `bases` are what our short URLs begin with. What `held`, the link before a change, had already
    is let through, so that an old link can still be paused or archived.
    """
    before = {url for _, url in _destinations(held)} if held else set()
    for field, url in _destinations(link):
        if url not in before and is_short_url(url, bases):
            raise InvalidEvent(
                f"{field}: {url:.80} is a short URL of our own, so that visitors could go round: "
                "send the address that it leads to.",
                field=field,
            )


def _destinations(link: Link) -> Iterator[tuple[str, str]]:
    """All the places `link` may lead to, by the names of their fields."""
    yield "destination", link.destination
    yield "fallback", link.fallback
    for place, variant in enumerate(link.variants):
        yield f"variants[{place}].destination", variant.destination
    for place, rule in enumerate(link.rules):
        yield f"rules[{place}].destination", rule.destination


def _unusable(link: Link, now: datetime) -> str:
    if link.status is not LinkStatus.ACTIVE:
        return str(link.status.value)
    if link.starts is not None and now < _moment(link.starts, link.zone):
        return "not started"
    # A day ends with it, a moment at once.
    if link.ends is not None and now >= _moment(link.ends, link.zone, days=1):
        return "expired"
    return ""


def _moment(when: date, zone: str, days: int = 0) -> datetime:
    """`when` as a moment; a day as its midnight in `zone`, so many `days` later."""
    if isinstance(when, datetime):
        return when
    day = when + days * _DAY
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(timezone.utc)


def _meets(request: Request, rule: LinkRule, today: date) -> bool:
    """Whether every condition of `rule` but its language is met."""
    return (
        rule.device in ("", request.device)
        and (not rule.countries or request.country.upper() in rule.countries)
        and (rule.since is None or rule.since <= today)
        and (rule.until is None or today <= rule.until)
        and _asks(request.query, rule.query)
    )


def _asks(query: str, wanted: Iterable[tuple[str, str]]) -> bool:
    """Whether the raw `query` has every wanted parameter, with its value where there is one."""
    sent = set(query_pairs(f"?{query}"))
    names = {name for name, _ in sent}
    return all((name, value) in sent if value else name in names for name, value in wanted)


def _speaks(rule: LinkRule, languages: Sequence[tuple[str, float]], best: float) -> bool:
    """Whether the rule's language is one that the visitor likes best of those on offer."""
    return not rule.language or 0 < _quality(languages, rule.language) == best


def best_language(header: str, offered: Sequence[str]) -> str:
    """Of the `offered` tags the one that the header `Accept-Language` likes best, the earlier of
    equals; the first where it likes none."""
    languages = _accepted(header)
    return max(offered, key=lambda tag: _quality(languages, tag))


def _accepted(header: str) -> Sequence[tuple[str, float]]:
    """The languages of an `Accept-Language` header with their quality; malformed ones left out."""
    found = []
    for part in header[:_MAX_HEADER].split(","):
        tag, _, parameter = part.partition(";")
        name, _, value = parameter.partition("=")
        try:
            quality = float(value) if name.strip().lower() == "q" else 1.0
        except ValueError:
            continue
        if tag.strip() and 0 <= quality <= 1:
            found.append((tag.strip().lower(), quality))
    return found


def _quality(languages: Iterable[tuple[str, float]], tag: str) -> float:
    """How much the language `tag` is liked, 0 to 1.

    The header's entry for just this tag counts, then one for a part of it or of which it is a part
    ("de" and "de-AT"), then "*".
    """
    wanted = tag.lower()
    exact, related, any_ = [], [], []
    for name, quality in languages:
        if name == wanted:
            exact.append(quality)
        elif name.startswith(f"{wanted}-") or wanted.startswith(f"{name}-"):
            related.append(quality)
        elif name == "*":
            any_.append(quality)
    return max(exact or related or any_, default=0.0) if wanted else 0.0


def _variant(link: Link, request: Request) -> Variant | None:
    ends = [*accumulate(variant.weight for variant in link.variants)]
    if not ends or not ends[-1]:
        return None
    number = request.draw
    if request.visitor_id:
        seed = f"{link.code}:{request.visitor_id}".encode()
        number = int.from_bytes(sha256(seed).digest()[:8], "big")
    return link.variants[bisect_right(ends, number % ends[-1])]
