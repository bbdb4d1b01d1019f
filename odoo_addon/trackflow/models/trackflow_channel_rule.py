from decimal import Decimal

from odoo import api, fields, models

from trackflow_core.attribution.models import ChannelRule


class TrackflowChannelRule(models.Model):
    """Multiplies what an attribution model gives to the touches that meet the conditions."""

    _name = "trackflow.channel.rule"
    _description = "TrackFlow Attribution Channel Rule"
    _order = "priority desc, id"
    _rec_name = "match_conditions"

    attribution_model_id = fields.Many2one(
        "trackflow.attribution.model", required=True, index=True, ondelete="cascade"
    )
    channel = fields.Char(help="The channel as reports name it; * stands for any characters.")
    source = fields.Char(help="* stands for any characters; empty means any source.")
    medium = fields.Char(help="* stands for any characters; empty means any medium.")
    campaign = fields.Char(help="* stands for any characters; empty means any campaign.")
    priority = fields.Integer(
        default=10, help="Of several rules that a touch meets, the highest priority counts."
    )
    weight = fields.Float(
        "Times",
        default=1.0,
        digits=(16, 4),
        required=True,
        help="2 doubles what the touch would earn, 0 leaves it out.",
    )
    match_conditions = fields.Char("Conditions", compute="_compute_match_conditions")

    _weight_positive = models.Constraint(
        "CHECK (weight >= 0)", "The weight of a channel rule must be zero or more."
    )

    @api.depends("channel", "source", "medium", "campaign")
    def _compute_match_conditions(self):
        for rule in self:
            conditions = rule._core_rule().conditions
            rule.match_conditions = ", ".join(
                f"{rule._fields[name]._description_string(self.env)}: {pattern}"
                for name, pattern in conditions.items()
            ) or self.env._("Every touch")

    @api.model_create_multi
    def create(self, vals_list):
        self.env.registry.clear_cache()
        rules = super().create(vals_list)
        self.env["trackflow.model.credit"]._compare_all()
        return rules

    def write(self, vals):
        self.env.registry.clear_cache()
        result = super().write(vals)
        self.env["trackflow.model.credit"]._compare_all()
        return result

    def unlink(self):
        self.env.registry.clear_cache()
        self.env["trackflow.model.credit"]._compare_all()
        return super().unlink()

    def _core_rule(self):
        """This rule as the core knows it."""
        return ChannelRule(
            weight=Decimal(str(self.weight)),
            channel=(self.channel or "").strip(),
            source=(self.source or "").strip(),
            medium=(self.medium or "").strip(),
            campaign=(self.campaign or "").strip(),
            priority=self.priority,
        )
