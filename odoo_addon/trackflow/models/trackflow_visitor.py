from odoo import api, fields, models

from ..store import functions


class TrackflowVisitor(models.Model):
    _name = "trackflow.visitor"
    _description = "TrackFlow Visitor"
    _order = "last_seen desc, id desc"

    active = fields.Boolean(default=True, readonly=True)
    name = fields.Char(compute="_compute_name")
    visitor_key = fields.Char("Visitor ID", required=True, readonly=True, copy=False)
    first_seen = fields.Datetime(readonly=True)
    last_seen = fields.Datetime(readonly=True, index=True)
    source = fields.Char("First Source", readonly=True)
    medium = fields.Char("First Medium", readonly=True)
    campaign = fields.Char("First Campaign", readonly=True)
    term = fields.Char("First Term", readonly=True)
    content = fields.Char("First Content", readonly=True)
    referrer = fields.Char("First Referrer", readonly=True)
    click_count = fields.Integer("Clicks", readonly=True)
    page_views = fields.Integer(readonly=True)
    session_count = fields.Integer("Sessions", readonly=True)
    conversion_ids = fields.One2many(
        "trackflow.conversion", "visitor_id", "Conversion Events", readonly=True
    )
    conversion_count = fields.Integer("Conversions", compute="_compute_conversions")
    has_converted = fields.Boolean(
        "Converted", compute="_compute_conversions", search="_search_has_converted"
    )
    last_conversion_date = fields.Datetime("Last Conversion", compute="_compute_conversions")
    lead_ids = fields.Many2many(
        "crm.lead",
        "crm_lead_trackflow_visitor_rel",
        "visitor_id",
        "lead_id",
        "Leads",
        readonly=True,
        context={"active_test": False},
        groups="sales_team.group_sale_salesman",
    )
    session_ids = fields.One2many(
        "trackflow.session",
        "visitor_id",
        "Visits",
        readonly=True,
        context={"active_test": False},
    )
    click_ids = fields.One2many(
        "link.tracker.click", "trackflow_visitor_id", "Click Events", readonly=True
    )

    event_ids = fields.One2many("trackflow.event", "visitor_id", "Events", readonly=True)

    _at_hand_idx = models.Index("(last_seen, id) WHERE active")
    _visitor_key_uniq = models.UniqueIndex("(visitor_key)", "This visitor is already known.")

    def init(self):
        # Visitors are written by SQL.
        self.env.cr.execute("ALTER TABLE trackflow_visitor ALTER active SET DEFAULT TRUE")
        functions.define(self.env.cr)

    @api.depends("visitor_key")
    def _compute_name(self):
        for visitor in self:
            visitor.name = self.env._("Visitor %s", (visitor.visitor_key or "")[:6])

    @api.depends("conversion_ids.occurred_at")
    def _compute_conversions(self):
        counted = (
            self.env["trackflow.conversion"]
            .sudo()
            ._read_group(
                [("visitor_id", "in", self.ids)], ["visitor_id"], ["__count", "occurred_at:max"]
            )
        )
        numbers = {visitor.id: rest for visitor, *rest in counted}
        for visitor in self:
            count, last = numbers.get(visitor.id, (0, False))
            visitor.conversion_count = count
            visitor.has_converted = bool(count)
            visitor.last_conversion_date = last

    def _search_has_converted(self, operator, value):
        if operator not in ("in", "not in"):
            return NotImplemented
        wanted = (True in value) == (operator == "in")
        return [("conversion_ids", "!=" if wanted else "=", False)]
