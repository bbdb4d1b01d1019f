from odoo import api, fields, models


class TrackflowConnectorEvent(models.Model):
    """The inbox: what a CRM has told and the job takes in."""

    _name = "trackflow.connector.event"
    _description = "TrackFlow Connector Event"
    _order = "id desc"
    _rec_name = "event_id"

    connector_id = fields.Many2one(
        "trackflow.connector", required=True, readonly=True, index=True, ondelete="cascade"
    )
    event_id = fields.Char("Event", required=True, readonly=True)
    received_at = fields.Datetime("Received", required=True, readonly=True)
    payload = fields.Text(readonly=True)
    state = fields.Selection(
        [("queued", "Waiting"), ("done", "Taken In"), ("failed", "Failed")],
        required=True,
        readonly=True,
        default="queued",
    )
    error_message = fields.Char("Error", readonly=True)
    processed_at = fields.Datetime("Processed", readonly=True)
    attempts = fields.Integer(readonly=True)

    _connector_event_uniq = models.UniqueIndex(
        "(connector_id, event_id)", "This event has already been received."
    )
    _queued_idx = models.Index("(id) WHERE state = 'queued'")
    _processed_idx = models.Index("(processed_at) WHERE state = 'done'")

    def action_retry(self):
        """Let the job take in failed events once more."""
        self.filtered(lambda event: event.state == "failed").sudo().write(
            {"state": "queued", "error_message": False}
        )
        self.env.ref("trackflow.ir_cron_process_events").sudo()._trigger()

    @api.model
    def _cron_process_events(self):
        pass
