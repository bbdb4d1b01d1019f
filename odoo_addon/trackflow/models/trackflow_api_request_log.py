import json

from odoo import api, fields, models
from odoo.tools import SQL
from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from ..store.values import text_time
from .trackflow_api_key import NOBODY


class TrackflowApiRequestLog(models.Model):
    """One request to the REST API, with secrets and persons masked."""

    _name = "trackflow.api.request.log"
    _description = "TrackFlow API Request"
    _order = "request_time desc, id desc"
    _rec_name = "endpoint"
    # Written by statements after the answer was sent.
    _log_access = False

    request_time = fields.Datetime("Time", required=True, readonly=True, index=True)
    key_id = fields.Many2one("trackflow.api.key", readonly=True, ondelete="set null")
    key_prefix = fields.Char(readonly=True)
    method = fields.Char(readonly=True)
    endpoint = fields.Char("Path", readonly=True)
    response_code = fields.Integer("Status", readonly=True, aggregator=None)
    duration = fields.Integer("Duration (ms)", readonly=True, aggregator="avg")
    ip_address = fields.Char("Address", readonly=True)
    request_data = fields.Text("Request", readonly=True)
    response_data = fields.Text("Answer", readonly=True)

    _key_moment_idx = models.Index("(key_id, request_time) WHERE key_id IS NOT NULL")

    @api.model
    def _log(self, entries):
        """Keep these entries and count all of them on their keys, by one statement."""
        rows = [
            {
                "place": place,
                "request_time": text_time(entry.requested_at),
                "key_prefix": entry.key_id or None,
                "method": entry.method,
                "endpoint": entry.path,
                "response_code": entry.status,
                "duration": entry.duration,
                "ip_address": entry.address,
                "request_data": entry.request,
                "response_data": entry.response,
                "kept": entry.kept,
            }
            for place, entry in enumerate(entries)
        ]
        self.env["trackflow.api.key"].flush_model(["key_prefix", "last_used", "usage_count"])
        if self.env.cr.connection.get_transaction_status() == TRANSACTION_STATUS_IDLE:
            # Requests with the same key are counted one after the other, and none waits for the
            # disk: a power failure may cost the last half second of the log.
            self.env.cr.execute(
                "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = off"
            )
        self.env.cr.execute(
            SQL(
                """
                WITH r AS (
                     SELECT * FROM jsonb_to_recordset(%s::jsonb) AS r(
                            place int, request_time timestamp, key_prefix text, method text,
                            endpoint text, response_code int, duration int, ip_address text,
                            request_data text, response_data text, kept boolean)),
                -- In one order, so that no two processes wait for each other.
                locked AS (
                     SELECT id, key_prefix FROM trackflow_api_key
                      WHERE key_prefix IN (SELECT key_prefix FROM r) ORDER BY id FOR UPDATE),
                used AS (
                     UPDATE trackflow_api_key k
                        SET usage_count = COALESCE(k.usage_count, 0) + u.uses,
                            last_used = GREATEST(k.last_used, u.last_used)
                       FROM (SELECT key_prefix, count(*) AS uses, max(request_time) AS last_used
                               FROM r GROUP BY key_prefix) u
                       JOIN locked USING (key_prefix)
                      WHERE k.id = locked.id
                  RETURNING k.id, k.key_prefix)
                INSERT INTO trackflow_api_request_log
                    (request_time, key_id, key_prefix, method, endpoint, response_code, duration,
                     ip_address, request_data, response_data)
                SELECT r.request_time, used.id, r.key_prefix, r.method, r.endpoint,
                       r.response_code, r.duration, r.ip_address, r.request_data, r.response_data
                  FROM r LEFT JOIN used ON used.key_prefix = r.key_prefix
                 WHERE r.kept
                 ORDER BY r.place
                """,
                json.dumps(rows),
            )
        )
        self.invalidate_model(flush=False)
        self.env["trackflow.api.key"].invalidate_model(["usage_count", "last_used"], flush=False)


class TrackflowApiAnswer(models.Model):
    """The answer to a POST with an Idempotency-Key, for when it is repeated."""

    _name = "trackflow.api.answer"
    _description = "TrackFlow API Answer"
    _order = "id"
    _rec_name = "key"
    _log_access = False

    key = fields.Char(required=True, readonly=True)
    fingerprint = fields.Char(required=True, readonly=True)
    answered_at = fields.Datetime(required=True, readonly=True, index=True)
    status = fields.Integer(readonly=True)
    # Answers hold what the key's user may see, and nobody else.
    headers = fields.Char(readonly=True, groups=NOBODY)
    body = fields.Text(readonly=True, groups=NOBODY)

    _key_uniq = models.UniqueIndex("(key)", "This request was answered already.")

    @api.autovacuum
    def _gc_answers(self):
        """Whoever repeats a request does it within a day."""
        self.env.cr.execute(
            SQL(
                "DELETE FROM trackflow_api_answer WHERE answered_at < %s - interval '1 day'",
                self.env.cr.now(),
            )
        )
