from . import (
    crm_lead,
    ir_http,
    link_tracker,
    res_company,
    res_config_settings,
    trackflow_front,
    website,
    website_visitor,
)
