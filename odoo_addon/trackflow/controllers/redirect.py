"""`/r/<code>`: one SELECT, one INSERT, one answer. The ORM is not used on this path."""

import logging
import secrets
from datetime import datetime, timezone
from urllib.parse import quote, urlsplit

import psycopg2
from odoo import http
from odoo.addons.link_tracker.controller.main import LinkTracker
from odoo.http import request
from odoo.tools import SQL

from trackflow_core.model import Click, Link, Tier
from trackflow_core.tracking import consent, links
from trackflow_core.tracking.urls import build_destination

from .. import privacy
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
            return _page(
                404,
                request.env._("This link does not exist"),
                request.env._("Perhaps it was copied only in part. Please check it."),
            )
        now = datetime.now(timezone.utc)
        choice = links.choose(_core_link(code, link), links.Request(), now)
        if choice.destination is None:
            return _page(
                410,
                request.env._("This link is no longer valid"),
                request.env._("The offer behind it has ended."),
            )
        if choice.reason == "expired":
            return _redirect(_absolute(choice.destination))
        destination = _destination(link, choice.destination)
        response = _redirect(destination)
        if request.httprequest.method != "GET":
            # HEAD, and OPTIONS, which Odoo lets through to every route.
            return response
        internal = privacy.is_internal()
        tier = privacy.tier()
        visitor_id = None
        if tier is Tier.FULL and not internal:
            visitor_id = privacy.identify(response)
        _queue(code, destination, visitor_id, internal, tier, now)
        return response


def _find_link(code):
    """The link of `code` with everything that the answer depends on; None when there is none."""
    if len(code) > _MAX_CODE or "\0" in code:
        return None
    request.env.cr.execute(
        SQL(
            """
            SELECT link.url, campaign.name AS campaign, medium.name AS medium,
                   source.name AS source, link.trackflow_expiry_date AS expiry_date,
                   link.trackflow_fallback_url AS fallback_url,
                   COALESCE(address.tz, 'UTC') AS zone
              FROM link_tracker_code code
              JOIN link_tracker link ON link.id = code.link_id
              LEFT JOIN utm_campaign campaign ON campaign.id = link.campaign_id
              LEFT JOIN utm_medium medium ON medium.id = link.medium_id
              LEFT JOIN utm_source source ON source.id = link.source_id
              LEFT JOIN res_users visitor ON visitor.id = %s
              LEFT JOIN res_company company ON company.id = visitor.company_id
              LEFT JOIN res_partner address ON address.id = company.partner_id
             WHERE code.code = %s
            """,
            request.env.uid,
            code,
        )
    )
    found = request.env.cr.dictfetchall()
    return found[0] if found else None


def _core_link(code, link):
    return Link(
        code=code,
        destination=link["url"],
        ends=link["expiry_date"],
        zone=link["zone"],
        fallback=link["fallback_url"] or "",
    )


def _destination(link, url):
    """Where the link leads this visitor: `url` with its own query untouched, theirs appended."""
    url = _absolute(url)
    # In the order of Odoo's `utm.mixin.tracking_fields`.
    utm = {"campaign": link["campaign"], "source": link["source"], "medium": link["medium"]}
    no_external = (
        request.env["ir.config_parameter"].sudo().get_param("link_tracker.no_external_tracking")
    )
    if no_external and urlsplit(url).netloc != request.httprequest.host:
        utm = {}
    return _ascii(build_destination(url, utm, _raw_query()))


def _absolute(url):
    return request.httprequest.host_url.rstrip("/") + url if url.startswith("/") else url


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


def _queue(code, destination, visitor_id, internal, tier, now):
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
            OdooStore(request.env).append_clicks([kept], country_code=request.geoip.country_code)
            request.env["ir.http"]._trackflow_click_queued(kept.event_id)
    except (psycopg2.Error, ValueError):
        _logger.exception("A click on %s is lost; the visitor goes on.", code)
        request.env.cr.rollback()


def _is_prefetch():
    purposes = (privacy.header(name).lower() for name in _PREFETCH_HEADERS)
    return any("prefetch" in purpose or "preview" in purpose for purpose in purposes)


def _redirect(url):
    # Odoo's request.redirect would write the URL anew.
    return request.make_response("", [("Location", url), ("Cache-Control", "no-store")], status=302)


def _page(status, title, message):
    page = request.env["ir.ui.view"]._render_template(
        "trackflow.redirect_page", {"title": title, "message": message}
    )
    return request.make_response(
        f"<!DOCTYPE html>\n{page}",  # not "+", which would escape the first part
        [("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "no-store")],
        status=status,
    )
