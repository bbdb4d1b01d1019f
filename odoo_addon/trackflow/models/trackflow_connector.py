import json
import re
from datetime import timedelta, timezone
from functools import partial

from odoo import api, fields, models, tools
from odoo.exceptions import ValidationError

from trackflow_core.connectors import (
    Finding,
    Instance,
    Polling,
    Provisioning,
    Receiving,
    RemoteConnector,
    Webhooks,
    WritingBack,
)
from trackflow_core.errors import ConfigError, InvalidEvent, TrackFlowError
from trackflow_core.options import configure, options_of
from trackflow_core.outbox import CONNECTOR
from trackflow_core.ports import WebhookConnector

from .. import keys, receiving
from ..engine import plugin_hooks
from ..receiving import Receiver

_INSTANCE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?\Z")
# How long the secret before a new one still signs calls, unless another time is given.
_OVERLAP = timedelta(days=7)
# A change of these changes who is told of what.
_SUBSCRIBES = frozenset(("active", "connector", "instance", "write_back"))
# What is given with secrets in it.
_GIVEN = frozenset(("secret", "settings"))


class TrackflowConnector(models.Model):
    """One CRM elsewhere: how it is reached, what it may tell us and what it is told."""

    _name = "trackflow.connector"
    _inherit = ["mail.thread", "mail.activity.mixin"]
    _description = "TrackFlow Connector"
    _order = "name"

    name = fields.Char(required=True, tracking=True)
    active = fields.Boolean("Switched On", default=True, tracking=True)
    connector = fields.Selection(
        selection="_selection_connector",
        string="Kind",
        required=True,
        help="The kind of CRM. Plugins that are switched on bring more kinds.",
    )
    instance = fields.Char(
        required=True,
        help="Tells this CRM from others of its kind; part of its address and of every "
        "reference to its records. Lower case letters, digits and dashes.",
    )
    company_id = fields.Many2one(
        "res.company", required=True, default=lambda self: self.env.company
    )

    option_list = fields.Json(compute="_compute_option_list", groups="base.group_system")
    option_values = fields.Json(copy=False, groups="base.group_system")
    option_secrets_encrypted = fields.Text(copy=False, groups="base.group_system")
    settings = fields.Json(
        compute="_compute_settings",
        inverse="_inverse_settings",
        copy=False,
        groups="base.group_system",
        help="The values of the kind's options by name; secrets can be set, never read.",
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
    former_secret_encrypted = fields.Char(copy=False, groups="base.group_system")
    former_secret_until = fields.Datetime(
        "Old Secret Accepted Until",
        copy=False,
        groups="base.group_system",
        help="Until then calls may be signed with the secret before, too. Empty ends it at once.",
    )
    has_former_secret = fields.Boolean(compute="_compute_has_secret", compute_sudo=True)
    webhook_url = fields.Char("Webhook Address", compute="_compute_webhook_url")

    can_receive = fields.Boolean(compute="_compute_abilities")
    can_poll = fields.Boolean(compute="_compute_abilities")
    can_write_back = fields.Boolean(compute="_compute_abilities")
    can_provision = fields.Boolean(compute="_compute_abilities")
    versions = fields.Char("Works With", compute="_compute_abilities")
    polling = fields.Boolean(
        "Read It",
        compute="_compute_directions",
        store=True,
        readonly=False,
        tracking=True,
        help="Ask the CRM every few minutes what is new.",
    )
    write_back = fields.Boolean(
        "Write Attribution Back",
        compute="_compute_directions",
        store=True,
        readonly=False,
        tracking=True,
        help="Tell the CRM where its leads came from and what earned its deals.",
    )

    findings = fields.Json(readonly=True, copy=False)
    is_ready = fields.Boolean("Test Passed", compute="_compute_is_ready")
    checked_at = fields.Datetime("Tested", readonly=True, copy=False)
    event_ids = fields.One2many("trackflow.connector.event", "connector_id", "All Events")
    last_event_ids = fields.Many2many(
        "trackflow.connector.event", string="Last Events", compute="_compute_last_event_ids"
    )
    event_count = fields.Integer("Events", compute="_compute_event_count")
    failed_count = fields.Integer("Failed", compute="_compute_event_count")
    last_event_at = fields.Datetime("Last Event", compute="_compute_event_count")
    backlog = fields.Integer(
        compute="_compute_event_count", help="Events to take in and write-backs to send."
    )
    message_out_count = fields.Integer("Written Back", compute="_compute_event_count")
    dead_count = fields.Integer("Given Up", compute="_compute_event_count")

    _connector_instance_uniq = models.UniqueIndex(
        "(connector, instance)", "This instance of the connector already exists."
    )

    # -- the kind of CRM -------------------------------------------------------------------

    @api.model
    def _selection_connector(self):
        return [(name, kind.title) for name, kind in self._kinds().items()]

    @api.model
    def _kinds(self):
        """The kinds of CRM that one can connect with, of the plugins that are switched on."""
        return {
            name: kind
            for name, kind in plugin_hooks(self.env).connectors.items()
            if isinstance(kind, (RemoteConnector, WebhookConnector))
        }

    def _kind(self):
        """This connector's kind. Raises ConfigError while no plugin brings it."""
        kind = self._kinds().get(self.connector)
        if kind is None:
            raise ConfigError(
                f"No plugin that is switched on brings the connector {self.connector!r}: "
                "switch it on under Plugins."
            )
        return kind

    @api.depends("connector")
    def _compute_abilities(self):
        kinds = self._kinds()
        for connector in self:
            kind = kinds.get(connector.connector)
            able = kind.capabilities if isinstance(kind, RemoteConnector) else None
            connector.can_receive = (
                able.webhooks is not Webhooks.NONE if able else isinstance(kind, WebhookConnector)
            )
            connector.can_poll = bool(able and able.polling)
            connector.can_write_back = bool(able and able.write_back)
            connector.can_provision = bool(able and able.provisioning)
            connector.versions = able.versions if able else False

    @api.depends("connector")
    def _compute_directions(self):
        for connector in self:
            connector.polling = connector.can_poll
            # A CRM that is only listened to need not listen to us.
            connector.write_back = connector.can_poll and connector.can_write_back

    # -- settings --------------------------------------------------------------------------

    def _options(self):
        """The options of this connector's kind; none while no plugin brings it."""
        kind = self._kinds().get(self.connector)
        return options_of(kind.options) if isinstance(kind, RemoteConnector) else ()

    @api.depends("connector", "option_secrets_encrypted")
    def _compute_option_list(self):
        for connector in self:
            held = connector._held_secrets()
            connector.option_list = [
                {
                    "name": option.name,
                    "title": option.title,
                    "help": option.help,
                    "kind": option.kind.__name__,
                    "required": option.required,
                    "default": option.default,
                    "secret": option.secret,
                    "choices": list(option.choices),
                    "lines": option.lines,
                    "is_set": option.name in held,
                }
                for option in connector._options()
            ]

    @api.depends("connector", "option_values")
    def _compute_settings(self):
        for connector in self:
            connector.settings = connector.option_values or {}

    def _inverse_settings(self):
        for connector in self:
            given = connector.settings or {}
            secret = {option.name for option in connector._options() if option.secret}
            held = connector._held_secrets()
            for name in secret & given.keys():
                # None takes a secret away, nothing keeps it.
                if given[name] is None:
                    held.pop(name, None)
                elif given[name]:
                    held[name] = given[name]
            connector.write(
                {
                    "option_values": {k: v for k, v in given.items() if k not in secret},
                    "option_secrets_encrypted": held and keys.encrypt(self.env, json.dumps(held)),
                }
            )
            connector._check_settings()
            connector._settings_changed()

    def _check_settings(self):
        for connector in self:
            try:
                connector._configuration()
            except ConfigError as error:
                raise ValidationError(str(error)) from error

    @api.depends("findings")
    def _compute_is_ready(self):
        for connector in self:
            found = connector.findings or []
            connector.is_ready = bool(found) and all(one["ok"] for one in found)

    def _settings_changed(self):
        """What was found out by the old settings holds no more."""
        self.write({"findings": False, "checked_at": False})

    def _held_secrets(self):
        """The secret options that are set; none when they can no longer be read."""
        stored = self.sudo().option_secrets_encrypted
        try:
            return json.loads(keys.decrypt(self.env, stored)) if stored else {}
        except ConfigError:
            return {}

    def _configuration(self):
        """The options object of this connector. Raises ConfigError that says what is missing."""
        kind = self._kind()
        if not isinstance(kind, RemoteConnector):
            return None
        return configure(
            kind.options, {**(self.sudo().option_values or {}), **self._held_secrets()}
        )

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

    # -- the secret that signs calls -------------------------------------------------------

    @api.depends("secret_encrypted", "former_secret_encrypted", "former_secret_until")
    def _compute_has_secret(self):
        now = fields.Datetime.now()
        for connector in self:
            connector.has_secret = bool(connector.secret_encrypted)
            connector.has_former_secret = bool(
                connector.former_secret_encrypted
                and connector.former_secret_until
                and connector.former_secret_until > now
            )

    def _compute_secret(self):
        self.secret = False

    def _inverse_secret(self):
        for connector in self:
            secret = connector.secret and connector.secret.strip()
            if not secret or secret == connector._decrypted(connector.secret_encrypted):
                continue
            connector.write(
                {
                    "secret_encrypted": keys.encrypt(self.env, secret),
                    "former_secret_encrypted": connector.former_secret_until
                    and connector.secret_encrypted,
                }
            )
            connector._settings_changed()

    @api.onchange("secret")
    def _onchange_secret(self):
        if self.secret and self.has_secret:
            self.former_secret_until = fields.Datetime.now() + _OVERLAP

    def _decrypted(self, stored):
        """A secret as it was given; "" where there is none or it can no longer be read."""
        try:
            return keys.decrypt(self.env, stored) if stored else ""
        except ConfigError:
            return ""

    def _secrets(self):
        """The secrets that may sign this connector's calls, newest first."""
        self.ensure_one()
        held = self.sudo()
        stored = [held.secret_encrypted] if held.secret_encrypted else []
        if held.has_former_secret:
            stored.append(held.former_secret_encrypted)
        return tuple(keys.decrypt(self.env, secret) for secret in stored)

    def action_end_former_secret(self):
        """Accept the secret before the present one no longer."""
        self.write({"former_secret_encrypted": False, "former_secret_until": False})
        self._settings_changed()

    def action_remove_secret(self):
        """Accept no call any more, until there is another secret."""
        self.action_end_former_secret()
        self.write({"secret_encrypted": False})

    @api.autovacuum
    def _gc_former_secrets(self):
        ended = [
            ("former_secret_encrypted", "!=", False),
            "|",
            ("former_secret_until", "=", False),
            ("former_secret_until", "<=", fields.Datetime.now()),
        ]
        self.with_context(active_test=False).search(ended).write(
            {"former_secret_encrypted": False, "former_secret_until": False}
        )

    @api.model
    def new_secret(self, connector):
        """A fresh secret in the form that senders to this kind of connector expect."""
        self.check_access("create")
        kind = self._kinds().get(connector)
        return kind.new_secret() if isinstance(kind, WebhookConnector) else False

    @api.depends("connector", "instance")
    def _compute_webhook_url(self):
        for connector in self:
            connector.webhook_url = (
                f"{connector.get_base_url()}/trackflow/hooks/"
                f"{connector.connector or ''}/{connector.instance or ''}"
            )

    # -- records ---------------------------------------------------------------------------

    @api.model_create_multi
    def create(self, vals_list):
        connectors = super().create(vals_list)
        connectors._hide_secrets()
        connectors._check_settings()
        self.env.registry.clear_cache()
        connectors.filtered("polling")._poll_soon()
        return connectors

    def write(self, vals):
        if vals.get("secret") and "former_secret_until" not in vals:
            vals = {**vals, "former_secret_until": fields.Datetime.now() + _OVERLAP}
        written = super().write(vals)
        if not _GIVEN.isdisjoint(vals):
            self._hide_secrets()
        if not _SUBSCRIBES.isdisjoint(vals):
            self.env.registry.clear_cache()
        if vals.get("active") or vals.get("polling"):
            self._poll_soon()
        if vals.get("active") or vals.get("write_back"):
            self.env.ref("trackflow.ir_cron_deliver").sudo()._trigger()
        return written

    def _hide_secrets(self):
        """What was just given is not read back, not even in the same request."""
        self.invalidate_recordset(_GIVEN, flush=False)

    def unlink(self):
        self.env.registry.clear_cache()
        return super().unlink()

    def _compute_event_count(self):
        events, messages, last = {}, {}, {}
        counted = (
            self.env["trackflow.connector.event"]
            .sudo()
            ._read_group(
                [("connector_id", "in", self.ids)],
                ["connector_id", "state"],
                ["__count", "received_at:max"],
            )
        )
        for connector, state, count, received_at in counted:
            events[connector.id, state] = count
            last[connector.id] = max(last.get(connector.id, received_at), received_at)
        targets = {connector._target: connector.id for connector in self}
        counted = (
            self.env["trackflow.outbox.message"]
            .sudo()
            ._read_group([("target", "in", list(targets))], ["target", "state"], ["__count"])
        )
        for target, state, count in counted:
            messages[targets[target], state] = count
        for connector in self:
            number = connector.id
            connector.event_count = sum(
                count for (key, _), count in events.items() if key == number
            )
            connector.failed_count = events.get((number, "failed"), 0)
            connector.last_event_at = last.get(number, False)
            connector.message_out_count = messages.get((number, "sent"), 0)
            connector.dead_count = messages.get((number, "dead"), 0)
            connector.backlog = events.get((number, "queued"), 0) + messages.get(
                (number, "waiting"), 0
            )

    def _compute_last_event_ids(self):
        for connector in self:
            connector.last_event_ids = self.env["trackflow.connector.event"].search(
                [("connector_id", "=", connector._origin.id)], limit=5
            )

    @property
    def _namespace(self):
        """What every reference to this CRM's records begins with."""
        return f"{self.connector}/{self.instance}"

    @property
    def _target(self):
        return f"{CONNECTOR}/{self._namespace}"

    @api.model
    def _of_namespace(self, namespace):
        """The connector whose records' references begin with `namespace`, switched on or not."""
        kind, _, instance = namespace.partition("/")
        return self.with_context(active_test=False).search(
            [("connector", "=", kind), ("instance", "=", instance)]
        )

    # -- the connection --------------------------------------------------------------------

    def _connection(self):
        """This CRM as its settings reach it; the network is not used yet.

        Raises ConfigError when a setting is missing or the kind only maps.
        """
        self.ensure_one()
        kind = self._kind()
        if not isinstance(kind, RemoteConnector):
            raise ConfigError(f"{kind.title} can only call us.")
        return kind.connect(
            self._configuration(), Instance(self._namespace, self.webhook_url, self._secrets())
        )

    def _map_events(self, payload):
        """The facts in a payload, as this connector reads them."""
        kind = self._kind()
        if isinstance(kind, RemoteConnector):
            return self._connection().map_events(payload)
        return kind.map_events(payload, self._namespace)

    @api.model
    def _receive(self, connector, instance, incoming, now):
        """Verify one webhook and keep it in the inbox, where repeating it changes nothing.

        Raises InvalidEvent or ConfigError when it is refused.
        """
        receiver = self._receiver(connector, instance)
        delivery = receiver.verify(incoming, now)
        self.env.cr.execute(receiving.keeping(receiver, delivery, now))
        # To call the job costs more than all the rest; one that was just called takes this, too.
        if any(alone for (alone,) in self.env.cr.fetchall()):
            self._take_in_soon()

    @api.model
    def _take_in_soon(self):
        self.env.ref("trackflow.ir_cron_process_events").sudo()._trigger()

    @api.model
    def _receiver(self, connector, instance):
        """A connector as its CRM's calls reach it.

        Raises InvalidEvent or ConfigError when it takes none.
        """
        found = self.search([("connector", "=", connector), ("instance", "=", instance)])
        if not found:
            raise InvalidEvent("There is no such connector.")
        return found._receiving()

    def _receiving(self):
        kind, held = self._kind(), self.sudo()
        until = held.former_secret_until if held.has_former_secret else None
        if isinstance(kind, RemoteConnector):
            connection = self._connection()
            if not isinstance(connection, Receiving):
                raise InvalidEvent(f"{kind.title} does not call us.")
            verify = connection.verify
        else:
            verify = partial(_verify, kind, self._secrets())
        return Receiver(self.id, verify, until and until.replace(tzinfo=timezone.utc))

    # -- test and provision ----------------------------------------------------------------

    def action_check(self):
        """Ask the CRM whether it is reachable and whether we may do all that we want to."""
        self.check_access("write")
        for connector in self:
            try:
                found = connector._connection().check()
            except TrackFlowError as error:
                found = (Finding(str(error), ok=False),)
            connector.write(
                {
                    "findings": [
                        {"what": one.what, "ok": one.ok, "remedy": one.remedy} for one in found
                    ],
                    "checked_at": fields.Datetime.now(),
                }
            )
            if connector.problem and connector.is_ready:
                connector._poll_soon()
            if connector.write_problem and connector.is_ready:
                connector._write_back_soon()

    def action_provision(self):
        """Show what would be made in the CRM, and offer to make it."""
        return self._open_provisioning(undo=False)

    def action_deprovision(self):
        """Show what would be removed from the CRM, and offer to remove it."""
        return self._open_provisioning(undo=True)

    def _open_provisioning(self, undo):
        self.ensure_one()
        wizard = self.env["trackflow.connector.provision"].create(
            {"connector_id": self.id, "undo": undo}
        )
        wizard._preview()
        return wizard._open()

    def _provisioning(self):
        connection = self._connection()
        if not isinstance(connection, Provisioning):
            raise ConfigError("Nothing has to be prepared in this CRM.")
        return connection

    def _polling(self):
        connection = self._connection()
        if not isinstance(connection, Polling):
            raise ConfigError("This CRM cannot be asked: switch “Read It” off.")
        return connection

    # -- write back ------------------------------------------------------------------------

    @api.model
    @tools.ormcache()
    def _subscribed(self):
        """The target and the namespace of each connector that is written back to."""
        return tuple(
            (connector._target, connector._namespace)
            for connector in self.sudo().search([("write_back", "=", True)])
        )

    @api.model
    def _writing_back(self, namespace):
        """The connection to write to; None where it was deleted or is no longer written to."""
        found = self._of_namespace(namespace)
        connection = found._connection() if found.active and found.write_back else None
        return connection if isinstance(connection, WritingBack) else None

    def _stop_writing_back(self, reason):
        """Write nothing more until a person switches it on again."""
        self.sudo().write({"write_back": False})
        self._write_back_failed(reason)

    # -- what was told and written ---------------------------------------------------------

    def action_events(self):
        """Show what this CRM told."""
        return self._open("trackflow.trackflow_connector_event_action", "connector_id")

    def action_failed_events(self):
        """Show what could not be taken in."""
        action = self.action_events()
        return {**action, "context": {"search_default_failed": 1}}

    def action_messages(self):
        """Show what was written back, what waits and what was given up."""
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "trackflow.trackflow_outbox_message_action"
        )
        return {**action, "domain": [("target", "in", [one._target for one in self])]}

    def action_retry_failed(self):
        """Try everything that failed once more, in both directions."""
        self.check_access("write")
        self.env["trackflow.connector.event"].sudo().search(
            [("connector_id", "in", self.ids), ("state", "=", "failed")]
        ).action_retry()
        self.env["trackflow.outbox.message"].sudo().search(
            [("target", "in", [one._target for one in self]), ("state", "=", "dead")]
        ).action_retry()

    def _open(self, action, field):
        self.ensure_one()
        found = self.env["ir.actions.act_window"]._for_xml_id(action)
        return {**found, "domain": [(field, "=", self.id)]}


def _verify(kind, secrets, incoming, now):
    return kind.verify(incoming, secrets, now)
