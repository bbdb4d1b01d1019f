import base64
import json
import secrets

from odoo import api, fields, models, tools
from odoo.exceptions import ValidationError

from trackflow_core.errors import InvalidEvent
from trackflow_core.outbox import WEBHOOK, Endpoint, trial
from trackflow_core.tracking.urls import safe_destination

from .. import keys
from ..store.outbox import OdooOutbox


class TrackflowWebhookEvent(models.Model):
    _name = "trackflow.webhook.event"
    _description = "TrackFlow Webhook Event"
    _order = "id"

    name = fields.Char(required=True, readonly=True)
    description = fields.Char(translate=True, readonly=True)

    _name_uniq = models.UniqueIndex("(name)", "This event is already there.")


class TrackflowWebhookEndpoint(models.Model):
    """An address that wants to be told what TrackFlow finds, by signed webhooks."""

    _name = "trackflow.webhook.endpoint"
    _description = "TrackFlow Webhook Endpoint"
    _rec_name = "url"
    _order = "id"

    url = fields.Char("Address", required=True)
    description = fields.Char()
    active = fields.Boolean("Enabled", default=True)
    event_ids = fields.Many2many("trackflow.webhook.event", string="Events", required=True)
    problem = fields.Char(
        readonly=True, copy=False, help="Why TrackFlow has disabled the endpoint."
    )
    secret = fields.Char(
        "New Secret",
        compute="_compute_secret",
        inverse="_inverse_secret",
        copy=False,
        groups="base.group_system",
        help="Signs the webhooks. It can be set, never read.",
    )
    secrets_encrypted = fields.Char(copy=False, groups="base.group_system")
    secret_count = fields.Integer(compute="_compute_secret_count", compute_sudo=True)
    waiting_count = fields.Integer("Waiting", compute="_compute_message_counts")
    dead_count = fields.Integer("Given Up", compute="_compute_message_counts")
    sent_count = fields.Integer("Sent", compute="_compute_message_counts")

    @api.constrains("url")
    def _check_url(self):
        for endpoint in self:
            try:
                safe_destination(endpoint.url)
            except InvalidEvent:
                raise ValidationError(
                    self.env._("%s is no web address: begin with https://.", endpoint.url)
                ) from None

    @api.constrains("event_ids")
    def _check_event_ids(self):
        for endpoint in self:
            if not endpoint.event_ids:
                raise ValidationError(self.env._("Choose what %s is to be told of.", endpoint.url))

    def _compute_secret(self):
        self.secret = False

    def _inverse_secret(self):
        """A new secret signs beside the one before, until that is dropped."""
        for endpoint in self:
            secret = endpoint.secret and endpoint.secret.strip()
            if secret:
                endpoint._set_secrets([secret, *endpoint._secrets()[:1]])

    @api.depends("secrets_encrypted")
    def _compute_secret_count(self):
        for endpoint in self:
            endpoint.secret_count = len(endpoint._secrets())

    def _compute_message_counts(self):
        counted = (
            self.env["trackflow.outbox.message"]
            .sudo()
            ._read_group(
                [("target", "in", [endpoint._target for endpoint in self])],
                ["target", "state"],
                ["__count"],
            )
        )
        numbers = {(target, state): count for target, state, count in counted}
        for endpoint in self:
            endpoint.waiting_count = numbers.get((endpoint._target, "waiting"), 0)
            endpoint.dead_count = numbers.get((endpoint._target, "dead"), 0)
            endpoint.sent_count = numbers.get((endpoint._target, "sent"), 0)

    @api.model_create_multi
    def create(self, vals_list):
        endpoints = super().create(vals_list)
        for endpoint in endpoints.sudo().filtered(lambda one: not one.secrets_encrypted):
            endpoint._set_secrets([self._fresh_secret()])
        self.env.registry.clear_cache()
        return endpoints

    def write(self, vals):
        if vals.get("active"):
            vals = {**vals, "problem": False}
        written = super().write(vals)
        self.env.registry.clear_cache()
        if vals.get("active"):
            self.env.ref("trackflow.ir_cron_deliver").sudo()._trigger()
        return written

    def unlink(self):
        self.env.registry.clear_cache()
        return super().unlink()

    @property
    def _target(self):
        return f"{WEBHOOK}/{self.id}"

    @api.model
    def _of_target(self, target):
        kind, _, number = (target or "").partition("/")
        found = self.browse(int(number)) if kind == WEBHOOK and number.isdigit() else self.browse()
        return found.with_context(active_test=False).exists()

    @api.model
    @tools.ormcache()
    def _subscribed(self):
        """Each enabled endpoint's target and the events that it wants."""
        return tuple(
            (endpoint._target, frozenset(endpoint.event_ids.mapped("name")))
            for endpoint in self.sudo().search([])
        )

    def _disable(self, reason):
        """Send nothing more until a person enables the endpoint again."""
        self.sudo().write({"active": False, "problem": reason})

    @api.model
    def _fresh_secret(self):
        return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()

    @api.model
    def new_secret(self, _connector=None):
        """A fresh secret in the form of Standard Webhooks."""
        self.check_access("create")
        return self._fresh_secret()

    def _secrets(self):
        """The secrets that sign, newest first."""
        self.ensure_one()
        stored = self.sudo().secrets_encrypted
        return json.loads(keys.decrypt(self.env, stored)) if stored else []

    def _set_secrets(self, new):
        self.ensure_one()
        self.sudo().secrets_encrypted = keys.encrypt(self.env, json.dumps([*new]))

    @api.model
    def _core_endpoint(self, number):
        """The endpoint of an id as the core sends to it; None where it was deleted."""
        endpoint = self._of_target(f"{WEBHOOK}/{number}")
        return Endpoint(endpoint.url, endpoint._secrets()) if endpoint else None

    def action_drop_old_secret(self):
        """Sign with the newest secret alone."""
        self.check_access("write")
        for endpoint in self.sudo():
            endpoint._set_secrets(endpoint._secrets()[:1])

    def action_test(self):
        """Send a test message, as soon as the job runs."""
        self.check_access("write")
        OdooOutbox(self.env).post([trial(endpoint._target) for endpoint in self])
        return self._notify(
            self.env._("A test message is on its way; Sent shows what became of it.")
        )

    def action_retry_dead(self):
        """Try everything that was given up once more."""
        self.check_access("write")
        messages = self.env["trackflow.outbox.message"].sudo()
        dead = messages.search(
            [("target", "in", [one._target for one in self]), ("state", "=", "dead")]
        )
        dead.action_retry()

    def action_messages(self):
        """Show what was sent to this endpoint, what waits and what was given up."""
        self.ensure_one()
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "trackflow.trackflow_outbox_message_action"
        )
        return {**action, "domain": [("target", "=", self._target)]}

    def _notify(self, message):
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {"message": message, "type": "info"},
        }
