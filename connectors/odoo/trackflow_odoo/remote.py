"""One Odoo database from elsewhere: checked, provisioned, read page by page, written back to.

The addon is not needed there; where it is installed, its fields are written to. A record of crm.lead
is both lead and deal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, timezone
from functools import cached_property
from typing import Any, NamedTuple

from trackflow_core.connectors import Change, Finding, Instance, Page, Rejected, WriteBack
from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.model import Deal, DealStatus
from trackflow_core.options import option, web_address
from trackflow_core.ports import Event
from trackflow_odoo import merges
from trackflow_odoo.mapping import STANDARD_FIELDS, deal_from_record, lead_from_record
from trackflow_odoo.rpc import Denied, Gone, Odoo

_LEAD = "crm.lead"
_OVERLAP = timedelta(minutes=5)
_SETTLED = timedelta(seconds=1)
_FORMAT = "%Y-%m-%d %H:%M:%S"
_EVERYTHING = {"active_test": False}


class _Field(NamedTuple):
    """A field that provisioning makes; `holds` names what of `WriteBack` it holds."""

    name: str
    label: str
    type: str
    kind: str
    holds: str


TOKEN = "x_trackflow_token"  # noqa: S105 -- a field's name
FIELDS = (
    _Field(TOKEN, "TrackFlow Token", "char", "", ""),
    _Field("x_trackflow_visitor_id", "TrackFlow Visitor", "char", "lead", "visitor_id"),
    _Field("x_trackflow_source", "TrackFlow Source", "char", "lead", "source"),
    _Field("x_trackflow_medium", "TrackFlow Medium", "char", "lead", "medium"),
    _Field("x_trackflow_campaign", "TrackFlow Campaign", "char", "lead", "campaign"),
    _Field("x_trackflow_first_touch_date", "First Touch", "datetime", "lead", "first_touch_at"),
    _Field("x_trackflow_last_touch_date", "Last Touch", "datetime", "lead", "last_touch_at"),
    _Field("x_trackflow_touch_count", "Touches", "integer", "lead", "touch_count"),
    _Field("x_trackflow_attribution_model", "Attribution Model", "char", "deal", "model"),
    _Field(
        "x_trackflow_first_touch_source", "First Touch Source", "char", "deal", "first_touch_source"
    ),
    _Field(
        "x_trackflow_last_touch_source", "Last Touch Source", "char", "deal", "last_touch_source"
    ),
    _Field(
        "x_trackflow_marketing_influenced", "Marketing Influenced", "boolean", "deal", "influenced"
    ),
)
"""The fields on crm.lead; Odoo wants the names of such fields to begin with x_."""

_TOLD = "trackflow_attributed_elsewhere"
ADDON_FIELDS = (
    _Field("trackflow_source", "Marketing Source", "char", "lead", "last_touch_source"),
    _Field("trackflow_medium", "Marketing Medium", "char", "lead", "last_touch_medium"),
    _Field("trackflow_campaign", "Marketing Campaign", "char", "lead", "last_touch_campaign"),
    _Field("trackflow_first_touch_source", "First Source", "char", "lead", "first_touch_source"),
    _Field("trackflow_last_touch_source", "Last Source", "char", "lead", "last_touch_source"),
    _Field("trackflow_first_touch_date", "First Touch", "datetime", "lead", "first_touch_at"),
    _Field("trackflow_last_touch_date", "Last Touch", "datetime", "lead", "last_touch_at"),
    _Field("trackflow_touch_count", "Touches", "integer", "lead", "touch_count"),
    _Field("trackflow_marketing_influenced", "Influenced", "boolean", "lead", "influenced"),
)
"""The fields of the TrackFlow addon, where it is installed there. They are the lead's, so that a
deal adds nothing to them."""

_UTM = (
    ("source_id", "utm.source", "source"),
    ("medium_id", "utm.medium", "medium"),
    ("campaign_id", "utm.campaign", "campaign"),
)


def _page(value: int) -> str:
    return "" if 1 <= value <= 2000 else "use 1 to 2000"


@dataclass(frozen=True)
class OdooOptions:
    """Where the database is and as whom it is asked."""

    url: str = option("Address", "Odoo's address, such as https://odoo.example.", check=web_address)
    database: str = option("Database", "The name of the database.")
    user: str = option("User", "The login of the key's user, who may see all leads.")
    api_key: str = option(
        "API Key",
        "A key of the login that User names: in Odoo, My Preferences, Security, Add API Key.",
        secret=True,
    )
    create_utm: bool = option(
        "Make UTM Records",
        "Make sources, media and campaigns that Odoo does not have yet.",
        default=False,
    )
    page_size: int = option(
        "Page Size", "How many records are read at a time.", default=500, check=_page
    )


@dataclass(frozen=True, slots=True)
class _Cursor:
    """A round reads what was written from `since` to `until`, by id, and stands behind `last`.

    Ids never change, so that no two records can share a place as they share a time. `deals` are the
    ids of all opportunities that were told, as "1-500,502".
    """

    since: str = ""
    until: str = ""
    last: int = 0
    deals: str = ""

    @classmethod
    def read(cls, text: str) -> _Cursor:
        try:
            return cls(**json.loads(text)) if text else cls()
        except (TypeError, ValueError):
            raise ConfigError(
                "The cursor is none of an Odoo connector: begin anew with an empty one."
            ) from None

    def __str__(self) -> str:
        return json.dumps(asdict(self))


class OdooConnection:
    """The connection with one database; made by `OdooConnector.connect`."""

    def __init__(self, odoo: Odoo, options: OdooOptions, instance: Instance) -> None:
        self._odoo, self._options, self._instance = odoo, options, instance

    def map_events(self, payload: Mapping[str, Any]) -> Sequence[Event]:
        """The lead that a record is, and the deal too when it is an opportunity."""
        deal = deal_from_record(payload, self._instance.namespace)
        lead = lead_from_record(payload, self._instance.namespace)
        return (lead,) if deal is None else (lead, deal)

    # -- check and provision ---------------------------------------------------------------

    def check(self) -> Sequence[Finding]:
        """Whether Odoo answers, the user may read leads, and the fields are there."""
        companies = ", ".join(self._companies.values())
        seen = self._odoo.call(_LEAD, "search_count", domain=[], context=self._context)
        answers: tuple[Finding, ...] = (
            Finding(f"Odoo {self._odoo.version} answers."),
            Finding(f"{seen} leads of {companies} can be read."),
        )
        if self._has_addon:
            answers += (Finding("TrackFlow is installed there: its fields are written to."),)
        missing = [field.label for field in self._own_fields if field.name not in self._fields]
        return (
            *answers,
            Finding(
                f"These fields are missing: {', '.join(missing)}.",
                False,
                "Prepare the CRM, as a user who may change Odoo's settings.",
            )
            if missing
            else Finding("All fields for attribution exist."),
        )

    def provision(self, dry_run: bool) -> Sequence[Change]:
        """Make the fields that are missing on crm.lead. Needs the right to change settings."""
        missing = [field for field in self._own_fields if field.name not in self._fields]
        if missing and not dry_run:
            [model] = self._odoo.call("ir.model", "search", domain=[["model", "=", _LEAD]])
            values = [
                {
                    "model_id": model,
                    "name": field.name,
                    "field_description": field.label,
                    "ttype": field.type,
                    "state": "manual",
                    "copied": False,
                }
                for field in missing
            ]
            self._odoo.call("ir.model.fields", "create", vals_list=values)
            self.__dict__.pop("_fields", None)
        return [Change("create", f"the field {field.label} on leads") for field in missing]

    def deprovision(self, dry_run: bool) -> Sequence[Change]:
        """Remove the fields with what they hold."""
        there = [field for field in FIELDS if field.name in self._fields]
        if there and not dry_run:
            names = [field.name for field in there]
            domain = [["model", "=", _LEAD], ["name", "in", names], ["state", "=", "manual"]]
            ids = self._odoo.call("ir.model.fields", "search", domain=domain)
            self._odoo.call("ir.model.fields", "unlink", ids)
            self.__dict__.pop("_fields", None)
        return [Change("delete", f"the field {field.label} on leads") for field in there]

    # -- poll ------------------------------------------------------------------------------

    def poll(self, cursor: str) -> Page:
        """The next page of records; after the last one of a round the deals that are gone.

        Odoo tells times in whole seconds, so a record is read once its second is over: what is
        written twice in one second is then told as it ended.
        """
        state = _Cursor.read(cursor)
        fields = self._read_fields
        until = state.until or (self._odoo.present - _SETTLED).strftime(_FORMAT)
        domain: list[Any] = [["write_date", "<", until], ["id", ">", state.last]]
        if state.since:
            domain.append(["write_date", ">=", state.since])
        records = self._odoo.call(
            _LEAD,
            "search_read",
            domain=domain,
            fields=fields,
            order="id asc",
            limit=self._options.page_size,
            context=self._context,
        )
        events, rejected = self._map(records)
        told = _Ids.read(state.deals)
        told.add(record["id"] for record in records if record.get("type") == "opportunity")
        if len(records) == self._options.page_size:
            place = _Cursor(state.since, until, records[-1]["id"], str(told))
            return Page(str(place), True, events, rejected=rejected)
        gone = self._gone(told)
        events += [self._deleted(number) for number in gone]
        told.remove(gone)
        since = (datetime.strptime(until, _FORMAT) - _OVERLAP).strftime(_FORMAT)
        return Page(
            str(_Cursor(since=since, deals=str(told))),
            False,
            events,
            merges.merges_since(self._odoo, state.since, self._instance.namespace),
            rejected,
        )

    def _map(self, records: Sequence[dict[str, Any]]) -> tuple[list[Event], list[Rejected]]:
        events: list[Event] = []
        rejected = []
        for record in map(self._complete, records):
            try:
                events += self.map_events(record)
            except InvalidEvent as error:
                kept = {name: value for name, value in record.items() if name != TOKEN}
                rejected.append(Rejected(f"{_LEAD} {record.get('id')}", str(error), kept))
        return events, rejected

    def _complete(self, record: dict[str, Any]) -> dict[str, Any]:
        """A record with what its mapping cannot look up."""
        currency = record.get("company_currency") or [0, ""]
        name, digits = self._currencies.get(currency[0], ("", None))
        complete = {**record, "currency_name": name, "currency_digits": digits}
        if "won_status" not in record:
            complete["won_status"] = self._won_status(record)
        if record.get(TOKEN):
            complete["visitor_token"] = record[TOKEN]
        return complete

    def _won_status(self, record: Mapping[str, Any]) -> str:
        """What Odoo calls `won_status` from 19 on, for those before."""
        stage = (record.get("stage_id") or [0])[0]
        if record.get("probability") == 100 and stage in self._won_stages:
            return "won"
        return "pending" if record.get("active") or record.get("probability") else "lost"

    def _gone(self, told: _Ids) -> Sequence[int]:
        """Which of the deals that were told are not there any more."""
        domain: list[Any] = [["type", "=", "opportunity"]]
        there = self._odoo.call(_LEAD, "search", domain=domain, context=self._context)
        missing = told.without(there)
        if not missing:
            return ()
        # An opportunity that became a lead again is not gone.
        domain = [["id", "in", missing]]
        still = self._odoo.call(_LEAD, "search", domain=domain, context=self._context)
        return sorted(set(missing) - set(still))

    def _deleted(self, number: int) -> Deal:
        """A deal that is gone, by deletion or in a merge: lost, and worth nothing."""
        ref = f"{self._instance.namespace}/{number}"
        name, digits = next(iter(self._currencies.values()))
        moment = self._odoo.present
        return Deal(
            ref=ref,
            event_id=f"{ref}@{moment.isoformat()}~deleted",
            occurred_at=moment,
            value=0,
            currency=name,
            digits=digits,
            lead_ref=ref,
            status=DealStatus.LOST,
        )

    @property
    def _own_fields(self) -> Sequence[_Field]:
        """The fields to make: what the addon has fields for is held by those, and a token that it
        is given it does not keep."""
        return [field for field in FIELDS if field.name == TOKEN or not self._has_addon]

    @property
    def _has_addon(self) -> bool:
        return _TOLD in self._fields

    @cached_property
    def _fields(self) -> frozenset[str]:
        found = self._odoo.call(_LEAD, "fields_get", attributes=["type"])
        return frozenset(found)

    @property
    def _read_fields(self) -> list[str]:
        wanted = [*STANDARD_FIELDS, "company_currency", TOKEN]
        if "won_status" not in self._fields:
            wanted += ["stage_id", "probability"]
        return [name for name in wanted if name in self._fields]

    @cached_property
    def _currencies(self) -> Mapping[int, tuple[str, int]]:
        found = self._odoo.call(
            "res.currency", "search_read", domain=[], fields=["name", "decimal_places"]
        )
        return {row["id"]: (row["name"], row["decimal_places"]) for row in found}

    @cached_property
    def _won_stages(self) -> frozenset[int]:
        domain = [["is_won", "=", True]]
        return frozenset(self._odoo.call("crm.stage", "search", domain=domain))

    @cached_property
    def _companies(self) -> Mapping[int, str]:
        """The companies whose leads the user may see, by id."""
        found = self._odoo.call("res.company", "search_read", domain=[], fields=["name"])
        return {row["id"]: row["name"] for row in found}

    @cached_property
    def _context(self) -> Mapping[str, Any]:
        # Without them, records of other companies than the user's first are hidden.
        return {**_EVERYTHING, "allowed_company_ids": sorted(self._companies)}

    # -- write back ------------------------------------------------------------------------

    def write_back(self, told: WriteBack) -> None:
        """Put `told` into the record's fields, and into Odoo's own UTM fields where those are
        empty; nothing is written that is there already."""
        number = self._number(told.ref)
        fields = self._fields_for(told)
        own = [_TOLD, "trackflow_touch_count"] if self._has_addon else []
        names = [
            *dict.fromkeys([field.name for field in fields] + own),
            *(name for name, *_ in _UTM),
        ]
        found = self._odoo.call(_LEAD, "read", [number], fields=names, context=self._context)
        if not found:
            raise Gone(f"Odoo has no lead {number} any more.")
        held = found[0]
        if own and held["trackflow_touch_count"] and not held[_TOLD]:
            # Its own TrackFlow has seen this visitor: that is nearer to the truth than we are.
            return
        wanted = {field.name: _value(getattr(told, field.holds)) for field in fields}
        changed = {name: value for name, value in wanted.items() if (held[name] or False) != value}
        if changed and own:
            changed[_TOLD] = told.influenced
        if told.kind == "lead":
            changed |= self._utm(told, held)
        if changed:
            self._odoo.call(_LEAD, "write", [number], vals=changed, context=self._context)

    def _fields_for(self, told: WriteBack) -> Sequence[_Field]:
        """The fields that hold `told`. Raises ConfigError while they are missing."""
        if self._has_addon:
            return [field for field in ADDON_FIELDS if field.kind == told.kind]
        fields = [field for field in FIELDS if field.kind == told.kind]
        missing = [field.label for field in fields if field.name not in self._fields]
        if missing:
            raise ConfigError(f"Leads have no fields {', '.join(missing)}: prepare the CRM.")
        return fields

    def _utm(self, told: WriteBack, held: Mapping[str, Any]) -> dict[str, int]:
        found: dict[str, int] = {}
        for field, model, holds in _UTM:
            name = getattr(told, holds)
            if name and not held[field]:
                number = self._utm_record(model, name)
                found |= {field: number} if number else {}
        return found

    def _utm_record(self, model: str, name: str) -> int | None:
        exact = re.sub(r"([\\%_])", r"\\\1", name)
        domain = [["name", "=ilike", exact]]
        ids = self._odoo.call(model, "search", domain=domain, limit=1, context=_EVERYTHING)
        if not ids and self._options.create_utm:
            try:
                ids = self._odoo.call(model, "create", vals_list=[{"name": name}])
            except Denied:
                raise Denied(
                    f"The user may not make records of {model}: give the permission, or switch "
                    "Make UTM Records off."
                ) from None
        return int(ids[0]) if ids else None

    def _number(self, ref: str) -> int:
        text = ref.removeprefix(f"{self._instance.namespace}/")
        if not text.isdecimal():
            raise InvalidEvent(f"{ref!r:.80} is no lead of {self._instance.namespace}.")
        return int(text)


class _Ids:
    """A set of ids that is written in few letters, because most follow one another."""

    def __init__(self, ids: Iterable[int]) -> None:
        self._ids = set(ids)

    @classmethod
    def read(cls, text: str) -> _Ids:
        ids: set[int] = set()
        for part in filter(None, text.split(",")):
            first, _, last = part.partition("-")
            ids.update(range(int(first), int(last or first) + 1))
        return cls(ids)

    def add(self, ids: Iterable[int]) -> None:
        self._ids.update(ids)

    def remove(self, ids: Iterable[int]) -> None:
        self._ids.difference_update(ids)

    def without(self, ids: Iterable[int]) -> list[int]:
        return sorted(self._ids.difference(ids))

    def __str__(self) -> str:
        parts: list[list[int]] = []
        for number in sorted(self._ids):
            if parts and number == parts[-1][1] + 1:
                parts[-1][1] = number
            else:
                parts.append([number, number])
        return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)


def _value(value: Any) -> Any:
    """A value as Odoo reads it: empty is False, times are UTC in whole seconds."""
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).strftime(_FORMAT)
    return value or False
