import logging
from contextlib import contextmanager
from datetime import timedelta

from odoo import api, fields, models
from odoo.addons.trackflow.keys import visitor_keys
from odoo.addons.trackflow.store.values import aware
from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY
from odoo.tools import SQL

from trackflow_core.model import Click
from trackflow_core.tracking import scanners
from trackflow_core.tracking.identity import proves_email

from ..hooks import UNSIGNED_UP_TO

_logger = logging.getLogger(__name__)

# Twice as long as clicks of one machine follow each other: until then neighbours may still come.
_HOLD = timedelta(seconds=20)
# How long a machine runs the scripts of a page that it opened.
_STAY = timedelta(minutes=1)
_LIMIT = 10_000


class TrackflowClickQueue(models.Model):
    """Clicks in mails wait for their neighbours: mail scanners are told by them alone."""

    _inherit = "trackflow.click.queue"

    status = fields.Selection(
        selection_add=[("held", "In a Mail")], ondelete={"held": "set default"}
    )
    mailing_trace_id = fields.Many2one(
        "mailing.trace", "Mail", readonly=True, index="btree_not_null", ondelete="set null"
    )
    mail_proven = fields.Boolean("By the Recipient", readonly=True)
    mail_settled = fields.Boolean(readonly=True)
    scanner_reason = fields.Char(readonly=True)

    _held_idx = models.Index("(occurred_at) WHERE status = 'held'")
    _scanned_idx = models.Index("(visitor_key) WHERE scanner_reason IS NOT NULL")
    _unsettled_idx = models.Index("(id) WHERE status = 'done' AND mail_settled IS FALSE")

    @api.model
    def _hold_mail_click(self, event_id, trace_id, proof):
        """Mark a queued click as one of a mail, where that is certain enough.

        A proof tells who received the mail; a number without one only counts for mails that were
        sent before links were signed. Everything else stays a click like any other.
        """
        rows = self.env.execute_query(
            SQL("SELECT email FROM mailing_trace WHERE id = %s", min(trace_id, 2**31 - 1))
        )
        if not rows:
            return
        proven = bool(proof) and proves_email(proof, rows[0][0] or "", visitor_keys(self.env))
        old = int(self.env["ir.config_parameter"].get_param(UNSIGNED_UP_TO) or 0)
        if not proven and (proof or trace_id > old):
            return
        self.env.cr.execute(
            SQL(
                """
                UPDATE trackflow_click_queue
                   SET status = 'held', mailing_trace_id = %s, mail_proven = %s,
                       mail_settled = FALSE
                 WHERE event_id = %s
                """,
                trace_id,
                proven,
                event_id,
            )
        )

    @api.model
    def _cron_process_clicks(self, limit=2000):
        with self._unless_concurrent("Clicks in mails are judged by the next run: %s"):
            self._hold_visits()
            self._release_mail_clicks()
            self._judge_visits()
        result = super()._cron_process_clicks(limit)
        with self._unless_concurrent("Clicks in mails are settled by the next run: %s"):
            self._settle_mail_clicks()
        return result

    @contextmanager
    def _unless_concurrent(self, message):
        """What a concurrent change prevents is taken back alone, and left to the next run.

        What is still to be written of the queue is written before, as SQL goes by its rows.
        """
        try:
            with self.env.cr.savepoint():
                yield
        except PG_CONCURRENCY_EXCEPTIONS_TO_RETRY as error:
            _logger.info(message, error)

    @api.model
    def _hold_visits(self):
        """Let what happened on the pages behind held clicks wait with them."""
        self.env.cr.execute(
            SQL(
                """
                UPDATE trackflow_click_queue q SET status = 'held'
                  FROM trackflow_click_queue mail
                 WHERE mail.status = 'held' AND mail.mailing_trace_id IS NOT NULL
                   AND q.status = 'queued' AND q.visitor_key = mail.visitor_key
                   AND q.occurred_at BETWEEN mail.occurred_at AND mail.occurred_at + %s
                """,
                _STAY,
            )
        )

    @api.model
    def _judge_visits(self):
        """A scanner that runs the scripts of a page is no person there either."""
        self.env.cr.execute(
            SQL(
                """
                UPDATE trackflow_click_queue q
                   SET prefetch = TRUE, scanner_reason = mail.scanner_reason
                  FROM trackflow_click_queue mail
                 -- Not IN, as each of the two has an index of its own.
                 WHERE (q.status = 'held' OR q.status = 'queued') AND q.mailing_trace_id IS NULL
                   AND q.scanner_reason IS NULL
                   AND mail.visitor_key = q.visitor_key AND mail.scanner_reason IS NOT NULL
                   AND mail.mailing_trace_id IS NOT NULL
                   AND q.occurred_at BETWEEN mail.occurred_at AND mail.occurred_at + %s
                """,
                _STAY,
            )
        )
        self.invalidate_model(flush=False)

    @api.model
    def _release_mail_clicks(self):
        """Judge held clicks by their neighbours and let those go whose neighbours are all here."""
        rows = self.env.execute_query(
            SQL(
                """
                SELECT q.event_id, q.occurred_at, q.link_code, q.ip, t.email, t.mass_mailing_id
                  FROM trackflow_click_queue q
                  JOIN mailing_trace t ON t.id = q.mailing_trace_id
                 WHERE q.status = 'held' ORDER BY q.occurred_at LIMIT %s
                """,
                _LIMIT,
            )
        )
        links = self._links_of_mailings({row[-1] for row in rows if row[-1]})
        found = scanners.find(
            [
                Click(event_id, aware(moment), code, "", ip=ip or "")
                for event_id, moment, code, ip, _email, _mailing in rows
            ],
            {
                event_id: scanners.Mail(email or "", links.get(mailing, frozenset()))
                for event_id, _moment, _code, _ip, email, mailing in rows
            },
        )
        until = fields.Datetime.now() - _HOLD
        if len(rows) == _LIMIT:
            # In a rush, the earlier half goes on without having seen all of its neighbours.
            until = min(until, max(rows[-1][1] - _HOLD, rows[_LIMIT // 2][1]))
        if found:
            self.env.cr.execute(
                SQL(
                    """
                    UPDATE trackflow_click_queue q
                       SET prefetch = TRUE, scanner_reason = r.reason
                      FROM unnest(%s, %s) AS r(event_id, reason)
                     WHERE q.event_id = r.event_id
                    """,
                    list(found),
                    list(found.values()),
                )
            )
        self.env.cr.execute(
            SQL(
                """
                UPDATE trackflow_click_queue SET status = 'queued'
                 WHERE status = 'held' AND occurred_at < %s
                """,
                until,
            )
        )
        self.invalidate_model(flush=False)

    @api.model
    def _links_of_mailings(self, mailing_ids):
        """The codes of all links of each mailing."""
        return {
            mailing: frozenset(codes)
            for mailing, codes in self.env.execute_query(
                SQL(
                    """
                    SELECT link.mass_mailing_id, array_agg(code.code)
                      FROM link_tracker link JOIN link_tracker_code code ON code.link_id = link.id
                     WHERE link.mass_mailing_id = ANY(%s) GROUP BY 1
                    """,
                    list(mailing_ids),
                )
            )
        }

    @api.model
    def _settle_mail_clicks(self):
        """Tell recorded clicks and their mails of each other, and the recipients' leads of both."""
        rows = self.env.execute_query(
            SQL(
                """
                WITH settled AS (
                    UPDATE trackflow_click_queue SET mail_settled = TRUE
                     WHERE status = 'done' AND mail_settled IS FALSE
                    RETURNING event_id, mailing_trace_id, mail_proven, scanner_reason
                )
                UPDATE link_tracker_click c
                   SET mailing_trace_id = t.id, mass_mailing_id = t.mass_mailing_id,
                       trackflow_mail_proven = s.mail_proven,
                       trackflow_verdict = CASE WHEN s.scanner_reason IS NULL
                                                THEN c.trackflow_verdict ELSE 'bot' END,
                       trackflow_reason = COALESCE(s.scanner_reason, c.trackflow_reason)
                  FROM settled s JOIN mailing_trace t ON t.id = s.mailing_trace_id
                 WHERE c.trackflow_event_id = s.event_id
                RETURNING t.id, c.trackflow_counts, s.mail_proven, t.email, t.model, t.res_id,
                          c.trackflow_visitor_id
                """
            )
        )
        self.env["link.tracker.click"].invalidate_model(flush=False)
        self.invalidate_model(flush=False)
        people = [row for row in rows if row[1]]
        traces = self.env["mailing.trace"].browse({row[0] for row in people})
        traces.set_opened()
        traces.set_clicked()
        recipients = [row[3:] for row in people if row[2] and row[-1]]
        if recipients:
            self.env["crm.lead"]._trackflow_bind_recipients(recipients)
