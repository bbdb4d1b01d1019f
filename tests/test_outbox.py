"""What must leave is posted with the facts, sent once, and never lost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta, timezone

import pytest
from standardwebhooks import Webhook

from trackflow_core.attribution import BUILTIN_RULES, Fit, Model, Rule, attribute
from trackflow_core.attribution.receipts import check
from trackflow_core.connectors import WriteBack
from trackflow_core.engine import Engine
from trackflow_core.errors import ConfigError, RetriableError, TerminalError
from trackflow_core.hooks import Hooks, hookimpl
from trackflow_core.model import Context, DealStatus, Message, Outgoing, Subscription
from trackflow_core.outbox import (
    EVENTS,
    SCHEDULE,
    WRITE_BACKS,
    Answer,
    Courier,
    Delivered,
    Endpoint,
    WebhookSender,
    WriteBackSender,
    of_facts,
    of_record,
    signed,
    trial,
    wait,
)
from trackflow_core.testing import MemoryOutbox, MemoryStore, OutboxContract
from trackflow_core.testing.facts import ANNA, BEN, LINKS, at, click, deal, lead, page_view

ALL = Subscription("webhook/all", frozenset(EVENTS))
CRM = Subscription("connector/crm", WRITE_BACKS, namespace="crm", latest=True)
OTHER = Subscription("connector/other", WRITE_BACKS, namespace="other", latest=True)


class TestMemoryOutbox(OutboxContract):
    def new_outbox(self) -> MemoryOutbox:
        return MemoryOutbox(at, [Subscription(self.target, frozenset(EVENTS))])

    def now(self) -> datetime:
        return at()

    def state_of(self, outbox: MemoryOutbox, message: Message) -> tuple[str, str]:  # type: ignore[override]
        found = [held for held in outbox.held if held.message.id == message.id]
        return (found[0].state, found[0].reason) if found else ("", "")

    def problems(self, outbox: MemoryOutbox) -> Mapping[str, str]:  # type: ignore[override]
        return outbox.disabled


def told(outbox: MemoryOutbox, target: str) -> list[tuple[str, str]]:
    messages = [held.message.outgoing for held in outbox.held]
    return [(one.event, one.ref) for one in messages if one.target == target]


def engine_with(*wanted: Subscription) -> tuple[Engine, MemoryOutbox]:
    outbox = MemoryOutbox(at, wanted)
    return Engine(MemoryStore(LINKS), Hooks(), outbox=outbox), outbox


def test_the_engine_posts_what_subscribers_want() -> None:
    engine, outbox = engine_with(ALL, CRM, OTHER)
    engine.record_events([click("c1", 1), page_view("p1", 1, 1), click("bot", 2, user_agent="bot")])
    engine.apply([lead()], [deal(status=DealStatus.WON)])
    assert told(outbox, "webhook/all") == [
        ("click.recorded", ""),
        ("lead.attributed", "crm/lead-1"),
        ("conversion.recorded", "crm/lead-1"),
        ("conversion.recorded", "crm/deal-1"),
        ("deal.attributed", "crm/deal-1"),
    ]
    assert told(outbox, "connector/crm") == [
        ("lead.attributed", "crm/lead-1"),
        ("deal.attributed", "crm/deal-1"),
    ]
    assert told(outbox, "connector/other") == []
    bodies = [json.loads(held.message.outgoing.body) for held in outbox.held]
    assert [one["id"] for one in bodies[0]["clicks"]] == ["c1"]
    assert bodies[-2]["credits"][0]["value"] == 10_000
    back = WriteBack.from_json(bodies[-1])
    assert (back.kind, back.ref, back.touch_count) == ("deal", "crm/deal-1", 1)


def test_moments_are_told_as_the_api_tells_them() -> None:
    engine, outbox = engine_with(ALL)
    engine.record_click(click("c1", 1))
    engine.apply([lead()], [deal(status=DealStatus.WON)])
    bodies = [held.message.outgoing.body for held in outbox.held]
    assert all('"occurred_at":"2026-' in body for body in bodies)
    assert "+00:00" not in "".join(bodies)


def test_moments_of_milestones_and_fits_are_told_so_too() -> None:
    known = {rule.name: rule for rule in BUILTIN_RULES}
    learned = Rule(
        "learned", "", "", lambda journey: [1] * len(journey.touches), learn=lambda *_: fit
    )
    fit = Fit("learned", at(1), {"Email": 1})
    won = deal(status=DealStatus.WON)
    for model in (Model(known["full_path"]), Model(learned, fit=fit)):
        told = attribute([], won, model)
        [sent] = of_facts([ALL], attributions=[told])
        assert "+00:00" not in sent.body
        rules = {model.rule.name: model.rule}
        assert check(json.loads(sent.body), rules) == []


def test_what_did_not_change_is_not_told_again() -> None:
    engine, outbox = engine_with(ALL)
    engine.apply([lead()], [deal()])
    before = len(outbox.held)
    engine.apply([lead()], [deal()])
    engine.recompute()
    assert len(outbox.held) == before


def test_a_crm_is_told_of_leads_whom_touches_led_there_and_when_that_is_taken_back() -> None:
    engine, outbox = engine_with(ALL, CRM)
    engine.record_click(click("c1", 1))
    engine.apply([lead(), lead("crm/lead-2", visitor_ids=frozenset())])
    assert ("lead.attributed", "crm/lead-2") in told(outbox, "webhook/all")
    assert told(outbox, "connector/crm") == [("lead.attributed", "crm/lead-1")]
    for held in outbox.held:
        held.state = "sent"
    engine.forget(ANNA)
    *_, back = [held for held in outbox.held if held.message.outgoing.target == "connector/crm"]
    assert WriteBack.from_json(json.loads(back.message.outgoing.body)) == WriteBack(
        "crm/lead-1", "lead"
    )
    before = len(told(outbox, "connector/crm"))
    engine.apply([lead(visitor_ids=frozenset())])
    assert len(told(outbox, "connector/crm")) == before


def test_clicks_are_told_in_batches() -> None:
    engine, outbox = engine_with(ALL)
    engine.record_events([click(f"c{n}", n / 100) for n in range(201)])
    engine.process_clicks()
    sizes = [len(json.loads(held.message.outgoing.body)["clicks"]) for held in outbox.held]
    assert sizes == [100, 100, 1]


def test_nobody_is_told_of_a_person() -> None:
    engine, outbox = engine_with(ALL)
    engine.record_click(click("c1", 1, ip="203.0.113.0"))
    engine.apply([lead(email="anna@example.com", name="Anna", phone="+49 30 1")], [deal()])
    whole = "".join(held.message.outgoing.body for held in outbox.held)
    for secret in ("anna@", "Anna", "+49", "203.0.113", "Mozilla"):
        assert secret not in whole


def test_nobody_is_told_of_a_forgotten_visitor() -> None:
    engine, outbox = engine_with(ALL)
    engine.record_click(click("c1", 1))
    engine.record_click(click("c2", 2, visitor_id=BEN))
    engine.process_clicks()
    engine.merge_visitors(ANNA, [BEN])
    engine.apply_lead(lead())
    told_before = [held.message.outgoing.body for held in outbox.held]
    assert any(ANNA in body for body in told_before) and any(BEN in body for body in told_before)
    engine.forget(ANNA)
    assert not [held for held in outbox.held if ANNA in held.message.outgoing.body]
    assert not [held for held in outbox.held if BEN in held.message.outgoing.body]


def test_records_of_the_api_are_told() -> None:
    [link] = of_record([ALL, CRM], "link.created", "adsGogl", lambda: {"code": "adsGogl"})
    assert (link.target, link.ref, link.body) == ("webhook/all", "adsGogl", '{"code":"adsGogl"}')


def test_what_nobody_wants_is_not_made() -> None:
    assert not of_record([CRM], "link.created", "adsGogl", lambda: pytest.fail("made for nobody"))


class Script:
    """A sender that fails as it is told to."""

    def __init__(self, *errors: Exception | None) -> None:
        self.errors = list(errors)
        self.seen: list[str] = []

    def __call__(self, message: Message, now: datetime) -> None:
        self.seen.append(message.id)
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error


class Desk:
    """A courier over a memory outbox with a scripted sender; commits are counted."""

    def __init__(self, sender: Script, messages: Iterable[Outgoing], hooks: Hooks | None = None):
        self.now, self.commits = at(), 0
        self.outbox = MemoryOutbox(lambda: self.now, [ALL, CRM])
        self.outbox.post([*messages])
        senders = {"webhook": sender, "connector": sender}
        self.courier = Courier(
            self.outbox,
            senders,
            self.commit,
            lambda: self.now,
            hooks or Hooks(),
            Context(tenant="shop"),
        )

    def commit(self) -> None:
        self.commits += 1


def message(target: str = "webhook/all", number: int = 1) -> Outgoing:
    return Outgoing(target, "deal.attributed", f"crm/{number}", "{}")


def test_one_failure_does_not_hold_up_the_others() -> None:
    sender = Script(RetriableError("Busy."), TerminalError("No such record."), KeyError("x"), None)
    desk = Desk(sender, [message(number=n) for n in range(4)])
    assert desk.courier.deliver() == Delivered(sent=1, deferred=2, buried=1)
    assert desk.commits == 5
    assert [(held.state, held.reason) for held in desk.outbox.held] == [
        ("waiting", "Busy."),
        ("dead", "No such record."),
        ("waiting", "An error of TrackFlow (KeyError); the log has it."),
        ("sent", ""),
    ]


def test_a_setting_to_be_changed_is_waited_for() -> None:
    desk = Desk(Script(ConfigError("Renew the credentials.")), [message()])
    assert desk.courier.deliver() == Delivered(deferred=1)
    desk.now += timedelta(seconds=6)
    assert desk.courier.deliver() == Delivered(sent=1)


def test_a_target_that_took_something_meanwhile_stays() -> None:
    desk = Desk(Script(*[RetriableError("Busy.")] * 9), [message()])
    for step in SCHEDULE:
        desk.courier.deliver(1)
        desk.now += step * 1.3
    desk.outbox.post([message(number=2)])
    desk.outbox.held[-1].state, desk.outbox.held[-1].sent_at = "sent", desk.now
    assert desk.courier.deliver() == Delivered(buried=1)
    assert desk.outbox.disabled == {}


def test_plugins_hear_of_write_backs_that_fail() -> None:
    heard: list[tuple[str, str, bool, str]] = []

    class Plugin:
        @hookimpl
        def trackflow_on_writeback_error(
            self, message: Message, reason: str, final: bool, ctx: Context
        ) -> None:
            heard.append((message.outgoing.target, reason, final, ctx.tenant))

    sender = Script(RetriableError("Busy."), TerminalError("Gone."), TerminalError("Not told."))
    messages = [message("connector/crm"), message("connector/crm", 2), message()]
    Desk(sender, messages, Hooks({"mine": Plugin()})).courier.deliver()
    assert heard == [
        ("connector/crm", "Busy.", False, "shop"),
        ("connector/crm", "Gone.", True, "shop"),
    ]


def test_a_write_back_reaches_its_connection() -> None:
    engine, outbox = engine_with(CRM)
    engine.apply([lead()])
    written: list[WriteBack] = []

    class Connection:
        def write_back(self, told: WriteBack) -> None:
            written.append(told)

    sender = WriteBackSender({"crm": Connection()}.get)
    [held] = outbox.held
    sender(held.message, at())
    assert [one.ref for one in written] == ["crm/lead-1"]
    with pytest.raises(TerminalError, match="deleted"):
        WriteBackSender({}.get)(held.message, at())


def test_the_vector_of_standard_webhooks() -> None:
    moment = datetime.fromisoformat("2021-02-25T15:02:10+00:00")
    sent = signed(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        moment.astimezone(),
        '{"test": 2432232314}',
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )
    assert sent["webhook-timestamp"] == "1614265330"
    assert sent["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_signed_body_tells_its_moment_in_the_form_of_the_api() -> None:
    secret, sent = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", list[tuple[dict[str, str], bytes]]()

    def post(url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        sent.append((dict(headers), body))
        return Answer(200, {})

    now = datetime.now(timezone.utc)
    sender = WebhookSender(lambda _: Endpoint("https://a.example", [secret]), post)
    sender(Message("msg_1", trial("webhook/1"), at()), now)
    [(headers, body)] = sent
    assert Webhook(secret).verify(body, headers)["timestamp"] == "2026-03-02T09:00:00Z"


def answering(status: int, **headers: str) -> Callable[..., Answer]:
    return lambda url, sent, body: Answer(status, headers)


@pytest.mark.parametrize(
    ("status", "error"), [(200, None), (204, None), (302, RetriableError), (404, RetriableError)]
)
def test_what_an_answer_means(status: int, error: type[Exception] | None) -> None:
    sender = WebhookSender(
        lambda _: Endpoint("https://a.example", ["whsec_aaaa"]), answering(status)
    )
    held = Message("msg_1", trial("webhook/1"), at())
    if error is None:
        sender(held, at())
    else:
        with pytest.raises(error):
            sender(held, at())


def test_waits_follow_the_schedule_and_the_receiver() -> None:
    for attempts, planned in enumerate(SCHEDULE):
        held = Message("msg_1", message(), at(), attempts)
        assert planned <= wait(held) <= planned * 1.2
        assert wait(held, 1e9) == max(timedelta(days=1), wait(held))
    spread = {wait(Message(f"msg_{n}", message(), at())) for n in range(50)}
    assert len(spread) > 20


def test_secrets_do_not_show() -> None:
    assert "whsec" not in repr(Endpoint("https://a.example", ["whsec_aaaa"]))
