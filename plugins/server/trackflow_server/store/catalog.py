"""`trackflow_core.api.storage.Catalog`: what the REST API keeps and reads beside the facts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from functools import cache
from typing import Any, cast

from sqlalchemy import (
    ColumnElement,
    Select,
    Subquery,
    Table,
    and_,
    bindparam,
    delete,
    func,
    not_,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.sql.dml import ReturningInsert

from trackflow_core.api.storage import (
    ApiKey,
    Campaign,
    Changes,
    Conflict,
    Idempotency,
    LinkTemplate,
    LoggedRequest,
    Page,
    Query,
    Record,
    Stats,
    TrackedLink,
    Visitor,
    WebhookEndpoint,
    WebhookMessage,
)
from trackflow_core.errors import InvalidEvent
from trackflow_core.model import CLICK, ClickEvent, Conversion, Deal, Lead
from trackflow_core.outbox import WEBHOOK
from trackflow_core.tracking.links import refuse_short_urls
from trackflow_core.tracking.templates import Kind, Template, Variable
from trackflow_core.tracking.urls import new_code
from trackflow_server import keys
from trackflow_server.store import outbox, rows, schema
from trackflow_server.store.base import is_listed, list_type
from trackflow_server.store.database import SqlStore
from trackflow_server.store.prepared import Prepared

_Row = Mapping[str, Any]


@dataclass(frozen=True)
class _Shelf:
    """Where the records of one kind lie: `columns` are those by which they are narrowed."""

    table: Table | Subquery
    key: str
    of: Callable[[_Row], Any] | None = None
    moment: str = ""
    searched: tuple[str, ...] = ()
    campaign: str = ""
    values: Callable[[Any], dict[str, Any]] | None = None
    unique: str = ""


class SqlCatalog:
    """The API's records in the transaction of `store`.

    `base_url` is what short links begin with, `secrets` are the installation's.
    """

    def __init__(self, store: SqlStore, base_url: str, secrets: Sequence[str]) -> None:
        self._store = store
        self._connection = store.connection
        self._base_url = base_url
        self._secrets = secrets

    # -- reading ------------------------------------------------------------------------------

    def read(
        self, kind: type[Record], ids: Collection[str], *, lock: bool = False
    ) -> Mapping[str, Record]:
        # Whoever writes has the whole store to himself, so that `lock` asks for nothing more.
        if kind in (Lead, Deal):
            return cast("Mapping[str, Record]", self._facts(kind, ids))
        shelf = self._shelf(kind)
        names: list[Any] = [*ids]
        if shelf.key == "place":
            names = [int(name) for name in ids if name.isdecimal() and len(name) < 19]
        if len(names) == 1:
            one = _of_key(shelf.table, shelf.key)
            rows = one.rows(self._connection, {"of_key": names[0]})
        else:
            some = _by_key(shelf.table, shelf.key, self._store.is_sqlite)
            rows = some.rows(self._connection, {"keys": names})
        found = self._records(kind, shelf, rows)
        return {self._id(item): item for item in found}

    def _facts(self, kind: type[Any], refs: Collection[str]) -> Mapping[str, Any]:
        """Leads or deals by the refs that were asked for, which may be of leads merged away."""
        if kind is Deal:
            return {deal.ref: deal for deal in self._store.deals(refs)}
        current = self._store.winners(schema.merged_lead, refs)
        found = {lead.ref: lead for lead in self._store.leads(set(current.values()))}
        return {ref: found[winner] for ref, winner in current.items() if winner in found}

    def page(self, kind: type[Record], query: Query) -> Page[Record]:
        shelf = self._shelf(kind)
        place = shelf.table.c.place
        chosen = _whole(shelf.table).where(*self._met(shelf, query))
        if query.after:
            if not query.after.isdecimal() or len(query.after) > 18:
                raise InvalidEvent(
                    f"{query.after!r} is the cursor of no page: begin at the first one.",
                    field="cursor",
                )
            chosen = chosen.where(place < int(query.after))
        listed = self._store.rows(chosen.order_by(place.desc()).limit(query.limit + 1))
        kept = listed[: query.limit]
        after = str(kept[-1]["place"]) if len(listed) > len(kept) else ""
        return Page(tuple(self._records(kind, shelf, kept)), after)

    def _records(self, kind: type[Any], shelf: _Shelf, found: Sequence[_Row]) -> Sequence[Any]:
        if kind is TrackedLink:
            return self._tracked(found)
        if kind is Lead:
            known = {lead.ref: lead for lead in self._store.leads([row["ref"] for row in found])}
            return [known[row["ref"]] for row in found]
        if kind is Deal:
            deals = {deal.ref: deal for deal in self._store.deals([row["ref"] for row in found])}
            return [deals[row["ref"]] for row in found]
        return [shelf.of(row) for row in found] if shelf.of else []

    def _met(self, shelf: _Shelf, query: Query) -> list[ColumnElement[bool]]:
        columns = shelf.table.c
        wanted: list[ColumnElement[bool]] = []
        if query.search:
            wanted.append(
                or_(
                    *(
                        columns[name].icontains(query.search, autoescape=True)
                        for name in shelf.searched
                    )
                )
            )
        if query.campaign and shelf.campaign:
            wanted.append(columns[shelf.campaign] == query.campaign)
        for name in ("link_code", "visitor_id", "event", "state"):
            value = getattr(query, name)
            if value and name in columns:
                wanted.append(columns[name] == value)
        if query.endpoint:
            wanted.append(columns["target"] == f"{WEBHOOK}/{query.endpoint}")
        if query.since is not None:
            wanted.append(columns[shelf.moment] >= query.since)
        if query.until is not None:
            wanted.append(columns[shelf.moment] < query.until)
        return wanted

    def _tracked(self, found: Sequence[_Row]) -> Sequence[TrackedLink]:
        return [
            TrackedLink(
                rows.link_of(row),
                title=row["title"],
                short_url=f"{self._base_url}/r/{row['code']}",
                created_at=row["created_at"],
                clicks=row["clicks"] or 0,
                visitors=row["visitors"] or 0,
                last_click_at=row["last_click_at"],
            )
            for row in found
        ]

    def stats(self, query: Query) -> Stats:
        click = schema.click
        shelf = self._shelf(ClickEvent)
        met = and_(click.c.kind == CLICK, *self._met(shelf, query))
        totals = self._connection.execute(
            select(
                func.count().filter(click.c.counts),
                func.count(click.c.visitor_id.distinct()).filter(click.c.counts),
                func.count().filter(not_(click.c.counts)),
                func.max(click.c.occurred_at).filter(click.c.counts),
            ).where(met)
        ).one()
        conversion = self._shelf(Conversion)
        converted = select(func.count()).select_from(conversion.table)
        return Stats(
            clicks=totals[0],
            visitors=totals[1],
            ignored=totals[2],
            last_click_at=totals[3],
            conversions=self._connection.scalar(converted.where(*self._met(conversion, query)))
            or 0,
            days=self._tally(self._day(click.c.occurred_at), met),
            channels=self._tally(click.c.channel, met),
            devices=self._tally(click.c.device, met),
            browsers=self._tally(click.c.browser, met),
        )

    def _day(self, moment: Any) -> ColumnElement[Any]:
        if self._connection.dialect.name == "sqlite":
            return func.date(moment)
        return func.to_char(func.timezone("UTC", moment), "YYYY-MM-DD")

    def _tally(self, column: Any, met: ColumnElement[bool]) -> Mapping[str, int]:
        grouped = select(column.label("name"), func.count().label("number"))
        found = grouped.where(met, schema.click.c.counts).group_by(column).order_by(column)
        return {row["name"]: row["number"] for row in self._store.rows(found)}

    # -- writing ------------------------------------------------------------------------------

    def create(self, records: Sequence[Record]) -> Sequence[Record]:
        if not records:
            return []
        kind = type(records[0])
        if kind is TrackedLink:
            links = cast("Sequence[TrackedLink]", records)
            for item in links:
                self.check_destinations(item)
            records = cast("Sequence[Record]", [_new_link(link) for link in links])
        shelf = self._shelf(kind)
        self._check_new(kind, [self._id(record) for record in records if self._id(record)])
        self._check_names(shelf, records)
        rows = self._values(kind, shelf, records)
        made = [str(name) for name in self._inserted(cast(Table, shelf.table), shelf.key, rows)]
        return self._kept(kind, made)

    def check_destinations(self, item: TrackedLink) -> None:
        """Raise InvalidEvent where a link comes to lead to a short URL of this server."""
        short_urls = [f"{self._base_url}/r/"]
        try:
            refuse_short_urls(item.link, short_urls)
        except InvalidEvent:
            # What it is changed from is looked up for these few alone.
            held = self.read(TrackedLink, [item.id]).get(item.id)
            refuse_short_urls(item.link, short_urls, held.link if held else None)

    def _inserted(self, table: Table, key: str, rows: Sequence[_Row]) -> Iterable[Any]:
        """The keys of new rows, all with the same columns."""
        if len(rows) > 1:
            return self._connection.scalars(_insert(table, key), rows)
        made = _insert_one(table, key, frozenset(rows[0])).rows(self._connection, rows[0])
        return [row[key] for row in made]

    def update(self, records: Sequence[Record]) -> Sequence[Record]:
        if not records:
            return []
        kind = type(records[0])
        shelf = self._shelf(kind)
        names = [self._id(record) for record in records]
        if kind is TrackedLink:
            for item in cast("Sequence[TrackedLink]", records):
                self.check_destinations(item)
        self._check_names(shelf, records)
        rows = self._values(kind, shelf, records)
        statement = _update(cast(Table, shelf.table), shelf.key, frozenset(rows[0]))
        for name, row in zip(names, rows, strict=True):
            key = int(name) if shelf.key == "place" else name
            if not statement.change(self._connection, {**row, "of_key": key}):
                raise LookupError(name)
        return self._kept(kind, names)

    def _kept(self, kind: type[Record], names: Sequence[str]) -> Sequence[Record]:
        known = self.read(kind, names)
        return [known[name] for name in names]

    def _values(self, kind: type[Any], shelf: _Shelf, records: Sequence[Any]) -> Sequence[_Row]:
        """The columns of these records, and what their change brings with it."""
        if shelf.values is None:
            raise TypeError(f"{kind.__name__} is read only")
        rows = [shelf.values(record) for record in records]
        if kind is not TrackedLink:
            return rows
        campaigns = sorted({record.link.campaign for record in records} - {""})
        self._store.add(schema.campaign, [{"name": name, "title": name} for name in campaigns])
        revision = self._store.count_change("link")
        return [{**row, "revision": revision} for row in rows]

    def _check_new(self, kind: type[Any], names: Sequence[str]) -> None:
        taken = [name for name, count in Counter(names).items() if count > 1]
        taken += self.read(kind, names) if names else ()
        if taken:
            field = "code" if kind is TrackedLink else "id"
            raise Conflict(f"{taken[0]!r} is taken: choose another.", field=field)

    def _check_names(self, shelf: _Shelf, records: Sequence[Any]) -> None:
        if not shelf.unique:
            return
        columns = shelf.table.c
        owner = {record.name: self._id(record) for record in records}
        held = self._connection.execute(
            select(columns[shelf.unique], columns[shelf.key]).where(
                self._store.among(columns[shelf.unique], owner)
            )
        )
        taken = [name for name, key in held if str(key) != owner[name]]
        taken += [record.name for record in records if owner[record.name] != self._id(record)]
        if taken:
            raise Conflict(f"The name {taken[0]!r} is taken: choose another.", field="name")

    def delete(self, kind: type[Any], ids: Collection[str]) -> None:
        held = self.read(kind, ids)
        if kind is Campaign:
            link = schema.link.c
            names = {campaign.name for campaign in held.values()}
            used = self._connection.scalar(
                select(link.campaign).where(self._store.among(link.campaign, names)).limit(1)
            )
            if used is not None:
                raise Conflict(f"The campaign {used!r} has links: move them first.")
        if kind is WebhookEndpoint:
            outbox.forget(self._store, [f"{WEBHOOK}/{name}" for name in held])
        table = cast(Table, self._shelf(kind).table)
        self._connection.execute(
            delete(table).where(table.c.place.in_([int(name) for name in held]))
        )

    def changed_links(self, cursor: str, limit: int) -> Changes:
        link = schema.link.c
        since, _, last = (cursor or "0.0").partition(".")
        if not all(part.isdecimal() and len(part) < 19 for part in (since, last)):
            raise InvalidEvent(
                f"{cursor!r} is the cursor of no change: begin at the first link.", field="cursor"
            )
        after = (int(since), int(last))
        found = self._store.rows(
            select(schema.link)
            .where(tuple_(link.revision, link.place) > after)
            .order_by(link.revision, link.place)
            .limit(limit + 1)
        )
        told = found[:limit]
        end = f"{told[-1]['revision']}.{told[-1]['place']}" if told else cursor
        links = tuple(rows.link_of(row) for row in told)
        return Changes(links, end, len(found) > len(told))

    def log(self, entries: Sequence[LoggedRequest]) -> None:
        if not entries:
            return
        if kept := [_of(entry, _REQUEST) for entry in entries if entry.kept]:
            self._connection.execute(schema.api_request.insert(), kept)
        key = schema.api_key.c
        used: dict[str, list[datetime]] = {}
        for entry in entries:
            if entry.key_id:
                used.setdefault(entry.key_id, []).append(entry.requested_at)
        if used:
            self._connection.execute(
                update(schema.api_key)
                .where(key.id == bindparam("of_key"))
                .values(
                    usage_count=key.usage_count + bindparam("number"),
                    last_used_at=bindparam("last"),
                ),
                [
                    {"of_key": name, "number": len(moments), "last": max(moments)}
                    for name, moments in sorted(used.items())
                ],
            )

    def purge(self, kind: type[Any], before: datetime) -> int:
        table = schema.api_request if kind is LoggedRequest else schema.idempotency
        moment = table.c.requested_at if kind is LoggedRequest else table.c.created_at
        return self._connection.execute(delete(table).where(moment < before)).rowcount

    # -- where each kind lies -----------------------------------------------------------------

    def _id(self, record: Any) -> str:
        return str(record.id)

    def _shelf(self, kind: type[Any]) -> _Shelf:
        if kind is WebhookEndpoint:
            table, values = schema.webhook_endpoint, self._endpoint_values
            return _Shelf(table, "place", self._endpoint_of, values=values)
        return _SHELVES[kind]

    def _endpoint_values(self, endpoint: WebhookEndpoint) -> dict[str, Any]:
        return {
            "url": endpoint.url,
            "events": sorted(endpoint.events),
            "description": endpoint.description,
            "enabled": endpoint.enabled,
            "problem": endpoint.problem,
            "secrets": [keys.encrypt(secret, self._secrets) for secret in endpoint.secrets],
        }

    def _endpoint_of(self, row: _Row) -> WebhookEndpoint:
        return WebhookEndpoint(
            str(row["place"]),
            row["url"],
            frozenset(row["events"]),
            row["description"],
            row["enabled"],
            tuple(keys.decrypt(secret, self._secrets) for secret in row["secrets"]),
            row["problem"],
        )


_CAMPAIGN = ("name", "title", "description", "budget", "currency", "starts", "ends")
_KEY = (
    "id", "name", "hashed", "created_at", "expires_at", "revoked_at", "previous_hashed",
    "previous_until", "hourly_limit",
)  # fmt: skip
_USED = ("last_used_at", "usage_count")
_REQUEST = (
    "requested_at", "method", "path", "status", "duration", "key_id", "address", "request",
    "response",
)  # fmt: skip
_MESSAGE = (
    "id", "event", "body", "created_at", "state", "attempts", "due_at", "sent_at", "reason",
)  # fmt: skip
_ANSWER = ("id", "fingerprint", "created_at", "status", "body")


@cache
def _by_key(table: Table | Subquery, key: str, is_sqlite: bool) -> Prepared:
    # To put a statement together takes longer than to run it.
    wanted = bindparam("keys", type_=list_type(is_sqlite))
    return Prepared(_whole(table).where(is_listed(table.c[key], wanted)))


@cache
def _of_key(table: Table | Subquery, key: str) -> Prepared:
    return Prepared(_whole(table).where(table.c[key] == bindparam("of_key")))


def _whole(table: Table | Subquery) -> Select[Any]:
    """Everything of a kind: of links also what their clicks sum up to."""
    if table is not schema.link:
        return select(table)
    total = schema.link_total.c
    totals = (total.clicks, total.visitors, total.last_click_at)
    joined = schema.link.outerjoin(schema.link_total, total.link_code == schema.link.c.code)
    return select(schema.link, *totals).select_from(joined)


@cache
def _insert(table: Table, key: str) -> ReturningInsert[Any]:
    return table.insert().returning(table.c[key], sort_by_parameter_order=True)


@cache
def _insert_one(table: Table, key: str, names: frozenset[str]) -> Prepared:
    given: dict[str, Any] = {name: bindparam(name) for name in names}
    return Prepared(table.insert().values(given).returning(table.c[key]))


@cache
def _update(table: Table, key: str, names: frozenset[str]) -> Prepared:
    changed: dict[str, Any] = {name: bindparam(name) for name in names}
    return Prepared(table.update().where(table.c[key] == bindparam("of_key")).values(changed))


def _of(record: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(record, name) for name in names}


def _in(row: _Row, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: row[name] for name in names}


def _new_link(record: TrackedLink) -> TrackedLink:
    link = replace(record.link, code=record.id or new_code())
    return replace(record, link=link, created_at=datetime.now(timezone.utc))


def _link_values(record: TrackedLink) -> dict[str, Any]:
    values = {**rows.link_values(record.link), "title": record.title}
    # What the host fills in is told once, when the link is made.
    return {**values, "created_at": record.created_at} if record.created_at else values


def _template_values(record: LinkTemplate) -> dict[str, Any]:
    variables = [
        {**asdict(variable), "kind": variable.kind.value, "choices": list(variable.choices)}
        for variable in record.template.variables
    ]
    return {
        "name": record.name,
        "description": record.description,
        "template": {"text": record.template.text, "variables": variables},
    }


def _template_of(row: _Row) -> LinkTemplate:
    variables = tuple(
        Variable(**{**item, "kind": Kind(item["kind"]), "choices": tuple(item["choices"])})
        for item in row["template"]["variables"]
    )
    template = Template(row["template"]["text"], variables)
    return LinkTemplate(str(row["place"]), row["name"], template, row["description"])


def _key_values(key: ApiKey) -> dict[str, Any]:
    created = key.created_at or datetime.now(timezone.utc)
    return {
        **_of(key, _KEY),
        "created_at": created,
        "scopes": sorted(key.scopes),
        "networks": list(key.networks),
    }


def _key_of(row: _Row) -> ApiKey:
    return ApiKey(
        **_in(row, (*_KEY, *_USED)),
        scopes=frozenset(row["scopes"]),
        networks=tuple(row["networks"]),
    )


def _visitors() -> Subquery:
    """One row for each visitor, with the source of the first event that counts."""
    click = schema.click.c
    within = {"partition_by": click.visitor_id}
    order = (click.occurred_at, click.event_id)
    ranked = (
        select(
            schema.click,
            func.row_number().over(**within, order_by=order).label("nth"),
            func.count().filter(click.kind == CLICK).over(**within).label("clicks"),
            func.max(click.occurred_at).over(**within).label("last_seen"),
            func.min(click.place).over(**within).label("first_place"),
        )
        .where(click.counts, click.visitor_id.is_not(None))
        .subquery()
    )
    names = ("source", "medium", "campaign", "channel", "content", "term")
    return (
        select(
            ranked.c.visitor_id.label("id"),
            ranked.c.occurred_at.label("first_seen"),
            ranked.c.last_seen,
            ranked.c.clicks,
            ranked.c.first_place.label("place"),
            *(ranked.c[name] for name in names),
        )
        .where(ranked.c.nth == 1)
        .subquery()
    )


def _visitor_of(row: _Row) -> Visitor:
    names = ("id", "first_seen", "last_seen", "clicks")
    return Visitor(**_in(row, names), source=rows.source_of(row))


_CAMPAIGNS = _Shelf(
    schema.campaign,
    "place",
    lambda row: Campaign(str(row["place"]), **_in(row, _CAMPAIGN)),
    searched=("name", "title"),
    values=lambda record: _of(record, _CAMPAIGN),
    unique="name",
)
_LINKS = _Shelf(
    schema.link,
    "code",
    searched=("title", "code", "destination"),
    campaign="campaign",
    values=_link_values,
)
_TEMPLATES = _Shelf(
    schema.link_template,
    "place",
    _template_of,
    searched=("name",),
    values=_template_values,
    unique="name",
)
_KEYS = _Shelf(schema.api_key, "id", _key_of, values=_key_values)
_ANSWERS = _Shelf(
    schema.idempotency,
    "id",
    lambda row: Idempotency(**_in(row, _ANSWER), headers=row["headers"]),
    values=lambda record: {**_of(record, _ANSWER), "headers": dict(record.headers)},
)
_REQUESTS = _Shelf(
    schema.api_request,
    "place",
    lambda row: LoggedRequest(**_in(row, _REQUEST), id=str(row["place"])),
    moment="requested_at",
)
_MESSAGES = _Shelf(
    schema.outbox_message,
    "id",
    lambda row: WebhookMessage(endpoint=row["target"].partition("/")[2], **_in(row, _MESSAGE)),
    moment="created_at",
)
_VISITORS = _Shelf(_visitors(), "id", _visitor_of, moment="last_seen")
_CLICKS = _Shelf(schema.click, "event_id", rows.event_of, moment="occurred_at", campaign="campaign")
_CONVERSIONS = _Shelf(
    schema.conversion, "ref", rows.conversion_of, moment="occurred_at", campaign="campaign"
)
_LEADS = _Shelf(schema.lead, "ref", moment="created_at")
_DEALS = _Shelf(schema.deal, "ref", moment="created_at")
_SHELVES: Mapping[type[Any], _Shelf] = {
    Campaign: _CAMPAIGNS,
    TrackedLink: _LINKS,
    LinkTemplate: _TEMPLATES,
    ApiKey: _KEYS,
    Idempotency: _ANSWERS,
    Visitor: _VISITORS,
    ClickEvent: _CLICKS,
    Conversion: _CONVERSIONS,
    Lead: _LEADS,
    Deal: _DEALS,
    LoggedRequest: _REQUESTS,
    WebhookMessage: _MESSAGES,
}
