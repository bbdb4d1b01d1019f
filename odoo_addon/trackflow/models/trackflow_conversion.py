from odoo import fields, models

from ..relations import UncheckedMany2one, drop_foreign_keys


class TrackflowConversion(models.Model):
    """A lead that came in, or a deal that was won, after at least one touch."""

    _name = "trackflow.conversion"
    _inherit = "trackflow.settled"
    _description = "TrackFlow Conversion"
    _order = "occurred_at desc, id desc"
    # Rows are computed, not authored; and there are many.
    _log_access = False
    _rec_name = "kind"

    lead_id = UncheckedMany2one(
        "crm.lead", required=True, readonly=True, index=True, ondelete="cascade"
    )
    kind = fields.Selection(
        [("lead", "Lead Came In"), ("won", "Deal Won")], required=True, readonly=True
    )
    occurred_at = fields.Datetime("Converted On", readonly=True, index=True)
    visitor_id = UncheckedMany2one(
        "trackflow.visitor", readonly=True, groups="trackflow.group_trackflow_campaign_manager"
    )
    link_id = UncheckedMany2one("link.tracker", readonly=True, index="btree_not_null")
    click_id = UncheckedMany2one("link.tracker.click", readonly=True, index="btree_not_null")
    campaign_id = UncheckedMany2one("utm.campaign", readonly=True, index="btree_not_null")
    source = fields.Char(readonly=True)
    medium = fields.Char(readonly=True)
    campaign = fields.Char("Campaign Name", readonly=True)
    channel = fields.Char(readonly=True)
    value = fields.Monetary(readonly=True)
    currency_id = UncheckedMany2one("res.currency", readonly=True)
    company_id = UncheckedMany2one("res.company", readonly=True, ondelete="cascade")

    _visitor_moment_idx = models.Index("(visitor_id, occurred_at) WHERE visitor_id IS NOT NULL")
    _lead_kind_uniq = models.UniqueIndex(
        "(lead_id, kind)", "A lead has one conversion of each kind."
    )

    def init(self):
        drop_foreign_keys(self)
