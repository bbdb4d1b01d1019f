"""One Frappe CRM site: checked, provisioned, read page by page, written back to."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from trackflow_core.connectors import Change, Finding, Instance, Page, Rejected, WriteBack
from trackflow_core.errors import ConfigError, InvalidEvent, TerminalError
from trackflow_core.model import zone_named
from trackflow_core.ports import Delivery, Event, IncomingRequest
from trackflow_frappe import provision, signature
from trackflow_frappe.mapping import (
    DEAL,
    DEAL_FIELDS,
    LEAD,
    LEAD_FIELDS,
    TOKEN,
    document_of,
    events_of,
    naive,
)
from trackflow_frappe.options import FrappeOptions
from trackflow_frappe.site import Denied, Site

_DELETED = "Deleted Document"
_STEPS = (LEAD, DEAL, _DELETED)
_STAMP = {LEAD: "modified", DEAL: "modified", _DELETED: "creation"}
_OVERLAP = timedelta(minutes=15)
_ANY_ZONE = timedelta(hours=26)
_MAX_DATA = 140
_NO_MARKUP = str.maketrans("<>", "()")
_FORMAT = "%Y-%m-%d %H:%M:%S.%f"
_UNSET_CURRENCY = "USD"
"""What Frappe CRM takes where its settings name no currency."""


@dataclass(frozen=True, slots=True)
class _Place:
    """How far one doctype has been read: up to the document `name` of the stamp `at`.

    `at` is naive, in the site's zone. Between rounds `name` is "".
    """

    at: str = ""
    name: str = ""
    top: str = ""


@dataclass(frozen=True, slots=True)
class _Cursor:
    """Where a round stands: which doctype is read now, and each one's place."""

    zone: str = ""
    step: int = 0
    places: Mapping[str, _Place] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str) -> _Cursor:
        if not text:
            return cls()
        try:
            told = json.loads(text)
            places = {name: _Place(**place) for name, place in told["places"].items()}
            return cls(told["zone"], told["step"], places)
        except (KeyError, TypeError, ValueError):
            raise ConfigError(
                "The cursor is none of a Frappe connector: begin anew with an empty one."
            ) from None

    def __str__(self) -> str:
        return json.dumps(asdict(self))


