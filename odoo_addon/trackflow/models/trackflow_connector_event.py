import json
from datetime import timedelta

from odoo import api, fields, models
from odoo.exceptions import UserError
from odoo.tools import SQL

from trackflow_core.errors import TrackFlowError
from trackflow_core.model import Deal, Lead
from trackflow_core.tracking import identity

from ..engine import build_engine
from ..guard import guard
from ..keys import visitor_keys
from ..store import OdooStore
from ..store.values import fact_from_json

DONE_DAYS = 30
GC_LIMIT = 10_000


class TrackflowConnectorEvent(models.Model):
    """The inbox: what a CRM has told and the job takes in."""

    _name = "trackflow.connector.event"
    _description = "TrackFlow Connector Event"
    _order = "id desc"
    _rec_name = "event_id"

    connector_id = fields.Many2one(
        "trackflow.connector", required=True, readonly=True, index=True, ondelete="cascade"
    )
    event_id = fields.Char(required=True, readonly=True)
    received_at = fields.Datetime("Received", required=True, readonly=True)
    origin = fields.Selection(
        [("webhook", "Webhook"), ("poll", "Read")], readonly=True, default="webhook"
    )
    payload = fields.Text(
        readonly=True, help="Of what was read from a CRM, it is kept of failures alone."
    )
    content = fields.Text("Payload in Lines", compute="_compute_content")
    kind = fields.Selection([("lead", "Lead"), ("deal", "Deal")], "Told", readonly=True)
    ref = fields.Char("Reference", readonly=True)
    lead_id = fields.Many2one("crm.lead", "Lead or Deal", compute="_compute_lead_id")
    state = fields.Selection(
        [
            ("queued", "Waiting"),
            ("done", "Taken In"),
            ("failed", "Failed"),
            ("dismissed", "Dismissed"),
        ],
        required=True,
        readonly=True,
        default="queued",
    )
    error_message = fields.Char("Error", readonly=True)
    processed_at = fields.Datetime("Processed", readonly=True)
    attempts = fields.Integer(readonly=True)
    event_type = fields.Char("Type", compute="_compute_event_type")

    _connector_event_uniq = models.UniqueIndex(
        "(connector_id, event_id)", "This event has already been received."
    )
    _queued_idx = models.Index("(id) WHERE state = 'queued'")
    _processed_idx = models.Index("(processed_at) WHERE state IN ('done', 'dismissed')")
    _failed_idx = models.Index("(connector_id) WHERE state = 'failed'")

    @api.depends("payload", "kind")
    def _compute_event_type(self):
        """What the sender calls the event, or what it told."""
        for event in self:
            payload = json.loads(event.payload or "null")
            kind = payload.get("type") if isinstance(payload, dict) else None
            event.event_type = kind if isinstance(kind, str) else event.kind

    @api.depends("payload")
    def _compute_content(self):
        """The payload as people read it."""
        for event in self:
            payload = json.loads(event.payload or "null")
            event.content = payload is not None and json.dumps(
                payload, indent=2, ensure_ascii=False
            )

    @api.depends("ref", "kind")
    def _compute_lead_id(self):
        """The record that keeps what each event told, also after a merge."""
        leads = self.env["crm.lead"].sudo().with_context(active_test=False)
        merged = self.env["trackflow.merged.ref"].sudo()
        for kind in ("lead", "deal"):
            events = self.filtered(lambda event, kind=kind: event.kind == kind)
            refs = [ref for ref in events.mapped("ref") if ref]
            field = f"trackflow_{kind}_ref"
            found = {
                row.ref: row.lead_id
                for row in merged.search([("kind", "=", kind), ("ref", "in", refs)])
            }
            found |= {lead[field]: lead for lead in leads.search([(field, "in", refs)])}
            for event in events:
                event.lead_id = found.get(event.ref, False)
        self.filtered(lambda event: not event.kind).lead_id = False

    def action_retry(self):
        """Let the job take in failed events once more."""
        self.check_access("read")
        self.sudo().filtered(lambda event: event.state == "failed").write(
            {"state": "queued", "error_message": False}
        )
        self.env.ref("trackflow.ir_cron_process_events").sudo()._trigger()

    def action_dismiss(self):
        """Put failed events away that nobody needs any more."""
        self.check_access("read")
        self.sudo().filtered(lambda event: event.state == "failed").write(
            {"state": "dismissed", "processed_at": fields.Datetime.now()}
        )

    def action_open_lead(self):
        """Open the lead or opportunity that the event told of."""
        return {
            "type": "ir.actions.act_window",
            "res_model": "crm.lead",
            "res_id": self._known_lead().id,
            "views": [[False, "form"]],
        }

    def action_open_credits(self):
        """Show how the deal that the event told of was split."""
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "trackflow.trackflow_deal_attribution_action"
        )
        return {**action, "domain": [("lead_id", "=", self._known_lead().id)], "context": {}}

    def action_open_messages(self):
        """Show what of this lead or deal was told to others."""
        action = self.env["ir.actions.act_window"]._for_xml_id(
            "trackflow.trackflow_outbox_message_action"
        )
        lead = self._known_lead()
        refs = {self.ref, lead.sudo().trackflow_lead_ref, lead.sudo().trackflow_deal_ref}
        return {**action, "domain": [("ref", "in", [ref for ref in refs if ref])]}

    def _known_lead(self):
        self.ensure_one()
        self.check_access("read")
        if not self.lead_id:
            raise UserError(self.env._("The lead that this event told of is no longer there."))
        return self.lead_id

    @api.model
    def _cron_process_events(self, limit=100):
        """Take in waiting events in the order of their arrival."""
        progress = self.env["ir.cron"]._commit_progress
        progress(remaining=self._count_waiting())
        while True:
            events = self._claim(limit)
            for event in events:
                event._process()
            seconds_left = progress(len(events), remaining=self._count_waiting())
            if not events or not seconds_left:
                return

    @api.model
    def _claim(self, limit):
        """Waiting events that no other worker holds, until the transaction ends."""
        self.flush_model(["state"])
        self.env.cr.execute(
            SQL(
                """
                SELECT id FROM trackflow_connector_event WHERE state = 'queued'
                 ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
                """,
                limit,
            )
        )
        return self.browse(row[0] for row in self.env.cr.fetchall())

    @api.model
    def _count_waiting(self):
        return self.search_count([("state", "=", "queued")])

    def _process(self):
        """Tell the engine of one event, or set it aside with the reason."""
        self.ensure_one()
        now = fields.Datetime.now()
        done = {"processed_at": now, "attempts": self.attempts + 1, "error_message": False}

        def fail(error):
            self.write({**done, "state": "failed", "error_message": str(error)[:500]})

        with guard(self.env, "taking in events", self.id, on_failure=fail):
            try:
                told = self._told()
                problems = self._apply(told)
            except TrackFlowError as error:
                fail(error)
            else:
                self.write({**done, "state": "done", "error_message": problems, **_about(told)})
                if not told:
                    # A call that tells nothing is a hint that there is something to read.
                    self.connector_id._poll_soon()

    def _told(self):
        """The facts in the payload, as its connector reads them."""
        payload = json.loads(self.payload)
        if self.origin == "poll" and self.kind:
            return (fact_from_json(payload),)
        return self.connector_id._map_events(payload)

    def _apply(self, told):
        """Tell the engine; returns in words why a lead was kept without its visitor, or False."""
        store = OdooStore(self.with_company(self.connector_id.company_id).env)
        with store.atomic():
            leads = [event for event in told if isinstance(event, Lead)]
            build_engine(store.env, store).apply(
                leads, [event for event in told if isinstance(event, Deal)]
            )
        return " ".join(self._unbound(lead) for lead in leads).strip()[:500] or False

    def _unbound(self, lead):
        proofs = identity.match(
            token=lead.visitor_token,
            cookie=lead.visitor_cookie,
            keys=visitor_keys(self.env),
            now=lead.came_in_at,
        )
        return " ".join(f"The lead has no visitor by its {text}" for text in proofs.problems)

    @api.autovacuum
    def _gc_done(self):
        """Remove what has been taken in, long after any sender repeats it."""
        limit = fields.Datetime.now() - timedelta(days=DONE_DAYS)
        old = self.search(
            [("state", "in", ("done", "dismissed")), ("processed_at", "<", limit)], limit=GC_LIMIT
        )
        removed = len(old)
        old.unlink()
        return removed, removed == GC_LIMIT


def _about(told):
    """What an event is remembered by: its deal, or else its lead."""
    facts = sorted(told, key=lambda fact: not isinstance(fact, Deal))
    if not facts:
        return {}
    return {"kind": "deal" if isinstance(facts[0], Deal) else "lead", "ref": facts[0].ref}
