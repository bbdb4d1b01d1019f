from odoo import api, fields, models


class TrackflowClickQueue(models.Model):
    """Answered redirects that wait to be classified.

    A redirect writes one row here and nothing else; see `store.OdooStore`. Rows are written and
    read by SQL alone, with times exact to the microsecond.
    """

    _name = "trackflow.click.queue"
    _description = "TrackFlow Click Queue"
    _rec_name = "event_id"
    _order = "id desc"

    event_id = fields.Char("Event", required=True, readonly=True)
    link_code = fields.Char("Code", readonly=True)
    occurred_at = fields.Datetime("Clicked On", readonly=True)
    visitor_key = fields.Char("Visitor ID", readonly=True)
    ip = fields.Char("IP", readonly=True, help="Only the network; the host is cut off.")
    user_agent = fields.Char(readonly=True)
    referrer = fields.Char(readonly=True)
    destination = fields.Char(readonly=True)
    internal = fields.Boolean("Staff", readonly=True)
    prefetch = fields.Boolean(readonly=True)
    status = fields.Selection(
        [("queued", "Waiting"), ("done", "Recorded"), ("failed", "Set Aside")],
        required=True,
        readonly=True,
        default="queued",
    )
    processed_at = fields.Datetime(readonly=True)
    error_message = fields.Char("Error", readonly=True)

    _event_id_uniq = models.UniqueIndex("(event_id)", "This click is already in the queue.")
    _queued_idx = models.Index("(id) WHERE status = 'queued'")
    _queued_visitor_idx = models.Index("(visitor_key) WHERE status = 'queued'")
    _processed_idx = models.Index("(processed_at) WHERE status = 'done'")

    @api.model
    def _cron_process_clicks(self):
        pass
