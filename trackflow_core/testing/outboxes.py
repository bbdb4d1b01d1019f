"""The contract kit for outboxes: what `outbox.Courier` and the engine rely on."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from trackflow_core.model import Message, Outgoing, Subscription
from trackflow_core.outbox import DEAL_ATTRIBUTED
from trackflow_core.ports import Outbox

_LEASE = timedelta(minutes=10)


class OutboxContract:
    """What every outbox keeps. `target` names an enabled subscriber that the host has set up by
    `new_outbox`; its subscription wants `DEAL_ATTRIBUTED`."""

    target = "webhook/1"

    @abstractmethod
    def new_outbox(self) -> Outbox:
        """An empty outbox with one subscriber, whose target is put into `self.target`."""

    @abstractmethod
    def now(self) -> datetime:
        """The time at which messages are posted now, or a little later."""

    @abstractmethod
    def state_of(self, outbox: Outbox, message: Message) -> tuple[str, str]:
        """Whether a message is "waiting", "sent", "dead" or, once it is gone, "", and its reason."""

    def _told(self, number: int = 1, ref: str = "crm/deal-1", latest: bool = False) -> Outgoing:
        return Outgoing(self.target, DEAL_ATTRIBUTED, ref, f'{{"number":{number}}}', latest)

    def _claim(self, outbox: Outbox, **later: float) -> Sequence[Message]:
        now = self.now() + timedelta(**later)
        return outbox.claim(now, now + _LEASE, 10)

    def _bodies(self, messages: Sequence[Message]) -> list[str]:
        return [message.outgoing.body for message in messages]

    def test_the_subscriber_is_told(self) -> None:
        outbox = self.new_outbox()
        [item] = outbox.subscriptions()
        assert isinstance(item, Subscription)
        assert (item.target, DEAL_ATTRIBUTED in item.events) == (self.target, True)

    def test_a_message_comes_as_it_was_posted_and_to_one_worker(self) -> None:
        outbox = self.new_outbox()
        told = Outgoing(self.target, DEAL_ATTRIBUTED, "crm/ü", '{"name":"größer \\u0000"}')
        outbox.post([told])
        [message] = self._claim(outbox)
        assert (message.outgoing, message.attempts) == (told, 0)
        assert abs(message.created_at - self.now()) < timedelta(minutes=5)
        assert self._claim(outbox) == []
        # Whoever claimed it died.
        [again] = self._claim(outbox, minutes=11)
        assert again.id == message.id

    def test_what_was_said_is_not_said_again(self) -> None:
        outbox = self.new_outbox()
        outbox.post([self._told(1)])
        outbox.post([self._told(1)])
        outbox.post([self._told(2)])
        outbox.post([self._told(1), self._told(1, "crm/deal-2")])
        messages = self._claim(outbox)
        assert self._bodies(messages) == [self._told(n).body for n in (1, 2, 1, 1)]
        for message in messages:
            outbox.sent(message, self.now())
        outbox.post([self._told(1)])
        assert self._claim(outbox) == []

    def test_without_a_ref_everything_is_news(self) -> None:
        outbox = self.new_outbox()
        outbox.post([self._told(1, ""), self._told(1, "")])
        first, second = self._claim(outbox)
        assert first.id != second.id

    def test_the_latest_replaces_what_waits(self) -> None:
        outbox = self.new_outbox()
        outbox.post([self._told(1, latest=True), self._told(1, "crm/deal-2", latest=True)])
        outbox.post([self._told(2, latest=True)])
        assert sorted(self._bodies(self._claim(outbox))) == [
            self._told(1).body,
            self._told(2).body,
        ]

    def test_the_latest_waits_for_one_that_is_under_way(self) -> None:
        outbox = self.new_outbox()
        outbox.post([self._told(1, latest=True)])
        [older] = self._claim(outbox)
        outbox.post([self._told(2, latest=True), self._told(2, "crm/deal-2", latest=True)])
        [unrelated] = self._claim(outbox)
        assert unrelated.outgoing.ref == "crm/deal-2"
        outbox.post([self._told(3, latest=True)])
        assert self._claim(outbox) == []
        outbox.sent(older, self.now())
        [newer] = self._claim(outbox)
        assert newer.outgoing.body == self._told(3).body

    def test_an_older_one_never_comes_after_the_latest(self) -> None:
        outbox = self.new_outbox()
        outbox.post([self._told(1, latest=True)])
        [older] = self._claim(outbox)
        outbox.post([self._told(2, latest=True)])
        outbox.defer(older, self.now(), "The CRM answered 503.")
        [newer] = self._claim(outbox)
        assert self.state_of(outbox, older)[0] == ""
        assert newer.outgoing.body == self._told(2).body
        outbox.sent(newer, self.now())
        assert self._claim(outbox, days=9) == []

    def test_what_was_replaced_is_not_replayed(self) -> None:
        outbox = self.new_outbox()
        for number in (1, 2):
            outbox.post([self._told(number, latest=True)])
            [message] = self._claim(outbox)
            outbox.bury(message, "It is gone.")
        start, end = self.now() - timedelta(hours=1), self.now() + timedelta(hours=1)
        assert outbox.replay(self.target, start, end) == 1
        [again] = self._claim(outbox)
        assert again.outgoing.body == self._told(2).body

    def test_the_latest_goes_out_when_a_worker_died_with_an_older_one(self) -> None:
        outbox = self.new_outbox()
        outbox.post([self._told(1, latest=True)])
        [lost] = self._claim(outbox)
        outbox.post([self._told(2, latest=True)])
        assert self._claim(outbox, minutes=9) == []
        [newer] = self._claim(outbox, minutes=11)
        assert newer.outgoing.body == self._told(2).body
        outbox.sent(newer, self.now())
        # The other worker was not dead after all.
        outbox.sent(lost, self.now())
        assert self._claim(outbox, days=9) == []

    def test_a_deferred_message_waits(self) -> None:
        outbox = self.new_outbox()
        outbox.post([self._told()])
        [message] = self._claim(outbox)
        outbox.defer(message, self.now() + timedelta(hours=1), "The receiver answered 503.")
        assert self.state_of(outbox, message) == ("waiting", "The receiver answered 503.")
        assert self._claim(outbox, minutes=30) == []
        [again] = self._claim(outbox, minutes=61)
        assert (again.id, again.attempts) == (message.id, 1)

    def test_a_sent_message_is_settled(self) -> None:
        outbox = self.new_outbox()
        assert outbox.last_sent(self.target) is None
        outbox.post([self._told()])
        [message] = self._claim(outbox)
        outbox.sent(message, self.now())
        assert self.state_of(outbox, message)[0] == "sent"
        assert self._claim(outbox, days=9) == []
        last = outbox.last_sent(self.target)
        assert last is not None and abs(last - self.now()) < timedelta(minutes=5)

    def test_a_buried_message_is_kept_and_can_be_replayed(self) -> None:
        outbox = self.new_outbox()
        outbox.post([self._told(1), self._told(2)])
        dead, sent = self._claim(outbox)
        outbox.bury(dead, "It is gone.")
        outbox.sent(sent, self.now())
        assert self.state_of(outbox, dead) == ("dead", "It is gone.")
        assert self._claim(outbox, days=9) == []
        start, end = self.now() - timedelta(hours=1), self.now() + timedelta(hours=1)
        assert outbox.replay(self.target, end, end + timedelta(days=1)) == 0
        assert outbox.replay("webhook/none", start, end) == 0
        assert outbox.replay(self.target, start, end, dead_only=True) == 1
        [again] = self._claim(outbox)
        assert (again.id, again.attempts) == (dead.id, 0)
        outbox.sent(again, self.now())
        assert outbox.replay(self.target, start, end) == 2

    def test_one_message_is_replayed_whatever_became_of_it(self) -> None:
        outbox = self.new_outbox()
        outbox.post([self._told(1), self._told(2), self._told(3)])
        dead, sent, waiting = self._claim(outbox)
        outbox.bury(dead, "It is gone.")
        outbox.sent(sent, self.now())
        outbox.defer(waiting, self.now() + timedelta(days=1), "It is away.")
        assert outbox.replay_one(self.target, "msg_none") == 0
        assert outbox.replay_one("webhook/none", sent.id) == 0
        assert self._claim(outbox) == []
        for message in (dead, sent, waiting):
            assert outbox.replay_one(self.target, message.id) == 1
            [again] = self._claim(outbox)
            assert (again.id, again.attempts) == (message.id, 0)
            outbox.sent(again, self.now())

    def test_a_forgotten_visitor_is_in_no_message(self) -> None:
        outbox = self.new_outbox()
        told = '{"clicks":[{"link":"a","visitor_id":"v_1"},{"link":"b","visitor_id":"v%1"}]}'
        lead = '{"lead":"crm/ü","visitor_ids":["v_1","vx1"]}'
        bodies = [told, lead, '{"score":1}']
        outbox.post([Outgoing(self.target, DEAL_ATTRIBUTED, "", body) for body in bodies])
        sent, *waiting = self._claim(outbox)
        outbox.sent(sent, self.now())
        for message in waiting:
            outbox.defer(message, self.now(), "It is away.")
        outbox.forget(["v_1", "v_none"])
        outbox.forget(["v_none"])
        assert outbox.replay_one(self.target, sent.id) == 1
        kept = [json.loads(message.outgoing.body) for message in self._claim(outbox)]
        told_of = [{"link": "a", "visitor_id": None}, {"link": "b", "visitor_id": "v%1"}]
        assert kept == [
            {"clicks": told_of},
            {"lead": "crm/ü", "visitor_ids": ["vx1"]},
            {"score": 1},
        ]

    def test_nothing_is_sent_to_who_is_disabled(self) -> None:
        outbox = self.new_outbox()
        outbox.post([self._told()])
        outbox.disable(self.target, "The receiver answered 410.")
        assert outbox.subscriptions() == []
        assert self._claim(outbox) == []
        assert self.problems(outbox) == {self.target: "The receiver answered 410."}

    @abstractmethod
    def problems(self, outbox: Outbox) -> Mapping[str, str]:
        """Why targets are disabled, by target."""
