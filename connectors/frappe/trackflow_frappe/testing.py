"""A Frappe CRM site that exists for tests: the observed contract over real HTTP on loopback.

What it answers is what Frappe 15.55 with Frappe CRM 1.81 was seen to answer, with its traps: times
without a zone in the site's own, the stage log's in the operating system's; unknown fields ignored;
empty fields left out of documents; names used again; 417 for whatever is not valid.

It needs jinja2, as Frappe does: `pip install trackflow-frappe[testing]`.
"""

from __future__ import annotations

import json
import random
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from zoneinfo import ZoneInfo

from jinja2.sandbox import SandboxedEnvironment

from trackflow_frappe.mapping import DEAL, LEAD
from trackflow_frappe.signature import sign
from trackflow_http.testing import Sent, listening

Doc = dict[str, Any]

_COMMON = ("name", "owner", "creation", "modified", "modified_by", "docstatus", "idx")
_SHARED = (
    "salutation first_name middle_name last_name lead_name gender email mobile_no phone "
    "organization job_title website no_of_employees annual_revenue industry territory source status "
    "lost_reason lost_notes products total net_total status_change_log sla sla_status sla_creation "
    "response_by first_response_time first_responded_on last_response_time last_responded_on "
    "communication_status rolling_responses naming_series"
).split()
_STANDARD = {
    LEAD: (*_SHARED, "lead_owner", "converted", "image", "facebook_lead_id", "facebook_form_id"),
    DEAL: (
        *_SHARED,
        *(
            "organization_name lead deal_owner deal_value expected_deal_value currency "
            "exchange_rate probability expected_closure_date closed_date next_step contact contacts"
        ).split(),
    ),
    "CRM Organization": ("organization_name", "website", "industry", "currency", "exchange_rate"),
    "CRM Lead Source": ("source_name", "details"),
    "CRM Deal Status": ("deal_status", "type", "position", "color", "probability"),
    "CRM Lead Status": ("lead_status", "type", "position", "color"),
    "Custom Field": ("dt", "fieldname", "label", "fieldtype", "insert_after", "unique", "no_copy"),
    "Webhook": (
        "webhook_doctype webhook_docevent request_url request_method request_structure webhook_json "
        "enabled enable_security webhook_secret timeout webhook_headers condition"
    ).split(),
    "Deleted Document": ("deleted_name", "deleted_doctype", "data", "restored"),
    "FCRM Settings": ("currency",),
}
_CHILDREN = ("status_change_log", "products", "rolling_responses", "contacts", "webhook_headers")
_NOT_COPIED = frozenset(
    "status email mobile_no phone status_change_log naming_series lead_owner converted "
    "organization".split()
) | frozenset(_COMMON)
_DEAL_STATUSES = (
    ("Qualification", "Open", 10.0), ("Demo/Making", "Ongoing", 25.0),
    ("Proposal/Quotation", "Ongoing", 50.0), ("Negotiation", "Ongoing", 70.0),
    ("Ready to Close", "Ongoing", 90.0), ("Won", "Won", 100.0), ("Lost", "Lost", 0.0),
)  # fmt: skip
_LEAD_STATUSES = (
    ("New", "Open"), ("Contacted", "Ongoing"), ("Nurture", "Ongoing"), ("Qualified", "Won"),
    ("Converted", "Won"), ("Unqualified", "Lost"), ("Junk", "Lost"),
)  # fmt: skip
_SOURCES = ("Advertisement", "Campaign", "Email", "Exhibition", "Facebook", "Reference")
_SALES = frozenset({LEAD, DEAL, "CRM Organization", "CRM Deal Status", "CRM Lead Status"})
_MANAGED = _SALES | {"CRM Lead Source", "CRM Status Change Log", "FCRM Settings"}
_FORMAT = "%Y-%m-%d %H:%M:%S.%f"


