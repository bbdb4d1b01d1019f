"""The Frappe CRM connector as hosts see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from trackflow_core.connectors import Capabilities, Instance, Webhooks
from trackflow_core.ports import Delivery, Event, IncomingRequest
from trackflow_frappe import signature
from trackflow_frappe.connection import FrappeConnection
from trackflow_frappe.mapping import events_of
from trackflow_frappe.options import FrappeOptions
from trackflow_frappe.site import Site
from trackflow_http import Pace, signed


class FrappeConnector:
    """Frappe CRM: webhooks are hints, polling is the truth."""

    name = "frappe"
    title = "Frappe CRM"
    options = FrappeOptions
    capabilities = Capabilities(
        versions="Frappe 15 and 16 with Frappe CRM 1.81 or later",
        webhooks=Webhooks.HINTS,
        polling=True,
        write_back=True,
        provisioning=True,
    )

    def __init__(self, pace: Pace | None = None) -> None:
        self._pace = pace

    def connect(self, options: FrappeOptions, instance: Instance) -> FrappeConnection:
        """The connection with one site."""
        return FrappeConnection(Site(options.url, options.token, self._pace), options, instance)

    def map_events(self, payload: Mapping[str, Any], namespace: str) -> Sequence[Event]:
        """The lead or deal that a payload tells; none for a hint."""
        return events_of(payload, namespace)

    def verify(self, request: IncomingRequest, secrets: Sequence[str], now: datetime) -> Delivery:
        """Check the signature; Frappe sends no timestamp.

        Raises InvalidEvent when the request is not authentic, ConfigError without secrets.
        """
        return signature.check(request, secrets)

    def new_secret(self) -> str:
        """A fresh secret for the site's webhooks."""
        return signed.new_secret()
