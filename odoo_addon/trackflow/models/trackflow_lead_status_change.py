from odoo import fields, models

STATUSES = [
    ("lead", "Lead"),
    ("opportunity", "Opportunity"),
    ("won", "Won"),
    ("lost", "Lost"),
]


class TrackflowLeadStatusChange(models.Model):
    """A lead that was qualified, won, lost or reopened, with the marketing that had brought it."""

    _name = "trackflow.lead.status.change"
    _inherit = "trackflow.settled"
    _description = "TrackFlow Lead Status Change"
    _order = "change_date desc, id desc"
    _log_access = False
    _rec_name = "to_status"

    lead_id = fields.Many2one(
        "crm.lead", required=True, readonly=True, index=True, ondelete="cascade"
    )
    from_status = fields.Selection(STATUSES, "From", readonly=True)
    to_status = fields.Selection(STATUSES, "To", readonly=True)
    change_date = fields.Datetime("Changed On", required=True, readonly=True, index=True)
    changed_by = fields.Many2one("res.users", readonly=True, ondelete="set null")
    days_in_status = fields.Float(
        "Lead Time (days)",
        readonly=True,
        aggregator="avg",
        help="How long the lead had been what it was before.",
    )
    source_campaign = fields.Char(
        "Campaign", readonly=True, help="Of the last touch before the lead, as it was then."
    )
    source_medium = fields.Char("Medium", readonly=True)
