"""Attribution models that learn: fitting them in the background, and the versions that come of it."""

import logging
from dataclasses import replace
from datetime import timedelta, timezone

from odoo import api, fields, models
from odoo.fields import Domain
from odoo.tools import SQL

from trackflow_core.attribution import Fit, Path, attribute
from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.model import DealStatus

from ..engine import build_engine, plugin_hooks
from ..store import OdooStore

_logger = logging.getLogger(__name__)

# Progress is told in steps of this size: each is a commit.
_STEP = 0.05
_EVERY = {"day": timedelta(days=1), "week": timedelta(weeks=1), "month": timedelta(days=30)}


class TrackflowAttributionFit(models.Model):
    """What a model learned on one day. Fits are made by the job and never change."""

    _name = "trackflow.attribution.fit"
    _description = "TrackFlow Fitted Model"
    _order = "model_id, version desc"
    _rec_name = "version"

    model_id = fields.Many2one(
        "trackflow.attribution.model", required=True, readonly=True, index=True, ondelete="cascade"
    )
    version = fields.Integer(required=True, readonly=True, aggregator=None)
    fitted_at = fields.Datetime("Fitted On", required=True, readonly=True)
    rule = fields.Char(required=True, readonly=True)
    journeys = fields.Integer(readonly=True, aggregator=None)
    conversions = fields.Integer(readonly=True, aggregator=None)
    enough = fields.Boolean("Enough Data", readonly=True)
    note = fields.Char("What It Rests On", readonly=True)
    data = fields.Text(required=True, readonly=True, help="The fit as JSON, as the core keeps it.")
    weight_ids = fields.One2many("trackflow.attribution.fit.weight", "fit_id", readonly=True)

    _version_uniq = models.UniqueIndex(
        "(model_id, version)", "A model has one fit of each version."
    )

    @api.depends("version", "fitted_at")
    def _compute_display_name(self):
        for fit in self:
            day = fit.fitted_at and fields.Datetime.context_timestamp(fit, fit.fitted_at).date()
            fit.display_name = self.env._(
                "Version %(version)s of %(day)s", version=fit.version, day=day
            )

    def _core_fit(self):
        """The fit as the core knows it; None where there is none, or it can be read no more."""
        if not self:
            return None
        try:
            return Fit.from_json(self.data)
        except ConfigError as error:
            _logger.error(
                "The fit %s of model %s is left out: %s", self.id, self.model_id.id, error
            )
            return None

    @api.model_create_multi
    def create(self, vals_list):
        self.env.registry.clear_cache()
        return super().create(vals_list)

    @api.model
    def _keep(self, model, fit):
        """Keep `fit` as the next version of `model`."""
        weights = []
        highest = max(fit.weights.values(), default=0) or 1
        for channel, weight in fit.weights.items():
            low, high = fit.interval(channel) or (weight, weight)
            weights.append(
                fields.Command.create(
                    {
                        "channel": channel,
                        "weight": weight / highest,
                        "low": low / highest,
                        "high": high / highest,
                    }
                )
            )
        return self.create(
            {
                "model_id": model.id,
                "version": fit.version,
                "fitted_at": fit.fitted_at.astimezone(timezone.utc).replace(tzinfo=None),
                "rule": fit.rule,
                "journeys": fit.journeys,
                "conversions": fit.conversions,
                "enough": fit.enough,
                "note": fit.note,
                "data": fit.to_json(),
                "weight_ids": weights,
            }
        )


class TrackflowAttributionFitWeight(models.Model):
    """One channel's weight in a fit, for people; the exact one is in the fit's data."""

    _name = "trackflow.attribution.fit.weight"
    _description = "TrackFlow Learned Weight"
    _order = "fit_id, weight desc, channel"
    _rec_name = "channel"

    fit_id = fields.Many2one(
        "trackflow.attribution.fit", required=True, readonly=True, index=True, ondelete="cascade"
    )
    channel = fields.Char(required=True, readonly=True)
    weight = fields.Float("Relative Weight", readonly=True, digits=(16, 4), aggregator=None)
    low = fields.Float("At Least", readonly=True, digits=(16, 4), aggregator=None)
    high = fields.Float("At Most", readonly=True, digits=(16, 4), aggregator=None)


