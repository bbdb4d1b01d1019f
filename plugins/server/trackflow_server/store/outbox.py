"""What must leave the server: `trackflow_core.ports.Outbox` over the store's tables."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from secrets import token_hex
from typing import Any

from sqlalchemy import ColumnElement, FromClause, delete, false, func, not_, or_, select, update

from trackflow_core.model import Message, Outgoing, Subscription
from trackflow_core.outbox import CONNECTOR, WEBHOOK, WRITE_BACKS, without_visitors
from trackflow_server.store.database import SqlStore
from trackflow_server.store.prepared import Prepared
from trackflow_server.store.schema import outbox_message, webhook_endpoint

WAITING, SENT, DEAD = "waiting", "sent", "dead"
# How long a receiver may be away before anybody is told.
_PATIENCE = timedelta(minutes=10)
_Key = tuple[str, str, str]
# Asked with every change.
_SUBSCRIBED = Prepared(
    select(webhook_endpoint.c.place, webhook_endpoint.c.events)
    .where(webhook_endpoint.c.enabled)
    .order_by(webhook_endpoint.c.place)
)


class SqlOutbox:
    """The outbox in the transaction of the store that `opened` gives when something is done."""

    def __init__(self, opened: Callable[[], SqlStore]) -> None:
        self._opened = opened

    # -- telling ------------------------------------------------------------------------------

    def subscriptions(self) -> Sequence[Subscription]:
        found = _SUBSCRIBED.rows(self._opened().connection)
        return [
            *(Subscription(f"{WEBHOOK}/{row['place']}", frozenset(row["events"])) for row in found),
            *(
                Subscription(f"{CONNECTOR}/{name}", WRITE_BACKS, name, latest=True)
                for name in self._opened().connectors_that_write_back()
            ),
        ]

    def post(self, told: Sequence[Outgoing]) -> None:
        news = self._news(told)
        if not news:
            return
        now = datetime.now(timezone.utc)
        self._withdraw({_key(outgoing) for outgoing in news if outgoing.latest}, now)
        self._opened().add(outbox_message, [_values(outgoing, now) for outgoing in news])

    def _news(self, told: Sequence[Outgoing]) -> Sequence[Outgoing]:
        """Of `told` what says something new of its ref, in order."""
        said = self._said({outgoing.ref for outgoing in told if outgoing.ref})
        news: list[Outgoing] = []
        for outgoing in told:
            key = _key(outgoing)
            if outgoing.ref and said.get(key) == outgoing.digest:
                continue
            if outgoing.latest:
                news = [other for other in news if _key(other) != key]
            said[key] = outgoing.digest
            news.append(outgoing)
        return news

    def _said(self, refs: Collection[str]) -> dict[_Key, str]:
        """The digest of the newest message about each of these refs."""
        if not refs:
            return {}
        message, store = outbox_message.c, self._opened()
        newest = (
            select(func.max(message.place))
            .where(store.among(message.ref, refs))
            .group_by(message.target, message.event, message.ref)
        )
        found = store.rows(
            select(message.target, message.event, message.ref, message.digest).where(
                message.place.in_(newest)
            )
        )
        return {(row["target"], row["event"], row["ref"]): row["digest"] for row in found}

    def _withdraw(self, keys: Collection[_Key], now: datetime) -> None:
        """Remove what still waits to be said of these; what is under way stays."""
        message, store = outbox_message.c, self._opened()
        for target, event in sorted({key[:2] for key in keys}):
            refs = [ref for *others, ref in keys if others == [target, event]]
            store.connection.execute(
                delete(outbox_message).where(
                    message.target == target,
                    message.event == event,
                    message.state == WAITING,
                    not_(_under_way(outbox_message, now)),
                    store.among(message.ref, refs),
                )
            )

    # -- sending ------------------------------------------------------------------------------

    def claim(self, now: datetime, until: datetime, limit: int) -> Sequence[Message]:
        # Whoever writes has the store to himself, so that nobody else claims the same.
        message, store = outbox_message.c, self._opened()
        store.connection.execute(
            delete(outbox_message).where(
                message.state == WAITING, message.due_at <= now, _replaced()
            )
        )
        found = store.rows(
            select(outbox_message)
            .where(*self._due(now))
            .order_by(message.due_at, message.place)
            .limit(limit)
        )
        if found:
            places = [row["place"] for row in found]
            store.connection.execute(
                update(outbox_message)
                .where(message.place.in_(places))
                .values(due_at=until, claimed_until=until)
            )
        return [_message(row) for row in sorted(found, key=lambda row: int(row["place"]))]

    def is_due(self, now: datetime) -> bool:
        """Whether `claim` would give anything; for reading only."""
        query = select(outbox_message.c.place).where(*self._due(now)).limit(1)
        return self._opened().connection.scalar(query) is not None

    def _due(self, now: datetime) -> list[ColumnElement[bool]]:
        message = outbox_message.c
        return [
            message.state == WAITING,
            message.due_at <= now,
            message.target.not_in(self._silent()),
            not_(_exists_alike(lambda other: _under_way(other, now))),
        ]

    def _silent(self) -> Sequence[str]:
        """The targets that nothing is to be sent to."""
        endpoint, store = webhook_endpoint.c, self._opened()
        endpoints = store.connection.scalars(select(endpoint.place).where(not_(endpoint.enabled)))
        crms = {item.namespace for item in store.connectors()}
        return [
            *(f"{WEBHOOK}/{place}" for place in endpoints),
            *(
                f"{CONNECTOR}/{name}"
                for name in crms.difference(store.connectors_that_write_back())
            ),
        ]

    def sent(self, message: Message, now: datetime) -> None:
        self._settle(message, state=SENT, sent_at=now, reason="")

    def defer(self, message: Message, due: datetime, reason: str) -> None:
        self._settle(message, due_at=due, reason=reason)

    def bury(self, message: Message, reason: str) -> None:
        self._settle(message, state=DEAD, reason=reason)

    def _settle(self, message: Message, **values: Any) -> None:
        self._opened().connection.execute(
            update(outbox_message)
            .where(outbox_message.c.id == message.id)
            .values(attempts=outbox_message.c.attempts + 1, claimed_until=None, **values)
        )

    def replay(self, target: str, since: datetime, until: datetime, dead_only: bool = False) -> int:
        message = outbox_message.c
        return self._begin_again(
            message.target == target,
            message.state.in_([DEAD] if dead_only else [DEAD, SENT]),
            message.created_at >= since,
            message.created_at < until,
        )

    def replay_one(self, target: str, message_id: str) -> int:
        message = outbox_message.c
        return self._begin_again(message.target == target, message.id == message_id)

    def _begin_again(self, *which: ColumnElement[bool]) -> int:
        """Make messages due now, as if they had never been tried; how many."""
        now = datetime.now(timezone.utc)
        again = update(outbox_message).where(*which, not_(_replaced()))
        begun = again.values(state=WAITING, attempts=0, reason="", due_at=now)
        return self._opened().connection.execute(begun).rowcount

    def last_sent(self, target: str) -> datetime | None:
        message = outbox_message.c
        query = select(func.max(message.sent_at)).where(message.target == target)
        return self._opened().connection.scalar(query)

    def forget(self, visitor_ids: Collection[str]) -> None:
        message, opened = outbox_message.c, self._opened()
        named = or_(*(message.body.contains(name, autoescape=True) for name in visitor_ids))
        for row in opened.rows(select(message.place, message.body).where(named)):
            opened.connection.execute(
                update(outbox_message)
                .where(message.place == row["place"])
                .values(body=without_visitors(row["body"], visitor_ids))
            )

    def disable(self, target: str, reason: str) -> None:
        kind, _, place = target.partition("/")
        if kind == CONNECTOR:
            self._opened().stop_writing_back(place, reason)
        else:
            self._opened().connection.execute(
                update(webhook_endpoint)
                .where(webhook_endpoint.c.place == int(place))
                .values(enabled=False, problem=reason)
            )

    # -- looking after it ----------------------------------------------------------------------

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """How many messages there are of each target, by state."""
        message = outbox_message.c
        found = self._opened().rows(
            select(message.target, message.state, func.count().label("number")).group_by(
                message.target, message.state
            )
        )
        counts: dict[str, dict[str, int]] = {}
        for row in found:
            counts.setdefault(row["target"], {})[row["state"]] = row["number"]
        return counts

    def unsent(self) -> Mapping[str, int]:
        """How many messages wait and how many were given up, by state."""
        message = outbox_message.c
        query = (
            select(message.state, func.count())
            .where(message.state.in_([WAITING, DEAD]))
            .group_by(message.state)
        )
        found = {row[0]: int(row[1]) for row in self._opened().connection.execute(query)}
        return {WAITING: found.get(WAITING, 0), DEAD: found.get(DEAD, 0)}

    def refusals(self, now: datetime) -> Mapping[str, str]:
        """Why each receiver that takes no messages takes none: of a webhook by its address, of a CRM
        by its namespace."""
        message, endpoint, store = outbox_message.c, webhook_endpoint.c, self._opened()
        endpoints = store.rows(
            select(endpoint.place, endpoint.url, endpoint.enabled, endpoint.problem)
        )
        urls = {f"{WEBHOOK}/{row['place']}": row["url"] for row in endpoints}
        newest = (
            select(func.max(message.place))
            .where(
                message.state == WAITING,
                message.attempts > 0,
                message.created_at < now - _PATIENCE,
                message.target.not_in(self._silent()),
            )
            .group_by(message.target)
        )
        late = store.rows(select(message.target, message.reason).where(message.place.in_(newest)))
        stopped = [row for row in endpoints if row["problem"] and not row["enabled"]]
        return {
            **{row["url"]: row["problem"] for row in stopped},
            **{
                urls.get(row["target"], row["target"].partition("/")[2]): row["reason"]
                for row in late
            },
        }

    def messages(self, target: str, limit: int) -> Sequence[Mapping[str, Any]]:
        """The newest messages of a target with what became of them."""
        message = outbox_message.c
        return self._opened().rows(
            select(outbox_message)
            .where(message.target == target)
            .order_by(message.place.desc())
            .limit(limit)
        )

    def retry(self, message_id: str) -> None:
        """Make one message due now, as if it had never been tried, unless it was sent."""
        message = outbox_message.c
        self._begin_again(message.id == message_id, message.state != SENT)

    def purge(self, before: datetime) -> int:
        """Delete what was sent earlier; what was given up stays for people to see."""
        message = outbox_message.c
        old = delete(outbox_message).where(message.state == SENT, message.sent_at < before)
        return self._opened().connection.execute(old).rowcount


def forget(store: SqlStore, targets: Collection[str]) -> None:
    """Delete every message of targets that are gone, since their ids may be given anew."""
    gone = delete(outbox_message).where(store.among(outbox_message.c.target, targets))
    store.connection.execute(gone)


def _under_way(messages: FromClause, now: datetime) -> ColumnElement[bool]:
    return func.coalesce(messages.c.claimed_until > now, false())


def _replaced() -> ColumnElement[bool]:
    return _exists_alike(lambda other: other.c.place > outbox_message.c.place)


def _exists_alike(which: Callable[[FromClause], ColumnElement[bool]]) -> ColumnElement[bool]:
    """Whether of what is said of a message's record, the latest of which alone matters, there is
    `which`."""
    message, other = outbox_message.c, outbox_message.alias()
    alike = (
        message.latest,
        message.ref != "",
        other.c.ref == message.ref,
        other.c.target == message.target,
        other.c.event == message.event,
    )
    return select(other.c.place).where(*alike, which(other)).correlate(outbox_message).exists()


def _key(outgoing: Outgoing) -> _Key:
    return (outgoing.target, outgoing.event, outgoing.ref)


def _values(outgoing: Outgoing, now: datetime) -> dict[str, Any]:
    return {
        "id": f"msg_{token_hex(16)}",
        "target": outgoing.target,
        "event": outgoing.event,
        "ref": outgoing.ref,
        "body": outgoing.body,
        "digest": outgoing.digest,
        "latest": outgoing.latest,
        "state": WAITING,
        "attempts": 0,
        "due_at": now,
        "created_at": now,
    }


def _message(row: Mapping[str, Any]) -> Message:
    told = Outgoing(row["target"], row["event"], row["ref"], row["body"], row["latest"])
    return Message(row["id"], told, row["created_at"], row["attempts"])
