from zoneinfo import available_timezones

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
    trackflow_tracking_enabled = fields.Boolean(
        related="company_id.trackflow_tracking_enabled", readonly=False
    )
    trackflow_consent_required = fields.Boolean(
        related="company_id.trackflow_consent_required", readonly=False
    )
    trackflow_without_consent = fields.Selection(
        related="company_id.trackflow_without_consent", readonly=False
    )
    trackflow_respect_signals = fields.Boolean(
        related="company_id.trackflow_respect_signals", readonly=False
    )
    trackflow_ip_policy = fields.Selection(related="company_id.trackflow_ip_policy", readonly=False)
    trackflow_exclude_internal = fields.Boolean(
        related="company_id.trackflow_exclude_internal", readonly=False
    )
    trackflow_session_zone = fields.Selection(
        lambda self: [(zone, zone) for zone in sorted(available_timezones())],
        "Time Zone of Visits",
        config_parameter="trackflow.session_zone",
        default="UTC",
    )
