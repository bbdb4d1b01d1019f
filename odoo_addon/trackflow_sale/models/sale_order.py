from odoo import api, models

_ORDER_FIELDS = frozenset(
    ("company_id", "currency_id", "date_order", "opportunity_id", "order_line", "state")
)
_LINE_FIELDS = frozenset(
    ("discount", "price_unit", "product_id", "product_uom_id", "product_uom_qty", "tax_ids")
)


class SaleOrder(models.Model):
    _inherit = "sale.order"

    @api.model_create_multi
    def create(self, vals_list):
        orders = super().create(vals_list)
        orders.opportunity_id._trackflow_count_orders()
        return orders

    def write(self, vals):
        before = self.opportunity_id if "opportunity_id" in vals else self.env["crm.lead"]
        result = super().write(vals)
        if _ORDER_FIELDS & vals.keys():
            (before | self.opportunity_id)._trackflow_count_orders()
        return result

    def unlink(self):
        leads = self.opportunity_id
        result = super().unlink()
        leads._trackflow_count_orders()
        return result


class SaleOrderLine(models.Model):
    _inherit = "sale.order.line"

    @api.model_create_multi
    def create(self, vals_list):
        lines = super().create(vals_list)
        lines.order_id.opportunity_id._trackflow_count_orders()
        return lines

    def write(self, vals):
        result = super().write(vals)
        if _LINE_FIELDS & vals.keys():
            self.order_id.opportunity_id._trackflow_count_orders()
        return result

    def unlink(self):
        leads = self.order_id.opportunity_id
        result = super().unlink()
        leads._trackflow_count_orders()
        return result