class _Refused(Exception):
    """What Frappe raises: an HTTP status, the name of its exception, and its message."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, message


@dataclass
class _Table:
    docs: dict[str, Doc] = field(default_factory=dict)
    version: int = 0
    ordered: dict[str, tuple[int, list[tuple[str, str]]]] = field(default_factory=dict)

    def index(self, stamp: str) -> list[tuple[str, str]]:
        """(stamp, name) of all documents in order; made anew when something changed."""
        version, found = self.ordered.get(stamp, (-1, []))
        if version != self.version:
            found = sorted((str(doc[stamp]), name) for name, doc in self.docs.items())
            self.ordered[stamp] = (self.version, found)
        return found


class FrappeDouble:
    """The site. Turn its dials at any time; `url` is where it listens while it runs.

    `token` is accepted, as of a user with `roles`. `failures` requests are answered with
    `failure_status`, asking to wait `retry_after` seconds. `now` is the present in UTC; every write
    takes a second. `queue` holds the webhooks that Frappe's worker would send.
    """

    def __init__(self, time_zone: str = "Asia/Kolkata", currency: str = "EUR") -> None:
        self.time_zone = time_zone
        self.token = ":".join(("key", "secret-4711"))
        self.roles = {"Sales Manager", "System Manager"}
        self.now = datetime.now(timezone.utc).replace(microsecond=0)
        self.failures = 0
        self.failure_status = 503
        self.retry_after: float | None = None
        self.queue: list[Sent] = []
        self.writes = 0
        self.requests = 0
        self._tables: dict[str, _Table] = {name: _Table() for name in _STANDARD}
        self._random = random.Random(7)  # noqa: S311 -- repeatable stamps, not secrets
        self._jinja = SandboxedEnvironment()
        self._lock = threading.RLock()
        self._url = ""
        for name, kind, probability in _DEAL_STATUSES:
            self._put("CRM Deal Status", name, type=kind, deal_status=name, probability=probability)
        for name, kind in _LEAD_STATUSES:
            self._put("CRM Lead Status", name, type=kind, lead_status=name)
        for name in _SOURCES:
            self._put("CRM Lead Source", name, source_name=name)
        self._put("FCRM Settings", "FCRM Settings", currency=currency)

    @property
    def url(self) -> str:
        """The address of the running site."""
        if not self._url:
            raise RuntimeError("The site does not run: use running().")
        return self._url

    @contextmanager
    def running(self) -> Iterator[FrappeDouble]:
        """Listens on a free port of loopback."""
        with listening(self.answer, ("GET", "POST", "PUT", "DELETE")) as self._url:
            yield self

    # -- what tests do past the API --------------------------------------------------------

    def document(self, doctype: str, name: str) -> Doc:
        """A document, to look at or to spoil."""
        return self._tables[doctype].docs[name]

    def spoil(self, doctype: str, name: str, **values: Any) -> None:
        """Write into the database past every check."""
        self._tables[doctype].docs[name].update(values)
        self._tables[doctype].version += 1

    def seed(self, leads: int, deals: int) -> None:
        """Fill the site as a long life would: `deals` of the first leads, every second one won."""
        begin = self.now - timedelta(days=365)
        for number in range(leads):
            stamp = self._site_time(begin + timedelta(seconds=number * 7, microseconds=number))
            name = f"CRM-LEAD-2026-{number:07d}"
            self._tables[LEAD].docs[name] = {
                **self._blank(LEAD), "name": name, "creation": stamp, "modified": stamp,
                "first_name": f"Zoë {number}", "lead_name": f"Zoë {number}", "status": "New",
                "email": f"zoe{number}@example.com", "organization": f"Acme {number % 5000}",
            }  # fmt: skip
        for number in range(deals):
            stamp = self._site_time(begin + timedelta(days=100, seconds=number * 9))
            name = f"CRM-DEAL-2026-{number:07d}"
            won = number % 2 == 1
            self._tables[DEAL].docs[name] = {
                **self._blank(DEAL), "name": name, "creation": stamp, "modified": stamp,
                "status": "Won" if won else "Qualification", "deal_value": number + 0.25,
                "lead": f"CRM-LEAD-2026-{number % leads:07d}", "organization": f"Acme {number}",
                "status_change_log": [
                    {"idx": 1, "creation": stamp, "from_type": "Won" if won else "Open"}
                ],
            }  # fmt: skip
        for doctype in (LEAD, DEAL):
            self._tables[doctype].version += 1

    # -- documents -------------------------------------------------------------------------

    def insert(self, doctype: str, values: Mapping[str, Any]) -> Doc:
        """Make a document as a POST does."""
        self._tick()
        known = self._known(doctype, values)
        getattr(self, f"_check_{_snake(doctype)}", lambda *_: None)(None, known)
        stamp = self._site_time(self.now)
        doc = {**self._blank(doctype), **known, "creation": stamp, "modified": stamp}
        doc["name"] = self._name(doctype, doc)
        getattr(self, f"_before_{_snake(doctype)}", lambda *_: None)(None, doc)
        self._keep(doctype, doc)
        self._announce(doctype, doc, "after_insert")
        return doc

    def change(self, doctype: str, name: str, values: Mapping[str, Any]) -> Doc:
        """Change a document as a PUT does; writing nothing new still counts as a change."""
        self._tick()
        held = self._held(doctype, name)
        if values.get("modified") not in (None, held["modified"]):
            raise _Refused(417, "TimestampMismatchError", "Error: Document has been modified")
        if values.get("creation") not in (None, held["creation"]):
            raise _Refused(417, "CannotChangeConstantError", "Value cannot be changed for Creation")
        doc = {**held, **self._known(doctype, values)}
        getattr(self, f"_check_{_snake(doctype)}", lambda *_: None)(held, doc)
        doc["modified"] = self._site_time(self.now)
        getattr(self, f"_before_{_snake(doctype)}", lambda *_: None)(held, doc)
        self._keep(doctype, doc)
        self._announce(doctype, doc, "on_change")
        return doc

    def remove(self, doctype: str, name: str) -> None:
        """Delete a document as a DELETE does; a copy stays in Deleted Document."""
        self._tick()
        doc = self._held(doctype, name)
        if doctype == LEAD and any(
            deal.get("lead") == name for deal in self._tables[DEAL].docs.values()
        ):
            raise _Refused(417, "LinkExistsError", f"Cannot delete or cancel because {name}")
        del self._tables[doctype].docs[name]
        self._tables[doctype].version += 1
        number = f"{len(self._tables['Deleted Document'].docs):010d}"
        stamp = self._site_time(self.now)
        kept = {key: value for key, value in doc.items() if value is not None}
        self._keep(
            "Deleted Document",
            {
                **self._blank("Deleted Document"), "name": number, "creation": stamp,
                "modified": stamp, "deleted_name": name, "deleted_doctype": doctype,
                "data": json.dumps({**kept, "doctype": doctype}), "restored": 0,
            },
        )  # fmt: skip
        self._announce(doctype, doc, "on_trash")
        self._announce(doctype, doc, "on_change")

    def convert(self, lead: str, overrides: Mapping[str, Any] | None = None) -> str:
        """`convert_to_deal`: not idempotent, and silent in every log but `on_change`."""
        self._tick()
        doc = self._held(LEAD, lead)
        fields = self._fields(DEAL)
        values = {
            key: value
            for key, value in doc.items()
            if key in fields and key not in _NOT_COPIED and value is not None
        }
        deal = self.insert(
            DEAL,
            {**values, "lead": lead, "deal_owner": doc.get("lead_owner"), **(overrides or {})},
        )
        changed = {**doc, "status": "Qualified", "converted": 1}
        changed["modified"] = self._site_time(self.now)
        self._keep(LEAD, changed)
        self._announce(LEAD, changed, "on_change")
        return str(deal["name"])

    # -- the API ---------------------------------------------------------------------------

    def answer(
        self, method: str, target: str, authorization: str, body: bytes
    ) -> tuple[int, Mapping[str, str], Any]:
        """Status, headers and JSON of the answer to a request."""
        with self._lock:
            self.requests += 1
            headers = {"Date": format_datetime(self.now, usegmt=True)}
            if self.failures > 0:
                self.failures -= 1
                wait = (
                    {} if self.retry_after is None else {"Retry-After": f"{self.retry_after:.0f}"}
                )
                return self.failure_status, {**headers, **wait}, {"exc_type": "Busy"}
            try:
                status, told = self._route(method, target, authorization, body)
            except _Refused as refused:
                return refused.status, headers, _error(refused)
            return status, headers, told

    def _route(self, method: str, target: str, authorization: str, body: bytes) -> tuple[int, Any]:
        parts = urlsplit(target)
        path = [unquote(part) for part in parts.path.split("/")[1:]]
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        guest = path[-1] == "frappe.client.get_time_zone"
        if authorization and authorization != f"token {self.token}":
            raise _Refused(401, "AuthenticationError", "")
        if not authorization and not guest:
            raise _Refused(403, "PermissionError", "No permission")
        values = json.loads(body) if body else {}
        if path[:2] == ["api", "method"]:
            return 200, self._method(path[2], {**query, **values})
        if path[:2] == ["api", "resource"]:
            return self._resource(method, path[2], "/".join(path[3:]), query, values)
        raise _Refused(404, "DoesNotExistError", "Not found")

    def _method(self, name: str, values: Mapping[str, Any]) -> Any:
        calls: dict[str, Callable[[], Any]] = {
            "frappe.auth.get_logged_user": lambda: "sales@example.com",
            "frappe.client.get_time_zone": lambda: {"time_zone": self.time_zone},
            "frappe.utils.change_log.get_versions": lambda: {
                "frappe": {"title": "Frappe Framework", "version": "15.55.1"},
                "crm": {"title": "Frappe CRM", "version": "1.81.1"},
            },
            "frappe.client.get_count": lambda: len(self._tables[values["doctype"]].docs),
            "crm.fcrm.doctype.crm_lead.crm_lead.convert_to_deal": lambda: self.convert(
                values["lead"], values.get("deal")
            ),
        }
        if name == "frappe.desk.form.load.getdoctype":
            doctype = values["doctype"]
            fields = [{"fieldname": item} for item in sorted(self._fields(doctype))]
            return {"docs": [{"name": doctype, "doctype": "DocType", "fields": fields}]}
        if name not in calls:
            raise _Refused(417, "ValidationError", f"Failed to get method {name}")
        return {"message": calls[name]()}

    def _resource(
        self,
        method: str,
        doctype: str,
        name: str,
        query: Mapping[str, str],
        values: Mapping[str, Any],
    ) -> tuple[int, Any]:
        self._permit(doctype)
        if method == "GET" and not name:
            return 200, {"data": self._list(doctype, query)}
        if method == "GET":
            return 200, {"data": _shown(self._held(doctype, name), doctype)}
        if method == "POST":
            return 200, {"data": _shown(self.insert(doctype, values), doctype)}
        if method == "PUT":
            return 200, {"data": _shown(self.change(doctype, name, values), doctype)}
        self.remove(doctype, name)
        return 202, {"data": "ok"}

    def _permit(self, doctype: str) -> None:
        managed = doctype in _MANAGED and "Sales Manager" in self.roles
        if "System Manager" not in self.roles and not managed and doctype not in _SALES:
            raise _Refused(403, "PermissionError", f"No permission for {doctype}")
        if doctype not in self._tables and doctype != "CRM Status Change Log":
            raise _Refused(404, "DoesNotExistError", f"DocType {doctype} not found")

    def _list(self, doctype: str, query: Mapping[str, str]) -> list[Doc]:
        fields = json.loads(query.get("fields", '["name"]'))
        filters = json.loads(query.get("filters", "[]"))
        limit = int(query.get("limit_page_length", 20)) or None
        if doctype == "CRM Status Change Log":
            parents = next(item[2] for item in filters if item[0] == "parent")
            docs = self._tables[query["parent"]].docs
            rows: Iterator[Doc] = (
                {**row, "parent": name}
                for name in parents
                if name in docs
                for row in docs[name]["status_change_log"]
            )
            return [{name: row.get(name) for name in fields} for row in rows]
        known = self._fields(doctype) | {*_COMMON}
        unknown = [name for name in fields if name not in known and name != "*"]
        if unknown:
            raise _Refused(417, "DataError", f"Field not permitted in query: {unknown[0]}")
        if doctype in (LEAD, DEAL) and not self.roles & {"Sales Manager", "System Manager"}:
            return []
        order = query.get("order_by", "modified desc").split(",")[0].split()[0]
        found: list[Doc] = []
        start = int(query.get("limit_start", 0))
        for doc in self._candidates(doctype, order, filters):
            if limit is not None and len(found) >= limit + start:
                break
            if all(_meets(doc, item) for item in filters):
                found.append(doc)
        chosen = sorted(known) if "*" in fields else fields
        return [
            {name: doc.get(name) for name in chosen if name not in _CHILDREN}
            for doc in found[start:]
        ]

    def _candidates(
        self, doctype: str, order: str, filters: Sequence[Sequence[Any]]
    ) -> Iterator[Doc]:
        """The documents in order, beginning where the filters let the first one through."""
        table = self._tables[doctype]
        for name, operator, value in filters:
            if name == "name" and operator == "in":
                return (table.docs[wanted] for wanted in value if wanted in table.docs)
        stamp = order if order in ("modified", "creation") else "modified"
        index = table.index(stamp)
        first, last = 0, len(index)
        for name, operator, value in filters:
            if name == stamp and operator in (">", ">=", "="):
                side = (value, "") if operator != ">" else (value, "\U0010ffff")
                first = max(first, bisect_left(index, side))
                if operator == "=":
                    last = bisect_right(index, (value, "\U0010ffff"))
        return (table.docs[name] for _, name in index[first:last])

    # -- rules of the documents ------------------------------------------------------------

    def _check_crm_lead(self, held: Doc | None, doc: Doc) -> None:
        named = any(doc.get(name) for name in ("first_name", "organization", "email"))
        if held is None and not named:
            message = "A Lead requires either a person's name or an organization's name"
            raise _Refused(417, "ValidationError", message)
        if held is None and not doc.get("first_name"):
            raise _Refused(417, "MandatoryError", "[CRM Lead]: first_name")
        self._check_common(doc, "CRM Lead Status")

    def _check_crm_deal(self, held: Doc | None, doc: Doc) -> None:
        organization = doc.get("organization")
        if organization and organization not in self._tables["CRM Organization"].docs:
            raise _Refused(
                417, "LinkValidationError", f"Could not find Organization: {organization}"
            )
        self._check_common(doc, "CRM Deal Status")

    def _check_common(self, doc: Doc, statuses: str) -> None:
        if doc.get("source") and doc["source"] not in self._tables["CRM Lead Source"].docs:
            raise _Refused(417, "LinkValidationError", f"Could not find Source: {doc['source']}")
        if doc.get("email") and "@" not in doc["email"]:
            message = f"{doc['email']} is not a valid Email Address"
            raise _Refused(417, "InvalidEmailAddressError", message)
        status = doc.get("status")
        if status:
            found = self._tables[statuses].docs.get(status)
            if found is None:
                raise _Refused(417, "LinkValidationError", f"Could not find Status: {status}")
            if found["type"] == "Lost" and not doc.get("lost_reason"):
                message = "Please specify a reason for losing the deal."
                raise _Refused(417, "ValidationError", message)

    def _before_crm_lead(self, held: Doc | None, doc: Doc) -> None:
        names = (doc.get("first_name"), doc.get("middle_name"), doc.get("last_name"))
        doc["lead_name"] = " ".join(filter(None, names))
        doc["status"] = doc.get("status") or "New"
        doc["no_of_employees"] = doc.get("no_of_employees") or "1-10"
        doc["communication_status"] = "Open"
        self._log_status(held, doc, "")

    def _before_crm_deal(self, held: Doc | None, doc: Doc) -> None:
        doc["status"] = doc.get("status") or "Qualification"
        status = self._tables["CRM Deal Status"].docs[doc["status"]]
        doc["probability"] = doc.get("probability") or status["probability"]
        doc["deal_value"] = float(doc.get("deal_value") or 0)
        doc["exchange_rate"] = 1.0
        if status["type"] == "Won" and not doc.get("closed_date"):
            doc["closed_date"] = self._site_time(self.now)[:10]
        self._log_status(held, doc, status["type"])

    def _before_crm_organization(self, held: Doc | None, doc: Doc) -> None:
        doc["exchange_rate"] = 1.0

    def _check_custom_field(self, held: Doc | None, doc: Doc) -> None:
        if held is None and doc.get("fieldname") in self._fields(doc["dt"]):
            message = f"A field with the name <strong>{doc['fieldname']}</strong> already exists"
            raise _Refused(417, "ValidationError", message)

    def _check_webhook(self, held: Doc | None, doc: Doc) -> None:
        if held is None and not doc.get("name"):
            raise _Refused(417, "ValidationError", "Please set the document name")
        if doc.get("enable_security") and not doc.get("webhook_secret"):
            raise _Refused(417, "ValidationError", "Invalid Webhook Secret")

    def _log_status(self, held: Doc | None, doc: Doc, status_type: str) -> None:
        if held is not None and held["status"] == doc["status"]:
            return
        log = [dict(row) for row in (held or doc)["status_change_log"]]
        here = self.now.replace(tzinfo=None).strftime(_FORMAT)
        if log:
            log[-1] |= {"to": doc["status"], "to_date": here, "to_type": status_type}
        log.append(
            {
                "name": f"{self._random.getrandbits(50):010x}",
                "creation": self._site_time(self.now + timedelta(milliseconds=8)),
                "idx": len(log) + 1,
                "from": doc["status"],
                "from_type": status_type,
                "from_date": here,
                "to": "",
                "to_type": "",
                "parentfield": "status_change_log",
                "doctype": "CRM Status Change Log",
            }
        )
        doc["status_change_log"] = log

    # -- helpers ---------------------------------------------------------------------------

    def _known(self, doctype: str, values: Mapping[str, Any]) -> Doc:
        """What Frappe keeps of values: no unknown fields, nothing that it sets itself."""
        known = self._fields(doctype)
        kept = {key: value for key, value in values.items() if key in known}
        if doctype == "Webhook" and "name" in values:
            kept["name"] = values["name"]
        types = {
            item["fieldname"]: item["fieldtype"]
            for item in self._tables["Custom Field"].docs.values()
            if item["dt"] == doctype
        }
        for key, value in kept.items():
            kept[key] = _stored(types.get(key, "Data"), key, value)
        return kept

    def _fields(self, doctype: str) -> frozenset[str]:
        custom = (
            item["fieldname"]
            for item in self._tables["Custom Field"].docs.values()
            if item["dt"] == doctype
        )
        return frozenset((*_STANDARD[doctype], *custom))

    def _blank(self, doctype: str) -> Doc:
        blank: Doc = dict.fromkeys((*_COMMON, *sorted(self._fields(doctype))))
        blank |= {"owner": "sales@example.com", "modified_by": "sales@example.com", "docstatus": 0}
        return {**blank, "idx": 0, **{key: [] for key in _CHILDREN if key in blank}}

    def _name(self, doctype: str, doc: Doc) -> str:
        own = {
            "CRM Organization": "organization_name",
            "CRM Lead Source": "source_name",
            "Webhook": "name",
        }
        if doctype == "Custom Field":
            name = f"{doc['dt']}-{doc['fieldname']}"
        elif doctype in own:
            name = str(doc[own[doctype]])
        else:
            # The number of a deleted last document is given again.
            year = doc["creation"][:4]
            prefix = f"{doctype.replace(' ', '-').upper()}-{year}-"
            numbers = [
                int(key[-5:]) for key in self._tables[doctype].docs if key.startswith(prefix)
            ]
            name = f"{prefix}{max(numbers, default=0) + 1:05d}"
        if name in self._tables[doctype].docs:
            raise _Refused(409, "DuplicateEntryError", f"{doctype} {name} already exists")
        return name

    def _held(self, doctype: str, name: str) -> Doc:
        try:
            return self._tables[doctype].docs[name]
        except KeyError:
            raise _Refused(404, "DoesNotExistError", f"{doctype} {name} not found") from None

    def _put(self, doctype: str, name: str, **values: Any) -> None:
        stamp = self._site_time(self.now)
        common = {"name": name, "creation": stamp, "modified": stamp}
        self._keep(doctype, {**self._blank(doctype), **common, **values})

    def _keep(self, doctype: str, doc: Doc) -> None:
        table = self._tables[doctype]
        table.docs[doc["name"]] = doc
        table.version += 1
        self.writes += 1

    def _tick(self) -> None:
        self.now += timedelta(seconds=1, microseconds=self._random.randrange(1, 999))

    def _site_time(self, moment: datetime) -> str:
        return moment.astimezone(ZoneInfo(self.time_zone)).strftime(_FORMAT)

    def _announce(self, doctype: str, doc: Doc, event: str) -> None:
        for webhook in self._tables["Webhook"].docs.values():
            wanted = (webhook["webhook_doctype"], webhook["webhook_docevent"])
            if not webhook["enabled"] or wanted != (doctype, event):
                continue
            shown = _Attributes({**doc, "doctype": doctype})
            told = json.loads(self._jinja.from_string(webhook["webhook_json"]).render(doc=shown))
            body = json.dumps(told).encode()
            headers = {row["key"]: row["value"] for row in webhook["webhook_headers"]}
            if webhook["enable_security"]:
                headers["X-Frappe-Webhook-Signature"] = sign(body, webhook["webhook_secret"])
            self.queue.append(Sent(webhook["request_url"], headers, body))


class _Attributes(dict[str, Any]):
    __getattr__ = dict.get


def _shown(doc: Doc, doctype: str) -> Doc:
    """A document as GET, POST and PUT show it: without empty fields, a secret as stars."""
    shown = {key: value for key, value in doc.items() if value is not None}
    if shown.get("webhook_secret"):
        shown["webhook_secret"] = "*" * 9
    return {**shown, "doctype": doctype}


def _stored(kind: str, name: str, value: Any) -> Any:
    """A value as the database keeps it."""
    if kind == "Datetime" and value:
        if not isinstance(value, str) or value.endswith("Z") or "+" in value:
            message = f"(1292, \"Incorrect datetime value: '{value}'\")"
            raise _Refused(500, "OperationalError", message)
        return value.replace("T", " ")
    if kind == "Data" and isinstance(value, str) and len(value) > 140 and name != "webhook_json":
        message = f"{name}: value is too long, max 140"
        raise _Refused(417, "CharacterLengthExceededError", message)
    if kind in ("Int", "Check"):
        return int(value or 0)
    return value


def _meets(doc: Doc, condition: Sequence[Any]) -> bool:
    name, operator, value = condition
    held = doc.get(name)
    if operator == "in":
        return held in value
    held, value = str(held or ""), str(value)
    return {"=": held == value, ">": held > value, ">=": held >= value}[operator]


def _error(refused: _Refused) -> Doc:
    told = {"message": refused.message, "title": "Message", "indicator": "red"}
    return {
        "exception": f"frappe.exceptions.{refused.kind}: {refused.message}",
        "exc_type": refused.kind,
        "exc": json.dumps(["Traceback (most recent call last):"]),
        "_server_messages": json.dumps([json.dumps(told)]),
    }


def _snake(doctype: str) -> str:
    return doctype.replace(" ", "_").lower()
