"""A Twenty workspace that exists for tests: its documented contract over real HTTP on loopback.

It answers as Twenty's public API documentation and the integration tests in its public repository
describe, with the traps: stamps are kept in microseconds and told in milliseconds, a page is never
longer than the server likes, deleted records show only where a filter names `deletedAt`, a record
that is missing is a 400 to GET, and fields that do not exist are refused.
"""

from __future__ import annotations

import json
import operator
import random
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

from trackflow_http.testing import Sent, listening
from trackflow_twenty.mapping import OPPORTUNITY, PERSON
from trackflow_twenty.signature import SIGNATURE, TIMESTAMP, sign

Row = dict[str, Any]

_PLURALS = {"people": PERSON, "opportunities": OPPORTUNITY, "companies": "company"}
_SYSTEM = ("id", "createdAt", "updatedAt", "deletedAt")
_STANDARD: Mapping[str, Mapping[str, Any]] = {
    PERSON: {
        "name": {"firstName": "", "lastName": ""},
        "emails": {"primaryEmail": "", "additionalEmails": None},
        "phones": {
            "primaryPhoneNumber": "",
            "primaryPhoneCountryCode": "",
            "primaryPhoneCallingCode": "",
            "additionalPhones": None,
        },
        "jobTitle": "",
        "city": "",
        "companyId": None,
    },
    OPPORTUNITY: {
        "name": "",
        "amount": {"amountMicros": None, "currencyCode": None},
        "closeDate": None,
        "stage": "NEW",
        "companyId": None,
        "pointOfContactId": None,
    },
    "company": {"name": ""},
}
_STAGES = ("NEW", "SCREENING", "MEETING", "PROPOSAL", "CUSTOMER")
_EMPTY = {"TEXT": "", "BOOLEAN": False}
_CONDITION = re.compile(r"(?P<field>\w+)\[(?P<comparator>\w+)\]:(?P<value>.+)\Z")
_COMPARED: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


