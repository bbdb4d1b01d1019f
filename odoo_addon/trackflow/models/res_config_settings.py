from odoo import fields, models


class ResConfigSettings(models.TransientModel):
    _inherit = "res.config.settings"

    trackflow_attribution_model_id = fields.Many2one(
        related="company_id.trackflow_attribution_model_id", readonly=False
    )
    trackflow_window_days = fields.Integer(
        related="company_id.trackflow_window_days", readonly=False
    )
    trackflow_code_length = fields.Integer(
        related="company_id.trackflow_code_length", readonly=False
    )
    trackflow_cookie_days = fields.Integer(
        related="company_id.trackflow_cookie_days", readonly=False
    )
