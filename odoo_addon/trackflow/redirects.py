"""Where a short link leads and what is kept of the click, whoever serves the request.

Nothing here uses Odoo's request or its ORM: a link is one row, read by one statement.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from urllib.parse import urlsplit

from odoo.tools import SQL

from trackflow_core.engine import Engine
from trackflow_core.model import Click, Link, LinkRule, LinkStatus, Tier, Variant
from trackflow_core.tracking import agents, consent, identity, links
from trackflow_core.tracking.urls import (
    build_destination,
    header_safe,
    query_pairs,
    take_scan_mark,
)

from .privacy import Hit
from .store.clicks import queueing

_MAX_CODE = 255
_PREFETCH_HEADERS = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")

# Of a row "link" of link_tracker: its newest code, and what is in use of its variants and its
# rules, in their order.
LINK_CODE = SQL(
    "(SELECT code.code FROM link_tracker_code code WHERE code.link_id = link.id"
    " ORDER BY code.id DESC LIMIT 1)"
)
VARIANTS = SQL(
    """
    (SELECT json_agg(json_build_array(variant.id, variant.name, variant.url, variant.weight)
                     ORDER BY variant.sequence, variant.id)
       FROM trackflow_link_variant variant
      WHERE variant.link_id = link.id AND variant.active)
    """
)
RULES = SQL(
    """
    (SELECT json_agg(json_build_array(
                rule.id, rule.url, rule.device, rule.language, rule.query, rule.since, rule.until,
                (SELECT json_agg(country.code)
                   FROM trackflow_link_rule_country_rel rel
                   JOIN res_country country ON country.id = rel.country_id
                  WHERE rel.rule_id = rule.id))
                     ORDER BY rule.sequence, rule.id)
       FROM trackflow_link_rule rule
      WHERE rule.link_id = link.id AND rule.active)
    """
)


@dataclass(frozen=True, slots=True)
class Place:
    """What the redirects of a host depend on beside the link.

    Links that begin with "/" lead to `base_url` on `short_hosts`, which serve nothing else, and
    elsewhere to the host itself. `no_external` keeps UTM parameters from other hosts. `country`
    gives the two letters of an address's country, or "".
    """

    engine: Engine
    short_hosts: frozenset[str]
    base_url: str
    no_external: bool
    country: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Found:
    """A link as the core chooses its destination, and the row of `select` that it was read from."""

    link: Link
    row: dict[str, Any]

    @classmethod
    def of(cls, code: str, row: dict[str, Any]) -> "Found":
        return cls(_core_link(code, row), row)


@dataclass(frozen=True, slots=True)
class Answer:
    """Where a visitor is sent: nowhere when `destination` is None, for `reason`.

    `visitor_id` is to be remembered by a cookie. `click` is to be queued with `details`, None where
    nothing may be kept.
    """

    destination: str | None
    reason: str
    visitor_id: str | None = None
    click: Click | None = None
    details: dict[str, Any] | None = None

    def statement(self) -> SQL:
        """What appends the click to the queue, once however often it is executed."""
        return queueing([self.click], **self.details)


def select(code, host, user_id):
    """The statement that reads the link of `code` with everything that its answer depends on.

    `host` is the request's, without its port; the company of the link, or else of the user, gives
    the time zone of links that have none. None for a code that no link can have.
    """
    if len(code) > _MAX_CODE or "\0" in code:
        return None
    return SQL(
        """
        SELECT link.url, campaign.name AS campaign, medium.name AS medium,
               source.name AS source, link.trackflow_content AS content,
               link.trackflow_term AS term, link.active, link.trackflow_paused AS paused,
               link.trackflow_start_date AS start_date,
               link.trackflow_expiry_date AS expiry_date,
               link.trackflow_fallback_url AS fallback_url,
               link.trackflow_language AS language,
               COALESCE(link.trackflow_zone, address.tz, 'UTC') AS zone,
               %(variants)s AS variants, %(rules)s AS rules,
               domain.id IS NOT NULL AND NOT domain.tracking AS unrecorded,
               domain.custom_css,
               (SELECT json_agg(json_build_array(header.name, header.value))
                  FROM trackflow_domain_header header
                 WHERE header.domain_id = domain.id) AS headers
          FROM link_tracker_code code
          JOIN link_tracker link ON link.id = code.link_id
          LEFT JOIN trackflow_domain domain ON domain.name = %(host)s AND domain.active
          LEFT JOIN utm_campaign campaign ON campaign.id = link.campaign_id
          LEFT JOIN utm_medium medium ON medium.id = link.medium_id
          LEFT JOIN utm_source source ON source.id = link.source_id
          LEFT JOIN res_users visitor ON visitor.id = %(user)s
          LEFT JOIN res_company company
                 ON company.id = COALESCE(link.trackflow_company_id, visitor.company_id)
          LEFT JOIN res_partner address ON address.id = company.partner_id
         WHERE code.code = %(code)s
        """,
        variants=VARIANTS,
        rules=RULES,
        host=host,
        user=user_id,
        code=code,
    )


def answer(place: Place, hit: Hit, found: Found, query: str, now: datetime) -> Answer:
    """What happens to a request for a link, whose raw `query` goes along; it is queued and answered
    by the caller."""
    link, row = found.link, found.row
    scan, query = take_scan_mark(query)
    internal, tier, visitor_id = hit.internal, hit.tier, None
    if tier is Tier.FULL and not internal:
        # Known before the choice, so that a visitor's first click gets the lasting variant.
        visitor_id = hit.known_visitor or identity.new_visitor_id()
    asked = _describe(place, hit, link, query, visitor_id)
    choice = place.engine.choose_destination(link, asked, now)
    if choice.destination is None:
        return Answer(None, choice.reason)
    if choice.reason not in links.IN_USE:
        return Answer(header_safe(_absolute(place, hit, choice.destination)), choice.reason)
    destination = _destination(place, hit, row, choice.destination, query)
    if hit.http.method != "GET" or row["unrecorded"]:
        # HEAD, and OPTIONS, which Odoo lets through to every route.
        return Answer(destination, choice.reason)
    click = Click(
        event_id=secrets.token_hex(16),
        occurred_at=now,
        link_code=link.code,
        destination=destination,
        visitor_id=visitor_id,
        ip=hit.address,
        user_agent=hit.header("User-Agent"),
        referrer=hit.header("Referer"),
        internal=internal,
        prefetch=_is_prefetch(hit),
        tier=tier,
    )
    details = {
        "scan": scan,
        "country_code": place.country(hit.remote) or None,
        "rule_id": row["rules"][choice.rule][0] if choice.rule is not None else None,
        "variant_id": int(choice.variant) if choice.variant else None,
    }
    return Answer(destination, choice.reason, visitor_id, consent.limit(click), details)


def _core_link(code, link):
    if not link["active"]:
        status = LinkStatus.ARCHIVED
    else:
        status = LinkStatus.PAUSED if link["paused"] else LinkStatus.ACTIVE
    return Link(
        code=code,
        destination=link["url"],
        status=status,
        starts=link["start_date"],
        ends=link["expiry_date"],
        zone=link["zone"],
        fallback=link["fallback_url"] or "",
        language=link["language"] or "",
        variants=tuple(
            Variant(str(variant_id), url, weight)
            for variant_id, _name, url, weight in link["variants"] or ()
        ),
        rules=tuple(core_rule(*rule) for rule in link["rules"] or ()),
    )


def core_rule(_id, url, device, language, query, since, until, countries):
    """A rule as the core knows it, of a row of `RULES`."""
    return LinkRule(
        destination=url,
        device=device or "",
        language=language or "",
        countries=frozenset(countries or ()),
        query=tuple(query_pairs(f"?{query or ''}")),
        since=date.fromisoformat(since) if since else None,
        until=date.fromisoformat(until) if until else None,
    )


def _describe(place, hit, link, query, visitor_id):
    """What of this request the link's rules may ask for; only what they ask is looked up."""
    device = country = ""
    if any(rule.device for rule in link.rules):
        device = agents.classify(hit.header("User-Agent")).device
    if any(rule.countries for rule in link.rules):
        country = place.country(hit.remote) or place.engine.country_of(hit.remote)
    return links.Request(
        device=device,
        languages=hit.header("Accept-Language"),
        country=country or "",
        query=query,
        visitor_id=visitor_id,
        draw=secrets.randbits(63),
    )


def _destination(place, hit, row, url, query):
    """Where the link leads this visitor: `url` with its own query untouched, theirs appended."""
    url = _absolute(place, hit, url)
    # In the order of Odoo's `utm.mixin.tracking_fields`.
    utm = {name: row[name] for name in ("campaign", "source", "medium", "term", "content")}
    if place.no_external and urlsplit(url).netloc != hit.http.host:
        utm = {}
    return header_safe(build_destination(url, utm, query))


def _absolute(place, hit, url):
    if not url.startswith("/"):
        return url
    if hit.http.host.partition(":")[0].lower() in place.short_hosts:
        return place.base_url + url
    return hit.http.host_url.rstrip("/") + url


def _is_prefetch(hit):
    purposes = (hit.header(name).lower() for name in _PREFETCH_HEADERS)
    return any("prefetch" in purpose or "preview" in purpose for purpose in purposes)