class _Refused(Exception):
    """What Twenty answers instead: an HTTP status, the name of an error, and its message."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, message


class TwentyDouble:
    """A workspace in memory: `insert`, `change` and `remove` do what its users do.

    Dials: `failures` lets that many calls fail, with `retry_after` where it is set; `throttled` as
    many with the message of Twenty's throttle; `key` is the one that is accepted; `denied` are
    parts of paths that its role may not use; `largest_page` is how many records a page may have.
    """

    def __init__(self) -> None:
        self.key = "secret-4711"
        self.url = ""
        self.now = datetime(2026, 3, 12, 9, tzinfo=timezone.utc)
        self.largest_page = 60
        self.failures = 0
        self.throttled = 0
        self.retry_after: float | None = None
        self.denied: tuple[str, ...] = ()
        self.writes = 0
        self.requests: list[str] = []
        self.queue: list[Sent] = []
        self._random = random.Random(4711)  # noqa: S311 -- ids of tests, always the same
        self._lock = threading.Lock()
        self._tables: dict[str, dict[str, Row]] = {kind: {} for kind in _STANDARD}
        self._custom: dict[str, dict[str, Row]] = {kind: {} for kind in _STANDARD}
        self._webhooks: dict[str, Row] = {}
        self._objects = {self._uuid(): kind for kind in _STANDARD}

    @contextmanager
    def running(self) -> Iterator[TwentyDouble]:
        """This workspace, answering at `url`."""
        with listening(self.answer, ("GET", "POST", "PATCH", "DELETE")) as self.url:
            yield self

    # -- what its users do -----------------------------------------------------------------

    def insert(self, kind: str, values: Mapping[str, Any]) -> str:
        """Make a record; returns its id."""
        self._check_fields(kind, values)
        self._tick()
        record_id = self._uuid()
        blank = {**_STANDARD[kind], **self._blank_custom(kind)}
        stamps = {"createdAt": self.now, "updatedAt": self.now, "deletedAt": None}
        row = {"id": record_id, **stamps, **_deep(blank, values)}
        self._tables[kind][record_id] = row
        self.writes += 1
        self._announce(kind, row, "created")
        return record_id

    def change(self, kind: str, record_id: str, values: Mapping[str, Any]) -> None:
        """Change a record."""
        self._check_fields(kind, values)
        self._tick()
        row = self._living(kind, record_id)
        row.update(_deep(row, values), updatedAt=self.now)
        self.writes += 1
        self._announce(kind, row, "updated", [*values])

    def remove(self, kind: str, record_id: str) -> None:
        """Delete a record, so that it can be restored."""
        self._tick()
        row = self._living(kind, record_id)
        row["deletedAt"] = self.now
        self._announce(kind, row, "deleted")

    def restore(self, kind: str, record_id: str) -> None:
        """Bring a deleted record back."""
        self._tick()
        row = self._tables[kind][record_id]
        row.update(deletedAt=None, updatedAt=self.now)
        self._announce(kind, row, "restored")

    def destroy(self, kind: str, record_id: str) -> None:
        """Delete a record for ever."""
        self._tick()
        self._announce(kind, self._tables[kind].pop(record_id), "destroyed")

    def spoil(self, kind: str, record_id: str, **values: Any) -> None:
        """Set fields behind Twenty's back, stamps too."""
        self._tables[kind][record_id].update(values)

    def record(self, kind: str, record_id: str) -> Row:
        """A record as the API shows it."""
        return _shown(self._tables[kind][record_id])

    # -- what its API answers --------------------------------------------------------------

    def answer(
        self, method: str, target: str, authorization: str, body: bytes
    ) -> tuple[int, Mapping[str, str], Any]:
        """Status, headers and JSON of the answer to a request."""
        with self._lock:
            self.requests.append(f"{method} {target}")
            try:
                return self._answer(method, target, authorization, body)
            except _Refused as refused:
                told = {
                    "statusCode": refused.status,
                    "error": refused.kind,
                    "messages": [refused.message],
                }
                wait = refused.status == 429 and self.retry_after is not None
                headers = {"Retry-After": str(self.retry_after)} if wait else {}
                return refused.status, headers, told

    def _answer(
        self, method: str, target: str, authorization: str, body: bytes
    ) -> tuple[int, Mapping[str, str], Any]:
        url = urlsplit(target)
        if not authorization:
            raise _Refused(403, "FORBIDDEN_EXCEPTION", "Missing authentication token")
        if authorization != f"Bearer {self.key}":
            raise _Refused(401, "UNAUTHENTICATED", "Token invalid.")
        if self.failures:
            self.failures -= 1
            raise _Refused(429, "TooManyRequests", "Too many requests")
        if self.throttled:
            self.throttled -= 1
            raise _Refused(400, "ThrottlerException", "Limit reached (100 tokens per 60000 ms)")
        if any(part in url.path for part in self.denied):
            raise _Refused(403, "PERMISSION_DENIED", "Entity performing the request has no right")
        path = url.path.removeprefix("/rest/").split("/")
        query = dict(parse_qsl(url.query))
        values = json.loads(body or b"{}")
        if path[0] == "metadata":
            return self._metadata(method, path[1], path[2:], query, values)
        if path[0] not in _PLURALS:
            raise _Refused(400, "BadRequestException", f"object '{path[0]}' not found")
        return self._records(method, path[0], path[1:], query, values)

    def _records(
        self, method: str, plural: str, rest: list[str], query: Mapping[str, str], values: Row
    ) -> tuple[int, Mapping[str, str], Any]:
        kind = _PLURALS[plural]
        if not rest and method == "GET":
            rows, more, total = self._page(kind, query)
            page = {"hasNextPage": more, "startCursor": "start", "endCursor": "end"}
            told = {"data": {plural: rows}, "totalCount": total, "pageInfo": page}
            return 200, {}, told
        if not rest and method == "POST":
            made = self.insert(kind, values)
            return 201, {}, {"data": {f"create{kind.title()}": self.record(kind, made)}}
        [record_id] = rest
        if method == "GET":
            return 200, {}, {"data": {kind: _shown(self._living(kind, record_id))}}
        if method == "PATCH":
            self.change(kind, record_id, values)
            return 200, {}, {"data": {f"update{kind.title()}": self.record(kind, record_id)}}
        if query.get("soft_delete") == "true":
            self.remove(kind, record_id)
        else:
            self.destroy(kind, record_id)
        return 200, {}, {"data": {f"delete{kind.title()}": {"id": record_id}}}

    def _page(self, kind: str, query: Mapping[str, str]) -> tuple[list[Row], bool, int]:
        conditions = _conditions(query.get("filter", ""))
        rows = [row for row in self._tables[kind].values() if _meets(row, conditions)]
        if not any(name == "deletedAt" for name, _, _ in conditions):
            rows = [row for row in rows if row["deletedAt"] is None]
        order = query.get("order_by", "id").replace("[AscNullsFirst]", "").split(",")
        rows.sort(key=lambda row: [*(str(row[name] or "") for name in order), row["id"]])
        limit = min(int(query.get("limit", self.largest_page)), self.largest_page)
        return [_shown(row) for row in rows[:limit]], len(rows) > limit, len(rows)

    def _metadata(
        self, method: str, what: str, rest: list[str], query: Mapping[str, str], values: Row
    ) -> tuple[int, Mapping[str, str], Any]:
        if what == "objects":
            # In pages of two, to see that they are read on.
            objects = [*self._objects.items()]
            first = int(query.get("starting_after") or 0)
            found = [self._object(*item) for item in objects[first : first + 2]]
            page = {"hasNextPage": first + 2 < len(objects), "endCursor": str(first + 2)}
            return 200, {}, {"data": {"objects": found}, "pageInfo": page}
        if what == "webhooks":
            return self._webhook(method, rest, values)
        if method == "POST":
            kind, name = self._objects[values["objectMetadataId"]], values["name"]
            if name in self._custom[kind] or name in _STANDARD[kind]:
                raise _Refused(400, "BadRequestException", f'Name "{name}" is not available')
            made = {"id": self._uuid(), "isActive": True, "isCustom": True, **values}
            self._custom[kind][name] = made
            for row in self._tables[kind].values():
                row[name] = _EMPTY.get(made["type"])
            return 201, {}, {"data": {"createOneField": made}}
        return self._custom_field(method, rest[0], values)

    def _custom_field(
        self, method: str, field_id: str, values: Row
    ) -> tuple[int, Mapping[str, str], Any]:
        for kind, fields in self._custom.items():
            for name, made in fields.items():
                if made["id"] != field_id:
                    continue
                if method == "PATCH":
                    made.update(values)
                    return 200, {}, {"data": {"updateOneField": made}}
                if made["isActive"]:
                    raise _Refused(400, "BadRequestException", "Active fields can't be deleted")
                del fields[name]
                for row in self._tables[kind].values():
                    del row[name]
                return 200, {}, {"data": {"deleteOneField": {"id": field_id}}}
        raise _Refused(404, "NotFoundException", "Field not found")

    def _webhook(
        self, method: str, rest: list[str], values: Row
    ) -> tuple[int, Mapping[str, str], Any]:
        if method == "GET":
            return 200, {}, [*self._webhooks.values()]
        if method == "POST":
            made = {"id": self._uuid(), **values}
            self._webhooks[made["id"]] = made
            return 201, {}, made
        if rest[0] not in self._webhooks:
            raise _Refused(404, "NotFoundException", "Webhook not found")
        if method == "PATCH":
            self._webhooks[rest[0]].update(values)
            return 200, {}, self._webhooks[rest[0]]
        del self._webhooks[rest[0]]
        return 200, {}, True

    # -- how it keeps records --------------------------------------------------------------

    def _object(self, object_id: str, kind: str) -> Row:
        fields: list[Row] = [
            {"id": f"{object_id}/{name}", "name": name, "isCustom": False, "isActive": True}
            for name in (*_SYSTEM, *_STANDARD[kind])
        ]
        for told in fields:
            if told["name"] == "stage":
                told["options"] = [{"value": value, "label": value.title()} for value in _STAGES]
        return {
            "id": object_id,
            "nameSingular": kind,
            "fields": [*fields, *self._custom[kind].values()],
        }

    def _blank_custom(self, kind: str) -> Row:
        return {name: _EMPTY.get(made["type"]) for name, made in self._custom[kind].items()}

    def _check_fields(self, kind: str, values: Mapping[str, Any]) -> None:
        for name in values:
            if name not in _STANDARD[kind] and name not in self._custom[kind]:
                message = f'Object {kind} doesn\'t have any "{name}" field.'
                raise _Refused(400, "BadRequestException", message)

    def _living(self, kind: str, record_id: str) -> Row:
        row = self._tables[kind].get(record_id)
        if row is None or row["deletedAt"] is not None:
            raise _Refused(400, "BadRequestException", "Record not found")
        return row

    def _uuid(self) -> str:
        return str(UUID(int=self._random.getrandbits(128), version=4))

    def _tick(self) -> None:
        self.now += timedelta(seconds=1, microseconds=self._random.randrange(1, 999))

    def _announce(self, kind: str, row: Row, event: str, changed: Sequence[str] = ()) -> None:
        name = f"{kind}.{event}"
        for webhook in self._webhooks.values():
            if name not in webhook["operations"]:
                continue
            told = {
                "targetUrl": webhook["targetUrl"],
                "eventName": name,
                "objectMetadata": {"nameSingular": kind},
                "webhookId": webhook["id"],
                "eventDate": _stamp(self.now),
                "record": _shown(row),
                **({"updatedFields": [*changed]} if changed else {}),
            }
            body = json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode()
            sent = str(int(self.now.timestamp() * 1000))
            headers = {
                "Content-Type": "application/json",
                TIMESTAMP: sent,
                SIGNATURE: sign(body, sent, webhook["secret"]),
                "X-Twenty-Webhook-Nonce": f"{self._random.getrandbits(128):032x}",
            }
            self.queue.append(Sent(webhook["targetUrl"], headers, body))


