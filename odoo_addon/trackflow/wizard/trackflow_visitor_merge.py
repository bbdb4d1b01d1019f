from odoo import api, fields, models


class TrackflowVisitorMerge(models.TransientModel):
    """Asks before several visitors become one, which cannot be undone."""

    _name = "trackflow.visitor.merge"
    _description = "Merge Visitors"

    visitor_ids = fields.Many2many(
        "trackflow.visitor",
        string="Visitors",
        required=True,
        default=lambda self: self.env.context.get("active_ids"),
    )
    winner_id = fields.Many2one("trackflow.visitor", "Stays", compute="_compute_winner_id")

    @api.depends("visitor_ids")
    def _compute_winner_id(self):
        for merge in self:
            merge.winner_id = merge.visitor_ids._first_seen()

    def action_merge(self):
        return self.visitor_ids.action_merge()
