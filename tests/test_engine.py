"""The engine's promises beyond what every store must show."""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import reduce
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackflow_core.attribution import BUILTIN_RULES, Attribution, Model, Rule
from trackflow_core.config import Settings
from trackflow_core.engine import Engine
from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.hooks import Hooks, hookimpl
from trackflow_core.model import Click, Context, Deal, DealStatus, Lead
from trackflow_core.testing.facts import ANNA, BEN, LINKS, START, at, click, deal, lead
from trackflow_core.testing.memory import MemoryStore
from trackflow_core.tracking.identity import issue_token, sign_cookie

KEYS = ("key",)
RULES = {rule.name: rule for rule in BUILTIN_RULES}


def new(**settings: object) -> tuple[MemoryStore, Engine]:
    store = MemoryStore(LINKS)
    return store, Engine(store, Hooks(), Settings(keys=KEYS, **settings))


def test_all_deals_are_recomputed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trackflow_core.engine._DEALS_AT_ONCE", 2)
    store = MemoryStore(LINKS)
    engine = Engine(store, Hooks())
    engine.record_click(click("c1", 1))
    engine.process_clicks()
    engine.apply([lead()], [deal(f"crm/deal-{number}") for number in range(5)])
    with_credit = {ref: found.digest for ref, found in store._state.attributions.items()}
    asked = []
    held = store.deals
    monkeypatch.setattr(store, "deals", lambda refs: asked.append(len(refs)) or held(refs))
    assert engine.recompute() == 5
    assert asked == [2, 2, 1]
    assert {ref: found.digest for ref, found in store._state.attributions.items()} == with_credit


def test_one_poisoned_click_does_not_stop_the_batch() -> None:
    store, engine = new()
    store.fail_on = {"c7", "c30"}
    for number in range(50):
        engine.record_click(click(f"c{number}", number))
    drained = engine.process_clicks()
    assert (drained.recorded, drained.rejected) == (48, 2)
    assert set(store.rejections()) == {"c7", "c30"}
    assert len(store.click_events()) == 48


def test_a_token_binds_a_lead_to_its_visitor() -> None:
    store, engine = new()
    token = issue_token(ANNA, KEYS, at(10))
    engine.record_click(click("c1", 1))
    engine.apply_lead(lead(visitor_ids=frozenset(), visitor_token=token))
    summary = store.summary("crm/lead-1")
    assert summary is not None
    assert summary.touch_count == 1


def test_a_forged_token_costs_the_binding_not_the_lead(caplog: pytest.LogCaptureFixture) -> None:
    store, engine = new()
    token = issue_token(ANNA, ("other",), at(10))
    with caplog.at_level(logging.WARNING):
        engine.apply_lead(lead(visitor_ids=frozenset(), visitor_token=token))
    (kept,) = store.leads({"crm/lead-1"})
    assert kept.visitor_ids == frozenset()
    assert "crm/lead-1 is not bound by its token: " in caplog.text
    assert token not in caplog.text
    assert token not in repr(lead(visitor_token=token))


def test_a_cookie_binds_a_lead_and_an_opened_mail_where_nothing_else_does() -> None:
    store, engine = new()
    engine.apply_lead(lead(visitor_ids=frozenset(), visitor_cookie=sign_cookie(BEN, KEYS)))
    mailed = frozenset({ANNA})
    engine.apply_lead(lead("crm/lead-2", visitor_ids=frozenset(), email_visitor_ids=mailed))
    engine.apply_lead(lead("crm/lead-3", visitor_ids=frozenset({BEN}), email_visitor_ids=mailed))
    kept = store.leads({"crm/lead-1", "crm/lead-2", "crm/lead-3"})
    assert [item.visitor_ids for item in kept] == [{BEN}, {ANNA}, {BEN}]
    assert all(not item.visitor_cookie and not item.email_visitor_ids for item in kept)


def test_a_deal_may_choose_its_own_model() -> None:
    store, engine = new(model=Model(RULES["first_touch"]))
    for number in range(2):
        engine.record_click(click(f"c{number}", number))
    engine.apply(leads=[lead()], deals=[deal()])
    store.choose_model("crm/deal-1", Model(RULES["last_touch"]))
    attribution = store.attribution("crm/deal-1")
    assert attribution is not None
    assert [c.value for c in attribution.credits] == [10_000, 0]
    assert engine.recompute({"crm/deal-1"}) == 1
    attribution = store.attribution("crm/deal-1")
    assert attribution is not None
    assert [c.value for c in attribution.credits] == [0, 10_000]


