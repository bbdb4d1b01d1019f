from odoo import api, fields, models

from ..relations import UncheckedMany2one, drop_foreign_keys, see_to
from .link_tracker_click import DEVICES


class TrackflowSession(models.Model):
    _name = "trackflow.session"
    _description = "TrackFlow Visit"
    _rec_name = "entry_page"
    _order = "session_start desc, id desc"

    active = fields.Boolean(default=True, readonly=True)
    visitor_id = UncheckedMany2one(
        "trackflow.visitor", required=True, readonly=True, ondelete="cascade"
    )
    company_id = UncheckedMany2one(
        "res.company",
        readonly=True,
        help="That of the link that opened the visit, otherwise of the site it began on. Empty: "
        "every company sees it.",
    )
    session_key = fields.Char("Session ID", required=True, readonly=True, copy=False)
    session_start = fields.Datetime("Started", readonly=True)
    session_end = fields.Datetime("Ended", readonly=True)
    duration_seconds = fields.Integer("Duration (s)", compute="_compute_duration_seconds")
    hits = fields.Integer(readonly=True)
    is_bounce = fields.Boolean("Bounce", readonly=True, help="The visit was a single click.")
    entry_page = fields.Char(readonly=True)
    exit_page = fields.Char(readonly=True)
    source = fields.Char(readonly=True)
    medium = fields.Char(readonly=True)
    campaign = fields.Char(readonly=True)
    content = fields.Char(readonly=True)
    term = fields.Char(readonly=True)
    channel = fields.Char(readonly=True)
    device_type = fields.Selection(DEVICES, "Device", readonly=True)
    browser = fields.Char(readonly=True)
    os = fields.Char("Operating System", readonly=True)
    verdict = fields.Char(readonly=True)
    reason = fields.Char(readonly=True)
    click_ids = fields.One2many(
        "link.tracker.click", "trackflow_session_id", "Clicks", readonly=True
    )

    event_ids = fields.One2many("trackflow.event", "session_id", "Events", readonly=True)

    _at_hand_idx = models.Index("(session_end, id) WHERE active")
    _visitor_start_idx = models.Index("(visitor_id, session_start)")
    _session_start_idx = models.Index("(session_start)")
    _session_key_uniq = models.UniqueIndex("(session_key)", "This session is already known.")

    def init(self):
        # Visits are written by SQL.
        self.env.cr.execute("ALTER TABLE trackflow_session ALTER active SET DEFAULT TRUE")
        drop_foreign_keys(self)

    def unlink(self):
        result = super().unlink()
        see_to(self)
        return result

    @api.depends("session_start", "session_end")
    def _compute_duration_seconds(self):
        for session in self:
            if session.session_start and session.session_end:
                duration = session.session_end - session.session_start
                session.duration_seconds = int(duration.total_seconds())
            else:
                session.duration_seconds = 0
