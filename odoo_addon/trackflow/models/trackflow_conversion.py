from odoo import fields, models


class TrackflowConversion(models.Model):
    """A lead that came in, or a deal that was won, after at least one touch."""

    _name = "trackflow.conversion"
    _inherit = "trackflow.settled"
    _description = "TrackFlow Conversion"
    _order = "occurred_at desc, id desc"
    # Rows are computed, not authored; and there are many.
    _log_access = False
    _rec_name = "kind"

    lead_id = fields.Many2one(
        "crm.lead", required=True, readonly=True, index=True, ondelete="cascade"
    )
    kind = fields.Selection(
        [("lead", "Lead Came In"), ("won", "Deal Won")], required=True, readonly=True
    )
    occurred_at = fields.Datetime("Converted On", readonly=True, index=True)
    visitor_id = fields.Many2one(
        "trackflow.visitor",
        readonly=True,
        ondelete="set null",
        groups="trackflow.group_trackflow_campaign_manager",
    )
    link_id = fields.Many2one(
        "link.tracker", readonly=True, index="btree_not_null", ondelete="set null"
    )
    click_id = fields.Many2one(
        "link.tracker.click", readonly=True, index="btree_not_null", ondelete="set null"
    )
    campaign_id = fields.Many2one(
        "utm.campaign", readonly=True, index="btree_not_null", ondelete="set null"
    )
    source = fields.Char(readonly=True)
    medium = fields.Char(readonly=True)
    campaign = fields.Char("Campaign Name", readonly=True)
    channel = fields.Char(readonly=True)
    value = fields.Monetary(readonly=True)
    currency_id = fields.Many2one("res.currency", readonly=True)
    company_id = fields.Many2one("res.company", readonly=True, ondelete="cascade")

    _visitor_moment_idx = models.Index("(visitor_id, occurred_at) WHERE visitor_id IS NOT NULL")
    _lead_kind_uniq = models.UniqueIndex(
        "(lead_id, kind)", "A lead has one conversion of each kind."
    )
