from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import ValidationError
from odoo.fields import Domain
from odoo.tools import SQL

from ..relations import see_to
from ..statistics import campaign_statistics
from .trackflow_campaign_cost import MAX_AMOUNT

MONEY_READERS = "sales_team.group_sale_salesman,trackflow.group_trackflow_campaign_manager"
QUIET_DAYS = 7


class UtmCampaign(models.Model):
    _name = "utm.campaign"
    _inherit = ["utm.campaign", "mail.thread"]

    trackflow_company_id = fields.Many2one(
        "res.company", "Company of the Campaign", help="Empty: every company works with it."
    )
    trackflow_currency_id = fields.Many2one(
        "res.currency", "Currency of Costs", default=lambda self: self.env.company.currency_id
    )
    trackflow_type = fields.Selection(
        [
            ("email", "Email"),
            ("social", "Social Media"),
            ("search", "Search Ads"),
            ("display", "Display Ads"),
            ("print", "Print"),
            ("event", "Event"),
            ("referral", "Partners"),
            ("content", "Content"),
            ("other", "Other"),
        ],
        "Type",
        tracking=True,
    )
    trackflow_status = fields.Selection(
        [
            ("planned", "Planned"),
            ("running", "Running"),
            ("paused", "Paused"),
            ("ended", "Ended"),
        ],
        "Status",
        compute="_compute_trackflow_status",
        search="_search_trackflow_status",
        help="From the dates, unless somebody paused it.",
    )
    trackflow_paused = fields.Boolean("Paused", tracking=True, copy=False)
    trackflow_description = fields.Text("Description")
    trackflow_source_id = fields.Many2one(
        "utm.source", "Default Source", help="For new links of this campaign."
    )
    trackflow_medium_id = fields.Many2one(
        "utm.medium", "Default Medium", help="For new links of this campaign."
    )
    trackflow_start_date = fields.Date("Starts On", tracking=True)
    trackflow_end_date = fields.Date("Ends On", tracking=True)
    trackflow_budget = fields.Monetary(
        "Budget",
        currency_field="trackflow_currency_id",
        groups=MONEY_READERS,
        tracking=True,
    )
    trackflow_expected_roi = fields.Float(
        "Expected ROI",
        groups=MONEY_READERS,
        help="What you hope for: 0.5 means half as much again as the campaign costs.",
    )
    trackflow_cost_ids = fields.One2many(
        "trackflow.campaign.cost", "campaign_id", "Costs", groups=MONEY_READERS
    )
    trackflow_link_ids = fields.One2many("link.tracker", "campaign_id", "Links")
    trackflow_link_count = fields.Integer("Link Count", compute="_compute_trackflow_links")

    trackflow_clicks = fields.Integer("Clicks", compute="_compute_trackflow_statistics")
    trackflow_visitors = fields.Integer("Visitors", compute="_compute_trackflow_statistics")
    trackflow_leads = fields.Integer("Leads Won Over", compute="_compute_trackflow_statistics")
    trackflow_deals = fields.Integer("Deals Won", compute="_compute_trackflow_statistics")
    trackflow_conversions = fields.Integer(
        "Conversions",
        compute="_compute_trackflow_statistics",
        help="Leads that came in and deals that were won with this campaign as the last touch.",
    )
    trackflow_conversion_rate = fields.Float(
        "Conversion Rate",
        compute="_compute_trackflow_statistics",
        help="conversions / clicks",
    )
    trackflow_last_click = fields.Datetime("Last Click", compute="_compute_trackflow_statistics")
    trackflow_revenue = fields.Monetary(
        "Attributed Revenue",
        currency_field="trackflow_currency_id",
        compute="_compute_trackflow_statistics",
        groups=MONEY_READERS,
        help="This campaign's share of all won deals, by each deal's attribution model.",
    )
    trackflow_own_revenue = fields.Monetary(
        "My Won Revenue",
        currency_field="trackflow_currency_id",
        compute="_compute_trackflow_own_revenue",
        groups="sales_team.group_sale_salesman",
        help="This campaign's share of the won deals that you see: yours, and those of nobody.",
    )
    trackflow_cost = fields.Monetary(
        "Cost",
        currency_field="trackflow_currency_id",
        compute="_compute_trackflow_statistics",
        groups=MONEY_READERS,
        help="The costs that were entered; the budget while there are none.",
    )
    trackflow_cost_per_click = fields.Monetary(
        "Cost per Click",
        currency_field="trackflow_currency_id",
        compute="_compute_trackflow_statistics",
        groups=MONEY_READERS,
        help="cost / clicks",
    )
    trackflow_cost_per_acquisition = fields.Monetary(
        "Cost per Conversion",
        currency_field="trackflow_currency_id",
        compute="_compute_trackflow_statistics",
        groups=MONEY_READERS,
        help="cost / conversions",
    )
    trackflow_roi = fields.Float(
        "ROI",
        compute="_compute_trackflow_statistics",
        groups=MONEY_READERS,
        help="(revenue - cost) / cost",
    )
    trackflow_budget_used = fields.Float(
        "Budget Used",
        compute="_compute_trackflow_statistics",
        groups=MONEY_READERS,
        help="Costs that were entered, in percent of the budget.",
    )
    trackflow_warning = fields.Text("Attention", compute="_compute_trackflow_statistics")

    _trackflow_budget_positive = models.Constraint(
        "CHECK (trackflow_budget >= 0)", "The budget must not be negative."
    )
    _trackflow_dates_in_order = models.Constraint(
        "CHECK (trackflow_end_date >= trackflow_start_date)",
        "A campaign must not end before it starts.",
    )

    @api.constrains("trackflow_budget")
    def _check_trackflow_budget(self):
        if any(campaign.trackflow_budget >= MAX_AMOUNT for campaign in self.sudo()):
            raise ValidationError(self.env._("The budget must be below 10,000,000,000,000."))

    @api.depends("trackflow_start_date", "trackflow_end_date", "trackflow_paused")
    def _compute_trackflow_status(self):
        today = fields.Date.context_today(self)
        for campaign in self:
            start, end = campaign.trackflow_start_date, campaign.trackflow_end_date
            if end and end < today:
                campaign.trackflow_status = "ended"
            elif campaign.trackflow_paused:
                campaign.trackflow_status = "paused"
            elif start and start > today:
                campaign.trackflow_status = "planned"
            else:
                campaign.trackflow_status = "running"

    def _search_trackflow_status(self, operator, value):
        if operator != "in":
            return NotImplemented
        today = fields.Date.context_today(self)
        ended = Domain("trackflow_end_date", "<", today)
        paused = Domain("trackflow_paused", "=", True)
        planned = Domain("trackflow_start_date", ">", today)
        domains = {
            "ended": ended,
            "paused": ~ended & paused,
            "planned": ~ended & ~paused & planned,
            "running": ~ended & ~paused & ~planned,
        }
        return Domain.OR(domains[status] for status in value if status in domains)

    def _compute_trackflow_links(self):
        counted = (
            self.env["link.tracker"]
            .sudo()
            ._read_group([("campaign_id", "in", self.ids)], ["campaign_id"], ["__count"])
        )
        numbers = {campaign.id: count for campaign, count in counted}
        for campaign in self:
            campaign.trackflow_link_count = numbers.get(campaign.id, 0)

    @api.depends(
        "trackflow_budget",
        "trackflow_cost_ids.amount",
        "trackflow_cost_ids.currency_id",
        "trackflow_currency_id",
        "trackflow_end_date",
        "trackflow_paused",
        "trackflow_start_date",
    )
    @api.depends_context("company", "allowed_company_ids")
    def _compute_trackflow_statistics(self):
        found = self._trackflow_statistics()
        for campaign in self.sudo():
            row = found.get(campaign._origin.id, {})
            clicks, conversions = row.get("clicks", 0), row.get("conversions", 0)
            revenue, entered = float(row.get("revenue", 0)), row.get("cost")
            budget = campaign.trackflow_budget
            cost = budget if entered is None else float(entered)
            campaign.trackflow_clicks = clicks
            campaign.trackflow_visitors = row.get("visitors", 0)
            campaign.trackflow_leads = row.get("leads", 0)
            campaign.trackflow_deals = row.get("deals", 0)
            campaign.trackflow_conversions = conversions
            campaign.trackflow_conversion_rate = conversions / clicks if clicks else 0.0
            campaign.trackflow_last_click = row.get("last_click") or False
            campaign.trackflow_revenue = revenue
            campaign.trackflow_cost = cost
            campaign.trackflow_cost_per_click = cost / clicks if clicks else 0.0
            campaign.trackflow_cost_per_acquisition = cost / conversions if conversions else 0.0
            campaign.trackflow_roi = (revenue - cost) / cost if cost else 0.0
            campaign.trackflow_budget_used = 100 * float(entered or 0) / budget if budget else 0.0
            campaign.trackflow_warning = campaign._trackflow_find_warning(row)

    @api.depends("trackflow_currency_id")
    @api.depends_context("uid", "allowed_company_ids")
    def _compute_trackflow_own_revenue(self):
        credits = self.env["trackflow.deal.attribution"].search_fetch(
            [("campaign_id", "in", self._origin.ids), ("deal_status", "=", "won")],
            ["campaign_id", "company_id", "currency_id", "lead_id", "value"],
        )
        earned = credits.grouped("campaign_id")
        for campaign in self:
            currency = campaign.trackflow_currency_id
            campaign.trackflow_own_revenue = sum(
                credit.currency_id._convert(
                    credit.value,
                    currency or credit.currency_id,
                    credit.company_id,
                    credit.lead_id.trackflow_closed_date or fields.Date.today(),
                )
                for credit in earned.get(campaign._origin, ())
            )

    def write(self, vals):
        result = super().write(vals)
        if "trackflow_company_id" in vals:
            self._trackflow_move_visits()
        return result

    def _trackflow_move_visits(self):
        """Give the visits that clicks on these campaigns opened their campaign's company, which
        the clicks themselves are known by."""
        self.flush_recordset(["trackflow_company_id"])
        self.env.cr.execute(
            SQL(
                """
                UPDATE trackflow_session visit SET company_id = campaign.trackflow_company_id
                  FROM utm_campaign campaign
                  JOIN link_tracker_click click ON click.campaign_id = campaign.id
                 WHERE campaign.id = ANY(%s) AND click.trackflow_counts
                   AND visit.session_key = click.trackflow_event_id
                """,
                self.ids,
            )
        )
        self.env["trackflow.session"].invalidate_model(["company_id"], flush=False)

    def unlink(self):
        result = super().unlink()
        see_to(self)
        return result

    def _trackflow_statistics(self):
        """The figures of `statistics.campaign_statistics` by campaign id."""
        self._trackflow_flush_statistics()
        query = campaign_statistics(self.env, self._origin.ids)
        return {row["campaign_id"]: row for row in self.env.execute_query_dict(query)}

    @api.model
    def _trackflow_by_name(self):
        """The campaigns by lower-case name and title, as people write them in a sheet."""
        found = self.search_fetch([], ["name", "title"])[::-1]
        by_title = {campaign.title.lower(): campaign for campaign in found}
        return by_title | {campaign.name.lower(): campaign for campaign in found}

    @api.model
    def _trackflow_flush_statistics(self):
        self.env["crm.lead"]._trackflow_settle()
        self.env["link.tracker.click"].flush_model(
            ["campaign_id", "trackflow_visitor_id", "trackflow_counts", "trackflow_occurred_at"]
        )
        self.env["trackflow.conversion"].flush_model()
        self.env["trackflow.deal.attribution"].flush_model()
        self.env["trackflow.campaign.cost"].flush_model()
        self.env["crm.lead"].flush_model(["trackflow_closed_date"])
        self.flush_model(["trackflow_currency_id"])

    def _trackflow_find_warning(self, row):
        """What somebody should look at, in a sentence; False when all is well."""
        self.ensure_one()
        if not row.get("clicks") and row.get("cost"):
            return self.env._(
                "Money was spent, but nobody has clicked: check that the ads use the tracked links."
            )
        quiet_since = fields.Datetime.now() - timedelta(days=QUIET_DAYS)
        if (
            self.trackflow_status == "running"
            and row.get("last_click")
            and row["last_click"] < quiet_since
        ):
            return self.env._(
                "Nobody has clicked for more than %s days: end or pause the campaign, or check "
                "its links.",
                QUIET_DAYS,
            )
        return False

    def action_trackflow_pause(self):
        """Say that the campaign rests; its links go on working."""
        self.trackflow_paused = True

    def action_trackflow_resume(self):
        self.trackflow_paused = False

    def action_trackflow_dashboard(self):
        """The dashboard of this campaign alone."""
        self.ensure_one()
        return {
            **self.env["ir.actions.actions"]._for_xml_id("trackflow.trackflow_dashboard_action"),
            "params": {"campaign_id": self.id},
        }
