import logging

from odoo import api, fields, models
from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY
from odoo.tools import SQL

from ..engine import build_engine
from ..store import OdooStore

_logger = logging.getLogger(__name__)


class TrackflowClickQueue(models.Model):
    """Answered redirects that wait to be classified.

    A redirect writes one row here and nothing else; see `store.OdooStore`. Rows are written and
    read by SQL alone, with times exact to the microsecond.
    """

    _name = "trackflow.click.queue"
    _description = "TrackFlow Click Queue"
    _rec_name = "event_id"
    _order = "id desc"

    event_id = fields.Char(required=True, readonly=True)
    link_code = fields.Char("Code", readonly=True)
    occurred_at = fields.Datetime("Clicked On", readonly=True)
    visitor_key = fields.Char("Visitor ID", readonly=True)
    ip = fields.Char("IP", readonly=True, help="Only the network; the host is cut off.")
    user_agent = fields.Char(readonly=True)
    referrer = fields.Char(readonly=True)
    destination = fields.Char(readonly=True)
    country_code = fields.Char("Country", readonly=True)
    internal = fields.Boolean("Staff", readonly=True)
    prefetch = fields.Boolean(readonly=True)
    scan = fields.Boolean("Scanned", readonly=True, help="The QR code was used.")
    # No relations: nothing is looked up while a click is answered.
    rule_id = fields.Integer(readonly=True)
    variant_id = fields.Integer(readonly=True)
    company_id = fields.Integer(readonly=True, help="Whose site the visitor was on.")
    kind = fields.Char(readonly=True, default="click")
    data = fields.Char("Properties", readonly=True)
    tier = fields.Char("Consent", readonly=True, help="How much may be kept of the person.")
    status = fields.Selection(
        [("queued", "Waiting"), ("done", "Recorded"), ("failed", "Set Aside")],
        required=True,
        readonly=True,
        default="queued",
    )
    processed_at = fields.Datetime(readonly=True)
    error_message = fields.Char("Error", readonly=True)

    _event_id_uniq = models.UniqueIndex("(event_id)", "This click is already in the queue.")
    _queued_idx = models.Index("(occurred_at, event_id) WHERE status = 'queued'")
    _queued_visitor_idx = models.Index("(visitor_key) WHERE status = 'queued'")
    _processed_idx = models.Index("(processed_at, id) WHERE status = 'done'")

    @api.model
    def _cron_process_clicks(self, limit=2000):
        """Record waiting clicks and refresh stale leads in batches until none is left."""
        progress = self.env["ir.cron"]._commit_progress
        progress(remaining=self._count_waiting())
        while True:
            try:
                store = OdooStore(self.env)
                drained = build_engine(self.env, store).process_clicks(limit)
                store.count_waiting_clicks()
            except PG_CONCURRENCY_EXCEPTIONS_TO_RETRY as error:
                # A visitor became a lead meanwhile, which recorded the visitor's clicks.
                _logger.info("The click job met a concurrent change and goes on later: %s", error)
                self.env.cr.rollback()
                return
            seconds_left = progress(drained.claimed, remaining=self._count_waiting())
            idle = not drained.claimed and not drained.refreshed
            if idle or not seconds_left:
                return

    @api.model
    def _count_waiting(self):
        [[waiting]] = self.env.execute_query(
            SQL("SELECT count(*) FROM trackflow_click_queue WHERE status = 'queued'")
        )
        return waiting

    def action_retry(self):
        """Let the job try once more what it has set aside."""
        self.check_access("read")
        self.sudo().filtered(lambda click: click.status == "failed").write(
            {"status": "queued", "error_message": False}
        )
