from . import crm_lead, ir_http
