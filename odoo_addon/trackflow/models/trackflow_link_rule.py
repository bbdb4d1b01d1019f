from odoo import api, fields, models
from odoo.exceptions import ValidationError

from .link_tracker_click import DEVICES


class TrackflowLinkRule(models.Model):
    """Sends the clicks that meet all of its conditions elsewhere; the first that fits decides."""

    _name = "trackflow.link.rule"
    _description = "Link Rule"
    _order = "link_id, sequence, id"

    link_id = fields.Many2one("link.tracker", required=True, index=True, ondelete="cascade")
    sequence = fields.Integer(default=10)
    name = fields.Char(compute="_compute_name")
    url = fields.Char("Destination", required=True)
    device = fields.Selection(DEVICES)
    language = fields.Char(help="Such as “de” or “pt-BR”: where the visitor likes it best.")
    country_ids = fields.Many2many(
        "res.country",
        "trackflow_link_rule_country_rel",
        "rule_id",
        "country_id",
        "Countries",
        help="Told by a GeoIP database on the server; without one, no visitor has a country.",
    )
    query = fields.Char(
        "Parameters", help="Such as “ref=partner&vip”: the click must bring all of them."
    )
    since = fields.Date("From")
    until = fields.Date("To")
    active = fields.Boolean(default=True)
    clicks = fields.Integer(compute="_compute_clicks")

    _dates_in_order = models.Constraint(
        "CHECK (until >= since)", "A rule must not end before it starts."
    )

    @api.depends("device", "language", "country_ids", "query", "since", "until")
    def _compute_name(self):
        devices = dict(self._fields["device"]._description_selection(self.env))
        for rule in self:
            parts = [
                devices.get(rule.device),
                rule.language,
                ", ".join(rule.country_ids.mapped("name")),
                rule.query,
                rule.since and self.env._("from %s", fields.Date.to_string(rule.since)),
                rule.until and self.env._("to %s", fields.Date.to_string(rule.until)),
            ]
            rule.name = " · ".join(filter(None, parts)) or self.env._("Everybody")

    @api.constrains("url", "language")
    def _check_rule(self):
        label = self._fields["url"]._description_string(self.env)
        for rule in self:
            rule.link_id._trackflow_check_destination(rule.url, label)
            rule.link_id._trackflow_check_language(rule.language)

    @api.constrains("url", "device", "language", "country_ids", "query", "since", "until")
    def _check_has_condition(self):
        for rule in self:
            if not any(
                (
                    rule.device,
                    rule.language,
                    rule.country_ids,
                    rule.query,
                    rule.since,
                    rule.until,
                )
            ):
                raise ValidationError(
                    self.env._(
                        "A rule needs a condition: a device, language, country, parameter or date."
                    )
                )

    def _compute_clicks(self):
        counted = (
            self.env["link.tracker.click"]
            .sudo()
            ._read_group(
                [("trackflow_rule_id", "in", self.ids), ("trackflow_counts", "=", True)],
                ["trackflow_rule_id"],
                ["__count"],
            )
        )
        numbers = {rule.id: count for rule, count in counted}
        for rule in self:
            rule.clicks = numbers.get(rule.id, 0)