class FrappeConnection:
    """The connection with one site; made by `FrappeConnector.connect`."""

    def __init__(self, site: Site, options: FrappeOptions, instance: Instance) -> None:
        self._site = site
        self._options = options
        self._instance = instance
        self._statuses: Mapping[str, str] = {}

    # -- what the site calls us with -------------------------------------------------------

    def verify(self, request: IncomingRequest, now: datetime) -> Delivery:
        """Check the signature; Frappe sends no timestamp."""
        return signature.check(request, self._instance.secrets)

    def map_events(self, payload: Mapping[str, Any]) -> Sequence[Event]:
        """The deletion that a webhook tells; otherwise nothing, for it is a hint to poll."""
        return events_of(payload, self._instance.namespace)

    # -- check and provision ---------------------------------------------------------------

    def check(self) -> Sequence[Finding]:
        """Whether the site answers, the user may read all, and fields and webhooks are there."""
        user = self._site.user()
        crm = self._site.versions().get("crm")
        if crm is None:
            return (Finding("Frappe CRM", False, "Install the app crm on this site."),)
        findings = [
            Finding(f"Frappe CRM {crm} answers the user {user}."),
            Finding(f"Its times are those of {self._zone}, its currency is {self._currency}."),
        ]
        findings += [self._sees_all(doctype) for doctype in (LEAD, DEAL)]
        missing = [
            f"{item.label} ({item.doctype})" for item in provision.missing_fields(self._site)
        ]
        prepare = "Prepare the CRM."
        findings.append(
            Finding(f"These fields are missing: {', '.join(missing)}.", False, prepare)
            if missing
            else Finding("All fields for attribution exist.")
        )
        return (*findings, self._webhooks_are_there(prepare), self._tells_deletions())

    def provision(self, dry_run: bool) -> Sequence[Change]:
        """Make custom fields and, where the site can reach us, webhooks. Needs System Manager."""
        return provision.provision(self._site, self._instance, dry_run)

    def deprovision(self, dry_run: bool) -> Sequence[Change]:
        """Remove the custom fields and this instance's webhooks."""
        return provision.deprovision(self._site, self._instance, dry_run)

    def _sees_all(self, doctype: str) -> Finding:
        # A Sales User lists only documents of their own, without an error.
        there = self._site.count(doctype)
        seen = len(self._site.documents(doctype, ["name"], limit=1))
        if there and not seen:
            return Finding(
                f"The user sees none of {there} documents of {doctype}.",
                False,
                "Give the user the role Sales Manager.",
            )
        return Finding(f"{doctype} can be read.")

    def _webhooks_are_there(self, prepare: str) -> Finding:
        if not (self._instance.webhook_url and self._instance.secrets):
            return Finding("There are no webhooks: changes are seen when the site is polled.")
        try:
            missing = provision.missing_webhooks(self._site, self._instance)
        except Denied:
            return Finding("This user may not see webhooks; a System Manager makes them.")
        if missing:
            return Finding(f"{len(missing)} webhooks are missing or differ.", False, prepare)
        return Finding("All webhooks exist.")

    def _tells_deletions(self) -> Finding:
        try:
            self._site.documents(_DELETED, ["name"], limit=1)
        except Denied:
            return Finding("Deletions are told by webhooks only: the user is no System Manager.")
        return Finding("Deletions are seen.")

    # -- poll ------------------------------------------------------------------------------

    def poll(self, cursor: str) -> Page:
        """The next page of leads, then of deals, then of deleted deals."""
        state = _Cursor.read(cursor)
        doctype = _STEPS[state.step]
        place = state.places.get(doctype, _Place())
        try:
            rows, place, more = self._read(doctype, place, state.zone or self._zone)
        except Denied:
            if doctype != _DELETED:
                raise
            rows, more = [], False
        step = state.step if more else (state.step + 1) % len(_STEPS)
        ended = not more and step == 0
        events, rejected = self._map(self._payloads(doctype, rows))
        return Page(
            # A round goes by the zone of the one before until it is over.
            cursor=str(
                _Cursor(
                    zone=self._zone if ended else state.zone or self._zone,
                    step=step,
                    places={**state.places, doctype: place},
                )
            ),
            more=not ended,
            events=events,
            rejected=rejected,
        )

    def _read(
        self, doctype: str, place: _Place, zone: str
    ) -> tuple[list[dict[str, Any]], _Place, bool]:
        """Documents in the order of stamp and name from `place` on, the place behind them, and
        whether there may be more."""
        stamp, limit = _STAMP[doctype], self._options.page_size
        rows: list[dict[str, Any]] = []
        if place.name:
            ties = [[stamp, "=", place.at], ["name", ">", place.name]]
            rows = self._list(doctype, ties, "name asc", limit)
        if len(rows) < limit:
            since = [[stamp, ">", place.at]] if place.name else self._begin(stamp, place, zone)
            order = f"{stamp} asc, name asc"
            rows += self._list(doctype, since, order, limit - len(rows))
        if len(rows) == limit:
            at = str(rows[-1][stamp])
            return rows, _Place(at, rows[-1]["name"], max(place.top, at)), True
        top = self._not_ahead(max([place.top, *(str(row[stamp]) for row in rows)]))
        return rows, _Place(at=top, top=top), False

    def _list(
        self, doctype: str, filters: list[list[Any]], order: str, limit: int
    ) -> list[dict[str, Any]]:
        if doctype == _DELETED:
            fields = ["name", "creation", "deleted_name", "data"]
            filters = [["deleted_doctype", "=", DEAL], *filters]
        else:
            fields = [*(LEAD_FIELDS if doctype == LEAD else DEAL_FIELDS)]
            fields += [TOKEN] if doctype == LEAD and self._has_token else []
        return self._site.documents(doctype, fields, filters, order_by=order, limit=limit)

    def _begin(self, stamp: str, place: _Place, zone: str) -> list[list[Any]]:
        """Where a round begins: before the last one's end, for what was committed late."""
        if not place.at:
            return []
        at = datetime.fromisoformat(place.at)
        back = _OVERLAP + _turned_back(at, self._zone)
        if zone != self._zone:
            back += _ANY_ZONE
        return [[stamp, ">=", (at - back).strftime(_FORMAT)]]

    def _not_ahead(self, at: str) -> str:
        """`at`, but not after the site's present: its clock may have been ahead for a while."""
        clock = self._site.clock
        if clock is None:
            return at
        present = clock.astimezone(zone_named(self._zone)) + timedelta(seconds=1)
        return min(at, present.strftime(_FORMAT))

    def _payloads(self, doctype: str, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The rows with what their mapping needs beside them."""
        common = {"time_zone": self._zone, "site_currency": self._currency} if rows else {}
        if doctype == LEAD:
            return [{**row, **common, "doctype": LEAD} for row in rows]
        if doctype == _DELETED:
            return [{**common, **_trashed(row)} for row in rows]
        types = self._types(str(row["status"]) for row in rows)
        leads = {
            lead["name"]: lead["creation"]
            for lead in self._site.documents_named(
                LEAD, ["name", "creation"], (row["lead"] for row in rows if row.get("lead"))
            )
        }
        closed = self._closings(
            row["name"] for row in rows if types.get(str(row["status"])) in ("Won", "Lost")
        )
        return [
            {
                **row,
                **common,
                "doctype": DEAL,
                "status_type": types.get(str(row["status"])),
                # A lead that the user may not see is none that was told.
                "lead": row["lead"] if row.get("lead") in leads else None,
                "lead_creation": leads.get(row.get("lead")),
                "closed_at": closed.get(row["name"]),
            }
            for row in rows
        ]

    def _types(self, statuses: Iterable[str]) -> Mapping[str, str]:
        """The type of each deal status; names are the users' own."""
        if not set(statuses) <= self._statuses.keys():
            found = self._site.documents("CRM Deal Status", ["name", "type"])
            self._statuses = {row["name"]: row["type"] for row in found}
        return self._statuses

    def _closings(self, names: Iterable[str]) -> Mapping[str, str]:
        """When deals took their present status, by the log of stages.

        The log's own dates are in the zone of the operating system, `creation` in the site's.
        """
        rows = self._site.documents_named(
            "CRM Status Change Log",
            ["parent", "idx", "creation", "from_type"],
            names,
            by="parent",
            parent=DEAL,
        )
        last = {row["parent"]: row for row in sorted(rows, key=lambda row: row["idx"])}
        return {
            name: row["creation"]
            for name, row in last.items()
            if row["from_type"] in ("Won", "Lost")
        }

    def _map(self, payloads: Sequence[dict[str, Any]]) -> tuple[list[Event], list[Rejected]]:
        events: list[Event] = []
        rejected = []
        for payload in payloads:
            try:
                events += events_of(payload, self._instance.namespace)
            except InvalidEvent as error:
                ref = f"{payload['doctype']} {payload.get('name')}"
                kept = {name: value for name, value in payload.items() if name != TOKEN}
                rejected.append(Rejected(ref, str(error), kept))
        return events, rejected

    @cached_property
    def _zone(self) -> str:
        return self._site.time_zone()

    @cached_property
    def _currency(self) -> str:
        """The currency of deals that name none."""
        if self._options.currency:
            return self._options.currency
        try:
            settings = self._site.document("FCRM Settings", "FCRM Settings")
        except Denied:
            raise ConfigError(
                "The user may not read Frappe CRM's settings: give the option Currency."
            ) from None
        return str(settings.get("currency") or _UNSET_CURRENCY)

    @cached_property
    def _has_token(self) -> bool:
        return TOKEN in self._site.fields_of(LEAD)

    # -- write back ------------------------------------------------------------------------

    def write_back(self, told: WriteBack) -> None:
        """Put `told` into the document's custom fields, unless they hold it already."""
        kind, name, creation = document_of(told.ref, self._instance.namespace)
        doctype = LEAD if kind == "lead" else DEAL
        self._check_fields(kind, doctype)
        document = self._site.document(doctype, name)
        if naive(document, "creation") != creation:
            raise TerminalError(f"{doctype} {name} is another document now than the one meant.")
        wanted = self._values(told, kind)
        changed = {
            item.name: wanted[item.name]
            for item in provision.fields_of(kind)
            if not _same(item.type, document.get(item.name), wanted[item.name])
        }
        # A change that changes nothing would still fire the site's webhooks, and us again.
        if not changed:
            return
        after = self._site.update(doctype, name, changed)
        lost = [field for field in changed if changed[field] and field not in after]
        if lost:
            raise ConfigError(f"{doctype} {name} did not keep {', '.join(lost)}: prepare the CRM.")

    def _check_fields(self, kind: str, doctype: str) -> None:
        there = self._fields[doctype]
        missing = [item.label for item in provision.fields_of(kind) if item.name not in there]
        if missing:
            raise ConfigError(f"{doctype} has no fields {', '.join(missing)}: prepare the CRM.")

    @cached_property
    def _fields(self) -> Mapping[str, frozenset[str]]:
        return {doctype: self._site.fields_of(doctype) for doctype in (LEAD, DEAL)}

    def _values(self, told: WriteBack, kind: str) -> dict[str, Any]:
        return {
            item.name: self._value(getattr(told, item.holds)) for item in provision.fields_of(kind)
        }

    def _value(self, value: Any) -> Any:
        if isinstance(value, datetime):
            return value.astimezone(zone_named(self._zone)).strftime(_FORMAT)
        if isinstance(value, str):
            return _plain(value)
        return int(value) if isinstance(value, bool) else value


def _trashed(row: Mapping[str, Any]) -> dict[str, Any]:
    """A deleted document as an `on_trash` webhook tells it."""
    try:
        document = json.loads(row["data"])
    except (TypeError, ValueError):
        document = {}
    kept = {
        name: document.get(name)
        for name in ("name", "creation", "modified", "currency")
        if isinstance(document, dict)
    }
    return {
        **kept,
        "doctype": DEAL,
        "name": row["deleted_name"],
        "event": "on_trash",
        "deleted_at": row["creation"],
    }


def _turned_back(at: datetime, zone: str) -> timedelta:
    """How far the clocks of `zone` were turned back around `at`: its naive times repeat."""
    around = (
        (at + timedelta(hours=hours)).replace(tzinfo=zone_named(zone)).utcoffset() or timedelta()
        for hours in (-3, 3)
    )
    before, after = around
    return max(timedelta(), before - after)


def _plain(text: str) -> str:
    """`text` as Frappe keeps it unchanged: no markup, one line, not longer than a Data field."""
    return " ".join(text.translate(_NO_MARKUP).split())[:_MAX_DATA]


def _same(kind: str, held: Any, wanted: Any) -> bool:
    if not held or not wanted:
        return not held and not wanted
    if kind == "Datetime":
        return datetime.fromisoformat(str(held)) == datetime.fromisoformat(str(wanted))
    return bool(held == wanted)
