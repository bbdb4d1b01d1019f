"""`/trackflow/t.js`, `/trackflow/collect` and `/trackflow/pixel.gif`: what happens on websites."""

import json
import logging
import secrets
from datetime import datetime, timezone

import psycopg2
from odoo import http
from odoo.http import request

from trackflow_core import tracker
from trackflow_core.tracking import collect, consent

from .. import collecting, privacy
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
        response = request.make_response(tracker.script(), collecting.SCRIPT_HEADERS)
        return response.make_conditional(request.httprequest.environ)

    @http.route("/trackflow/collect", methods=["POST", "OPTIONS"], csrf=False, **_ROUTE)
    def collect(self, **_):
        hit = privacy.hit()
        domains = request.env["link.tracker"].sudo()._trackflow_own_hosts()
        reply = collecting.reply(hit, domains, datetime.now(timezone.utc))
        _queue(reply.events, hit)
        response = request.make_response(json.dumps(reply.data), reply.headers, status=reply.status)
        if reply.visitor_id:
            response.set_cookie(**hit.cookie(reply.visitor_id), cookie_type="optional")
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
            _queue([kept], hit)
        return request.make_response(
            tracker.PIXEL, [("Content-Type", "image/gif"), ("Cache-Control", "no-store")]
        )


def _queue(events, hit):
    """Append the events of a hit to the queue; the page goes on even when that fails."""
    if not events:
        return
    try:
        OdooStore(request.env).append_clicks(
            events, country_code=request.geoip.country_code, company_id=hit.rules.company_id
        )
    except (psycopg2.Error, ValueError):
        _logger.exception("%s events of a website are lost.", len(events))
        request.env.cr.rollback()
