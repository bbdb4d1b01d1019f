from . import crm_lead, sale_order
