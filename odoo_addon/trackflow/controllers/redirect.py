"""`/r/<code>`: one SELECT, one INSERT, one answer. The ORM is not used on this path."""

import logging
from datetime import datetime, timezone

import psycopg2
from odoo import http
from odoo.addons.link_tracker.controller.main import LinkTracker
from odoo.http import request

from trackflow_core.tracking.urls import raw_query

from .. import privacy, redirects
from ..engine import build_engine
from ..store import OdooStore

_logger = logging.getLogger(__name__)


class Redirect(LinkTracker):
    # The session is only read: saving one for each visitor would write a file for each click.
    @http.route(website=False, save_session=False, methods=["GET", "HEAD"], sitemap=False)
    def full_url_redirect(self, code, **post):
        return self._trackflow_lead_on(code, raw_query(request.httprequest.query_string))

    def _trackflow_lead_on(self, code, query):
        """Send a visitor on, with the raw `query` of the request."""
        found = _find_link(code)
        if found is None:
            return _incomplete()
        hit = privacy.hit()
        answer = redirects.answer(_place(), hit, found, query, datetime.now(timezone.utc))
        if answer.destination is None:
            return _refuse(answer.reason, found.row)
        response = _redirect(answer.destination, found.row)
        if answer.visitor_id:
            response.set_cookie(**hit.cookie(answer.visitor_id), cookie_type="optional")
        if answer.click is not None:
            _queue(answer)
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
    host = request.httprequest.host.partition(":")[0].lower()
    statement = redirects.select(code, host, request.env.uid)
    if statement is None:
        return None
    request.env.cr.execute(statement)
    rows = request.env.cr.dictfetchall()
    return redirects.Found.of(code, rows[0]) if rows else None


def _place():
    """What redirects depend on at this request's host."""
    env = request.env
    return redirects.Place(
        engine=build_engine(env),
        short_hosts=env["trackflow.domain"].sudo()._short_hosts(),
        base_url=env["link.tracker"].sudo().get_base_url(),
        no_external=bool(
            env["ir.config_parameter"].sudo().get_param("link_tracker.no_external_tracking")
        ),
        country=lambda _address: request.geoip.country_code or "",
    )


def _queue(answer):
    """Append the click to the queue; a visitor is sent on even when that fails."""
    try:
        OdooStore(request.env).append_clicks([answer.click], **answer.details)
        request.env["ir.http"]._trackflow_click_queued(answer.click.event_id)
    except (psycopg2.Error, ValueError):
        _logger.exception("A click on %s is lost; the visitor goes on.", answer.click.link_code)
        request.env.cr.rollback()


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