def test_a_rule_that_fails_keeps_nothing_waiting(caplog: pytest.LogCaptureFixture) -> None:
    store, engine = new(model=Model(RULES["first_touch"]))
    engine.apply(
        leads=[lead(), lead("crm/lead-2", visitor_ids=frozenset({BEN}))],
        deals=[deal(), deal("crm/deal-2", lead_ref="crm/lead-2")],
    )
    broken = Rule("broken", "Broken", "", lambda journey: [1 // 0])
    store.choose_model("crm/deal-1", Model(broken))
    for number, visitor in enumerate((ANNA, ANNA, BEN, BEN)):
        engine.record_click(click(f"c{number}", number, visitor_id=visitor))
    assert engine.process_clicks().recorded == 4
    assert "'broken' failed: ZeroDivisionError" in caplog.text
    values = []
    for ref in ("crm/deal-1", "crm/deal-2"):
        attribution = store.attribution(ref)
        assert attribution is not None
        values.append((attribution.model.rule.name, [one.value for one in attribution.credits]))
    assert values == [("linear", [5_000, 5_000]), ("first_touch", [10_000, 0])]


def test_a_milestone_model_is_told_when_the_lead_came_in() -> None:
    store, engine = new(model=Model(RULES["w_shaped"]))
    for number in (1, 4, 8, 11):
        engine.record_click(click(f"c{number}", number))
    engine.apply(leads=[lead(days=5)], deals=[deal()])
    attribution = store.attribution("crm/deal-1")
    assert attribution is not None
    assert attribution.lead_created_at == at(5)
    assert [c.value for c in attribution.credits] == [3000, 3000, 1000, 3000]


def test_plugins_hear_of_committed_attributions_only() -> None:
    heard: list[tuple[Attribution, Context]] = []

    class Listener:
        @hookimpl
        def trackflow_after_deal_attributed(self, attribution: Attribution, ctx: Context) -> None:
            heard.append((attribution, ctx))

    class LateStore(MemoryStore):
        def __init__(self) -> None:
            super().__init__(LINKS)
            self.waiting: list[object] = []

        def after_commit(self, callback: object) -> None:
            self.waiting.append(callback)

    store = LateStore()
    engine = Engine(store, Hooks({"listener": Listener()}), Settings(context=Context("test", "db")))
    engine.apply(leads=[lead()], deals=[deal()])
    assert not heard
    for callback in store.waiting:
        callback()
    ((attribution, ctx),) = heard
    assert (attribution.deal.ref, ctx) == ("crm/deal-1", Context("test", "db"))


def test_a_lead_that_finds_clicks_waiting_also_helps_the_visitors_other_leads() -> None:
    store, engine = new()
    engine.apply(leads=[lead("crm/lead-2", 21)])
    engine.record_click(click("c1", 1))
    engine.apply_lead(lead())
    summary = store.summary("crm/lead-2")
    assert summary is not None
    assert summary.touch_count == 1


def test_who_comes_back_changes_no_lead_and_no_deal(monkeypatch: pytest.MonkeyPatch) -> None:
    store, engine = new()
    won = deal(status=DealStatus.WON, closed_at=at(15))
    engine.record_click(click("c1", 1))
    engine.apply([lead()], [won])
    looked = []
    touches = store.touches
    monkeypatch.setattr(store, "touches", lambda *args: looked.append(args) or touches(*args))
    engine.record_click(click("c2", 15.5))
    engine.process_clicks()
    assert not looked
    engine.record_click(click("c3", 15))
    engine.process_clicks()
    assert looked
    (conversion,) = [one for one in store.conversions() if one.kind == "won"]
    assert conversion.touch is not None
    assert conversion.touch.id == "c3"


def test_who_comes_back_may_help_a_later_deal_of_the_account() -> None:
    store, engine = new(account_journeys=True)
    engine.apply([lead(account="Shop"), lead("crm/lead-2", 20, account="Shop", visitor_ids={BEN})])
    engine.apply(deals=[deal(), deal("crm/deal-2", 30, lead_ref="crm/lead-2", created_at=at(30))])
    engine.record_click(click("c1", 25))
    engine.process_clicks()
    attribution = store.attribution("crm/deal-2")
    assert attribution is not None
    assert [credit.touch and credit.touch.id for credit in attribution.credits] == ["c1"]


def test_clicks_in_other_hands_make_the_lead_stale_until_the_next_run() -> None:
    class BusyStore(MemoryStore):
        busy = True

        def claim_clicks(self, limit: int, visitor_ids: object = None) -> object:
            return () if self.busy else super().claim_clicks(limit, visitor_ids)

    store = BusyStore(LINKS)
    engine = Engine(store, Hooks())
    engine.record_click(click("c1", 1))
    engine.apply_lead(lead())
    summary = store.summary("crm/lead-1")
    assert summary is not None
    assert summary.touch_count == 0
    store.busy = False
    assert engine.process_clicks().refreshed == 1
    summary = store.summary("crm/lead-1")
    assert summary is not None
    assert summary.touch_count == 1


def test_facts_without_a_time_zone_are_refused() -> None:
    naive = START.replace(tzinfo=None)
    with pytest.raises(InvalidEvent, match=r"Click\.occurred_at has no time zone"):
        Click("c", naive, "adsGogl", "https://x.example/")
    with pytest.raises(InvalidEvent, match=r"Deal\.created_at"):
        Deal("d", "e", START, 1, "EUR", created_at=naive)
    with pytest.raises(InvalidEvent, match=r"Lead\.occurred_at"):
        Lead("l", "e", naive)


def test_the_later_fact_wins_whichever_arrived_first() -> None:
    opened, won = deal(days=12), deal(days=20, value=5, status=DealStatus.WON, lead_ref="")
    for merged in (opened.merged_with(won), won.merged_with(opened)):
        assert (merged.value, merged.won_at, merged.began_at) == (5, at(20), at(12))
        assert merged.lead_ref == "crm/lead-1"
    reopened = deal(days=21)
    assert won.merged_with(reopened).won_at is None


TOLD = st.builds(
    deal,
    days=st.sampled_from((12, 13, 20)),
    event_id=st.sampled_from(("a", "b")),
    lead_ref=st.sampled_from(("", "crm/lead-1", "crm/lead-2")),
)


@given(
    st.lists(TOLD, min_size=2, max_size=4, unique_by=lambda fact: (fact.occurred_at, fact.event_id))
)
def test_facts_of_a_deal_say_the_same_in_any_order(facts: list[Deal]) -> None:
    assert len({reduce(Deal.merged_with, order) for order in permutations(facts)}) == 1


def test_a_session_gap_must_have_a_length() -> None:
    with pytest.raises(ConfigError, match="session_gap"):
        Settings(session_gap=timedelta(0))


def test_deals_are_split_from_journeys_that_were_read_for_more_models() -> None:
    store, engine = new()
    for number in (1, 2, 5, 20):
        engine.record_click(click(f"c{number}", number))
    won = deal("crm/deal-2", days=19, created_at=at(3), status=DealStatus.WON)
    engine.apply([lead()], [deal(), won])
    deals = store.deals()
    kept = [store.attribution(one.ref) for one in deals], store.conversions()
    short = Model(RULES["linear"], lookback=timedelta(days=1))
    journeys = engine.journeys(deals, [short, *engine.models_of(deals).values()])
    engine.recompute_from(deals, {})
    assert [store.attribution(one.ref) for one in deals] != kept[0]
    engine.recompute_from(deals, journeys)
    assert ([store.attribution(one.ref) for one in deals], store.conversions()) == kept


def test_what_would_follow_is_told_and_not_kept() -> None:
    store, engine = new()
    for fact in (click("c1", 1), click("c2", 2, "postFbk")):
        engine.record_click(fact)
    engine.apply([lead()], [deal(), deal("crm/deal-2", lead_ref="", value=300)])
    first = Model(RULES["first_touch"])
    deals = store.deals()
    assert [[c.value for c in a.credits] for a in engine.attributions(deals)] == [
        [5000, 5000],
        [300],
    ]
    told = engine.attributions(deals, first)
    assert [[c.value for c in a.credits] for a in told] == [[10_000, 0], [300]]
    held = store.attribution("crm/deal-1")
    assert held is not None and held.model.name == "linear"
    journeys = engine.journeys(deals)
    assert {ref: [t.id for t in touches] for ref, touches in journeys.items()} == {
        "crm/deal-1": ["c1", "c2"],
        "crm/deal-2": [],
    }
    rows = engine.compare(deals, [first, Settings().model]).campaigns
    assert {row.campaign: dict(row.values) for row in rows} == {
        "spring": {"first_touch": 10_000, "linear": 5000},
        "brand": {"first_touch": 0, "linear": 5000},
        None: {"first_touch": 300, "linear": 300},
    }
