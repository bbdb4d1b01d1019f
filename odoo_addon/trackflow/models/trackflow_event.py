from odoo import api, fields, models

from trackflow_core.model import PAGE_VIEW

from ..relations import UncheckedMany2one
from .link_tracker_click import DEVICES


class TrackflowEvent(models.Model):
    """What a visitor did on the site besides clicking links: pages, forms, events of its own.

    Rows are written by SQL alone, with times exact to the microsecond; see `store.ClickStore`.
    """

    _name = "trackflow.event"
    _description = "TrackFlow Visitor Event"
    _rec_name = "event_type"
    _order = "timestamp desc, id desc"

    event_id = fields.Char("Event ID", required=True, readonly=True, copy=False)
    event_type = fields.Char("Event", required=True, readonly=True)
    timestamp = fields.Datetime("Happened On", required=True, readonly=True)
    visitor_id = fields.Many2one("trackflow.visitor", readonly=True, ondelete="set null")
    session_id = fields.Many2one(
        "trackflow.session",
        "Visit",
        readonly=True,
        index="btree_not_null",
        ondelete="set null",
    )
    link_id = fields.Many2one(
        "link.tracker", readonly=True, index="btree_not_null", ondelete="set null"
    )
    company_id = UncheckedMany2one(
        "res.company",
        readonly=True,
        help="Whose site it happened on. Empty: every company sees it.",
    )
    country_id = fields.Many2one("res.country", readonly=True)
    page_url = fields.Char("Page", readonly=True)
    referrer = fields.Char(readonly=True)
    event_data = fields.Char("Properties", readonly=True, help="A JSON object.")
    ip = fields.Char("IP", readonly=True, help="Only the network; the host is cut off.")
    user_agent = fields.Char(readonly=True)
    internal = fields.Boolean("Staff", readonly=True)
    prefetch = fields.Boolean("Prefetched", readonly=True)
    tier = fields.Char("Consent", readonly=True, help="How much may be kept of the person.")
    counts = fields.Boolean(readonly=True, help="Done by a person from outside.")
    returns = fields.Boolean(
        readonly=True, help="Came back from the site's own pages or from paying: no new touch."
    )
    source = fields.Char(readonly=True)
    medium = fields.Char(readonly=True)
    campaign = fields.Char(readonly=True)
    content = fields.Char(readonly=True)
    term = fields.Char(readonly=True)
    channel = fields.Char(readonly=True)
    verdict = fields.Char(readonly=True)
    reason = fields.Char("Why", readonly=True)
    device = fields.Selection(DEVICES, readonly=True)
    browser = fields.Char(readonly=True)
    os = fields.Char("Operating System", readonly=True)

    _event_id_uniq = models.UniqueIndex("(event_id)", "This event is already recorded.")
    _timestamp_idx = models.Index("(timestamp, id)")
    _visitor_timestamp_idx = models.Index("(visitor_id, timestamp)")
    # A visit that no click opened is a touch.
    _touch_idx = models.Index("(visitor_id) WHERE counts AND NOT returns")

    @api.depends("event_type")
    def _compute_display_name(self):
        for event in self:
            event.display_name = self._kind_label(event.event_type)

    @api.model
    def _kind_label(self, kind):
        """A kind of event as a reader knows it; names that a site made up are its own."""
        return self.env._("Page view") if kind == PAGE_VIEW else kind

    def _web_read_group_groupby_formatter(self, groupby_spec, values):
        formatter = super()._web_read_group_groupby_formatter(groupby_spec, values)
        if groupby_spec != "event_type":
            return formatter

        def formatter_kind(value):
            value, domain = formatter(value)
            return self._kind_label(value), domain

        return formatter_kind