class TrackflowAttributionModel(models.Model):
    _inherit = "trackflow.attribution.model"  # pylint: disable=consider-merging-classes-inherited

    learns = fields.Boolean(compute="_compute_learns")
    chain_order = fields.Integer(
        "Memory (touches)",
        default=1,
        help="How many touches back a Markov chain remembers: 1 to 4. More needs more data.",
    )
    prior_conversions = fields.Integer(
        "Conversions Until Half Is Learned",
        default=100,
        help="With so many conversions half of each split is learned and half is position based; "
        "with more, more is learned. 0 relies on what was learned at once.",
    )
    fit_every = fields.Selection(
        [("day", "Every day"), ("week", "Every week"), ("month", "Every month")],
        "Fit Again",
        default="month",
        help="Empty: only on demand. A new fit splits the deals that change from then on; "
        "Recompute Deals splits all.",
    )
    fit_state = fields.Selection(
        [("waiting", "Waiting"), ("running", "Fitting"), ("failed", "Failed"), ("done", "Fitted")],
        "Fitting",
        readonly=True,
        copy=False,
    )
    fit_progress = fields.Float("Progress (%)", readonly=True, copy=False)
    fit_error = fields.Char("Why It Failed", readonly=True, copy=False)
    fit_ids = fields.One2many("trackflow.attribution.fit", "model_id", "Versions", readonly=True)
    fit_id = fields.Many2one(
        "trackflow.attribution.fit",
        "Fit in Use",
        compute="_compute_fit_id",
        store=True,
        copy=False,
    )
    fit_note = fields.Char(related="fit_id.note")
    fit_enough = fields.Boolean(related="fit_id.enough")
    fit_weight_ids = fields.One2many(related="fit_id.weight_ids")

    _chain_order_range = models.Constraint(
        "CHECK (chain_order BETWEEN 1 AND 4)", "A Markov chain remembers 1 to 4 touches."
    )
    _prior_conversions_positive = models.Constraint(
        "CHECK (prior_conversions >= 0)", "The number of conversions must not be negative."
    )

    @api.depends("rule")
    def _compute_learns(self):
        rules = self._rules()
        for model in self:
            rule = rules.get(model.rule)
            model.learns = bool(rule and rule.learn)

    @api.depends("fit_ids", "rule")
    def _compute_fit_id(self):
        for model in self:
            of_rule = model.fit_ids.filtered(lambda fit, model=model: fit.rule == model.rule)
            model.fit_id = of_rule.sorted("version")[-1:]

    @api.model_create_multi
    def create(self, vals_list):
        created = super().create(vals_list)
        created._own_what_learns()
        return created

    def write(self, vals):
        result = super().write(vals)
        if "rule" in vals or "company_id" in vals:
            self._own_what_learns()
        return result

    def _own_what_learns(self):
        """Companies learn from their own journeys only: such a model belongs to one."""
        self.filtered(
            lambda model: model.learns and not model.company_id
        ).company_id = self.env.company

    def action_fit(self):
        """Let the background job fit these models anew."""
        self.check_access("write")
        self.filtered("learns").write(
            {"fit_state": "waiting", "fit_progress": 0.0, "fit_error": False}
        )
        self.env.ref("trackflow.ir_cron_fit_models")._trigger()

    @api.model
    def _cron_fit(self):
        """Fit what waits and what is due, one model after the other."""
        commit = self.env["ir.cron"]._commit_progress
        waiting = self._to_fit()
        commit(remaining=len(waiting))
        for model in waiting:
            model.write({"fit_state": "running", "fit_progress": 0.0, "fit_error": False})
            commit()
            try:
                model._fit(lambda part, model=model: model._tell_progress(part, commit))
                model.write({"fit_state": "done", "fit_progress": 100.0})
            except (ConfigError, InvalidEvent, OverflowError) as error:
                _logger.warning("The model %s cannot be fitted: %s", model.id, error)
                model.write({"fit_state": "failed", "fit_error": str(error)})
            if not commit(1):
                return

    @api.model
    def _to_fit(self):
        """Models that wait, that a stopped job left half done, or whose fit has come of age."""
        now = fields.Datetime.now()
        due = Domain.OR(
            Domain("fit_every", "=", every)
            & (Domain("fit_id", "=", False) | Domain("fit_id.fitted_at", "<=", now - span))
            for every, span in _EVERY.items()
        )
        asked = Domain("fit_state", "in", ("waiting", "running"))
        # What failed is tried again on demand only.
        due &= Domain("fit_state", "!=", "failed")
        return self.search(asked | due).filtered("learns")

    def _tell_progress(self, part, commit):
        if part * 100 >= self.fit_progress + _STEP * 100:
            self.fit_progress = part * 100
            commit()

    def _fit(self, progress):
        """Learn from the company's journeys of today; keeps and returns the new version.

        Raises ConfigError when the rule does not learn or its parameters cannot be used.
        """
        self.ensure_one()
        rule = plugin_hooks(self.env).rules.get(self.rule)
        if rule is None or rule.learn is None:
            raise ConfigError(f"The rule {self.rule!r} does not learn: choose another rule.")
        company = self.company_id or self.env.company
        chosen = self._parameters(self.id)[2]
        fit = rule.learn(
            self._paths(company, self._core_model(company.trackflow_window_days)),
            {name: chosen.get(name, value) for name, value in rule.parameters.items()},
            fields.Datetime.now().replace(tzinfo=timezone.utc),
            progress,
        )
        version = max(self.fit_ids.mapped("version"), default=0) + 1
        kept = self.env["trackflow.attribution.fit"]._keep(self, replace(fit, version=version))
        self.env["trackflow.model.credit"]._compare_all()
        return kept

    @api.model
    def _paths(self, company, model):
        """The journeys of `company` as `model` sees them.

        A deal is a conversion: from its creation on, or once it is won where the model counts from
        there (an open deal is then left out). Visitors without a deal did not convert.
        """
        self.env.flush_all()
        store = OdooStore(self.env)
        deals = store.deals_of_company(company.id)
        journeys = build_engine(self.env, store).journeys(deals, [model])
        paths = []
        for deal in deals:
            if model.anchor == "won" and deal.status is DealStatus.OPEN:
                continue
            credits = attribute(journeys.get(deal.ref, ()), deal, model).credits
            channels = tuple(credit.channel for credit in credits if credit.touch)
            if channels:
                converted = model.anchor == "created" or deal.status is DealStatus.WON
                paths.append(Path(channels, 1, int(converted), deal.value if converted else 0))
        paths += [
            Path(tuple(channels), count)
            for channels, count in self._paths_without_deal(company, model.lookback)
        ]
        return paths

    @api.model
    def _paths_without_deal(self, company, lookback):
        """Channels in order, and how many visitors without a deal went that way."""
        return self.env.execute_query(
            SQL(
                """
                WITH touch AS (
                    SELECT click.trackflow_visitor_id AS visitor_id,
                           click.trackflow_event_id AS event_id,
                           click.trackflow_occurred_at AS at,
                           COALESCE(click.trackflow_channel, '') AS channel
                      FROM link_tracker_click click
                      LEFT JOIN utm_campaign campaign ON campaign.id = click.campaign_id
                     WHERE click.trackflow_counts AND click.trackflow_event_id IS NOT NULL
                       AND COALESCE(campaign.trackflow_company_id, %(company)s) = %(company)s
                     UNION ALL
                    SELECT session.visitor_id, event.event_id, event.timestamp,
                           COALESCE(event.channel, '')
                      FROM trackflow_session session
                      JOIN trackflow_event event ON event.event_id = session.session_key
                     WHERE event.counts AND NOT event.returns
                ), latest AS (
                    SELECT touch.*, max(at) OVER (PARTITION BY visitor_id) AS last_at
                      FROM touch
                     WHERE visitor_id IS NOT NULL
                       AND NOT EXISTS (
                           SELECT FROM crm_lead_trackflow_visitor_rel rel
                             JOIN crm_lead lead ON lead.id = rel.lead_id
                             LEFT JOIN crm_lead deal ON deal.trackflow_origin_id = lead.id
                            WHERE rel.visitor_id = touch.visitor_id
                              AND 'opportunity' IN (lead.type, deal.type))
                ), path AS (
                    SELECT array_agg(channel ORDER BY at, event_id) AS channels
                      FROM latest
                     WHERE at >= last_at - %(lookback)s
                     GROUP BY visitor_id
                )
                SELECT channels, count(*) FROM path GROUP BY channels
                """,
                company=company.id,
                lookback=lookback,
            )
        )
