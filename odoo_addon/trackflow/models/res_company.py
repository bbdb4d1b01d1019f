from odoo import api, fields, models


class ResCompany(models.Model):
    _inherit = "res.company"

    trackflow_attribution_model_id = fields.Many2one(
        "trackflow.attribution.model",
        "Attribution Model",
        default=lambda self: self.env.ref(
            "trackflow.attribution_model_linear", raise_if_not_found=False
        ),
        help="Splits the deals that choose no model of their own.",
    )
    trackflow_window_days = fields.Integer(
        "Attribution Window (days)",
        default=90,
        help="How far before a deal touches may earn credit, unless its model says otherwise.",
    )
    trackflow_code_length = fields.Integer(
        "Length of Link Codes", default=7, help="Characters in the codes of new tracked links."
    )
    trackflow_cookie_days = fields.Integer(
        "Visitor Cookie (days)", default=365, help="How long a visitor is recognised."
    )

    _trackflow_window_days_positive = models.Constraint(
        "CHECK (trackflow_window_days > 0)", "The attribution window must be one day or more."
    )
    _trackflow_code_length_range = models.Constraint(
        "CHECK (trackflow_code_length BETWEEN 5 AND 32)",
        "Link codes have between 5 and 32 characters.",
    )
    _trackflow_cookie_days_range = models.Constraint(
        "CHECK (trackflow_cookie_days BETWEEN 1 AND 400)",
        "The visitor cookie lives between 1 and 400 days; browsers allow no more.",
    )

    @api.model
    def _trackflow_init_attribution_model(self):
        """Give the companies that were there before the addon a default model."""
        linear = self.env.ref("trackflow.attribution_model_linear")
        self.search([("trackflow_attribution_model_id", "=", False)]).write(
            {"trackflow_attribution_model_id": linear.id}
        )
