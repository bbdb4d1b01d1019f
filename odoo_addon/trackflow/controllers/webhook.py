"""`POST /trackflow/hooks/<connector>/<instance>`: check, keep, acknowledge."""

import json
import logging
from datetime import datetime, timezone

from odoo import http
from odoo.http import request

from trackflow_core.errors import TrackFlowError
from trackflow_core.ports import IncomingRequest

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


def _json(content, status, content_type):
    return request.make_response(
        json.dumps(content),
        [("Content-Type", content_type), ("Cache-Control", "no-store")],
        status=status,
    )
