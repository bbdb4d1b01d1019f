"""Odoo's crm.lead records as TrackFlow leads and deals. This package never imports Odoo."""

from trackflow_odoo.connector import OdooConnector
from trackflow_odoo.mapping import (
    ADDON_FIELDS,
    FIELDS,
    STANDARD_FIELDS,
    deal_from_record,
    lead_from_record,
)
from trackflow_odoo.remote import OdooConnection, OdooOptions

__all__ = [
    "ADDON_FIELDS",
    "FIELDS",
    "STANDARD_FIELDS",
    "OdooConnection",
    "OdooConnector",
    "OdooOptions",
    "deal_from_record",
    "lead_from_record",
]
