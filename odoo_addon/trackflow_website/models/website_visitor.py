from odoo import fields, models


class WebsiteVisitor(models.Model):
    _inherit = "website.visitor"

    trackflow_visitor_ids = fields.Many2many(
        "trackflow.visitor",
        string="Marketing Visitors",
        compute="_compute_trackflow_visitor_ids",
        groups="trackflow.group_trackflow_campaign_manager",
        help="Known to be the same person by a lead that both came with.",
    )
    trackflow_visitor_count = fields.Integer(
        "Marketing Visitors Known",
        compute="_compute_trackflow_visitor_ids",
        groups="trackflow.group_trackflow_campaign_manager",
    )

    def _compute_trackflow_visitor_ids(self):
        for visitor in self:
            visitors = visitor.sudo().lead_ids.trackflow_visitor_ids
            visitor.trackflow_visitor_ids = visitors.with_env(self.env)
            visitor.trackflow_visitor_count = len(visitors)

    def action_trackflow_visitors(self):
        """The journeys that led the person behind this visitor here."""
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id("trackflow.trackflow_visitor_action")
        visitors = self.trackflow_visitor_ids
        if len(visitors) == 1:
            action.update(view_mode="form", views=[(False, "form")], res_id=visitors.id)
        else:
            action["domain"] = [("id", "in", visitors.ids)]
        return action
