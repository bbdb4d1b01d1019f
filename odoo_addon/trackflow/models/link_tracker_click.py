from odoo import fields, models

MANAGER = "trackflow.group_trackflow_campaign_manager"


class LinkTrackerClick(models.Model):
    _inherit = "link.tracker.click"

    trackflow_event_id = fields.Char("Event", readonly=True, copy=False, groups=MANAGER)
    trackflow_occurred_at = fields.Datetime("Clicked On", readonly=True, index=True)
    trackflow_visitor_id = fields.Many2one(
        "trackflow.visitor",
        "Visitor",
        readonly=True,
        index="btree_not_null",
        ondelete="set null",
        groups=MANAGER,
    )
    trackflow_session_id = fields.Many2one(
        "trackflow.session",
        "Session",
        readonly=True,
        index="btree_not_null",
        ondelete="set null",
        groups=MANAGER,
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
    trackflow_device = fields.Char("Device", readonly=True)
    trackflow_browser = fields.Char("Browser", readonly=True)
    trackflow_os = fields.Char("Operating System", readonly=True)
    trackflow_referrer = fields.Char("Referrer", readonly=True, groups=MANAGER)
    trackflow_destination = fields.Char("Page", readonly=True, groups=MANAGER)
    trackflow_user_agent = fields.Char("User Agent", readonly=True, groups=MANAGER)
    trackflow_internal = fields.Boolean("Staff", readonly=True)
    trackflow_counts = fields.Boolean(
        "Counts", readonly=True, default=True, help="The click of a person from outside."
    )

    _trackflow_event_uniq = models.UniqueIndex(
        "(trackflow_event_id) WHERE trackflow_event_id IS NOT NULL",
        "This click has already been recorded.",
    )
