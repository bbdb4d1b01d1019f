"""Reading CRMs page by page: a job that goes on where it stopped."""

import hashlib
import json
import logging
from datetime import timedelta
from functools import partial

from odoo import api, fields, models
from odoo.tools import SQL, plaintext2html

from trackflow_core.connectors import Page
from trackflow_core.errors import RetriableError, TrackFlowError
from trackflow_core.model import Deal
from trackflow_core.sync import take_in

from ..engine import build_engine
from ..guard import guard
from ..store import OdooStore
from ..store.values import fact_json

_logger = logging.getLogger(__name__)

_FIRST_WAIT = timedelta(minutes=1)
_LONGEST_WAIT = timedelta(hours=6)
_WAIT_FOR_A_PERSON = timedelta(days=1)


class TrackflowConnector(models.Model):
    _inherit = "trackflow.connector"

    poll_minutes = fields.Integer(
        "Every (minutes)", default=10, help="How long to wait before the CRM is asked again."
    )
    poll_cursor = fields.Text(readonly=True, copy=False)
    next_poll_at = fields.Datetime("Next Reading", readonly=True, copy=False)
    last_poll_at = fields.Datetime("Last Reading", readonly=True, copy=False)
    poll_failures = fields.Integer(readonly=True, copy=False)
    problem = fields.Char("Reading Fails", readonly=True, copy=False)
    is_blocked = fields.Boolean(
        readonly=True, copy=False, help="A person has to change something before it can be read."
    )
    write_problem = fields.Char("Writing Back Fails", readonly=True, copy=False)
    health = fields.Selection(
        [
            ("off", "Switched Off"),
            ("blocked", "Needs You"),
            ("retrying", "Trying Again"),
            ("new", "Nothing Yet"),
            ("working", "Working"),
        ],
        compute="_compute_health",
    )

    _poll_minutes_positive = models.Constraint(
        "CHECK (poll_minutes > 0)", "A CRM is asked every minute at most."
    )

    @api.depends("active", "is_blocked", "write_problem", "poll_failures", "last_poll_at")
    def _compute_health(self):
        for connector in self:
            if not connector.active:
                connector.health = "off"
            elif connector.is_blocked or connector.write_problem:
                connector.health = "blocked"
            elif connector.poll_failures:
                connector.health = "retrying"
            elif connector.last_poll_at or connector.last_event_at:
                connector.health = "working"
            else:
                connector.health = "new"

    def action_poll(self):
        """Read the CRM as soon as the job runs."""
        self.check_access("write")
        self._poll_soon()

    def action_poll_all(self):
        """Read everything once more; what is known already changes nothing."""
        self.check_access("write")
        self.write({"poll_cursor": False})
        self._poll_soon()

    def _poll_soon(self):
        readable = self.filtered(lambda connector: connector.active and connector.polling)
        if readable:
            readable.sudo().next_poll_at = fields.Datetime.now()
            self.env.ref("trackflow.ir_cron_poll").sudo()._trigger()

    @api.model
    def _cron_poll(self):
        """Read every CRM whose turn it is, one page in a transaction."""
        progress = self.env["ir.cron"]._commit_progress
        due = self.search(
            [("polling", "=", True), ("next_poll_at", "<=", fields.Datetime.now())],
            order="next_poll_at, id",
        )
        for number, connector in enumerate(due):
            if not connector._poll(partial(progress, remaining=len(due) - number)):
                return
        progress(remaining=0)
        self._wake_for_next_poll()

    def _poll(self, commit):
        """Read one CRM to its end. Returns whether the job has time for another one.

        `commit` ends the transaction, so that none is open while the network is used, and returns
        the seconds left.
        """
        self.ensure_one()
        try:
            connection = self._polling()
        except TrackFlowError as error:
            self._poll_failed(error)
            return commit(0)
        while True:
            commit(0)
            page, error = self._next_page(connection)
            if error is not None:
                self._poll_failed(error)
                return commit(0)
            # Who tests or changes the connector meanwhile waits: else their write would undo the page.
            held = self.try_lock_for_update(allow_referencing=True)
            refused = self._take_in(page) if held else None
            if refused is None:
                # Somebody else was writing: the page comes once more.
                self.env.cr.rollback()
                self._poll_soon()
                return commit(0)
            self._keep_page(page, refused)
            if not page.more:
                self._poll_succeeded()
                return commit(1)
            if not commit(1):
                return 0

    def _next_page(self, connection):
        """The next page, or the error that keeps it away."""
        cursor, read, errors = self.poll_cursor or "", [], []
        with guard(self.env, "reading a CRM", self._namespace, on_failure=errors.append):
            try:
                read.append(connection.poll(cursor))
            except TrackFlowError as error:
                errors.append(error)
        return (read or [None])[0], (errors or [None])[0]

    def _take_in(self, page):
        """Tell the engine of a page; what it refuses is left out alone, so that the others go on.

        Returns the refused facts with the reasons, or None after a conflict with somebody else.
        """
        refused = self._tell(list(page.events))
        for merge in page.merges:
            problem = self._try(Page("", False, merges=[merge]))
            if problem is None:
                return None
            if problem:
                _logger.warning("A merge into %s is left out: %s", merge.winner, problem)
        return refused

    def _tell(self, events):
        outcome = self._try(Page("", False, events))
        if outcome is None:
            return None
        if not outcome:
            return []
        if len(events) == 1:
            return [(events[0], outcome)]
        middle = len(events) // 2
        first, second = self._tell(events[:middle]), self._tell(events[middle:])
        return None if first is None or second is None else [*first, *second]

    def _try(self, page):
        """Tell the engine of a page or of nothing: "" when it went well, the reason when it did
        not, None after a conflict."""
        outcomes = []
        store = OdooStore(self.with_company(self.company_id).env)
        with guard(
            self.env,
            "taking in what a CRM tells",
            self._namespace,
            on_conflict=lambda: outcomes.append(None),
            on_failure=lambda error: outcomes.append(str(error) or type(error).__name__),
        ):
            try:
                with store.atomic():
                    take_in(build_engine(store.env, store), page)
            except TrackFlowError as error:
                outcomes.append(str(error))
        return outcomes[0] if outcomes else ""

    def _keep_page(self, page, refused):
        """Keep where to go on, and one event for each fact, so that people find it again."""
        reasons = {id(fact): reason for fact, reason in refused}
        rows = {}
        for fact in page.events:
            row = _row(fact, reasons.get(id(fact)))
            # One record may tell a lead and a deal: the deal says more.
            if row["event"] not in rows or row["kind"] == "deal":
                rows[row["event"]] = row
        for item in page.rejected:
            payload = json.dumps(dict(item.payload), default=str, sort_keys=True)
            event = f"{item.ref}@{hashlib.sha256(payload.encode()).hexdigest()[:16]}"
            rows[event] = {
                "event": event,
                "ref": item.ref,
                "payload": payload,
                "error": item.reason,
            }
        # PostgreSQL keeps no NUL in a text.
        told = [
            {name: value and value.replace("\0", "") for name, value in row.items()}
            for row in rows.values()
        ]
        self.env.cr.execute(
            SQL(
                """
                INSERT INTO trackflow_connector_event
                    (connector_id, event_id, ref, kind, payload, error_message, state, origin,
                     attempts, received_at, processed_at, create_date)
                SELECT %(connector)s, event, ref, kind, payload, left(error, 500),
                       CASE WHEN error IS NULL THEN 'done' ELSE 'failed' END, 'poll', 1,
                       %(now)s, %(now)s, %(now)s
                  FROM jsonb_to_recordset(%(rows)s::jsonb)
                       AS r(event text, ref text, kind text, payload text, error text)
                ON CONFLICT (connector_id, event_id) DO NOTHING
                """,
                connector=self.id,
                now=fields.Datetime.now(),
                rows=json.dumps(told),
            )
        )
        self.poll_cursor = page.cursor

    def _poll_succeeded(self):
        now = fields.Datetime.now()
        self.write(
            {
                "last_poll_at": now,
                "next_poll_at": now + timedelta(minutes=self.poll_minutes),
                "poll_failures": 0,
                "problem": False,
                "is_blocked": False,
            }
        )
        self._thank_administrator()

    def _poll_failed(self, error):
        """Remember why, and come back: soon where it passes, seldom where a person must act."""
        failures = self.poll_failures + 1
        passing = isinstance(error, RetriableError) or not isinstance(error, TrackFlowError)
        reason = str(error)
        if passing:
            wait = min(_FIRST_WAIT * 2 ** min(failures - 1, 12), _LONGEST_WAIT)
            asked = getattr(error, "retry_after", None)
            wait = max(wait, min(timedelta(seconds=asked or 0), _WAIT_FOR_A_PERSON))
        else:
            wait = _WAIT_FOR_A_PERSON
        if not isinstance(error, TrackFlowError):
            reason = self.env._("An error of TrackFlow (%s); the log has it.", type(error).__name__)
        _logger.warning("The connector %s could not be read: %s", self._namespace, reason)
        self.write(
            {
                "next_poll_at": fields.Datetime.now() + wait,
                "poll_failures": failures,
                "problem": reason[:500],
                "is_blocked": not passing,
            }
        )
        if not passing:
            self._ask_administrator(reason)

    @api.model
    def _wake_for_next_poll(self):
        """Run the job when the next CRM is due, rather than at its next turn."""
        following = self.search(
            [("polling", "=", True), ("next_poll_at", "!=", False)], order="next_poll_at", limit=1
        )
        if following:
            self.env.ref("trackflow.ir_cron_poll").sudo()._trigger(
                max(following.next_poll_at, fields.Datetime.now() + timedelta(seconds=1))
            )

    # -- who has to act --------------------------------------------------------------------

    def _ask_administrator(self, reason):
        """Give who set the connector up one activity that says what to do."""
        for connector in self.sudo():
            if connector.activity_ids:
                continue
            maker = connector.create_uid
            asked = maker if maker.active and maker.has_group("base.group_system") else None
            connector.activity_schedule(
                "mail.mail_activity_data_warning",
                user_id=(asked or self.env.ref("base.user_admin")).id,
                summary=self.env._("The connector %s needs you", connector.name),
                note=plaintext2html(reason),
            )

    def _thank_administrator(self):
        """Nobody needs to act any more."""
        settled = self.sudo().filtered(lambda one: not (one.is_blocked or one.write_problem))
        settled.activity_unlink(["mail.mail_activity_data_warning"])

    def _write_back_failed(self, reason):
        """A person must change something before attribution can be written back."""
        self.sudo().write_problem = reason[:500]
        self._ask_administrator(reason)

    def _write_back_soon(self):
        """Try what waits once more, for what kept it back is mended."""
        self.sudo().write_problem = False
        waiting = [("target", "in", [one._target for one in self]), ("state", "=", "waiting")]
        messages = self.env["trackflow.outbox.message"].sudo().search(waiting)
        messages.due_at = fields.Datetime.now()
        self.env.ref("trackflow.ir_cron_deliver").sudo()._trigger()
        self._thank_administrator()

    def _wrote_back(self):
        if self.write_problem:
            self.sudo().write_problem = False
            self._thank_administrator()


def _row(fact, reason):
    """What is kept of a fact that was read; with a `reason` also the fact, to try it again."""
    kind = "deal" if isinstance(fact, Deal) else "lead"
    row = {"event": fact.event_id, "ref": fact.ref, "kind": kind}
    if reason is None:
        return row
    payload = json.dumps(fact_json(fact))
    return {**row, "event": f"{kind}:{fact.event_id}", "error": reason, "payload": payload}
