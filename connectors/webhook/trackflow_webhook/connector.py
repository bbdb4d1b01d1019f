"""The webhook connector as hosts see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from trackflow_core.ports import Delivery, Event, IncomingRequest
from trackflow_webhook import payload as shape
from trackflow_webhook import signature


class GenericWebhook:
    """Any sender of the fixed JSON shape, signed by Standard Webhooks 1.0.

    A delivery's payload is plain JSON data: a host may store it as JSON and map it later.
    """

    name = "webhook"
    title = "Webhook"

    def verify(self, request: IncomingRequest, secrets: Sequence[str], now: datetime) -> Delivery:
        """Check size, headers, timestamp and signature, then decode the body.

        Raises InvalidEvent when the request is not authentic, is stale, or cannot be decoded;
        ConfigError when there is no usable secret.
        """
        webhook_id, text = signature.check(request, secrets, now)
        return Delivery(webhook_id, shape.decode(text, webhook_id))

    def map_events(self, payload: Mapping[str, Any], namespace: str) -> Sequence[Event]:
        """The one lead or deal that a delivery tells; `payload` is `Delivery.payload`."""
        return (shape.event_from_payload(payload, namespace),)

    def new_secret(self) -> str:
        """A fresh signing secret."""
        return signature.new_secret()
