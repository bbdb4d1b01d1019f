from odoo import fields, models

MARKETING_READERS = "sales_team.group_sale_salesman,trackflow.group_trackflow_campaign_manager"


class ResPartner(models.Model):
    _inherit = "res.partner"

    trackflow_visitor_id = fields.Many2one(
        "trackflow.visitor",
        "Visitor",
        readonly=True,
        copy=False,
        index="btree_not_null",
        ondelete="set null",
        groups="trackflow.group_trackflow_campaign_manager",
        help="The visitor last seen among those bound to this contact's leads.",
    )
    trackflow_engagement_score = fields.Float(
        "Engagement",
        readonly=True,
        copy=False,
        digits=(16, 2),
        aggregator="avg",
        groups=MARKETING_READERS,
        help="Of all visitors bound to this contact's leads; brought up to date within the hour.",
    )
    trackflow_last_campaign = fields.Char(
        "Last Campaign", readonly=True, copy=False, groups=MARKETING_READERS
    )

    def write(self, vals):
        moved = {"is_company", "parent_id"} & vals.keys()
        if not moved or not self.env["crm.lead"]._trackflow_has_accounts():
            return super().write(vals)
        left = self.sudo().commercial_partner_id.ids
        result = super().write(vals)
        joined = self.sudo().commercial_partner_id.ids
        self.env["crm.lead"]._trackflow_accounts_changed(left + joined)
        return result
