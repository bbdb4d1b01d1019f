from . import crm_lead, ir_http, res_company, res_config_settings, website_visitor
