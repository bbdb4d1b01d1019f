from odoo import api, fields, models

MONEY_READERS = "sales_team.group_sale_salesman,trackflow.group_trackflow_campaign_manager"


class UtmCampaign(models.Model):
    _inherit = "utm.campaign"

    currency_id = fields.Many2one("res.currency", compute="_compute_currency_id")
    trackflow_budget = fields.Monetary("Budget", groups=MONEY_READERS)
    trackflow_start_date = fields.Date("Starts On")
    trackflow_end_date = fields.Date("Ends On")
    trackflow_link_ids = fields.One2many("link.tracker", "campaign_id", "Links")
    trackflow_link_count = fields.Integer("Link Count", compute="_compute_trackflow_links")
    trackflow_clicks = fields.Integer("Clicks", compute="_compute_trackflow_clicks")
    trackflow_visitors = fields.Integer("Visitors", compute="_compute_trackflow_clicks")
    trackflow_conversions = fields.Integer("Conversions", compute="_compute_trackflow_conversions")
    trackflow_revenue = fields.Monetary(
        "Attributed Revenue",
        compute="_compute_trackflow_revenue",
        groups=MONEY_READERS,
        help="This campaign's share of all won deals, by each deal's attribution model.",
    )
    trackflow_roi = fields.Float(
        "Return on Budget",
        compute="_compute_trackflow_revenue",
        groups=MONEY_READERS,
        help="(revenue - budget) / budget",
    )

    _trackflow_budget_positive = models.Constraint(
        "CHECK (trackflow_budget >= 0)", "The budget must not be negative."
    )
    _trackflow_dates_in_order = models.Constraint(
        "CHECK (trackflow_end_date >= trackflow_start_date)",
        "A campaign must not end before it starts.",
    )

    @api.depends_context("company")
    def _compute_currency_id(self):
        self.currency_id = self.env.company.currency_id

    def _compute_trackflow_links(self):
        counted = (
            self.env["link.tracker"]
            .sudo()
            ._read_group([("campaign_id", "in", self.ids)], ["campaign_id"], ["__count"])
        )
        numbers = {campaign.id: count for campaign, count in counted}
        for campaign in self:
            campaign.trackflow_link_count = numbers.get(campaign.id, 0)

    def _compute_trackflow_clicks(self):
        counted = (
            self.env["link.tracker.click"]
            .sudo()
            ._read_group(
                [("campaign_id", "in", self.ids), ("trackflow_counts", "=", True)],
                ["campaign_id"],
                ["__count", "trackflow_visitor_id:count_distinct"],
            )
        )
        numbers = {campaign.id: rest for campaign, *rest in counted}
        for campaign in self:
            clicks, visitors = numbers.get(campaign.id, (0, 0))
            campaign.trackflow_clicks = clicks
            campaign.trackflow_visitors = visitors

    def _compute_trackflow_conversions(self):
        counted = (
            self.env["trackflow.conversion"]
            .sudo()
            ._read_group([("campaign_id", "in", self.ids)], ["campaign_id"], ["__count"])
        )
        numbers = {campaign.id: count for campaign, count in counted}
        for campaign in self:
            campaign.trackflow_conversions = numbers.get(campaign.id, 0)

    @api.depends("trackflow_budget")
    @api.depends_context("company", "allowed_company_ids")
    def _compute_trackflow_revenue(self):
        summed = (
            self.env["trackflow.deal.attribution"]
            .sudo()
            ._read_group(
                [
                    ("campaign_id", "in", self.ids),
                    ("deal_status", "=", "won"),
                    ("company_id", "in", self.env.companies.ids),
                ],
                ["campaign_id", "currency_id"],
                ["value:sum"],
            )
        )
        company, today = self.env.company, fields.Date.context_today(self)
        revenue = dict.fromkeys(self.ids, 0.0)
        for campaign, currency, value in summed:
            revenue[campaign.id] += currency._convert(value, company.currency_id, company, today)
        for campaign in self:
            earned, budget = revenue.get(campaign.id, 0.0), campaign.trackflow_budget
            campaign.trackflow_revenue = earned
            campaign.trackflow_roi = (earned - budget) / budget if budget else 0.0
