"""Messages to webhook endpoints, for those who may see the outbox."""

from odoo.fields import Domain
from odoo.tools import SQL

from trackflow_core.api.storage import WebhookMessage
from trackflow_core.outbox import WEBHOOK

from ..store.values import aware
from .base import Records, between


class Messages(Records):
    model = "trackflow.outbox.message"

    def find(self, ids):
        return self.records.search([("message_key", "in", list(ids))])

    def domain(self, query):
        domain = between(lambda alias: SQL.identifier(alias, "create_date"), query)
        if query.endpoint:
            domain &= Domain("target", "=", f"{WEBHOOK}/{query.endpoint}")
        if query.event:
            domain &= Domain("event", "=", query.event)
        if query.state:
            domain &= Domain("state", "=", query.state)
        return domain

    def told(self, records):
        for record in records:
            yield (
                record,
                WebhookMessage(
                    record.message_key,
                    record.target.partition("/")[2],
                    record.event,
                    record.body,
                    aware(record.create_date),
                    record.state,
                    record.attempts,
                    aware(record.due_at),
                    aware(record.sent_at) if record.sent_at else None,
                    record.reason or "",
                ),
            )
