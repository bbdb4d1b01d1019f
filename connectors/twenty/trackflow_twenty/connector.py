"""The Twenty connector as hosts see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from trackflow_core.connectors import Capabilities, Instance, Webhooks
from trackflow_core.ports import Delivery, Event, IncomingRequest
from trackflow_http import Pace, signed
from trackflow_twenty import signature
from trackflow_twenty.connection import TwentyConnection
from trackflow_twenty.mapping import events_of
from trackflow_twenty.options import TwentyOptions
from trackflow_twenty.workspace import Workspace

_PACE = Pace(per_second=1.5)
"""Twenty allows 100 requests a minute."""


class TwentyConnector:
    """Twenty: people are leads, opportunities are deals."""

    name = "twenty"
    title = "Twenty"
    options = TwentyOptions
    capabilities = Capabilities(
        versions="Twenty 1.3 or later",
        webhooks=Webhooks.HINTS,
        polling=True,
        write_back=True,
        provisioning=True,
    )

    def __init__(self, pace: Pace = _PACE) -> None:
        self._pace = pace

    def connect(self, options: TwentyOptions, instance: Instance) -> TwentyConnection:
        """The connection with one workspace."""
        workspace = Workspace(options.url, options.key, self._pace)
        return TwentyConnection(workspace, options, instance)

    def map_events(self, payload: Mapping[str, Any], namespace: str) -> Sequence[Event]:
        """The lead or deal that a payload tells; none for a hint."""
        return events_of(payload, namespace)

    def verify(self, request: IncomingRequest, secrets: Sequence[str], now: datetime) -> Delivery:
        """Check signature and timestamp.

        Raises InvalidEvent when the request is not authentic, ConfigError without secrets.
        """
        return signature.check(request, secrets, now)

    def new_secret(self) -> str:
        """A fresh secret for the workspace's webhook."""
        return signed.new_secret()
