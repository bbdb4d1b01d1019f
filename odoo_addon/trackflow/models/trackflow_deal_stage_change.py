from odoo import fields, models
from odoo.exceptions import AccessError


class TrackflowDealStageChange(models.Model):
    """A deal that moved from one stage to another: who moved it, and how long it had been there."""

    _name = "trackflow.deal.stage.change"
    _inherit = "trackflow.settled"
    _description = "TrackFlow Deal Stage Change"
    _order = "change_date desc, id desc"
    _log_access = False
    _rec_name = "to_stage_id"

    lead_id = fields.Many2one(
        "crm.lead", "Deal", required=True, readonly=True, index=True, ondelete="cascade"
    )
    from_stage_id = fields.Many2one("crm.stage", "From", readonly=True, ondelete="set null")
    to_stage_id = fields.Many2one("crm.stage", "To", readonly=True, ondelete="set null")
    change_date = fields.Datetime("Changed On", required=True, readonly=True, index=True)
    changed_by = fields.Many2one("res.users", readonly=True, ondelete="set null")
    days_in_stage = fields.Float(
        "Lead Time (days)",
        readonly=True,
        aggregator="avg",
        help="How long the deal had been in the stage that it left.",
    )
    notes = fields.Text()

    def write(self, vals):
        # What happened is written once; only what people remark may change.
        if not self.env.su and set(vals) - {"notes"}:
            raise AccessError(self.env._("Only the notes of a stage change can be edited."))
        return super().write(vals)
