"""`POST /trackflow/hooks/<connector>/<instance>`: check, keep, acknowledge."""

import json
import logging
from datetime import datetime, timezone

from odoo import http
from odoo.http import request
from odoo.tools import config

from trackflow_core.errors import TrackFlowError
from trackflow_core.ports import IncomingRequest
from trackflow_core.tracking import networks

_logger = logging.getLogger(__name__)

_MAX_BODY = 1024 * 1024


class WebhookController(http.Controller):
    @http.route(
        "/trackflow/hooks/<string:connector>/<string:instance>",
        type="http",
        auth="public",
        methods=["POST"],
        csrf=False,
        save_session=False,
        max_content_length=_MAX_BODY,
    )
    def receive_webhook(self, connector, instance, **_params):
        """Keep an authentic delivery for the job; the sender learns nothing of a refusal."""
        httprequest = request.httprequest
        incoming = IncomingRequest(
            httprequest.get_data(),
            {name.lower(): value for name, value in httprequest.headers.items()},
            networks.contains(_trusted_proxies(), _peer(httprequest.environ)),
        )
        try:
            request.env["trackflow.connector"].sudo()._receive(
                connector, instance, incoming, datetime.now(timezone.utc)
            )
        except TrackFlowError as error:
            _logger.warning("A webhook to %s/%s is refused: %s", connector, instance, error)
            return _json(
                {
                    "type": "about:blank",
                    "title": "Unauthorized",
                    "status": 401,
                    "detail": "The request could not be authenticated.",
                },
                401,
                "application/problem+json",
            )
        return _json({"status": "accepted"}, 202, "application/json")


def _trusted_proxies():
    """The networks of odoo.conf whose proxies may tell what only they know."""
    told = config.get("trackflow_trusted_proxies") or ""
    return [networks.parse(text) for text in told.split(",") if text.strip()]


def _peer(environ):
    """Who is at the other end of the connection, whatever a forwarding header says."""
    forwarded = environ.get("werkzeug.proxy_fix.orig") or {}
    return forwarded.get("REMOTE_ADDR") or environ.get("REMOTE_ADDR") or ""


def _json(content, status, content_type):
    return request.make_response(
        json.dumps(content),
        [("Content-Type", content_type), ("Cache-Control", "no-store")],
        status=status,
    )
