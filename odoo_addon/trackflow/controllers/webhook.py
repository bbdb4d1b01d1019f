"""`POST /trackflow/hooks/<connector>/<instance>`: check, keep, acknowledge."""

import json
from datetime import datetime, timezone

from odoo import http
from odoo.http import request

from trackflow_core.errors import TrackFlowError

from .. import receiving


class WebhookController(http.Controller):
    @http.route(
        "/trackflow/hooks/<string:connector>/<string:instance>",
        type="http",
        auth="public",
        methods=["POST"],
        csrf=False,
        save_session=False,
        max_content_length=receiving.MAX_BODY,
    )
    def receive_webhook(self, connector, instance, **_params):
        """Keep an authentic delivery for the job; the sender learns nothing of a refusal."""
        reply = receiving.ACCEPTED
        try:
            request.env["trackflow.connector"].sudo()._receive(
                connector,
                instance,
                receiving.incoming(request.httprequest),
                datetime.now(timezone.utc),
            )
        except TrackFlowError as error:
            reply = receiving.refused(connector, instance, error)
        return request.make_response(json.dumps(reply.data), reply.headers, status=reply.status)
