from odoo import fields, models


class ResConfigSettings(models.TransientModel):
    _inherit = "res.config.settings"

    trackflow_consent_text = fields.Text(
        related="company_id.trackflow_consent_text", readonly=False
    )
    trackflow_privacy_url = fields.Char(related="company_id.trackflow_privacy_url", readonly=False)
    trackflow_cookie_policy_url = fields.Char(
        related="company_id.trackflow_cookie_policy_url", readonly=False
    )
