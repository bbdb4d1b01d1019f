from . import (
    trackflow_dashboard,
    trackflow_report_campaign,
    trackflow_report_funnel,
    trackflow_report_journey,
    trackflow_report_lead,
    trackflow_report_model,
)
