"""The Odoo connector as hosts see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trackflow_core.connectors import Capabilities, Instance
from trackflow_core.ports import Event
from trackflow_http import Pace
from trackflow_odoo.mapping import deal_from_record, lead_from_record
from trackflow_odoo.remote import OdooConnection, OdooOptions
from trackflow_odoo.rpc import Odoo


class OdooConnector:
    """Odoo's crm.lead, inside Odoo by its records or from elsewhere by a connection.

    The payload of an event is one record.
    """

    name = "odoo"
    title = "Odoo"
    options = OdooOptions
    capabilities = Capabilities(
        versions="Odoo 19 and later by JSON-2, 14 to 18 by XML-RPC",
        polling=True,
        write_back=True,
        provisioning=True,
    )

    def __init__(self, pace: Pace | None = None) -> None:
        self._pace = pace

    def connect(self, options: OdooOptions, instance: Instance) -> OdooConnection:
        """The connection with one database."""
        odoo = Odoo(options.url, options.database, options.user, options.api_key, self._pace)
        return OdooConnection(odoo, options, instance)

    def map_events(self, payload: Mapping[str, Any], namespace: str) -> Sequence[Event]:
        """The lead that a record is, and the deal too when it is an opportunity."""
        deal = deal_from_record(payload, namespace)
        lead = lead_from_record(payload, namespace)
        return (lead,) if deal is None else (lead, deal)
