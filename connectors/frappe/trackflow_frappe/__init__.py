"""Frappe CRM's leads and deals in TrackFlow, and their attribution in Frappe CRM."""

from trackflow_frappe.connection import FrappeConnection
from trackflow_frappe.connector import FrappeConnector
from trackflow_frappe.options import FrappeOptions

__all__ = ["FrappeConnection", "FrappeConnector", "FrappeOptions"]
