from . import (
    base_partner_merge,
    privacy_lookup_wizard,
    trackflow_comparison,
    trackflow_connector_provision,
    trackflow_health,
    trackflow_sheet_import,
    trackflow_visitor_merge,
)
