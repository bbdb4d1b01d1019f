"""Announces the Frappe CRM connector to every TrackFlow host."""

from __future__ import annotations

from collections.abc import Iterable

from trackflow_core.hooks import hookimpl
from trackflow_core.ports import Connector
from trackflow_frappe.connector import FrappeConnector


@hookimpl
def trackflow_register_connectors() -> Iterable[Connector]:
    """Frappe CRM."""
    return (FrappeConnector(),)