def _stamp(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _shown(row: Row) -> Row:
    return {
        name: _stamp(value) if isinstance(value, datetime) else value for name, value in row.items()
    }


def _deep(known: Mapping[str, Any], values: Mapping[str, Any]) -> Row:
    """`known` with `values`; of a field with fields of its own, those that are given."""
    return {
        **known,
        **{
            name: {**known[name], **value} if isinstance(value, dict) else value
            for name, value in values.items()
        },
    }


def _conditions(text: str) -> list[tuple[str, str, str]]:
    """The conditions of a filter, all of which must be met."""
    if text.startswith("and("):
        text = text[4:-1]
    found = []
    for part in re.split(r",(?![^\[]*\](?!:))", text) if text else ():
        match = _CONDITION.match(part)
        if match is None:
            message = f"'filter' invalid for '{part}'. eg: price[gte]:10"
            raise _Refused(400, "BadRequestException", message)
        found.append((match["field"], match["comparator"], match["value"]))
    return found


def _meets(row: Row, conditions: Sequence[tuple[str, str, str]]) -> bool:
    for name, comparator, text in conditions:
        held = row[name]
        if comparator == "is":
            if (held is None) != (text == "NULL"):
                return False
        elif comparator == "in":
            if held not in text[1:-1].split(","):
                return False
        elif held is None:
            return False
        else:
            wanted: Any = text
            if isinstance(held, datetime):
                wanted = datetime.fromisoformat(text)
            if not _COMPARED[comparator](held, wanted):
                return False
    return True
