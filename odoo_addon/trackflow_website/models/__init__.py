from . import (
    crm_lead,
    ir_http,
    ir_qweb,
    link_tracker,
    res_company,
    res_config_settings,
    trackflow_front,
    website,
    website_visitor,
)
