from odoo import models


class CrmLead(models.Model):
    _inherit = "crm.lead"

    def _trackflow_count_orders(self):
        """Keep what confirmed orders brought, in the company's currency and without taxes."""
        for lead in self.sudo():
            revenue = lead.sale_amount_total
            if lead.company_currency.compare_amounts(lead.trackflow_won_revenue, revenue):
                lead.trackflow_won_revenue = revenue
