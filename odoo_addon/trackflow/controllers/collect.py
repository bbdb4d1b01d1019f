"""`/trackflow/t.js`, `/trackflow/collect` and `/trackflow/pixel.gif`: what happens on websites."""

import json
import logging
import secrets
from datetime import datetime, timezone

import psycopg2
from odoo import http
from odoo.http import request

from trackflow_core import tracker
from trackflow_core.errors import InvalidEvent
from trackflow_core.model import Tier
from trackflow_core.tracking import collect, consent, identity

from .. import privacy
from ..store import OdooStore

_logger = logging.getLogger(__name__)

_ROUTE = {
    "type": "http",
    "auth": "public",
    "website": False,
    "save_session": False,
    "sitemap": False,
}


class Collect(http.Controller):
    @http.route("/trackflow/t.js", methods=["GET"], **_ROUTE)
    def script(self, **_):
        response = request.make_response(
            tracker.script(),
            [
                ("Content-Type", "text/javascript; charset=utf-8"),
                ("Cache-Control", "public, max-age=3600"),
                ("ETag", tracker.etag()),
                ("X-Content-Type-Options", "nosniff"),
            ],
        )
        return response.make_conditional(request.httprequest.environ)

    @http.route("/trackflow/collect", methods=["POST", "OPTIONS"], csrf=False, **_ROUTE)
    def collect(self, **_):
        domains = request.env["link.tracker"].sudo()._trackflow_own_hosts()
        origin = request.httprequest.headers.get("Origin", "")
        if not collect.may_call(origin, request.httprequest.host, domains):
            return _answer({"error": "This site may not tell anything here."}, status=403)
        if request.httprequest.method == "OPTIONS":
            return _answer({}, origin)
        if (request.httprequest.content_length or 0) > collect.MAX_BODY:
            return _answer({"error": "The body is too long."}, origin, 413)
        now = datetime.now(timezone.utc)
        response = _answer({}, origin)
        try:
            told = collect.read(request.httprequest.get_data())
            hit = privacy.hit()
            seen = _observe(hit, told, now, response, domains)
        except InvalidEvent as error:
            return _answer({"error": str(error)}, origin, 400)
        events, problems = collect.clicks(told, seen)
        _queue([left for event in events if (left := consent.limit(event)) is not None])
        known = None if seen.internal else seen.visitor_id
        reply = collect.answer(told, known, hit.keys, now, domains, problems)
        response.set_data(json.dumps(reply))
        return response

    @http.route("/trackflow/pixel.gif", methods=["GET"], **_ROUTE)
    def pixel(self, **_):
        hit = privacy.hit()
        seen = collect.Observed(
            datetime.now(timezone.utc),
            tier=hit.tier,
            user_agent=hit.header("User-Agent"),
            internal=hit.internal,
        )
        opened = collect.opened(secrets.token_hex(16), request.httprequest.url, seen)
        if (kept := consent.limit(opened)) is not None:
            _queue([kept])
        return request.make_response(
            tracker.PIXEL, [("Content-Type", "image/gif"), ("Cache-Control", "no-store")]
        )


def _observe(hit, told, now, response, domains):
    """Who tells this, as far as consent allows to know; a new visitor gets a cookie."""
    internal, tier = hit.internal, hit.tier
    if told.consent is consent.Consent.DENIED and tier is not Tier.NONE:
        tier = Tier.AGGREGATE
    visitor_id = None
    if tier is Tier.FULL and not internal:
        arrived = identity.read_crossing(told.page, hit.keys, now, domains)
        visitor_id = hit.known_visitor or arrived or identity.new_visitor_id()
        response.set_cookie(**hit.cookie(visitor_id), cookie_type="optional")
    return collect.Observed(
        now=now,
        visitor_id=visitor_id,
        tier=tier,
        ip=hit.address,
        user_agent=hit.header("User-Agent"),
        internal=internal,
    )


def _queue(events):
    """Append events to the queue; the page goes on even when that fails."""
    if not events:
        return
    try:
        OdooStore(request.env).append_clicks(events, country_code=request.geoip.country_code)
    except (psycopg2.Error, ValueError):
        _logger.exception("%s events of a website are lost.", len(events))
        request.env.cr.rollback()


def _answer(data, origin="", status=200):
    headers = [
        ("Content-Type", "application/json"),
        ("Cache-Control", "no-store"),
        ("Vary", "Origin"),
    ]
    if origin:
        headers += [
            ("Access-Control-Allow-Origin", origin),
            ("Access-Control-Allow-Credentials", "true"),
            ("Access-Control-Allow-Headers", "Content-Type"),
        ]
    return request.make_response(json.dumps(data), headers, status=status)
