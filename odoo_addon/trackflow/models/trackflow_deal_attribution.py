from odoo import fields, models
from odoo.tools.translate import LazyTranslate

from ..relations import UncheckedMany2one, drop_foreign_keys

_lt = LazyTranslate(__name__)

# What reports call a group without one.
_NO_CAMPAIGN = _lt("No campaign")
_NO_LINK = _lt("No link")


class TrackflowDealAttribution(models.Model):
    """One touch's share of a deal: a row of the ledger, replaced whole at each recomputation."""

    _name = "trackflow.deal.attribution"
    _inherit = "trackflow.settled"
    _description = "TrackFlow Deal Attribution"
    _order = "lead_id desc, sequence, id"
    # Rows are computed, not authored; and there are many.
    _log_access = False
    _rec_name = "channel"

    lead_id = UncheckedMany2one(
        "crm.lead", "Deal", required=True, readonly=True, index=True, ondelete="cascade"
    )
    attribution_model_id = UncheckedMany2one("trackflow.attribution.model", "Model", readonly=True)
    company_id = UncheckedMany2one("res.company", readonly=True, ondelete="cascade")
    currency_id = UncheckedMany2one("res.currency", readonly=True)
    deal_value = fields.Monetary(readonly=True, aggregator=None)
    deal_status = fields.Selection(
        [("open", "Open"), ("won", "Won"), ("lost", "Lost")], readonly=True
    )
    position = fields.Selection(
        [("first", "First"), ("middle", "Middle"), ("last", "Last"), ("only", "Only")],
        readonly=True,
    )
    sequence = fields.Integer("Number", readonly=True, aggregator=None)
    touch_key = fields.Char("Touch ID", readonly=True)
    touch_kind = fields.Char("Kind", readonly=True)
    touch_at = fields.Datetime("Touched On", readonly=True)
    channel = fields.Char(readonly=True)
    source = fields.Char(readonly=True)
    medium = fields.Char(readonly=True)
    campaign = fields.Char("Campaign Name", readonly=True)
    content = fields.Char(readonly=True)
    term = fields.Char(readonly=True)
    campaign_id = UncheckedMany2one(
        "utm.campaign",
        readonly=True,
        index="btree_not_null",
        falsy_value_label=_NO_CAMPAIGN,
    )
    link_id = UncheckedMany2one(
        "link.tracker",
        readonly=True,
        index="btree_not_null",
        falsy_value_label=_NO_LINK,
    )
    click_id = UncheckedMany2one("link.tracker.click", readonly=True, index="btree_not_null")
    visitor_id = UncheckedMany2one(
        "trackflow.visitor",
        readonly=True,
        index="btree_not_null",
        groups="trackflow.group_trackflow_campaign_manager",
    )
    weight = fields.Float(readonly=True, digits=(16, 6), aggregator=None)
    value = fields.Monetary("Attributed Value", readonly=True)
    days_to_conversion = fields.Float("Days to Deal", readonly=True, aggregator="avg")
    anchor = fields.Datetime("Counted Back From", readonly=True)
    fit_version = fields.Integer(
        "Version of the Fit",
        readonly=True,
        aggregator=None,
        help="Which version of what the model learned split the deal; empty for other models.",
    )
    digest = fields.Char(readonly=True, help="The fingerprint of everything that went in.")

    def init(self):
        drop_foreign_keys(self)
