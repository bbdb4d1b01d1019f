"""Odoo's crm.lead records as TrackFlow leads and deals. Pure: this package never imports Odoo."""

from trackflow_odoo.mapping import (
    ADDON_FIELDS,
    FIELDS,
    STANDARD_FIELDS,
    OdooConnector,
    deal_from_record,
    lead_from_record,
)

__all__ = [
    "ADDON_FIELDS",
    "FIELDS",
    "STANDARD_FIELDS",
    "OdooConnector",
    "deal_from_record",
    "lead_from_record",
]
