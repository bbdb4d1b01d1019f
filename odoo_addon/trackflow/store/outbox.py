"""What must leave the database: `trackflow_core.ports.Outbox` over one environment."""

import json
from datetime import datetime, timezone
from secrets import token_hex

from odoo.tools import SQL

from trackflow_core.model import Message, Outgoing, Subscription
from trackflow_core.outbox import CONNECTOR, WRITE_BACKS, without_visitors

from .values import aware, naive

_READ = SQL("id, message_key, target, event, ref, body, latest, attempts, create_date")
# Of what is said of a record, where the latest alone matters.
_ALIKE = SQL(
    """
    FROM trackflow_outbox_message other
     WHERE m.latest AND m.ref != ''
       AND other.target = m.target AND other.event = m.event AND other.ref = m.ref
    """
)
_REPLACED = SQL("EXISTS (SELECT %s AND other.id > m.id)", _ALIKE)
# When it may be sent: while somebody sends what is said of the same, it waits.
_FREE_AT = SQL("GREATEST(m.due_at, (SELECT max(other.claimed_until) %s))", _ALIKE)
# What waits for a receiver that is switched on.
_WANTED = SQL(
    """
    m.state = 'waiting'
    AND NOT EXISTS (
        SELECT FROM trackflow_webhook_endpoint endpoint
         WHERE m.target = 'webhook/' || endpoint.id AND NOT endpoint.active)
    AND NOT EXISTS (
        SELECT FROM trackflow_connector c
         WHERE m.target = 'connector/' || c.connector || '/' || c.instance
           AND NOT (c.active AND c.write_back))
    """
)


