from datetime import datetime, timedelta, timezone
from functools import cache, partial
from ipaddress import ip_network

from odoo import api, fields, models
from odoo.tools import SQL

from trackflow_core.errors import ConfigError
from trackflow_core.model import Context
from trackflow_core.outbox import CONNECTOR, WEBHOOK, Courier, WebhookSender, WriteBackSender
from trackflow_http.guarded import GuardedPost

from ..engine import plugin_hooks
from ..store.outbox import OdooOutbox

SENT_DAYS = 30
GC_LIMIT = 10_000


def _now():
    return datetime.now(timezone.utc)


class TrackflowOutboxMessage(models.Model):
    """What must leave the database. Rows are written by SQL alone; see `store.outbox`."""

    _name = "trackflow.outbox.message"
    _description = "TrackFlow Outgoing Message"
    _rec_name = "message_key"
    _order = "id desc"

    message_key = fields.Char("Message ID", required=True, readonly=True)
    target = fields.Char(required=True, readonly=True)
    endpoint_id = fields.Many2one(
        "trackflow.webhook.endpoint", compute="_compute_endpoint_id", search="_search_endpoint_id"
    )
    connector_id = fields.Many2one("trackflow.connector", compute="_compute_connector_id")
    receiver = fields.Char("To", compute="_compute_receiver")
    event = fields.Char(required=True, readonly=True)
    ref = fields.Char("Reference", readonly=True)
    body = fields.Text("Data", required=True, readonly=True)
    digest = fields.Char(required=True, readonly=True)
    latest = fields.Boolean(readonly=True)
    state = fields.Selection(
        [("waiting", "Waiting"), ("sent", "Sent"), ("dead", "Given Up")],
        required=True,
        readonly=True,
        default="waiting",
    )
    attempts = fields.Integer(readonly=True)
    due_at = fields.Datetime("Next Attempt", readonly=True)
    claimed_until = fields.Datetime("Under Way Until", readonly=True)
    sent_at = fields.Datetime("Sent", readonly=True)
    reason = fields.Char("Problem", readonly=True)

    _message_key_uniq = models.UniqueIndex("(message_key)", "This message is already there.")
    _due_idx = models.Index("(due_at, id) WHERE state = 'waiting'")
    _said_idx = models.Index("(target, event, ref, id)")
    _sent_idx = models.Index("(sent_at) WHERE state = 'sent'")

    @api.depends("target")
    def _compute_endpoint_id(self):
        for message in self:
            message.endpoint_id = self.env["trackflow.webhook.endpoint"]._of_target(message.target)

    @api.depends("target")
    def _compute_connector_id(self):
        connectors = self.env["trackflow.connector"]
        by_target = {}
        for target in set(self.mapped("target")):
            kind, _, namespace = (target or "").partition("/")
            if kind == CONNECTOR:
                by_target[target] = connectors._of_namespace(namespace).id
        for message in self:
            message.connector_id = by_target.get(message.target, False)

    @api.depends("connector_id", "endpoint_id")
    def _compute_receiver(self):
        for message in self:
            message.receiver = (message.connector_id or message.endpoint_id).display_name

    def _search_endpoint_id(self, operator, value):
        if operator != "in":
            return NotImplemented
        return [("target", "in", [f"{WEBHOOK}/{endpoint}" for endpoint in value])]

    def action_retry(self):
        """Try messages once more, now."""
        self.check_access("read")
        again = self.sudo().filtered(lambda message: message.state != "sent")
        again.write(
            {"state": "waiting", "attempts": 0, "reason": False, "due_at": fields.Datetime.now()}
        )
        self.env.ref("trackflow.ir_cron_deliver").sudo()._trigger()

    @api.model
    def _cron_deliver(self, limit=50):
        """Send what is due until nothing is, or the job's time is over."""
        progress = self.env["ir.cron"]._commit_progress
        courier, outbox = self._courier(lambda: progress(0)), OdooOutbox(self.env)
        while True:
            delivered = courier.deliver(limit)
            seconds_left = progress(delivered.claimed, remaining=outbox.is_due(_now()))
            if not delivered.claimed or not seconds_left:
                break
        self._wake_for_next(outbox)

    @api.model
    def _courier(self, commit):
        allowed = self.env["ir.config_parameter"].sudo().get_param("trackflow.allowed_networks")
        networks = [ip_network(text, strict=False) for text in (allowed or "").split()]
        endpoints = self.env["trackflow.webhook.endpoint"].sudo()
        # One connection for all messages of a run: it knows the CRM's fields by then.
        connection_of = cache(self.env["trackflow.connector"].sudo()._writing_back)
        return Courier(
            outbox=OdooOutbox(self.env),
            senders={
                WEBHOOK: WebhookSender(endpoints._core_endpoint, GuardedPost(networks)),
                CONNECTOR: partial(self._write_back, WriteBackSender(connection_of)),
            },
            commit=commit,
            clock=_now,
            hooks=plugin_hooks(self.env),
            context=Context(host="odoo", tenant=self.env.cr.dbname),
        )

    @api.model
    def _write_back(self, send, message, now):
        """Write attribution back into a CRM, and tell its connector how that went."""
        namespace = message.outgoing.target.partition("/")[2]
        connector = self.env["trackflow.connector"].sudo()._of_namespace(namespace)
        try:
            send(message, now)
        except ConfigError as error:
            connector._write_back_failed(str(error))
            raise
        connector._wrote_back()

    @api.model
    def _wake_for_next(self, outbox):
        """Run the job when the next attempt is due, rather than at its next turn."""
        due = outbox.next_due()
        if due:
            self.env.ref("trackflow.ir_cron_deliver").sudo()._trigger(
                max(due, fields.Datetime.now() + timedelta(seconds=1))
            )

    @api.autovacuum
    def _gc_sent(self):
        """Remove what was sent a month ago; what was given up stays for people to see."""
        self.env.cr.execute(
            SQL(
                """
                DELETE FROM trackflow_outbox_message
                 WHERE id IN (SELECT id FROM trackflow_outbox_message
                               WHERE state = 'sent' AND sent_at < %s LIMIT %s)
                """,
                fields.Datetime.now() - timedelta(days=SENT_DAYS),
                GC_LIMIT,
            )
        )
        removed = self.env.cr.rowcount
        return removed, removed == GC_LIMIT
