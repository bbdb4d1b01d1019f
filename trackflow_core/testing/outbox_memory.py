"""An outbox in a list: for tests, and the shortest statement of what an outbox does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count

from trackflow_core.model import Message, Outgoing, Subscription


@dataclass
class Held:
    """A message and what became of it: `state` is "waiting", "sent" or "dead"."""

    message: Message
    due: datetime
    state: str = "waiting"
    reason: str = ""
    sent_at: datetime | None = None


class MemoryOutbox:
    """`ports.Outbox` for one thread; `clock` tells when a message is posted."""

    def __init__(
        self, clock: Callable[[], datetime], subscriptions: Iterable[Subscription] = ()
    ) -> None:
        self._clock = clock
        self._numbers = count(1)
        self._subscriptions = list(subscriptions)
        self.held: list[Held] = []
        self.disabled: dict[str, str] = {}

    def subscriptions(self) -> Sequence[Subscription]:
        return [item for item in self._subscriptions if item.target not in self.disabled]

    def post(self, told: Sequence[Outgoing]) -> None:
        for outgoing in told:
            alike = [held for held in self.held if outgoing.ref and _same(held, outgoing)]
            if alike and alike[-1].message.outgoing.digest == outgoing.digest:
                continue
            if outgoing.latest:
                waiting = [held for held in alike if held.state == "waiting"]
                self.held = [held for held in self.held if held not in waiting]
            now = self._clock()
            message = Message(f"msg_{next(self._numbers)}", outgoing, now)
            self.held.append(Held(message, now))

    def claim(self, now: datetime, until: datetime, limit: int) -> Sequence[Message]:
        due = [
            held
            for held in self.held
            if held.state == "waiting"
            and held.due <= now
            and held.message.outgoing.target not in self.disabled
        ]
        for held in due[:limit]:
            held.due = until
        return [held.message for held in due[:limit]]

    def sent(self, message: Message, now: datetime) -> None:
        held = self._of(message)
        held.state, held.sent_at, held.reason = "sent", now, ""
        held.message = _tried(message)

    def defer(self, message: Message, due: datetime, reason: str) -> None:
        held = self._of(message)
        held.due, held.reason, held.message = due, reason, _tried(message)

    def bury(self, message: Message, reason: str) -> None:
        held = self._of(message)
        held.state, held.reason, held.message = "dead", reason, _tried(message)

    def replay(self, target: str, since: datetime, until: datetime, dead_only: bool = False) -> int:
        again = [
            held
            for held in self.held
            if held.message.outgoing.target == target
            and since <= held.message.created_at < until
            and held.state in (("dead",) if dead_only else ("dead", "sent"))
        ]
        return self._begin_again(again)

    def replay_one(self, target: str, message_id: str) -> int:
        return self._begin_again(
            [
                held
                for held in self.held
                if (held.message.outgoing.target, held.message.id) == (target, message_id)
            ]
        )

    def _begin_again(self, again: Sequence[Held]) -> int:
        for held in again:
            held.state, held.due, held.reason = "waiting", self._clock(), ""
            held.message = replace(held.message, attempts=0)
        return len(again)

    def last_sent(self, target: str) -> datetime | None:
        moments = [
            held.sent_at
            for held in self.held
            if held.sent_at and held.message.outgoing.target == target
        ]
        return max(moments, default=None)

    def disable(self, target: str, reason: str) -> None:
        self.disabled[target] = reason

    def _of(self, message: Message) -> Held:
        return next(held for held in self.held if held.message.id == message.id)


def _same(held: Held, outgoing: Outgoing) -> bool:
    known = held.message.outgoing
    return (known.target, known.event, known.ref) == (
        outgoing.target,
        outgoing.event,
        outgoing.ref,
    )


def _tried(message: Message) -> Message:
    return replace(message, attempts=message.attempts + 1)