class OdooOutbox:
    """The outbox of one environment; it works as superuser."""

    def __init__(self, env):
        self.env = env(su=True)

    def subscriptions(self):
        endpoints = [
            Subscription(target, events)
            for target, events in self.env["trackflow.webhook.endpoint"]._subscribed()
        ]
        # A CRM is told where its own records stand now; what they were before is of no use.
        connectors = [
            Subscription(target, WRITE_BACKS, namespace, latest=True)
            for target, namespace in self.env["trackflow.connector"]._subscribed()
        ]
        return endpoints + connectors

    def post(self, told):
        now = datetime.now(timezone.utc)
        news = self._news(told)
        if not news:
            return
        latest = [outgoing for outgoing in news if outgoing.latest]
        if latest:
            self._withdraw(latest, now)
        rows = [
            SQL(
                "%s",
                (
                    f"msg_{token_hex(16)}",
                    outgoing.target,
                    outgoing.event,
                    outgoing.ref,
                    outgoing.body,
                    outgoing.digest,
                    outgoing.latest,
                    "waiting",
                    0,
                    naive(now),
                    naive(now),
                ),
            )
            for outgoing in news
        ]
        self.env.cr.execute(
            SQL(
                """
                INSERT INTO trackflow_outbox_message
                    (message_key, target, event, ref, body, digest, latest, state, attempts,
                     due_at, create_date)
                VALUES %s
                """,
                SQL(", ").join(rows),
            )
        )
        self.env.ref("trackflow.ir_cron_deliver")._trigger()

    def _news(self, told):
        """Of `told` what says something new of its ref, in order."""
        keys = [
            {"target": one.target, "event": one.event, "ref": one.ref} for one in told if one.ref
        ]
        said = {}
        if keys:
            self.env.cr.execute(
                SQL(
                    """
                    SELECT k.target, k.event, k.ref, held.digest
                      FROM jsonb_to_recordset(%s::jsonb) AS k(target text, event text, ref text)
                      JOIN LATERAL (
                           SELECT digest FROM trackflow_outbox_message m
                            WHERE m.target = k.target AND m.event = k.event AND m.ref = k.ref
                            ORDER BY m.id DESC LIMIT 1) held ON TRUE
                    """,
                    json.dumps(keys),
                )
            )
            said = {tuple(row[:3]): row[3] for row in self.env.cr.fetchall()}
        news = []
        for outgoing in told:
            key = (outgoing.target, outgoing.event, outgoing.ref)
            if outgoing.ref and said.get(key) == outgoing.digest:
                continue
            said[key] = outgoing.digest
            news.append(outgoing)
        return news

    def _withdraw(self, latest, now):
        """Remove what still waits to be said of these; what is under way stays."""
        keys = [{"target": one.target, "event": one.event, "ref": one.ref} for one in latest]
        self.env.cr.execute(
            SQL(
                """
                DELETE FROM trackflow_outbox_message m
                 USING jsonb_to_recordset(%s::jsonb) AS k(target text, event text, ref text)
                 WHERE m.target = k.target AND m.event = k.event AND m.ref = k.ref
                   AND m.state = 'waiting'
                   AND (m.claimed_until IS NULL OR m.claimed_until <= %s)
                """,
                json.dumps(keys),
                naive(now),
            )
        )

    def claim(self, now, until, limit):
        self._flush_receivers()
        self._drop_replaced(now)
        self.env.cr.execute(
            SQL(
                """
                UPDATE trackflow_outbox_message SET due_at = %(until)s, claimed_until = %(until)s
                 WHERE id IN (
                       SELECT m.id FROM trackflow_outbox_message m
                        WHERE %(due)s
                        ORDER BY m.due_at, m.id LIMIT %(limit)s
                          FOR UPDATE SKIP LOCKED)
                RETURNING %(read)s
                """,
                until=naive(until),
                limit=limit,
                read=_READ,
                due=self._due(now),
            )
        )
        return [_message(row) for row in sorted(self.env.cr.dictfetchall(), key=lambda r: r["id"])]

    def is_due(self, now):
        """Whether `claim` would give anything."""
        self._flush_receivers()
        return self.env.execute_query(
            SQL("SELECT EXISTS (SELECT FROM trackflow_outbox_message m WHERE %s)", self._due(now))
        )[0][0]

    def _due(self, now):
        # `_FREE_AT` is never before `due_at`, which the index knows.
        return SQL(
            "%(wanted)s AND m.due_at <= %(now)s AND %(free_at)s <= %(now)s",
            wanted=_WANTED,
            free_at=_FREE_AT,
            now=naive(now),
        )

    def next_due(self):
        """When `claim` gives something next, in UTC without a zone; None when nothing waits."""
        self._flush_receivers()
        return self.env.execute_query(
            SQL(
                "SELECT min(%s) FROM trackflow_outbox_message m WHERE %s",
                _FREE_AT,
                _WANTED,
            )
        )[0][0]

    def _flush_receivers(self):
        self.env["trackflow.webhook.endpoint"].flush_model(["active"])
        self.env["trackflow.connector"].flush_model(["active", "write_back"])

    def _drop_replaced(self, now):
        """Remove what is due, though something newer was said meanwhile."""
        self.env.cr.execute(
            SQL(
                """
                DELETE FROM trackflow_outbox_message
                 WHERE id IN (
                       SELECT m.id FROM trackflow_outbox_message m
                        WHERE m.state = 'waiting' AND m.due_at <= %s AND %s
                          FOR UPDATE SKIP LOCKED)
                """,
                naive(now),
                _REPLACED,
            )
        )

    def sent(self, message, now):
        self._settle(message, SQL("state = 'sent', sent_at = %s, reason = NULL", naive(now)))

    def defer(self, message, due, reason):
        self._settle(message, SQL("due_at = %s, reason = %s", naive(due), reason))

    def bury(self, message, reason):
        self._settle(message, SQL("state = 'dead', reason = %s", reason))

    def _settle(self, message, what):
        self.env.cr.execute(
            SQL(
                """
                UPDATE trackflow_outbox_message SET attempts = attempts + 1, claimed_until = NULL, %s
                 WHERE message_key = %s
                """,
                what,
                message.id,
            )
        )
        self.env["trackflow.outbox.message"].invalidate_model(flush=False)

    def replay(self, target, since, until, dead_only=False):
        return self._begin_again(
            SQL(
                "target = %s AND state = ANY(%s) AND create_date >= %s AND create_date < %s",
                target,
                ["dead"] if dead_only else ["dead", "sent"],
                naive(since),
                naive(until),
            )
        )

    def replay_one(self, target, message_id):
        return self._begin_again(SQL("target = %s AND message_key = %s", target, message_id))

    def _begin_again(self, which):
        """Make messages due now, as if they had never been tried; how many."""
        self.env.cr.execute(
            SQL(
                """
                UPDATE trackflow_outbox_message m
                   SET state = 'waiting', attempts = 0, reason = NULL, due_at = %s
                 WHERE %s AND NOT %s
                """,
                naive(datetime.now(timezone.utc)),
                which,
                _REPLACED,
            )
        )
        replayed = self.env.cr.rowcount
        self.env["trackflow.outbox.message"].invalidate_model(flush=False)
        if replayed:
            self.env.ref("trackflow.ir_cron_deliver")._trigger()
        return replayed

    def last_sent(self, target):
        self.env.cr.execute(
            SQL("SELECT max(sent_at) FROM trackflow_outbox_message WHERE target = %s", target)
        )
        [[moment]] = self.env.cr.fetchall()
        return aware(moment) if moment else None

    def forget(self, visitor_ids):
        self.env.cr.execute(
            SQL(
                """
                SELECT id, body FROM trackflow_outbox_message
                 WHERE EXISTS (SELECT FROM unnest(%s) AS name WHERE position(name IN body) > 0)
                """,
                [*visitor_ids],
            )
        )
        rows = [
            {"id": number, "body": without_visitors(body, visitor_ids)}
            for number, body in self.env.cr.fetchall()
        ]
        self.env.cr.execute(
            SQL(
                """
                UPDATE trackflow_outbox_message m SET body = r.body
                  FROM jsonb_to_recordset(%s::jsonb) AS r(id int, body text)
                 WHERE m.id = r.id
                """,
                json.dumps(rows),
            )
        )
        self.env["trackflow.outbox.message"].invalidate_model(flush=False)

    def disable(self, target, reason):
        kind, _, name = target.partition("/")
        if kind == CONNECTOR:
            self.env["trackflow.connector"]._of_namespace(name)._stop_writing_back(reason)
        else:
            self.env["trackflow.webhook.endpoint"]._of_target(target)._disable(reason)


def _message(row):
    return Message(
        row["message_key"],
        Outgoing(row["target"], row["event"], row["ref"] or "", row["body"], row["latest"]),
        aware(row["create_date"]),
        row["attempts"],
    )
