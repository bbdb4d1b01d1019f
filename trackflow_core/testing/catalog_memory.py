"""The API's records in plain dictionaries, beside the facts of a `MemoryStore`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from itertools import count
from typing import Any, cast

from trackflow_core.api.storage import (
    MANAGED,
    ApiKey,
    Campaign,
    Changes,
    Conflict,
    LinkTemplate,
    LoggedRequest,
    Page,
    Query,
    Record,
    Stats,
    TrackedLink,
    Visitor,
    WebhookMessage,
)
from trackflow_core.errors import InvalidEvent
from trackflow_core.model import CLICK, ClickEvent, Conversion, Deal, Lead, Link
from trackflow_core.outbox import WEBHOOK
from trackflow_core.testing.memory import MemoryStore
from trackflow_core.testing.outbox_memory import MemoryOutbox
from trackflow_core.tracking.links import refuse_short_urls
from trackflow_core.tracking.urls import new_code

_UNIQUE_NAMES = (Campaign, LinkTemplate)


class MemoryCatalog:
    """`api.storage.Catalog` over the facts of `store` and the messages of `outbox`, for one thread.

    `now` is asked when a record is made.
    """

    def __init__(
        self,
        store: MemoryStore,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        base_url: str = "https://go.example",
        outbox: MemoryOutbox | None = None,
    ) -> None:
        self._store = store
        self._now = now
        self._base_url = base_url
        self._outbox = outbox
        self._numbers = count(1)
        self._places: dict[tuple[type, str], int] = {}
        self._changes = 0
        self._seen: dict[str, tuple[int, Link]] = {}

    @property
    def _state(self) -> Any:
        return self._store._state

    def read(
        self, kind: type[Record], ids: Collection[str], *, lock: bool = False
    ) -> Mapping[str, Record]:
        if kind in (Lead, Deal):
            ask = self._store.leads if kind is Lead else self._store.deals
            asked = ((ref, ask({ref})) for ref in ids)
            return cast("Mapping[str, Record]", {ref: found[0] for ref, found in asked if found})
        found = {_id(record): record for record in self._all(kind)}
        return {key: found[key] for key in ids if key in found}

    def page(self, kind: type[Record], query: Query) -> Page[Record]:
        records = list(self._all(kind))
        for record in records:
            key = (kind, _id(record))
            self._places.setdefault(key, len(self._places))
        if query.after and not query.after.isdecimal():
            raise InvalidEvent(
                f"{query.after!r} is the cursor of no page: begin at the first one.", field="cursor"
            )
        end = int(query.after) if query.after else len(self._places)
        placed = sorted(
            (
                (self._places[kind, _id(record)], record)
                for record in records
                if _meets(record, query)
            ),
            key=lambda entry: -entry[0],
        )
        rest = [entry for entry in placed if entry[0] < end]
        chosen = rest[: query.limit]
        after = str(chosen[-1][0]) if len(rest) > len(chosen) else ""
        return Page(tuple(record for _, record in chosen), after)

    def create(self, records: Sequence[Record]) -> Sequence[Record]:
        return [self._keep(record, is_new=True) for record in records]

    def update(self, records: Sequence[Record]) -> Sequence[Record]:
        return [self._keep(record, is_new=False) for record in records]

    def delete(self, kind: type[Any], ids: Collection[str]) -> None:
        held = self.read(kind, ids)
        if kind is Campaign:
            used = {link.campaign for link in self._state.links.values()}
            for campaign in held.values():
                if campaign.name in used:
                    raise Conflict(f"The campaign {campaign.name!r} has links: move them first.")
        for key in held:
            del self._state.records[kind, key]

    def stats(self, query: Query) -> Stats:
        events = [
            event for event in self._events() if event.click.kind == CLICK and _meets(event, query)
        ]
        people = [event for event in events if event.counts]
        moments = sorted(event.click.occurred_at for event in people)
        return Stats(
            clicks=len(people),
            visitors=len({event.click.visitor_id for event in people} - {None}),
            conversions=sum(_meets(item, query) for item in self._state.conversions.values()),
            ignored=len(events) - len(people),
            last_click_at=moments[-1] if moments else None,
            days=Counter(moment.date().isoformat() for moment in moments),
            channels=Counter(event.source.channel for event in people),
            devices=Counter(event.agent.device for event in people),
            browsers=Counter(event.agent.browser for event in people),
        )

    def changed_links(self, cursor: str, limit: int) -> Changes:
        if cursor and not cursor.isdecimal():
            raise InvalidEvent(f"{cursor!r} is no cursor: begin at the first link.", field="cursor")
        for code, link in self._state.links.items():
            if self._seen.get(code, (0, None))[1] != link:
                self._changes += 1
                self._seen[code] = (self._changes, link)
        since = int(cursor) if cursor else -1
        changed = sorted(entry for entry in self._numbered() if entry[0] > since)
        told = changed[:limit]
        last = told[-1][0] if told else since
        links = tuple(self._state.links[code] for _, code in told)
        return Changes(links, str(last) if last >= 0 else "", len(changed) > len(told))

    def _numbered(self) -> Iterable[tuple[int, str]]:
        return ((number, code) for code, (number, _) in self._seen.items())

    def log(self, entries: Sequence[LoggedRequest]) -> None:
        for entry in entries:
            if entry.kept:
                entry = replace(entry, id=str(next(self._numbers)))
                self._state.records[LoggedRequest, entry.id] = entry
            key = self._state.records.get((ApiKey, entry.key_id))
            if key:
                last = max(entry.requested_at, key.last_used_at or entry.requested_at)
                self._state.records[ApiKey, key.id] = replace(
                    key, usage_count=key.usage_count + 1, last_used_at=last
                )

    def purge(self, kind: type[Any], before: datetime) -> int:
        old = [
            (kind, _id(record))
            for record in self._all(kind)
            if (record.requested_at if kind is LoggedRequest else record.created_at) < before
        ]
        for key in old:
            del self._state.records[key]
        return len(old)

    def _all(self, kind: type[Record]) -> Iterable[Record]:
        """Every record of a kind, oldest first."""
        of_store: Mapping[type, Callable[[], Iterable[object]]] = {
            TrackedLink: lambda: map(self._tracked, self._state.links.values()),
            Visitor: self._visitors,
            ClickEvent: self._events,
            Conversion: lambda: self._state.conversions.values(),
            Lead: lambda: self._state.leads.values(),
            Deal: lambda: self._store.deals(),
            WebhookMessage: self._messages,
        }
        if kind in of_store:
            return cast("Iterable[Record]", of_store[kind]())
        return [item for (of, _), item in self._state.records.items() if of is kind]

    def _events(self) -> Iterable[ClickEvent]:
        return self._store.click_events()

    def _messages(self) -> Iterable[WebhookMessage]:
        for held in self._outbox.held if self._outbox else ():
            message, outgoing = held.message, held.message.outgoing
            kind, _, endpoint = outgoing.target.partition("/")
            if kind == WEBHOOK:
                yield WebhookMessage(
                    message.id,
                    endpoint,
                    outgoing.event,
                    outgoing.body,
                    message.created_at,
                    held.state,
                    message.attempts,
                    held.due,
                    held.sent_at,
                    held.reason,
                )

    def _visitors(self) -> Iterable[Visitor]:
        clicks: dict[str, list[ClickEvent]] = {}
        for event in self._events():
            if event.click.visitor_id and event.counts:
                clicks.setdefault(event.click.visitor_id, []).append(event)
        for visitor_id, events in clicks.items():
            events.sort(key=lambda event: (event.click.occurred_at, event.click.event_id))
            yield Visitor(
                visitor_id,
                events[0].click.occurred_at,
                events[-1].click.occurred_at,
                sum(event.click.kind == CLICK for event in events),
                events[0].source,
            )

    def _tracked(self, link: Link) -> TrackedLink:
        kept = self._state.records.get((TrackedLink, link.code))
        stats = self.stats(Query(link_code=link.code))
        return TrackedLink(
            link,
            title=kept.title if kept else "",
            short_url=f"{self._base_url}/r/{link.code}",
            created_at=kept.created_at if kept else None,
            clicks=stats.clicks,
            visitors=stats.visitors,
            last_click_at=stats.last_click_at,
        )

    def _keep(self, record: Any, is_new: bool) -> Any:
        kind = type(record)
        assert kind in MANAGED, f"{kind.__name__} is read only"
        known = self.read(kind, {_id(record)}).get(_id(record))
        self._check_unique(record, known, is_new)
        if isinstance(record, TrackedLink):
            held = known.link if known else None
            refuse_short_urls(record.link, [f"{self._base_url}/r/"], held)
            return self._keep_link(record, known)
        if not record.id:
            record = replace(record, id=str(next(self._numbers)))
        if isinstance(record, ApiKey):
            created = known.created_at if known else record.created_at or self._now()
            used = (known.last_used_at, known.usage_count) if known else (None, 0)
            record = replace(record, created_at=created, last_used_at=used[0], usage_count=used[1])
        self._state.records[kind, record.id] = record
        return record

    def _keep_link(self, record: TrackedLink, known: TrackedLink | None) -> TrackedLink:
        link = record.link if record.id else replace(record.link, code=new_code())
        created = known.created_at if known else self._now()
        names = {campaign.name for campaign in self._all(Campaign)}
        if link.campaign and link.campaign not in names:
            self._keep(Campaign("", link.campaign, title=link.campaign), is_new=True)
        self._state.links[link.code] = link
        self._state.records[TrackedLink, link.code] = replace(record, link=link, created_at=created)
        return self._tracked(link)

    def _check_unique(self, record: Any, known: Any, is_new: bool) -> None:
        if is_new and known is not None:
            field = "code" if isinstance(record, TrackedLink) else "id"
            raise Conflict(f"{_id(record)!r} is taken: choose another.", field=field)
        if not is_new and known is None:
            raise LookupError(_id(record))
        if isinstance(record, _UNIQUE_NAMES):
            for other in self._all(type(record)):
                if other.name == record.name and other.id != record.id:
                    raise Conflict(
                        f"The name {record.name!r} is taken: choose another.", field="name"
                    )


def _id(record: Any) -> str:
    if isinstance(record, ClickEvent):
        return record.click.event_id
    if isinstance(record, Conversion):
        return f"{record.ref} {record.kind}"
    return str(record.ref if isinstance(record, (Lead, Deal)) else record.id)


def _meets(record: Any, query: Query) -> bool:
    moment = _moment(record)
    return (
        _has(record, query.search)
        and _of(record, query)
        and (query.since is None or (moment is not None and moment >= query.since))
        and (query.until is None or (moment is not None and moment < query.until))
    )


def _of(record: Any, query: Query) -> bool:
    if isinstance(record, ClickEvent):
        campaign, code = record.source.campaign, record.click.link_code
        visitor = record.click.visitor_id
    elif isinstance(record, Conversion):
        touch = record.touch
        campaign, code = (touch.campaign, touch.link_code) if touch else ("", "")
        visitor = touch.visitor_id if touch else ""
    elif isinstance(record, TrackedLink):
        campaign, code, visitor = record.link.campaign, record.link.code, ""
    elif isinstance(record, WebhookMessage):
        return (
            query.endpoint in ("", record.endpoint)
            and query.event in ("", record.event)
            and query.state in ("", record.state)
        )
    else:
        return True
    return (
        query.campaign in ("", campaign)
        and query.link_code in ("", code)
        and query.visitor_id in ("", visitor)
    )


def _has(record: Any, search: str) -> bool:
    if not search:
        return True
    if isinstance(record, TrackedLink):
        texts = [record.title, record.link.code, record.link.destination]
    else:
        texts = [record.name, getattr(record, "title", "")]
    return any(search.casefold() in text.casefold() for text in texts)


def _moment(record: Any) -> datetime | None:
    if isinstance(record, ClickEvent):
        return record.click.occurred_at
    moments: Mapping[type, Callable[[Any], datetime]] = {
        Conversion: lambda conversion: conversion.occurred_at,
        LoggedRequest: lambda entry: entry.requested_at,
        Visitor: lambda visitor: visitor.last_seen,
        Lead: lambda lead: lead.came_in_at,
        Deal: lambda deal: deal.began_at,
        WebhookMessage: lambda message: message.created_at,
    }
    return moments[type(record)](record) if type(record) in moments else None
