"""How long facts are kept: a daily job that archives or deletes them, and what each run did."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from odoo import api, fields, models
from odoo.exceptions import ValidationError
from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY
from odoo.tools import SQL

from ..guard import guard

_logger = logging.getLogger(__name__)

BATCH = 10_000
_BEGINNING = datetime(1970, 1, 1)
_ALL = SQL("TRUE")
_LOG_DAYS = 365
_MOST_DAYS = 36_500


@dataclass(frozen=True)
class Rule:
    """What happens to the rows of one model once they are older than its days.

    `pending` are the rows that the rule has not dealt with, in terms of the table `t`; among them
    it changes those that meet `condition`. `parameter` names the days in `ir.config_parameter`.
    """

    name: str
    title: str
    model: str
    moment: str
    parameter: str
    days: int
    action: SQL
    pending: SQL = _ALL
    condition: SQL = _ALL


_NEVER_CONVERTED = SQL(
    """
    NOT EXISTS (SELECT FROM trackflow_conversion c WHERE c.visitor_id = t.visitor_id)
    AND NOT EXISTS (SELECT FROM crm_lead_trackflow_visitor_rel r WHERE r.visitor_id = t.visitor_id)
    """
)

RULES = (
    Rule(
        "clicks",
        "Clicks: archived",
        "link.tracker.click",
        "trackflow_occurred_at",
        "trackflow.keep_clicks_days",
        730,
        SQL("UPDATE link_tracker_click t SET trackflow_archived = TRUE"),
        pending=SQL("t.trackflow_archived IS NOT TRUE"),
    ),
    Rule(
        "events",
        "Events of visitors who never converted: deleted",
        "trackflow.event",
        "timestamp",
        "trackflow.keep_events_days",
        365,
        SQL("DELETE FROM trackflow_event t"),
        condition=_NEVER_CONVERTED,
    ),
    Rule(
        "queue",
        "Recorded clicks in the queue: deleted",
        "trackflow.click.queue",
        "processed_at",
        "trackflow.keep_queue_days",
        7,
        SQL("DELETE FROM trackflow_click_queue t"),
        pending=SQL("t.status = 'done'"),
    ),
    Rule(
        "requests",
        "Requests to the API: deleted",
        "trackflow.api.request.log",
        "request_time",
        "trackflow.keep_requests_days",
        90,
        SQL("DELETE FROM trackflow_api_request_log t"),
    ),
    Rule(
        "sessions",
        "Visits: archived",
        "trackflow.session",
        "session_end",
        "trackflow.keep_sessions_days",
        365,
        SQL("UPDATE trackflow_session t SET active = FALSE"),
        pending=SQL("t.active"),
    ),
    Rule(
        "visitors",
        "Visitors who have not come back: archived",
        "trackflow.visitor",
        "last_seen",
        "trackflow.keep_sessions_days",
        365,
        SQL("UPDATE trackflow_visitor t SET active = FALSE"),
        pending=SQL("t.active"),
    ),
)


class TrackflowRetentionRun(models.Model):
    """What one run of the job did by one rule. One that was interrupted goes on where it stopped."""

    _name = "trackflow.retention.run"
    _description = "TrackFlow Retention Run"
    _order = "id desc"
    _rec_name = "rule"

    rule = fields.Selection(
        [(rule.name, rule.title) for rule in RULES], required=True, readonly=True
    )
    cutoff = fields.Datetime("Older Than", required=True, readonly=True)
    started_at = fields.Datetime("Started", required=True, readonly=True)
    ended_at = fields.Datetime("Ended", readonly=True)
    state = fields.Selection(
        [("running", "To Be Continued"), ("done", "Done")],
        required=True,
        readonly=True,
        default="running",
    )
    row_count = fields.Integer(
        "Rows", readonly=True, default=0, help="How many were archived or deleted."
    )
    # Where the run has got to, exact to the microsecond: written and read by SQL alone.
    last_moment = fields.Datetime(readonly=True)
    last_id = fields.Integer(readonly=True, default=0, aggregator=None)

    _running_uniq = models.UniqueIndex(
        "(rule) WHERE state = 'running'", "This rule is being applied already."
    )

    @api.model
    def _cron_apply(self, batch=BATCH):
        """Apply every rule in batches, each committed with what is told of it."""
        progress = self.env["ir.cron"]._commit_progress
        waiting = [rule for rule in RULES if rule.model in self.env]
        progress(remaining=len(waiting))
        for number, rule in enumerate(waiting, 1):
            run = self.browse()
            # Days that nobody can read delete nothing, and keep the other rules from nothing.
            with guard(self.env, "retention", rule.parameter):
                run = self._start(rule)
            while run.state == "running":
                try:
                    changed = run._apply(rule, batch)
                except PG_CONCURRENCY_EXCEPTIONS_TO_RETRY as error:
                    _logger.info("Retention of %s goes on later: %s", rule.name, error)
                    self.env.cr.rollback()
                    break
                if not progress(changed, remaining=len(waiting) - number + 1):
                    return
            progress(remaining=len(waiting) - number)

    @api.model
    def _start(self, rule):
        """The run of `rule` that was interrupted, or a new one."""
        run = self.search([("rule", "=", rule.name), ("state", "=", "running")], limit=1)
        now = fields.Datetime.now()
        return run or self.create(
            {
                "rule": rule.name,
                "cutoff": now - timedelta(days=self._days(rule)),
                "started_at": now,
                "last_moment": _BEGINNING,
            }
        )

    @api.model
    def _days(self, rule):
        value = self.env["ir.config_parameter"].sudo().get_param(rule.parameter)
        return self._read_days(rule.parameter, value) if value else rule.days

    @api.model
    def _read_days(self, parameter, value):
        try:
            days = int(value)
        except ValueError:
            days = 0
        if not 1 <= days <= _MOST_DAYS:
            raise ValidationError(
                self.env._(
                    "“%(value)s” is no time to keep facts: %(parameter)s takes whole days, "
                    "from 1 to %(most)s.",
                    value=value,
                    parameter=parameter,
                    most=_MOST_DAYS,
                )
            )
        return days

    def _apply(self, rule, batch):
        """Deal with the next `batch` rows; returns how many were changed."""
        self.flush_recordset()
        model = self.env[rule.model]
        model.flush_model()
        # Both the rows looked at and those changed: an old row that is kept is not looked at again.
        [[changed, seen]] = self.env.execute_query(
            SQL(
                """
                WITH run AS (
                    SELECT cutoff, last_moment, last_id
                      FROM trackflow_retention_run WHERE id = %(run)s
                ), batch AS (
                    SELECT t.id, t.%(moment)s AS moment
                      FROM %(table)s t, run
                     WHERE t.%(moment)s < run.cutoff AND %(pending)s
                       AND (t.%(moment)s, t.id) > (run.last_moment, run.last_id)
                     ORDER BY t.%(moment)s, t.id
                     LIMIT %(batch)s
                ), changed AS (
                    %(action)s
                     WHERE t.id = ANY(ARRAY(SELECT id FROM batch)) AND %(condition)s
                    RETURNING t.id
                ), noted AS (
                    UPDATE trackflow_retention_run run
                       SET row_count = run.row_count + (SELECT count(*) FROM changed),
                           last_moment = last.moment, last_id = last.id
                      FROM (SELECT moment, id FROM batch
                             ORDER BY moment DESC, id DESC LIMIT 1) last
                     WHERE run.id = %(run)s
                )
                SELECT (SELECT count(*) FROM changed), (SELECT count(*) FROM batch)
                """,
                table=SQL.identifier(model._table),
                moment=SQL.identifier(rule.moment),
                pending=rule.pending,
                action=rule.action,
                condition=rule.condition,
                run=self.id,
                batch=batch,
            )
        )
        self.invalidate_recordset(flush=False)
        model.invalidate_model(flush=False)
        if seen < batch:
            self.write({"state": "done", "ended_at": fields.Datetime.now()})
            self.flush_recordset()
        return changed

    def action_run_now(self):
        """Let the job run at once instead of tonight."""
        self.check_access("read")
        self.env.ref("trackflow.ir_cron_apply_retention").sudo()._trigger()
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "type": "success",
                "message": self.env._("The job starts within a minute."),
            },
        }

    @api.autovacuum
    def _gc_old_runs(self):
        limit = fields.Datetime.now() - timedelta(days=_LOG_DAYS)
        self.search([("state", "=", "done"), ("ended_at", "<", limit)], limit=10_000).unlink()
