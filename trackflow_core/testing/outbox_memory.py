"""An outbox in a list: for tests, and the shortest statement of what an outbox does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count
from typing import Any

from trackflow_core.model import Message, Outgoing, Subscription
from trackflow_core.outbox import without_visitors


@dataclass
class Held:
    """A message and what became of it: `state` is "waiting", "sent" or "dead".
    While it is under way it is claimed."""

    message: Message
    due: datetime
    state: str = "waiting"
    reason: str = ""
    sent_at: datetime | None = None
    claimed_until: datetime | None = None


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
            now = self._clock()
            if outgoing.latest:
                self.held = [
                    held
                    for held in self.held
                    if held not in alike or held.state != "waiting" or _under_way(held, now)
                ]
            message = Message(f"msg_{next(self._numbers)}", outgoing, now)
            self.held.append(Held(message, now))

    def claim(self, now: datetime, until: datetime, limit: int) -> Sequence[Message]:
        waiting = [held for held in self.held if held.state == "waiting" and held.due <= now]
        replaced = [held for held in waiting if self._is_replaced(held)]
        self.held = [held for held in self.held if held not in replaced]
        due = [
            held
            for held in waiting
            if held not in replaced
            and held.message.outgoing.target not in self.disabled
            and not any(_under_way(other, now) for other in self._alike(held))
        ]
        for held in due[:limit]:
            held.due = held.claimed_until = until
        return [held.message for held in due[:limit]]

    def _alike(self, held: Held) -> list[Held]:
        """Those, with itself, of which the latest alone matters."""
        outgoing = held.message.outgoing
        if not (outgoing.latest and outgoing.ref):
            return []
        return [other for other in self.held if _same(other, outgoing)]

    def _is_replaced(self, held: Held) -> bool:
        alike = self._alike(held)
        return bool(alike) and alike[-1] is not held

    def sent(self, message: Message, now: datetime) -> None:
        self._settle(message, state="sent", sent_at=now, reason="")

    def defer(self, message: Message, due: datetime, reason: str) -> None:
        self._settle(message, due=due, reason=reason)

    def bury(self, message: Message, reason: str) -> None:
        self._settle(message, state="dead", reason=reason)

    def _settle(self, message: Message, **values: Any) -> None:
        tried = replace(message, attempts=message.attempts + 1)
        self.held = [
            replace(held, message=tried, claimed_until=None, **values)
            if held.message.id == message.id
            else held
            for held in self.held
        ]

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

    def _begin_again(self, chosen: Sequence[Held]) -> int:
        again = [held for held in chosen if not self._is_replaced(held)]
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

    def forget(self, visitor_ids: Collection[str]) -> None:
        for held in self.held:
            outgoing = held.message.outgoing
            stripped = replace(outgoing, body=without_visitors(outgoing.body, visitor_ids))
            held.message = replace(held.message, outgoing=stripped)

    def disable(self, target: str, reason: str) -> None:
        self.disabled[target] = reason


def _same(held: Held, outgoing: Outgoing) -> bool:
    known = held.message.outgoing
    return (known.target, known.event, known.ref) == (
        outgoing.target,
        outgoing.event,
        outgoing.ref,
    )


def _under_way(held: Held, now: datetime) -> bool:
    return held.claimed_until is not None and held.claimed_until > now
