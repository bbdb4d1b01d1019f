"""Announces the webhook connector to every TrackFlow host."""

from __future__ import annotations

from collections.abc import Iterable

from trackflow_core.hooks import hookimpl
from trackflow_core.ports import Connector
from trackflow_webhook.connector import GenericWebhook


@hookimpl
def trackflow_register_connectors() -> Iterable[Connector]:
    """Any sender of the fixed JSON shape."""
    return (GenericWebhook(),)
