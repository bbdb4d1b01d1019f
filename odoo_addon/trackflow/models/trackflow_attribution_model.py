from datetime import timedelta
from decimal import Decimal

from odoo import api, fields, models, tools
from odoo.exceptions import UserError
from odoo.fields import Domain
from odoo.tools import SQL

from trackflow_core.attribution import Model
from trackflow_core.errors import ConfigError

from ..engine import plugin_hooks
from ..relations import see_to

# More deals than these are left to the job.
AT_ONCE = 1000
# What changes no credit.
_SHOWN_ONLY = frozenset(
    ("description", "name", "sequence", "fit_state", "fit_progress", "fit_error", "fit_every")
)
# The parameters of rules that a model has fields for, by the field.
PARAMETERS = {
    "half_life_days": "half_life_days",
    "first_percent": "first_percent",
    "last_percent": "last_percent",
    "chain_order": "order",
    "prior_conversions": "prior_conversions",
}


class TrackflowAttributionModel(models.Model):
    _name = "trackflow.attribution.model"
    _description = "TrackFlow Attribution Model"
    _order = "sequence, id"

    name = fields.Char(required=True, translate=True)
    description = fields.Text(translate=True)
    sequence = fields.Integer(default=10)
    active = fields.Boolean(default=True)
    company_id = fields.Many2one("res.company", help="Empty: every company may use this model.")
    rule = fields.Selection(
        selection="_selection_rule",
        required=True,
        default="linear",
        help="How the touches of a deal share its value.",
    )
    is_default = fields.Boolean(
        "Default",
        compute="_compute_is_default",
        help="The company's settings name this model as default.",
    )
    lookback_days = fields.Integer(
        "Window (days)",
        help="How far before the deal touches may earn credit; 0 means the company's window.",
    )
    anchor = fields.Selection(
        [("created", "Creation of the deal"), ("won", "Winning of the deal")],
        "Counted From",
        required=True,
        default="created",
    )
    half_life_days = fields.Float("Half-Life (days)", default=7.0)
    first_percent = fields.Float("First Touch (%)", default=40.0)
    last_percent = fields.Float("Last Touch (%)", default=40.0)
    channel_rule_ids = fields.One2many(
        "trackflow.channel.rule", "attribution_model_id", "Channel Weights", copy=True
    )

    _lookback_days_positive = models.Constraint(
        "CHECK (lookback_days >= 0)", "The window must not be negative."
    )
    _half_life_days_positive = models.Constraint(
        "CHECK (half_life_days >= 0)", "The half-life must not be negative."
    )
    _percent_range = models.Constraint(
        "CHECK (first_percent >= 0 AND last_percent >= 0 AND first_percent + last_percent <= 100)",
        "The percentages of first and last touch must lie between 0 and 100 together.",
    )

    @api.model
    def _selection_rule(self):
        return [(rule.name, rule.title) for rule in self._rules().values()]

    @api.onchange("rule")
    def _onchange_rule(self):
        rules = self._rules()
        written = self.description not in {
            False,
            "",
            *(rule.description for rule in rules.values()),
        }
        if self.rule in rules and not written:
            self.description = rules[self.rule].description

    @api.depends_context("company")
    def _compute_is_default(self):
        default = self.env.company.trackflow_attribution_model_id
        for model in self:
            model.is_default = model == default

    @api.model_create_multi
    def create(self, vals_list):
        self.env.registry.clear_cache()
        created = super().create(vals_list)
        self.env["trackflow.model.credit"]._compare_all()
        return created

    def write(self, vals):
        self.env.registry.clear_cache()
        result = super().write(vals)
        if vals.keys() - _SHOWN_ONLY:
            self.env["trackflow.model.credit"]._compare_all()
        return result

    @api.ondelete(at_uninstall=False)
    def _unlink_except_used(self):
        in_use = Domain("attribution_model_id", "in", self.ids)
        credit = self.env["trackflow.deal.attribution"].sudo().search(in_use, limit=1)
        if credit:
            raise UserError(
                self.env._(
                    "Deals are split by “%s”: archive it instead of deleting it.",
                    credit.attribution_model_id.name,
                )
            )

    def unlink(self):
        self.env.registry.clear_cache()
        result = super().unlink()
        see_to(self)
        self.env["trackflow.model.credit"]._compare_all()
        return result

    def action_recompute(self):
        """Split all deals anew that this model splits, from all that is known today: few at once,
        many by the job."""
        self.ensure_one()
        self.check_access("write")
        runs = self.env["trackflow.recompute.run"]
        [[count]] = self.env.execute_query(
            SQL("SELECT count(*) FROM crm_lead lead WHERE %s", runs._split_by(self))
        )
        if count > AT_ONCE:
            return runs.action_start(self)
        done = self.env["crm.lead"].sudo()._trackflow_recompute_model(self)
        if done:
            message = self.env._("Deals split anew: %s.", done)
        else:
            message = self.env._(
                "No deal has been split by this model yet. It splits those for which it is "
                "chosen, and new ones once it is the company's model."
            )
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {"type": "success" if done else "info", "message": message},
        }

    @api.model
    def _rules(self):
        """The rules that models may use, by name."""
        return plugin_hooks(self.env).rules

    def _core_model(self, window_days, fit_version=None):
        """This model as the core knows it, with the newest of what it learned.

        `fit_version` takes an older fit in its place, 0 none.

        Raises ConfigError when its rule belongs to a plugin that is switched off.
        """
        name, rule_name, parameters, channel_rules, lookback_days, anchor, fit = self._parameters(
            self.id
        )
        if fit_version is not None:
            fits = self.sudo().fit_ids
            fit = fits.filtered(lambda fit: fit.version == fit_version)._core_fit()
        rule = plugin_hooks(self.env).rules.get(rule_name)
        if rule is None:
            raise ConfigError(
                f"The attribution model {name!r} uses the rule {rule_name!r}, which no plugin "
                "that is switched on brings: switch the plugin on or choose another rule."
            )
        return Model(
            rule,
            {key: value for key, value in parameters.items() if key in rule.parameters},
            timedelta(days=lookback_days or window_days),
            anchor,
            name,
            channel_rules,
            fit if fit and fit.rule == rule.name else None,
        )

    @api.model
    def _core_models(self):
        """The models that the user may choose, by name; those of a missing plugin are left out."""
        window_days = self.env.company.trackflow_window_days
        usable = self.search([("rule", "in", list(self._rules()))])
        return {model.name: model._core_model(window_days) for model in usable}

    @api.model
    @tools.ormcache("model_id")
    def _parameters(self, model_id):
        model = self.sudo().with_context(lang=None).browse(model_id)
        parameters = {name: Decimal(str(model[field])) for field, name in PARAMETERS.items()}
        # In one order for ever: it goes into the digest of each deal.
        rules = model.channel_rule_ids.sorted(lambda rule: (-rule.priority, rule.id))
        channel_rules = tuple(rule._core_rule() for rule in rules)
        return (
            model.name,
            model.rule,
            parameters,
            channel_rules,
            model.lookback_days,
            model.anchor,
            model.fit_id._core_fit(),
        )
