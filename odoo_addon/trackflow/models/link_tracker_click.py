from odoo import api, fields, models

from trackflow_core.tracking.consent import IpPolicy, anonymise

from ..relations import UncheckedMany2one, drop_foreign_keys, see_to
from ..store import OdooStore

MANAGER = "trackflow.group_trackflow_campaign_manager"

DEVICES = [
    ("desktop", "Computer"),
    ("mobile", "Phone"),
    ("tablet", "Tablet"),
    ("other", "Another Device"),
]


class LinkTrackerClick(models.Model):
    _inherit = "link.tracker.click"

    trackflow_event_id = fields.Char("Event", readonly=True, copy=False, groups=MANAGER)
    trackflow_occurred_at = fields.Datetime("Clicked On", readonly=True, index=True)
    trackflow_visitor_id = UncheckedMany2one(
        "trackflow.visitor", "Visitor", readonly=True, groups=MANAGER
    )
    trackflow_session_id = UncheckedMany2one(
        "trackflow.session", "Session", readonly=True, index="btree_not_null", groups=MANAGER
    )
    trackflow_source = fields.Char("Source Name", readonly=True)
    trackflow_medium = fields.Char("Medium Name", readonly=True)
    trackflow_campaign = fields.Char("Campaign Name", readonly=True)
    trackflow_content = fields.Char("Content", readonly=True)
    trackflow_term = fields.Char("Term", readonly=True)
    trackflow_channel = fields.Char("Channel", readonly=True)
    trackflow_verdict = fields.Selection(
        [
            ("human", "Person"),
            ("bot", "Bot"),
            ("preview", "Link Preview"),
            ("unknown", "Unknown"),
        ],
        "Clicked By",
        readonly=True,
        default="unknown",
    )
    trackflow_reason = fields.Char("Why", readonly=True)
    trackflow_device = fields.Selection(DEVICES, "Device", readonly=True)
    trackflow_browser = fields.Char("Browser", readonly=True)
    trackflow_os = fields.Char("Operating System", readonly=True)
    trackflow_referrer = fields.Char("Referrer", readonly=True, groups=MANAGER)
    trackflow_destination = fields.Char("Page", readonly=True, groups=MANAGER)
    trackflow_user_agent = fields.Char("User Agent", readonly=True, groups=MANAGER)
    trackflow_internal = fields.Boolean("Staff", readonly=True)
    trackflow_counts = fields.Boolean(
        "Counts", readonly=True, default=True, help="The click of a person from outside."
    )

    trackflow_link_code = fields.Char("Clicked Code", readonly=True)
    trackflow_scan = fields.Boolean("Scanned", readonly=True, help="The QR code was used.")
    trackflow_rule_id = fields.Many2one(
        "trackflow.link.rule",
        "Rule",
        readonly=True,
        index="btree_not_null",
        ondelete="set null",
        groups=MANAGER,
    )
    trackflow_variant_id = fields.Many2one(
        "trackflow.link.variant",
        "Variant",
        readonly=True,
        index="btree_not_null",
        ondelete="set null",
        groups=MANAGER,
    )
    trackflow_prefetch = fields.Boolean("Prefetched", readonly=True)
    trackflow_tier = fields.Char(
        "Consent", readonly=True, help="How much may be kept of the person."
    )
    trackflow_archived = fields.Boolean(
        "Archived", readonly=True, help="Older than clicks are kept at hand; lists leave it out."
    )
    trackflow_rolled_up = fields.Boolean(readonly=True, default=True, groups=fields.NO_ACCESS)

    _trackflow_event_uniq = models.UniqueIndex(
        "(trackflow_event_id) WHERE trackflow_event_id IS NOT NULL",
        "This click has already been recorded.",
    )
    _trackflow_visitor_moment_idx = models.Index(
        "(trackflow_visitor_id, trackflow_occurred_at) WHERE trackflow_visitor_id IS NOT NULL"
    )
    # Holds all that the dashboard reads of a click.
    _trackflow_dashboard_idx = models.Index(
        "(trackflow_occurred_at) INCLUDE (trackflow_visitor_id, trackflow_channel, campaign_id, "
        "link_id) WHERE trackflow_counts"
    )
    _trackflow_not_rolled_up_idx = models.Index("(id) WHERE trackflow_rolled_up IS FALSE")
    _trackflow_at_hand_idx = models.Index(
        "(trackflow_occurred_at, id) WHERE trackflow_archived IS NOT TRUE"
    )
    _trackflow_link_visitor_idx = models.Index(
        "(link_id, trackflow_visitor_id) WHERE trackflow_counts"
    )

    # What a campaign's statistics read, and nothing else: see `statistics.campaign_statistics`.
    _trackflow_campaign_visitor_idx = models.Index(
        "(campaign_id, trackflow_visitor_id) INCLUDE (trackflow_occurred_at) WHERE trackflow_counts"
    )

    def init(self):
        drop_foreign_keys(self)
        return super().init()

    @api.model_create_multi
    def create(self, vals_list):
        """Count what other code records, such as the mailings' own routes."""
        now = fields.Datetime.now()
        clicks = super().create(
            [
                {**vals, "trackflow_occurred_at": vals.get("trackflow_occurred_at") or now}
                for vals in vals_list
            ]
        )
        clicks._trackflow_count()
        return clicks

    def unlink(self):
        # What still waits to be counted is in no counter.
        self.sudo().filtered("trackflow_rolled_up")._trackflow_count(-1)
        result = super().unlink()
        see_to(self)
        return result

    def _trackflow_count(self, sign=1):
        """Add these clicks to, or take them from, the counters of their links."""
        self.flush_recordset()
        OdooStore(self.env).count_clicks(self.ids, sign)

    def _prepare_click_values_from_route(self, **route_values):
        if route_values.get("ip"):
            policy = IpPolicy(self.env.company.trackflow_ip_policy)
            route_values["ip"] = anonymise(route_values["ip"], policy)
        return super()._prepare_click_values_from_route(**route_values)
