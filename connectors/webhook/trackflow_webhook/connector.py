"""The webhook connector as hosts see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from trackflow_core.connectors import Capabilities, Instance, Webhooks
from trackflow_core.ports import Delivery, Event, IncomingRequest
from trackflow_http import Pace
from trackflow_webhook import payload as shape
from trackflow_webhook import signature
from trackflow_webhook.connection import WebhookConnection
from trackflow_webhook.options import WebhookOptions


class GenericWebhook:
    """Any sender. By itself it takes the fixed JSON shape, signed by Standard Webhooks 1.0;
    a connection takes what its options say.

    A delivery's payload is plain JSON data: a host may store it as JSON and map it later.
    """

    name = "webhook"
    title = "Webhook"
    options = WebhookOptions
    capabilities = Capabilities(
        versions="any system that can POST JSON or a form",
        webhooks=Webhooks.EVENTS,
        write_back=True,
    )

    def __init__(self, pace: Pace | None = None) -> None:
        self._pace = pace

    def connect(self, options: WebhookOptions, instance: Instance) -> WebhookConnection:
        """The connection with one sender."""
        return WebhookConnection(options, instance, self._pace)

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
