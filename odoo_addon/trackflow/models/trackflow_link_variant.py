from odoo import api, fields, models
from odoo.tools import SQL

from trackflow_core.tracking import variants


class TrackflowLinkVariant(models.Model):
    """One of several destinations that share a link's clicks by weight."""

    _name = "trackflow.link.variant"
    _description = "Link Variant"
    _order = "link_id, sequence, id"

    link_id = fields.Many2one("link.tracker", required=True, index=True, ondelete="cascade")
    sequence = fields.Integer(default=10)
    name = fields.Char(required=True)
    url = fields.Char("Destination", required=True)
    weight = fields.Integer(
        default=1, required=True, aggregator=None, help="Its share of the clicks; 0 gives it none."
    )
    active = fields.Boolean(default=True)
    clicks = fields.Integer(compute="_compute_results")
    visitors = fields.Integer(compute="_compute_results")
    conversions = fields.Integer(
        compute="_compute_results",
        help="Leads that came in and deals that were won with a click on this variant as last touch.",
    )
    rate = fields.Float("Conversion Rate", compute="_compute_results", help="conversions / clicks")

    _weight_positive = models.Constraint("CHECK (weight >= 0)", "A weight must not be negative.")
    _link_name_uniq = models.UniqueIndex(
        "(link_id, name)", "The variants of a link need names of their own."
    )

    @api.constrains("url")
    def _check_url(self):
        label = self._fields["url"]._description_string(self.env)
        for variant in self:
            variant.link_id._trackflow_check_destination(variant.url, label)

    def _compute_results(self):
        clicks = {
            variant.id: (count, visitors)
            for variant, count, visitors in self.env["link.tracker.click"]
            .sudo()
            ._read_group(
                [("trackflow_variant_id", "in", self.ids), ("trackflow_counts", "=", True)],
                ["trackflow_variant_id"],
                ["__count", "trackflow_visitor_id:count_distinct"],
            )
        }
        self.env["trackflow.conversion"].flush_model(["click_id"])
        # A conversion knows its click, and the click its variant: one join instead of a column.
        conversions = dict(
            self.env.execute_query(
                SQL(
                    """
                    SELECT click.trackflow_variant_id, count(*)
                      FROM link_tracker_click click
                      JOIN trackflow_conversion conversion ON conversion.click_id = click.id
                     WHERE click.trackflow_variant_id = ANY(%s)
                     GROUP BY 1
                    """,
                    self.ids,
                )
            )
        )
        for variant in self:
            variant.clicks, variant.visitors = clicks.get(variant.id, (0, 0))
            variant.conversions = conversions.get(variant.id, 0)
            variant.rate = variant.conversions / variant.clicks if variant.clicks else 0.0

    def _standing(self):
        """In words how the test of these variants stands; "" where there is none."""
        found = variants.standing(
            variants.Result(variant.name, variant.clicks, variant.conversions) for variant in self
        )
        if found is None:
            return ""
        if found.confidence is None:
            return self.env._("Not enough data yet to tell which variant is better.")
        return self.env._(
            "%(name)s is ahead, with %(share)s%% certainty.",
            name=found.leader,
            share=int(found.confidence * 100),
        )
