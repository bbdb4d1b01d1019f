"""Keys, remembered answers and the request log: the API's own, beyond the rights of a user."""

# No models, whose methods of these names call super().
# pylint: disable=method-required-super

import json

from odoo.tools import SQL

from trackflow_core.api.storage import Conflict, Idempotency, LoggedRequest

from ..store.values import aware, naive
from .base import Records, between


class Keys(Records):
    model = "trackflow.api.key"

    @property
    def records(self):
        return self.env[self.model].sudo()

    def read(self, ids, *, lock=False):
        if lock:
            return super().read(ids, lock=True)
        return {key.id: key for key in self.records._core_keys(ids)}

    def find(self, ids):
        return self.records.search([("key_prefix", "in", list(ids))])

    def told(self, records):
        for record in records:
            yield record, record._core_key()

    def create(self, keys):
        if taken := self.find([key.id for key in keys])[:1]:
            raise Conflict(self.env._("There is a key %s already.", taken.key_prefix), field="id")
        created = self.records.create(
            [{**self._vals(key), "key_prefix": key.id, "user_id": self.env.uid} for key in keys]
        )
        return [told for _record, told in self.told(created)]

    def update(self, keys):
        known = {record.key_prefix: record for record in self.find([key.id for key in keys])}
        changed = self.records.browse(known[key.id].id for key in keys)
        for record, key in zip(changed, keys, strict=True):
            record.permission_ids.unlink()
            record.ip_whitelist_ids.unlink()
            record.write(self._vals(key))
        return [told for _record, told in self.told(changed)]

    def _vals(self, key):
        return {
            "name": key.name,
            **self.records._secret_vals(key),
            "expires_at": _seconds(key.expires_at),
            "revoked_at": _seconds(key.revoked_at),
            "created_at": _seconds(key.created_at),
            "hourly_limit": key.hourly_limit,
            "permission_ids": [(0, 0, {"permission_type": scope}) for scope in sorted(key.scopes)],
            "ip_whitelist_ids": [(0, 0, {"ip_address": network}) for network in key.networks],
        }


class Answers(Records):
    model = "trackflow.api.answer"

    @property
    def records(self):
        return self.env[self.model].sudo()

    def find(self, ids):
        return self.records.search([("key", "in", list(ids))])

    def told(self, records):
        for record in records:
            yield (
                record,
                Idempotency(
                    record.key,
                    record.fingerprint,
                    aware(record.answered_at),
                    record.status,
                    json.loads(record.headers or "{}"),
                    record.body or "",
                ),
            )

    def create(self, answers):
        if self.find([answer.id for answer in answers]):
            raise Conflict(self.env._("This request is being answered."), field="id")
        created = self.records.create([{**_answer(item), "key": item.id} for item in answers])
        return [told for _record, told in self.told(created)]

    def update(self, answers):
        known = {record.key: record for record in self.find([item.id for item in answers])}
        changed = self.records.browse(known[item.id].id for item in answers)
        for record, item in zip(changed, answers, strict=True):
            record.write(_answer(item))
        return [told for _record, told in self.told(changed)]

    def purge(self, before):
        old = self.records.search([("answered_at", "<", naive(before))])
        old.unlink()
        return len(old)


class Requests(Records):
    model = "trackflow.api.request.log"

    def domain(self, query):
        return between(lambda alias: SQL.identifier(alias, "request_time"), query)

    def told(self, records):
        for record in records:
            yield (
                record,
                LoggedRequest(
                    aware(record.request_time),
                    record.method,
                    record.endpoint,
                    record.response_code,
                    record.duration,
                    record.key_prefix or "",
                    record.ip_address or "",
                    record.request_data or "",
                    record.response_data or "",
                    str(record.id),
                ),
            )

    def purge(self, before):
        old = self.records.sudo().search([("request_time", "<", naive(before))])
        old.unlink()
        return len(old)


def _answer(item):
    return {
        "fingerprint": item.fingerprint,
        "answered_at": naive(item.created_at),
        "status": item.status,
        "headers": json.dumps(dict(item.headers)),
        "body": item.body,
    }


def _seconds(moment):
    return naive(moment).replace(microsecond=0) if moment else False
