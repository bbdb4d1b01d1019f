from datetime import timedelta

from odoo import api, fields, models


def _whole_second(moment):
    """`moment` in the whole seconds that Odoo keeps; up, so that a click just before still counts."""
    whole = moment.replace(microsecond=0)
    return whole + timedelta(seconds=1) if moment.microsecond else whole


class CrmLead(models.Model):
    _inherit = "crm.lead"

    trackflow_visitor_token = fields.Char(
        "Visitor Token",
        store=False,
        copy=False,
        help="A signed proof of who the visitor is, given along with a lead; never kept.",
    )
    trackflow_visitor_id = fields.Many2one(
        "trackflow.visitor",
        "Visitor",
        readonly=True,
        copy=False,
        index="btree_not_null",
        ondelete="set null",
    )
    trackflow_visitor_ids = fields.Many2many(
        "trackflow.visitor",
        "crm_lead_trackflow_visitor_rel",
        "lead_id",
        "visitor_id",
        "Visitors",
        readonly=True,
        copy=False,
        groups="trackflow.group_trackflow_campaign_manager",
    )
    trackflow_source = fields.Char(
        "Marketing Source", readonly=True, copy=False, help="Of the last touch before the lead."
    )
    trackflow_medium = fields.Char("Marketing Medium", readonly=True, copy=False)
    trackflow_campaign = fields.Char("Marketing Campaign", readonly=True, copy=False)
    trackflow_first_touch_source = fields.Char("First Touch Source", readonly=True, copy=False)
    trackflow_last_touch_source = fields.Char("Last Touch Source", readonly=True, copy=False)
    trackflow_first_touch_date = fields.Datetime("First Touch", readonly=True, copy=False)
    trackflow_last_touch_date = fields.Datetime("Last Touch", readonly=True, copy=False)
    trackflow_touch_count = fields.Integer("Touches", readonly=True, copy=False)
    trackflow_marketing_influenced = fields.Boolean(
        "Influenced by Marketing", readonly=True, copy=False
    )
    trackflow_attribution_model_id = fields.Many2one(
        "trackflow.attribution.model",
        "Attribution Model",
        copy=False,
        ondelete="restrict",
        help="Splits this deal's value; empty means the company's default.",
    )
    trackflow_lead_date = fields.Datetime(
        "Lead Came In",
        copy=False,
        default=lambda self: _whole_second(self.env.cr.now()),
        help="Touches up to this moment led to the lead.",
    )
    trackflow_deal_date = fields.Datetime(
        "Became a Deal",
        compute="_compute_trackflow_deal_date",
        store=True,
        readonly=False,
        precompute=True,
        copy=False,
    )
    trackflow_closed_date = fields.Datetime(
        "Won or Lost On",
        compute="_compute_trackflow_closed_date",
        store=True,
        readonly=False,
        copy=False,
    )
    trackflow_lead_ref = fields.Char("Lead Reference", readonly=True, copy=False)
    trackflow_deal_ref = fields.Char("Deal Reference", readonly=True, copy=False)
    trackflow_lead_version = fields.Char(readonly=True, copy=False)
    trackflow_deal_version = fields.Char(readonly=True, copy=False)
    trackflow_origin_id = fields.Many2one(
        "crm.lead",
        "Original Lead",
        readonly=True,
        copy=False,
        index="btree_not_null",
        ondelete="set null",
        help="The lead this deal came from, where that is a record of its own.",
    )
    trackflow_stale = fields.Boolean(readonly=True, copy=False)
    trackflow_pending_visitors = fields.Char(readonly=True, copy=False)
    trackflow_attribution_ids = fields.One2many(
        "trackflow.deal.attribution", "lead_id", "Attribution", readonly=True, copy=False
    )

    _trackflow_lead_ref_uniq = models.UniqueIndex(
        "(trackflow_lead_ref) WHERE trackflow_lead_ref IS NOT NULL",
        "This lead of the other CRM is already here.",
    )
    _trackflow_deal_ref_uniq = models.UniqueIndex(
        "(trackflow_deal_ref) WHERE trackflow_deal_ref IS NOT NULL",
        "This deal of the other CRM is already here.",
    )
    _trackflow_stale_idx = models.Index("(id) WHERE trackflow_stale IS TRUE")

    @api.depends("type")
    def _compute_trackflow_deal_date(self):
        now = _whole_second(self.env.cr.now())
        for lead in self:
            if lead.type != "opportunity":
                lead.trackflow_deal_date = False
            elif not lead.trackflow_deal_date:
                lead.trackflow_deal_date = lead.date_conversion or now

    @api.depends("won_status")
    def _compute_trackflow_closed_date(self):
        for lead in self:
            if lead.won_status not in ("won", "lost"):
                lead.trackflow_closed_date = False
            elif not lead.trackflow_closed_date:
                lead.trackflow_closed_date = lead.date_closed or _whole_second(self.env.cr.now())
