from datetime import timedelta
from ipaddress import ip_network
from zoneinfo import available_timezones

from odoo import api, fields, models
from odoo.exceptions import ValidationError
from odoo.tools import SQL, formatLang

from trackflow_core.tracking import engagement

_KEPT = {
    "link_tracker_click": "trackflow_kept_clicks",
    "trackflow_event": "trackflow_kept_events",
    "trackflow_click_queue": "trackflow_kept_queue",
    "trackflow_api_request_log": "trackflow_kept_requests",
    "trackflow_session": "trackflow_kept_sessions",
}


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
    trackflow_account_journeys = fields.Boolean(
        related="company_id.trackflow_account_journeys", readonly=False
    )
    trackflow_human_touches = fields.Boolean(
        related="company_id.trackflow_human_touches", readonly=False
    )
    trackflow_keep_clicks_days = fields.Integer(
        "Keep Clicks at Hand (days)",
        config_parameter="trackflow.keep_clicks_days",
        default=730,
    )
    trackflow_keep_events_days = fields.Integer(
        "Keep Events (days)",
        config_parameter="trackflow.keep_events_days",
        default=365,
    )
    trackflow_keep_queue_days = fields.Integer(
        "Keep Recorded Clicks in the Queue (days)",
        config_parameter="trackflow.keep_queue_days",
        default=7,
    )
    trackflow_keep_requests_days = fields.Integer(
        "Keep the API's Request Log (days)",
        config_parameter="trackflow.keep_requests_days",
        default=90,
    )
    trackflow_keep_sessions_days = fields.Integer(
        "Keep Visits at Hand (days)",
        config_parameter="trackflow.keep_sessions_days",
        default=365,
    )

    trackflow_kept_clicks = fields.Char("Clicks Kept", compute="_compute_trackflow_kept")
    trackflow_kept_events = fields.Char("Events Kept", compute="_compute_trackflow_kept")
    trackflow_kept_queue = fields.Char("Queue Rows Kept", compute="_compute_trackflow_kept")
    trackflow_kept_requests = fields.Char("Requests Kept", compute="_compute_trackflow_kept")
    trackflow_kept_sessions = fields.Char("Visits Kept", compute="_compute_trackflow_kept")

    trackflow_allowed_networks = fields.Char(
        "Networks That Webhooks May Reach", config_parameter="trackflow.allowed_networks"
    )

    trackflow_engagement_half_life = fields.Float("Points Are Halved After (days)", digits=(16, 1))
    trackflow_engagement_click = fields.Float("Click", digits=(16, 1))
    trackflow_engagement_call = fields.Float("Call", digits=(16, 1))
    trackflow_engagement_referral = fields.Float("Referral", digits=(16, 1))
    trackflow_engagement_event = fields.Float("Event", digits=(16, 1))
    trackflow_engagement_meeting = fields.Float("Meeting", digits=(16, 1))

    def _compute_trackflow_kept(self):
        """About how many rows there are now, as PostgreSQL estimates it: counting takes long."""
        rows = self.env.execute_query(
            SQL(
                "SELECT relname, reltuples::bigint FROM pg_class WHERE oid = ANY(%s::regclass[])",
                list(_KEPT),
            )
        )
        for table, number in rows:
            # Before the first look at a table the estimate is -1.
            shown = formatLang(self.env, max(number, 0), digits=0)
            self[_KEPT[table]] = self.env._("About %s rows now.", shown)

    @api.model
    def get_values(self):
        formula = self.env["trackflow.visitor"]._engagement_formula()
        weights = {
            f"trackflow_engagement_{kind}": weight for kind, weight in formula.weights.items()
        }
        half_life = formula.half_life / timedelta(days=1)
        return {**super().get_values(), **weights, "trackflow_engagement_half_life": half_life}

    def set_values(self):
        visitors = self.env["trackflow.visitor"]
        before = visitors._engagement_formula()
        done = super().set_values()
        parameters = self.env["ir.config_parameter"].sudo()
        for name in ("half_life", *before.weights):
            # By hand, since Odoo takes a zero for the wish to have the default again.
            value = repr(self[f"trackflow_engagement_{name}"])
            parameters.set_param(f"trackflow.engagement_{name}", value)
        if visitors._engagement_formula() != before:
            visitors._score_all_anew()
        return done

    @api.constrains(
        "trackflow_engagement_half_life",
        "trackflow_engagement_click",
        "trackflow_engagement_call",
        "trackflow_engagement_referral",
        "trackflow_engagement_event",
        "trackflow_engagement_meeting",
    )
    def _check_trackflow_engagement(self):
        for settings in self:
            if settings.trackflow_engagement_half_life <= 0:
                raise ValidationError(
                    self.env._("Points are halved after more than no time: give some days.")
                )
            points = (settings[f"trackflow_engagement_{kind}"] for kind in engagement.WEIGHTS)
            if any(point < 0 for point in points):
                raise ValidationError(self.env._("A touch gives no points or some, never less."))

    @api.constrains("trackflow_allowed_networks")
    def _check_trackflow_allowed_networks(self):
        for settings in self:
            for network in (settings.trackflow_allowed_networks or "").split():
                try:
                    ip_network(network, strict=False)
                except ValueError:
                    raise ValidationError(
                        self.env._("“%s” is no network: write it as in 10.1.0.0/16.", network)
                    ) from None

    @api.constrains(
        "trackflow_keep_clicks_days",
        "trackflow_keep_events_days",
        "trackflow_keep_queue_days",
        "trackflow_keep_requests_days",
        "trackflow_keep_sessions_days",
    )
    def _check_trackflow_keep_days(self):
        names = [name for name in self._fields if name.startswith("trackflow_keep_")]
        if any(settings[name] < 1 for settings in self for name in names):
            raise ValidationError(self.env._("Facts are kept for one day at least."))
