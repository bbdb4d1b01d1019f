from odoo import fields, models

# What decides whose currency a lead is in.
_COMPANY_FIELDS = frozenset(("company_id", "team_id", "user_id"))


class CrmLead(models.Model):
    _inherit = "crm.lead"

    def write(self, vals):
        result = super().write(vals)
        if _COMPANY_FIELDS & vals.keys():
            self.filtered("trackflow_won_revenue")._trackflow_count_orders()
        return result

    def _trackflow_count_orders(self):
        """Keep what confirmed orders brought, without taxes and in the currency of the company whose
        deal it is, whoever does it."""
        for lead in self.sudo():
            currency = lead._trackflow_company().currency_id
            revenue = sum(
                order.currency_id._convert(
                    order.amount_untaxed,
                    currency,
                    order.company_id,
                    order.date_order or fields.Date.today(),
                )
                for order in lead.order_ids.filtered_domain(lead._get_lead_sale_order_domain())
            )
            if currency.compare_amounts(lead.trackflow_won_revenue, revenue):
                lead.trackflow_won_revenue = revenue
