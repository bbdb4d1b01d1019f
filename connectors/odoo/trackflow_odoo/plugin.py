"""Announces the Odoo connector to every TrackFlow host."""

from __future__ import annotations

from collections.abc import Iterable

from trackflow_core.hooks import hookimpl
from trackflow_core.ports import Connector
from trackflow_odoo.connector import OdooConnector


@hookimpl
def trackflow_register_connectors() -> Iterable[Connector]:
    """Odoo's crm.lead."""
    return (OdooConnector(),)
