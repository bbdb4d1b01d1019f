"""`/r/<code>`: one SELECT, one INSERT, one answer. The ORM is not used on this path."""

import logging
import secrets
from datetime import date, datetime, timezone
from urllib.parse import quote, urlsplit

import psycopg2
from odoo import http
from odoo.addons.link_tracker.controller.main import LinkTracker
from odoo.http import request
from odoo.tools import SQL

from trackflow_core.model import Click, Link, LinkRule, LinkStatus, Tier, Variant
from trackflow_core.tracking import agents, consent, identity, links
from trackflow_core.tracking.urls import build_destination, query_pairs, take_scan_mark

from .. import privacy
from ..engine import build_engine
from ..store import OdooStore

_logger = logging.getLogger(__name__)

_MAX_CODE = 255
_PREFETCH_HEADERS = ("Sec-Purpose", "Purpose", "X-Purpose", "X-Moz")


class Redirect(LinkTracker):
    # The session is only read: saving one for each visitor would write a file for each click.
    @http.route(website=False, save_session=False, methods=["GET", "HEAD"], sitemap=False)
    def full_url_redirect(self, code, **post):
        link = _find_link(code)
        if link is None:
            return _incomplete()
        now = datetime.now(timezone.utc)
        scan, query = take_scan_mark(_raw_query())
        core_link = _core_link(code, link)
        internal, tier, visitor_id = privacy.is_internal(), privacy.tier(), None
        if tier is Tier.FULL and not internal:
            # Known before the choice, so that a visitor's first click gets the lasting variant.
            visitor_id = privacy.known_visitor() or identity.new_visitor_id()
        engine = build_engine(request.env)
        choice = engine.choose_destination(
            core_link, _describe_request(engine, core_link, query, visitor_id), now
        )
        if choice.destination is None:
            return _refuse(choice.reason, link)
        if choice.reason not in links.IN_USE:
            return _redirect(_ascii(_absolute(choice.destination)), link)
        destination = _destination(link, choice.destination, query)
        response = _redirect(destination, link)
        if request.httprequest.method != "GET" or link["unrecorded"]:
            # HEAD, and OPTIONS, which Odoo lets through to every route.
            return response
        if visitor_id:
            privacy.identify(response, visitor_id)
        _queue(code, destination, visitor_id, internal, tier, now, scan, _chosen(link, choice))
        return response

    @http.route(
        ["/r", "/r/"],
        type="http",
        auth="public",
        website=False,
        save_session=False,
        methods=["GET", "HEAD"],
        sitemap=False,
    )
    def redirect_without_code(self, **_query):
        """A short URL whose code got lost."""
        return _incomplete()


def _find_link(code):
    """The link of `code` with everything that the answer depends on; None when there is none."""
    if len(code) > _MAX_CODE or "\0" in code:
        return None
    request.env.cr.execute(
        SQL(
            """
            SELECT link.url, campaign.name AS campaign, medium.name AS medium,
                   source.name AS source, link.trackflow_content AS content,
                   link.trackflow_term AS term, link.active, link.trackflow_paused AS paused,
                   link.trackflow_start_date AS start_date,
                   link.trackflow_expiry_date AS expiry_date,
                   link.trackflow_fallback_url AS fallback_url,
                   link.trackflow_language AS language,
                   COALESCE(link.trackflow_zone, address.tz, 'UTC') AS zone,
                   (SELECT json_agg(json_build_array(variant.id, variant.name, variant.url,
                                                     variant.weight)
                                    ORDER BY variant.sequence, variant.id)
                      FROM trackflow_link_variant variant
                     WHERE variant.link_id = link.id AND variant.active) AS variants,
                   (SELECT json_agg(json_build_array(
                               rule.id, rule.url, rule.device, rule.language, rule.query,
                               rule.since, rule.until,
                               (SELECT json_agg(country.code)
                                  FROM trackflow_link_rule_country_rel rel
                                  JOIN res_country country ON country.id = rel.country_id
                                 WHERE rel.rule_id = rule.id))
                                    ORDER BY rule.sequence, rule.id)
                      FROM trackflow_link_rule rule
                     WHERE rule.link_id = link.id AND rule.active) AS rules,
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
              LEFT JOIN res_company company ON company.id = visitor.company_id
              LEFT JOIN res_partner address ON address.id = company.partner_id
             WHERE code.code = %(code)s
            """,
            host=request.httprequest.host.partition(":")[0].lower(),
            user=request.env.uid,
            code=code,
        )
    )
    found = request.env.cr.dictfetchall()
    return found[0] if found else None


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
        rules=tuple(_core_rule(*rule) for rule in link["rules"] or ()),
    )


def _core_rule(_id, url, device, language, query, since, until, countries):
    return LinkRule(
        destination=url,
        device=device or "",
        language=language or "",
        countries=frozenset(countries or ()),
        query=tuple(query_pairs(f"?{query or ''}")),
        since=date.fromisoformat(since) if since else None,
        until=date.fromisoformat(until) if until else None,
    )


