"""*Budget Decisions*: what campaigns earned under each model, and what that means for budgets."""

import json
from collections import defaultdict
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools.misc import formatLang

from trackflow_core.attribution.allocation import from_minor_units, to_minor_units
from trackflow_core.attribution.budget import flips, shift
from trackflow_core.attribution.compare import FEWEST_DEALS, CampaignComparison, Comparison
from trackflow_core.errors import ConfigError
from trackflow_core.model import DealStatus

from ..engine import build_engine
from ..store import OdooStore

# So many pairs are told; beyond that nobody reads on.
_FLIPS = 12


class TrackflowComparison(models.TransientModel):
    _name = "trackflow.comparison"
    _description = "TrackFlow Model Comparison"

    name = fields.Char(default=lambda self: self.env._("Budget Decisions"), readonly=True)
    company_id = fields.Many2one(
        "res.company", required=True, readonly=True, default=lambda self: self.env.company
    )
    currency_id = fields.Many2one(related="company_id.currency_id")
    deals = fields.Selection(
        [("won", "Won deals"), ("all", "All deals")], required=True, default="all"
    )
    date_from = fields.Date(
        "From",
        required=True,
        default=lambda self: fields.Date.context_today(self) - timedelta(days=365),
        help="The first day on which the deals compared were created.",
    )
    date_to = fields.Date("To", required=True, default=lambda self: fields.Date.context_today(self))
    model_ids = fields.Many2many(
        "trackflow.attribution.model",
        string="Models",
        required=True,
        default=lambda self: self.env["trackflow.attribution.model"].search(
            [("company_id", "in", (False, self.env.company.id))]
        ),
    )
    data = fields.Text(readonly=True, help="The comparison as JSON.")
    deal_count = fields.Integer("Deals Compared", readonly=True)
    table = fields.Html(compute="_compute_tables", sanitize=False)
    decisions = fields.Html(compute="_compute_tables", sanitize=False)
    campaign_ids = fields.Many2many("utm.campaign", compute="_compute_tables")
    source_id = fields.Many2one("utm.campaign", "Take From")
    target_id = fields.Many2one("utm.campaign", "Give To")
    percent = fields.Float("Part to Move (%)", default=10.0)
    elasticity = fields.Float(
        "Returns",
        default=1.0,
        help="1: revenue grows in proportion to cost. Less: returns diminish; at 0.5, twice the "
        "cost brings 1.4 times the revenue.",
    )
    simulation = fields.Html(compute="_compute_simulation", sanitize=False)

    _dates_in_order = models.Constraint(
        "CHECK (date_from <= date_to)", "The period ends before it begins."
    )

    @api.model
    def action_open(self):
        """A comparison of the last year under all models."""
        comparison = self.create({})
        comparison.action_compare()
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Budget Decisions"),
            "res_model": self._name,
            "res_id": comparison.id,
            "view_mode": "form",
            "target": "current",
        }

    def action_compare(self):
        """Split the deals of the period by every model."""
        self.ensure_one()
        if not self.model_ids:
            raise UserError(self.env._("Choose at least one model."))
        # Whoever may open this sees all leads of the company; salespeople may not.
        self.env["trackflow.visitor"].check_access("read")
        store = OdooStore(self.env)
        deals = [deal for deal in store.deals_of_company(self.company_id.id) if self._takes(deal)]
        try:
            found = build_engine(self.env, store).compare(deals, self._core_models())
        except ConfigError as error:
            raise UserError(str(error)) from error
        self.write({"data": json.dumps(found.receipt()), "deal_count": len(deals)})
        return True

    def _takes(self, deal):
        zone_day = fields.Datetime.context_timestamp(
            self, deal.began_at.replace(tzinfo=None)
        ).date()
        if self.deals == "won" and deal.status is not DealStatus.WON:
            return False
        return self.date_from <= zone_day <= self.date_to

    def _core_models(self):
        """The models as the core knows them, named by their ids: two may have one name."""
        window = self.company_id.trackflow_window_days
        return [replace(model._core_model(window), name=str(model.id)) for model in self.model_ids]

    # -- what is shown ---------------------------------------------------------------------

    @api.depends("data")
    def _compute_tables(self):
        for comparison in self:
            found = comparison._comparison()
            if found is None:
                comparison.table = comparison.decisions = False
                comparison.campaign_ids = False
                continue
            campaigns, costs = comparison._campaigns(found), comparison._costs()
            comparison.table = comparison._render(
                "trackflow.comparison_table",
                models=comparison._columns(found),
                rows=[comparison._row(found, row, campaigns, costs) for row in found.campaigns],
                fewest=FEWEST_DEALS,
            )
            flipped = flips(found, costs, currency=comparison.currency_id.name)
            comparison.decisions = comparison._render(
                "trackflow.comparison_decisions",
                flips=[comparison._flip(flip, campaigns) for flip in flipped[:_FLIPS]],
                more=max(len(flipped) - _FLIPS, 0),
                without_cost=sum(
                    1 for row in found.campaigns if row.campaign and not costs.get(row.campaign)
                ),
                with_cost=sum(
                    1 for row in found.campaigns if row.campaign and costs.get(row.campaign)
                ),
            )
            comparison.campaign_ids = self.env["utm.campaign"].browse(
                campaign.id for name, campaign in campaigns.items() if costs.get(name)
            )

    @api.depends("data", "source_id", "target_id", "percent", "elasticity")
    def _compute_simulation(self):
        for comparison in self:
            comparison.simulation = comparison._simulate()

    def _simulate(self):
        found = self._comparison()
        if found is None or not self.source_id or not self.target_id:
            return False
        try:
            moved = shift(
                found,
                self._costs(),
                self.source_id.name,
                self.target_id.name,
                Decimal(str(self.percent)),
                currency=self.currency_id.name,
                elasticity=Decimal(str(self.elasticity)),
            )
        except ConfigError as error:
            return self._render("trackflow.comparison_problem", problem=str(error))
        return self._render(
            "trackflow.comparison_simulation",
            source=self.source_id.title,
            target=self.target_id.title,
            moved=self._money(moved.moved, moved.digits),
            changes=[
                {
                    "model": name,
                    "amount": self._money(moved.changes[key], moved.digits),
                    "sign": (moved.changes[key] > 0) - (moved.changes[key] < 0),
                }
                for key, name in self._columns(found)
            ],
            agreed=moved.agreed,
            proportional=self.elasticity == 1,
            doubled=f"{2**self.elasticity:.2f}",
        )

    def _comparison(self):
        """The comparison that was made; None before."""
        if not self.data:
            return None
        found = json.loads(self.data)
        rows = [
            CampaignComparison(
                row["campaign"],
                row["currency"],
                row["digits"],
                row["values"],
                row["ranks"],
                {name: tuple(ends) for name, ends in row["intervals"].items()},
            )
            for row in found["campaigns"]
        ]
        return Comparison(tuple(found["models"]), tuple(rows))

    def _columns(self, found):
        """Key and name of each model, in the order of the comparison."""
        names = self._model_names()
        return [(key, names.get(key, key)) for key in found.models]

    def _model_names(self):
        """The models' names by what the comparison calls them, also while a form is edited."""
        return {str(model._origin.id): model.name for model in self.model_ids}

    def _campaigns(self, found):
        """The campaigns of the comparison by the name that touches carry."""
        names = [row.campaign for row in found.campaigns if row.campaign]
        return {
            campaign.name: campaign
            for campaign in self.env["utm.campaign"].search([("name", "in", names)])
        }

    def _costs(self):
        """What each campaign cost in the period, by name, in minor units of the currency."""
        costs = defaultdict(int)
        groups = self.env["trackflow.campaign.cost"]._read_group(
            [
                ("company_id", "=", self.company_id.id),
                ("date", ">=", self.date_from),
                ("date", "<=", self.date_to),
            ],
            ["campaign_id", "currency_id"],
            ["amount:sum"],
        )
        for campaign, currency, amount in groups:
            converted = currency._convert(amount, self.currency_id, self.company_id, self.date_to)
            costs[campaign.name] += to_minor_units(converted, self.currency_id.decimal_places)
        return costs

    def _row(self, found, row, campaigns, costs):
        campaign = campaigns.get(row.campaign)
        label = campaign.title if campaign else row.campaign
        if not label:
            label = (
                self.env._("Unattributed") if row.campaign is None else self.env._("No campaign")
            )
        highest = max([*map(abs, row.values.values()), 1])
        cells = []
        for key in found.models:
            ends = row.intervals.get(key)
            cells.append(
                {
                    "value": self._money(row.values[key], row.digits),
                    "rank": row.ranks[key],
                    "low": ends and self._money(ends[0], row.digits),
                    "high": ends and self._money(ends[1], row.digits),
                    "part": max(round(100 * row.values[key] / highest), 0),
                }
            )
        cost = costs.get(row.campaign or "", 0)
        return {
            "label": label,
            "marketed": row.campaign is not None,
            "cells": cells,
            "spread": self._money(row.spread, row.digits),
            "rank_spread": row.rank_spread,
            "cost": cost and self._money(cost, row.digits),
        }

    def _flip(self, flip, campaigns):
        names = self._model_names()

        def title(name):
            return campaigns[name].title if name in campaigns else name

        return {
            "first": title(flip.first),
            "second": title(flip.second),
            "for_first": ", ".join(names.get(key, key) for key in flip.for_first),
            "for_second": ", ".join(names.get(key, key) for key in flip.for_second),
        }

    def _money(self, value, digits):
        return formatLang(
            self.env, float(from_minor_units(value, digits)), currency_obj=self.currency_id
        )

    def _render(self, template, **values):
        return self.env["ir.qweb"]._render(template, values)
