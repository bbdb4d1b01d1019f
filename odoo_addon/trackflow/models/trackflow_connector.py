import json
import re

from odoo import api, fields, models
from odoo.exceptions import ValidationError
from odoo.tools import SQL

from trackflow_core.connectors import tells_by_webhook
from trackflow_core.errors import InvalidEvent

from .. import keys
from ..engine import plugin_hooks

_INSTANCE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?\Z")


class TrackflowConnector(models.Model):
    """A CRM that calls us: where its webhooks arrive and which secret signs them."""

    _name = "trackflow.connector"
    _description = "TrackFlow Connector"
    _order = "name"

    name = fields.Char(required=True)
    active = fields.Boolean(default=True)
    connector = fields.Selection(
        selection="_selection_connector", required=True, help="The kind of CRM that calls."
    )
    instance = fields.Char(
        required=True,
        help="Tells this CRM from others of its kind; part of its address and of every "
        "reference to its records. Lower case letters, digits and dashes.",
    )
    company_id = fields.Many2one(
        "res.company", required=True, default=lambda self: self.env.company
    )
    secret = fields.Char(
        compute="_compute_secret",
        inverse="_inverse_secret",
        copy=False,
        groups="base.group_system",
        help="Signs the CRM's calls. It can be set, never read.",
    )
    secret_encrypted = fields.Char(copy=False, groups="base.group_system")
    has_secret = fields.Boolean("Secret Set", compute="_compute_has_secret", compute_sudo=True)
    webhook_url = fields.Char("Webhook Address", compute="_compute_webhook_url")
    event_ids = fields.One2many("trackflow.connector.event", "connector_id", "Events")
    event_count = fields.Integer(compute="_compute_event_count")
    failed_count = fields.Integer(compute="_compute_event_count")

    _connector_instance_uniq = models.UniqueIndex(
        "(connector, instance)", "This instance of the connector already exists."
    )

    @api.model
    def _selection_connector(self):
        return [(found.name, found.title) for found in self._webhook_connectors().values()]

    @api.model
    def _webhook_connectors(self):
        """The connectors whose CRM tells by calling us, of the plugins that are switched on, by name.

        A CRM whose calls only hint that something changed would have to be polled.
        """
        return {
            name: found
            for name, found in plugin_hooks(self.env).connectors.items()
            if tells_by_webhook(found)
        }

    @api.constrains("instance")
    def _check_instance(self):
        for connector in self:
            if not _INSTANCE.match(connector.instance):
                raise ValidationError(
                    self.env._(
                        "“%s” is not a valid instance: use lower case letters, digits and dashes.",
                        connector.instance,
                    )
                )

    @api.depends("secret_encrypted")
    def _compute_has_secret(self):
        for connector in self:
            connector.has_secret = bool(connector.secret_encrypted)

    def _compute_secret(self):
        self.secret = False

    def _inverse_secret(self):
        for connector in self:
            secret = connector.secret and connector.secret.strip()
            if secret:
                connector.secret_encrypted = keys.encrypt(self.env, secret)

    @api.depends("connector", "instance")
    def _compute_webhook_url(self):
        for connector in self:
            connector.webhook_url = (
                f"{connector.get_base_url()}/trackflow/hooks/"
                f"{connector.connector or ''}/{connector.instance or ''}"
            )

    def _compute_event_count(self):
        counted = (
            self.env["trackflow.connector.event"]
            .sudo()
            ._read_group([("connector_id", "in", self.ids)], ["connector_id", "state"], ["__count"])
        )
        events, failed = {}, {}
        for connector, state, count in counted:
            events[connector.id] = events.get(connector.id, 0) + count
            if state == "failed":
                failed[connector.id] = count
        for connector in self:
            connector.event_count = events.get(connector.id, 0)
            connector.failed_count = failed.get(connector.id, 0)

    def _secrets(self):
        """The secrets that may sign this connector's calls, newest first."""
        self.ensure_one()
        stored = self.sudo().secret_encrypted
        return (keys.decrypt(self.env, stored),) if stored else ()

    @property
    def _namespace(self):
        """What every reference to this CRM's records begins with."""
        return f"{self.connector}/{self.instance}"

    @api.model
    def new_secret(self, connector):
        """A fresh secret in the form that senders to this kind of connector expect."""
        self.check_access("create")
        kind = self._webhook_connectors().get(connector)
        return kind.new_secret() if kind else False

    @api.model
    def _receive(self, connector, instance, incoming, now):
        """Verify one webhook and keep it in the inbox, where repeating it changes nothing.

        Raises InvalidEvent or ConfigError when it is refused.
        """
        found = self.search([("connector", "=", connector), ("instance", "=", instance)])
        kind = self._webhook_connectors().get(connector)
        if not found or kind is None:
            raise InvalidEvent("There is no such connector.")
        delivery = kind.verify(incoming, found._secrets(), now)
        self.env.cr.execute(
            SQL(
                """
                INSERT INTO trackflow_connector_event
                    (connector_id, event_id, received_at, payload, state, attempts, create_date)
                VALUES (%(connector)s, %(event)s, %(now)s, %(payload)s, 'queued', 0, %(now)s)
                ON CONFLICT (connector_id, event_id) DO NOTHING
                """,
                connector=found.id,
                event=delivery.event_id,
                now=now.replace(tzinfo=None),
                payload=json.dumps(delivery.payload),
            )
        )
        if self.env.cr.rowcount:
            self.env.ref("trackflow.ir_cron_process_events").sudo()._trigger()