def _describe_request(engine, link, query, visitor_id):
    """What of this request the link's rules may ask for; only what they ask is looked up."""
    device = country = ""
    if any(rule.device for rule in link.rules):
        device = agents.classify(privacy.header("User-Agent")).device
    if any(rule.countries for rule in link.rules):
        country = request.geoip.country_code or engine.country_of(
            request.httprequest.remote_addr or ""
        )
    return links.Request(
        device=device,
        languages=privacy.header("Accept-Language"),
        country=country or "",
        query=query,
        visitor_id=visitor_id,
        draw=secrets.randbits(63),
    )


def _chosen(link, choice):
    """The ids of the rule and of the variant that decided, as the queue keeps them."""
    return {
        "rule_id": link["rules"][choice.rule][0] if choice.rule is not None else None,
        "variant_id": int(choice.variant) if choice.variant else None,
    }


def _destination(link, url, query):
    """Where the link leads this visitor: `url` with its own query untouched, theirs appended."""
    url = _absolute(url)
    # In the order of Odoo's `utm.mixin.tracking_fields`.
    utm = {name: link[name] for name in ("campaign", "source", "medium", "term", "content")}
    no_external = (
        request.env["ir.config_parameter"].sudo().get_param("link_tracker.no_external_tracking")
    )
    if no_external and urlsplit(url).netloc != request.httprequest.host:
        utm = {}
    return _ascii(build_destination(url, utm, query))


def _absolute(url):
    # A short domain may serve nothing but links: paths are those of the site itself.
    if not url.startswith("/"):
        return url
    host = request.httprequest.host.partition(":")[0].lower()
    if request.env["trackflow.domain"].sudo()._is_short(host):
        return request.env["link.tracker"].sudo().get_base_url() + url
    return request.httprequest.host_url.rstrip("/") + url


def _raw_query():
    """The query as the visitor sent it; bytes that no header may carry are percent-encoded."""
    return "".join(
        chr(byte) if 0x21 <= byte <= 0x7E else f"%{byte:02X}"
        for byte in request.httprequest.query_string
    )


def _ascii(url):
    """`url` as a header may carry it; what is ASCII already stays as it is."""
    if url.isascii() and " " not in url:
        return url
    host = urlsplit(url).hostname or ""
    if not host.isascii():
        try:
            url = url.replace(host, host.encode("idna").decode(), 1)
        except UnicodeError:
            _logger.info("The host of %s has no ASCII form.", url)
    return "".join(char if "!" <= char <= "~" else quote(char) for char in url)


def _queue(code, destination, visitor_id, internal, tier, now, scan, chosen):
    """Append the click to the queue; a visitor is sent on even when that fails."""
    click = Click(
        event_id=secrets.token_hex(16),
        occurred_at=now,
        link_code=code,
        destination=destination,
        visitor_id=visitor_id,
        ip=privacy.address(),
        user_agent=privacy.header("User-Agent"),
        referrer=privacy.header("Referer"),
        internal=internal,
        prefetch=_is_prefetch(),
        tier=tier,
    )
    kept = consent.limit(click)
    try:
        if kept is not None:
            OdooStore(request.env).append_clicks(
                [kept], country_code=request.geoip.country_code, scan=scan, **chosen
            )
            request.env["ir.http"]._trackflow_click_queued(kept.event_id)
    except (psycopg2.Error, ValueError):
        _logger.exception("A click on %s is lost; the visitor goes on.", code)
        request.env.cr.rollback()


def _is_prefetch():
    purposes = (privacy.header(name).lower() for name in _PREFETCH_HEADERS)
    return any("prefetch" in purpose or "preview" in purpose for purpose in purposes)


def _redirect(url, link):
    # Odoo's request.redirect would write the URL anew.
    return request.make_response(
        "",
        [("Location", url), ("Cache-Control", "no-store"), *map(tuple, link["headers"] or ())],
        status=302,
    )


def _incomplete():
    return _page(
        404,
        request.env._("This link does not exist"),
        request.env._("Perhaps it was copied only in part. Please check it."),
    )


def _refuse(reason, link):
    """A calm page that says why a link leads nowhere."""
    if reason == "not started":
        status, title = 404, request.env._("This link is not open yet")
        message = request.env._("Please come back later.")
    elif reason == "paused":
        status, title = 404, request.env._("This link is resting")
        message = request.env._("Please try again later.")
    else:
        status, title = 410, request.env._("This link is no longer valid")
        message = request.env._("The offer behind it has ended.")
    return _page(status, title, message, link["custom_css"])


def _page(status, title, message, custom_css=""):
    page = request.env["ir.ui.view"]._render_template(
        "trackflow.redirect_page", {"title": title, "message": message, "custom_css": custom_css}
    )
    return request.make_response(
        f"<!DOCTYPE html>\n{page}",  # not "+", which would escape the first part
        [("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "no-store")],
        status=status,
    )
