"""Contract kits for stores: mixins of plain `test_*` methods, for unittest and pytest alike."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from trackflow_core.config import Settings
from trackflow_core.engine import Engine
from trackflow_core.hooks import Hooks
from trackflow_core.model import Click, DealStatus, Lead, Link, Tier
from trackflow_core.ports import Store
from trackflow_core.testing.facts import ANNA, BEN, LINKS, at, click, deal, lead, page_view, touch
from trackflow_core.testing.scenarios import SCENARIOS, Contact, Fact, Scenario
from trackflow_core.tracking.sessions import always, day_of

Shares = tuple[tuple[str | None, int], ...]


class HostedStore:
    """What a kit needs to know of a host: how to get an empty store and look into it.

    Subclasses implement these methods; `refs` passed in are those the facts carry.
    """

    @abstractmethod
    def new_store(self, links: Iterable[Link]) -> Store:
        """An empty store that knows `links`, whose codes may be used as they are."""

    @abstractmethod
    def credits_of(self, store: Store, deal_ref: str) -> Shares:
        """The stored credits of a deal: (touch id or None, minor units), in journey order."""

    @abstractmethod
    def digest_of(self, store: Store, deal_ref: str) -> str:
        """The stored digest of a deal's credits."""

    @abstractmethod
    def summary_of(self, store: Store, lead_ref: str) -> tuple[str | None, str | None, int]:
        """What is frozen on a lead: first and last touch id (or None), number of touches."""

    @abstractmethod
    def recorded_clicks(self, store: Store) -> Sequence[str]:
        """The event ids of all recorded clicks and other events, each as often as it is held."""

    @abstractmethod
    def rejected_clicks(self, store: Store) -> dict[str, str]:
        """The reasons of the clicks set aside, by event id."""

    @abstractmethod
    def conversion_of(self, store: Store, ref: str, kind: str) -> int | None:
        """The value of a lead's or deal's conversion of this kind; None when there is none."""

    def settings(self) -> Settings:
        """The settings under which the kit runs its engine."""
        return Settings()

    def new_engine(self, store: Store, **changes: Any) -> Engine:
        """An engine without plugins over `store`; `changes` are to the settings."""
        return Engine(store, Hooks(), replace(self.settings(), **changes))

    def deliver(self, engine: Engine, facts: Iterable[Fact]) -> None:
        """Hand facts to the engine one by one, as a host's entry points would."""
        for fact in facts:
            if isinstance(fact, Click):
                engine.record_click(fact)
            elif isinstance(fact, Lead):
                engine.apply_lead(fact)
            elif isinstance(fact, Contact):
                engine.record_touch(fact.lead_ref, fact.touch)
            else:
                engine.apply_deal(fact)


class ScenarioContract(HostedStore):
    """Every golden scenario, in order, shuffled, duplicated and replayed."""

    shuffles = 4

    def test_golden_scenarios(self) -> None:
        for scenario in SCENARIOS:
            for seed in range(self.shuffles):
                self._run(scenario, self._arrange(scenario, seed), seed)

    def _arrange(self, scenario: Scenario, seed: int) -> list[Fact]:
        """Seed 0: as told; then shuffled, with some facts twice."""
        if seed == 0:
            return list(scenario.facts)
        chance = random.Random(seed)
        facts = [*scenario.facts, *chance.sample(scenario.facts, k=len(scenario.facts) // 2)]
        chance.shuffle(facts)
        return facts

    def _run(self, scenario: Scenario, facts: list[Fact], seed: int) -> None:
        store = self.new_store(scenario.links)
        engine = self.new_engine(store, account_journeys=scenario.account_journeys)
        half = len(facts) // 2 if seed else 0
        self.deliver(engine, facts[:half])
        engine.process_clicks()
        self.deliver(engine, facts[half:])
        while engine.process_clicks().claimed:
            pass
        where = f"{scenario.name!r}, seed {seed}"
        digests = self._check(scenario, store, where)
        self.deliver(engine, facts)
        engine.process_clicks()
        engine.recompute()
        assert self._check(scenario, store, f"{where}, replayed") == digests, where
        expected = sorted(fact.event_id for fact in scenario.facts if isinstance(fact, Click))
        assert sorted(self.recorded_clicks(store)) == expected, where

    def _check(self, scenario: Scenario, store: Store, where: str) -> list[str]:
        for ref, credits in scenario.credits.items():
            found = self.credits_of(store, ref)
            assert found == credits, f"{where}: {ref} has {found}, not {credits}"
        for ref, summary in scenario.summaries.items():
            frozen = self.summary_of(store, ref)
            assert frozen == summary, f"{where}: {ref} has {frozen}, not {summary}"
        return [self.digest_of(store, ref) for ref in scenario.credits]


class StoreContract(ScenarioContract):
    """What the engine relies on in a store, beyond the golden scenarios."""

    def _ready(self, *facts: Fact) -> tuple[Any, Engine]:
        store = self.new_store(LINKS)
        engine = self.new_engine(store)
        self.deliver(engine, facts)
        return store, engine

    def test_a_click_is_recorded_once(self) -> None:
        store, engine = self._ready(click("c1", 1), click("c1", 1))
        assert engine.process_clicks().recorded == 1
        self.deliver(engine, [click("c1", 1)])
        assert engine.process_clicks().recorded == 0
        assert self.recorded_clicks(store) == ["c1"]

    def test_an_unknown_link_is_set_aside_and_the_rest_goes_on(self) -> None:
        store, engine = self._ready(*(click(f"c{n}", n) for n in range(5)), click("x", 2, "gone"))
        drained = engine.process_clicks()
        assert (drained.recorded, drained.rejected) == (5, 1)
        assert "gone" in self.rejected_clicks(store)["x"]
        assert engine.process_clicks().claimed == 0

    def test_claiming_honours_limit_and_visitor(self) -> None:
        store, _ = self._ready(
            *(click(f"c{n}", n) for n in range(3)), click("b", 0, visitor_id=BEN)
        )
        assert [c.event_id for c in store.claim_clicks(2)] == ["b", "c0"]
        assert [c.event_id for c in store.claim_clicks(9, {BEN})] == ["b"]
        assert store.has_queued_clicks({ANNA})
        assert not store.has_queued_clicks({"0" * 32})

    def test_a_claimed_click_comes_back_as_it_was(self) -> None:
        sent = click(
            "c1",
            1.000001,
            ip="203.0.113.0",
            referrer="https://example.org/ü?q=1",
            destination="https://shop.example/offer?a=%20b&b=ü",
            internal=True,
            prefetch=True,
        )
        store, _ = self._ready(sent)
        assert list(store.claim_clicks(1)) == [sent]

    def test_clicks_near_in_time_share_a_session(self) -> None:
        store, engine = self._ready(
            click("c1", 1),
            click("c2", 1, occurred_at=at(1, minutes=29)),
            click("c3", 1, occurred_at=at(1, minutes=70)),
            click("b1", 1, visitor_id=BEN),
        )
        engine.process_clicks()
        self.deliver(engine, [click("c4", 1, occurred_at=at(1, minutes=-5))])
        engine.process_clicks()
        found = sorted(store.sessions({ANNA}), key=lambda session: session.started_at)
        assert [session.hits for session in found] == [3, 1]
        assert (found[0].started_at, found[0].ended_at) == (at(1, minutes=-5), at(1, minutes=29))

    def test_a_late_click_joins_sessions(self) -> None:
        store, engine = self._visits(("c1", 0), ("c3", 50))
        assert self._sessions(store) == [("c1", ["c1"]), ("c3", ["c3"])]
        self._visit(engine, ("c2", 25))
        assert self._sessions(store) == [("c1", ["c1", "c2", "c3"])]
        self._visit(engine, ("c0", -5))
        assert self._sessions(store) == [("c0", ["c0", "c1", "c2", "c3"])]

    def test_a_late_click_of_another_campaign_splits_its_session(self) -> None:
        store, engine = self._visits(("c1", 0), ("c3", 20))
        assert self._sessions(store) == [("c1", ["c1", "c3"])]
        self._visit(engine, ("c2", 10, "postFbk"))
        assert self._sessions(store) == [("c1", ["c1"]), ("c2", ["c2"]), ("c3", ["c3"])]

    def test_midnight_ends_a_session(self) -> None:
        # The kit's days begin at nine in the morning, UTC.
        store, _ = self._visits(("c1", 15 * 60 - 1), ("c2", 15 * 60))
        assert self._sessions(store) == [("c1", ["c1"]), ("c2", ["c2"])]

    def test_sessions_are_the_same_in_any_order_of_arrival(self) -> None:
        told = [("a", 0), ("b", 20), ("c", 45, "postFbk"), ("d", 60), ("e", 120), ("f", 15 * 60)]
        expected = [("a", ["a", "b"]), ("c", ["c"]), ("d", ["d"]), ("e", ["e"]), ("f", ["f"])]
        for seed in range(self.shuffles):
            facts = list(told)
            random.Random(seed).shuffle(facts)
            store, engine = self._ready()
            for fact in facts:
                self._visit(engine, fact)
            assert self._sessions(store) == expected, facts

    def _visits(self, *told: tuple[Any, ...]) -> tuple[Any, Engine]:
        store, engine = self._ready()
        self._visit(engine, *told)
        return store, engine

    def _visit(self, engine: Engine, *told: tuple[Any, ...]) -> None:
        """Clicks of `ANNA` as (event id, minutes, link code), recorded in one run."""
        for name, minutes, *code in told:
            engine.record_click(click(name, 0, *code, occurred_at=at(0, minutes)))
        engine.process_clicks()

    def _sessions(self, store: Store) -> list[tuple[str, list[str]]]:
        """The sessions of `ANNA` with their clicks, after checking what both say of each other."""
        clicks = sorted(store.recorded({always(ANNA)}), key=lambda event: event.click.occurred_at)
        found = []
        for session in sorted(store.sessions({ANNA}), key=lambda session: session.started_at):
            own = [event.click for event in clicks if event.session_id == session.id]
            assert (session.hits, session.is_bounce) == (len(own), len(own) == 1)
            assert session.started_at == own[0].occurred_at
            assert session.ended_at == own[-1].occurred_at
            found.append((session.id, [click.event_id for click in own]))
        return found

    def test_recorded_clicks_come_back_as_they_were(self) -> None:
        sent = click("c1", 1, ip="203.0.113.0", referrer="https://example.org/ü?q=1")
        store, engine = self._ready(sent, click("b1", 1, visitor_id=BEN))
        engine.process_clicks()
        (found,) = store.recorded({day_of(ANNA, at(1))})
        assert (found.click, found.session_id, found.counts) == (sent, "c1", True)
        assert (found.source.campaign, found.source.channel) == ("spring", "Paid Search")
        assert store.recorded({day_of(ANNA, at(2))}) == []

    def test_other_events_come_back_as_they_were(self) -> None:
        sent = page_view("p1", 1, data='{"plan": "größer"}', kind="signup", ip="203.0.113.0")
        store, engine = self._ready(sent)
        engine.process_clicks()
        (found,) = store.recorded({day_of(ANNA, at(1))})
        assert (found.click, found.session_id, found.returns) == (sent, "p1", False)

    def test_a_click_and_the_visit_that_it_opens_are_one_touch(self) -> None:
        landed = "https://shop.example/offer?utm_source=google&utm_campaign=spring"
        store, engine = self._ready(
            page_view("p1", 1, 1, destination=landed), page_view("p2", 1, 2), lead(), deal()
        )
        engine.process_clicks()
        assert self.credits_of(store, "crm/deal-1") == (("p1", 10_000),)
        # The click was there before the page; it is told of later.
        self.deliver(engine, [click("c1", 1)])
        engine.process_clicks()
        assert self._sessions(store) == [("c1", ["c1", "p1", "p2"])]
        assert self.credits_of(store, "crm/deal-1") == (("c1", 10_000),)

    def test_who_comes_back_from_paying_is_no_touch(self) -> None:
        paid = page_view("p1", 1, 60, referrer="https://www.paypal.com/checkout")
        store, engine = self._ready(click("c1", 1), paid, lead(), deal())
        engine.process_clicks()
        assert self._sessions(store) == [("c1", ["c1"]), ("p1", ["p1"])]
        assert self.credits_of(store, "crm/deal-1") == (("c1", 10_000),)

    def test_events_go_where_their_visitor_goes(self) -> None:
        store, engine = self._ready(
            page_view("p1", 1, data='{"a": 1}', ip="203.0.113.0"),
            page_view("p2", 1, 60, visitor_id=BEN),
            lead(),
            deal(),
        )
        engine.process_clicks()
        engine.merge_visitors(ANNA, [BEN])
        assert [name for name, _ in self.credits_of(store, "crm/deal-1")] == ["p1", "p2"]
        self.deliver(engine, [page_view("p3", 2, data='{"a": 1}')])
        engine.withdraw(ANNA)
        assert [waiting.data for waiting in store.claim_clicks(9)] == [""]
        assert store.recorded({always(ANNA)}) == []
        assert self.credits_of(store, "crm/deal-1") == ((None, 10_000),)

    def test_events_of_a_forgotten_visitor_are_gone(self) -> None:
        store, engine = self._ready(page_view("p1", 1), lead(), deal())
        engine.process_clicks()
        self.deliver(engine, [page_view("p2", 2)])
        engine.forget(ANNA)
        engine.process_clicks()
        assert store.recorded({always(ANNA)}) == []
        assert self.credits_of(store, "crm/deal-1") == ((None, 10_000),)

    def test_a_tier_is_kept_with_its_click(self) -> None:
        store, engine = self._ready(
            click("c1", 1, tier=Tier.SESSION),
            click("c2", 2, tier=Tier.AGGREGATE),
            click("c3", 3, tier=Tier.NONE),
        )
        claimed = [(c.event_id, c.tier, c.visitor_id) for c in store.claim_clicks(9)]
        assert claimed == [("c1", Tier.SESSION, ANNA), ("c2", Tier.AGGREGATE, None)]
        engine.process_clicks()
        assert sorted(self.recorded_clicks(store)) == ["c1", "c2"]
        (found,) = store.recorded({always(ANNA)})
        assert found.click.tier is Tier.SESSION

    def test_withdrawing_consent_leaves_counts_only(self) -> None:
        of_ben = click("b0", 1, visitor_id=BEN)
        store, engine = self._ready(click("c1", 1, ip="203.0.113.0"), of_ben, lead(), deal())
        engine.process_clicks()
        self.deliver(engine, [click("c2", 2), click("b1", 3, visitor_id=BEN)])
        engine.withdraw(ANNA)
        engine.process_clicks()
        assert sorted(self.recorded_clicks(store)) == ["b0", "b1", "c1", "c2"]
        assert store.recorded({always(ANNA)}) == []
        assert store.sessions({ANNA}) == []
        assert self.credits_of(store, "crm/deal-1") == ((None, 10_000),)
        left = store.recorded({always(BEN)})
        assert sorted(event.click.event_id for event in left) == ["b0", "b1"]

    def test_merged_visitors_are_one(self) -> None:
        store, engine = self._ready(
            click("c1", 1),
            click("c2", 1, occurred_at=at(1, minutes=20), visitor_id=BEN),
            lead(),
            deal(),
        )
        engine.process_clicks()
        self.deliver(engine, [click("c3", 2, visitor_id=BEN)])
        engine.merge_visitors(ANNA, [BEN])
        engine.process_clicks()
        self.deliver(engine, [click("c4", 3, visitor_id=BEN)])
        engine.process_clicks()
        assert self._sessions(store) == [("c1", ["c1", "c2"]), ("c3", ["c3"]), ("c4", ["c4"])]
        assert [name for name, _ in self.credits_of(store, "crm/deal-1")] == [
            "c1",
            "c2",
            "c3",
            "c4",
        ]
        self.deliver(engine, [lead("crm/lead-2", visitor_ids=frozenset({BEN}))])
        assert self.summary_of(store, "crm/lead-2") == ("c1", "c4", 4)
        assert store.recorded({always(BEN)}) == []

    def test_visitors_may_be_merged_in_steps(self) -> None:
        carl = "c" * 32
        store, engine = self._ready(
            *(
                click(f"c{minutes}", 1, occurred_at=at(1, minutes), visitor_id=visitor)
                for minutes, visitor in ((0, ANNA), (10, BEN), (20, carl))
            ),
            lead(),
            deal(),
        )
        engine.process_clicks()
        engine.merge_visitors(ANNA, [BEN])
        # Told again, and the other way round, it is nothing new.
        engine.merge_visitors(BEN, [ANNA])
        engine.merge_visitors(BEN, [carl])
        assert self._sessions(store) == [("c0", ["c0", "c10", "c20"])]
        assert len(self.credits_of(store, "crm/deal-1")) == 3

    def test_any_id_of_a_merged_visitor_withdraws_its_consent(self) -> None:
        store, engine = self._merged()
        engine.withdraw(BEN)
        engine.process_clicks()
        assert sorted(self.recorded_clicks(store)) == ["c1", "c2", "c3"]
        assert store.recorded({always(ANNA), always(BEN)}) == []
        assert store.sessions({ANNA, BEN}) == []
        assert self.credits_of(store, "crm/deal-1") == ((None, 10_000),)

    def test_any_id_of_a_merged_visitor_erases_it(self) -> None:
        store, engine = self._merged()
        engine.forget(BEN)
        engine.process_clicks()
        assert self.recorded_clicks(store) == []
        assert store.sessions({ANNA, BEN}) == []
        assert self.credits_of(store, "crm/deal-1") == ((None, 10_000),)

    def test_forgetting_tells_every_id_of_the_visitor(self) -> None:
        store, _engine = self._merged()
        assert {*store.forget(BEN)} == {ANNA, BEN}

    def _merged(self) -> tuple[Store, Engine]:
        """A visitor of two ids, whose browser still tells the one that was given up."""
        store, engine = self._ready(click("c1", 1), click("c2", 2, visitor_id=BEN), lead(), deal())
        engine.process_clicks()
        engine.merge_visitors(ANNA, [BEN])
        self.deliver(engine, [click("c3", 3, visitor_id=BEN)])
        return store, engine

    def test_a_deal_told_twice_at_once_is_split_once(self) -> None:
        store, engine = self._ready(click("c1", 1), lead())
        won = deal(days=13, value=20_000, status=DealStatus.WON, closed_at=at(13))
        engine.apply(deals=[deal(), won])
        assert [*self.credits_of(store, "crm/deal-1")] == [("c1", 20_000)]
        assert self.conversion_of(store, "crm/deal-1", "won") == 20_000

    def test_a_touch_told_again_replaces_itself(self) -> None:
        store, engine = self._ready(lead(), deal())
        engine.record_touch("crm/lead-1", touch("call", 3, "Call", kind="call"))
        engine.record_touch("crm/lead-1", touch("call", 13, "Call", kind="call"))
        assert self.credits_of(store, "crm/deal-1") == ((None, 10_000),)
        engine.record_touch("crm/lead-1", touch("call", 4, "Call", kind="call"))
        assert self.credits_of(store, "crm/deal-1") == (("call", 10_000),)

    def test_merged_leads_keep_their_touches(self) -> None:
        store, engine = self._ready(
            Contact("crm/lead-2", touch("call", 3, "Call", kind="call")),
            lead(),
            lead("crm/lead-2", visitor_ids=frozenset()),
            deal(),
        )
        self.merge(engine, "crm/lead-1", ["crm/lead-2"])
        assert self.credits_of(store, "crm/deal-1") == (("call", 10_000),)
        engine.record_touch("crm/lead-2", touch("meeting", 4, "Meeting", kind="meeting"))
        assert self.credits_of(store, "crm/deal-1") == (("call", 5000), ("meeting", 5000))

    def test_what_matters_of_a_span_is_never_left_out(self) -> None:
        store, _ = self._ready(
            *(click(f"c{days}", days) for days in (1, 3, 5, 7)),
            # At the same moment, the greater id is the later touch.
            click("c4", 3),
            click("ben", 2, visitor_id=BEN),
            lead(visitor_ids=frozenset({ANNA, BEN})),
        )
        for since, until, needed in (
            (0, 9, {"c1", "ben", "c3", "c4", "c5", "c7"}),
            (3, 9, {"ben", "c3", "c4", "c5", "c7"}),
            (3, 5, {"ben", "c3", "c4", "c5"}),
            (4, 4, {"c4"}),
            (4, 9, {"c4", "c5", "c7"}),
            (7, 7, {"c5", "c7"}),
            (9, 9, {"c7"}),
        ):
            span = (at(since), at(until))
            found = store.touches(["crm/lead-1"], {"crm/lead-1": span})["crm/lead-1"]
            assert needed <= {one.id for one in found}
        whole = store.touches(["crm/lead-1"], {})["crm/lead-1"]
        assert len(whole) == 6

    def test_the_last_touch_of_a_won_deal_may_lie_before_the_window(self) -> None:
        won = deal(days=200, created_at=at(199), value=250, status=DealStatus.WON)
        store, engine = self._ready(click("c1", 1), lead(), won)
        engine.recompute()
        assert self.credits_of(store, "crm/deal-1") == ((None, 250),)
        assert self.conversion_of(store, "crm/deal-1", "won") == 250

    def test_an_account_is_its_other_leads(self) -> None:
        store, _ = self._ready(
            lead(account="crm/acme"),
            lead("crm/lead-2", account="crm/acme"),
            lead("crm/lead-3", account="crm/other"),
            lead("crm/lead-4"),
            lead("crm/lead-5"),
        )
        refs = [f"crm/lead-{number}" for number in (1, 2, 3, 4)]
        one, two, three, four = (held.ref for ref in refs for held in store.leads({ref}))
        found = store.account_leads({one, two, three, four})
        assert {ref: set(found.get(ref, ())) for ref in (one, two, three, four)} == {
            one: {two},
            two: {one},
            three: set(),
            four: set(),
        }

    def test_atomic_undoes_its_part_only(self) -> None:
        store, _ = self._ready(click("c1", 1))
        try:
            with store.atomic():
                store.append_clicks([click("c2", 2)])
                raise LookupError
        except LookupError:
            pass
        assert [c.event_id for c in store.claim_clicks(9)] == ["c1"]

    def test_of_what_is_atomic_within_each_other_the_outer_undoes_all(self) -> None:
        store, _ = self._ready(click("c1", 1))
        try:
            with store.atomic():
                store.append_clicks([click("c2", 2)])
                for code, refused in (("c3", True), ("c4", False)):
                    try:
                        with store.atomic():
                            store.append_clicks([click(code, 3)])
                            if refused:
                                raise LookupError(code)
                    except LookupError:
                        pass
                raise LookupError
        except LookupError:
            pass
        assert [c.event_id for c in store.claim_clicks(9)] == ["c1"]

    def test_after_commit_waits_for_nothing_but_the_commit(self) -> None:
        store, _ = self._ready()
        heard: list[str] = []
        store.after_commit(lambda: heard.append("committed"))
        self.commit(store)
        assert heard == ["committed"]

    def commit(self, store: Store) -> None:
        """Commit the host's transaction, where the store does not at once."""

    def test_stale_leads_are_taken_once(self) -> None:
        store, _ = self._ready(lead(), lead("crm/lead-2"))
        refs = {held.ref for held in store.leads({"crm/lead-1"})}
        store.mark_stale(refs)
        assert set(store.take_stale(10)) == refs
        assert set(store.take_stale(10)) == set()

    def test_a_late_click_reaches_lead_and_deal(self) -> None:
        store, engine = self._ready(lead(), deal())
        assert self.credits_of(store, "crm/deal-1") == ((None, 10_000),)
        self.deliver(engine, [click("c1", 1)])
        engine.process_clicks()
        assert self.credits_of(store, "crm/deal-1") == (("c1", 10_000),)
        assert self.summary_of(store, "crm/lead-1") == ("c1", "c1", 1)

    def test_waiting_clicks_are_in_the_lead_at_once(self) -> None:
        store, _ = self._ready(click("c1", 1), lead())
        assert self.summary_of(store, "crm/lead-1") == ("c1", "c1", 1)

    def test_all_deals_are_told_by_ref(self) -> None:
        store, engine = self._ready(lead(), deal(), deal("crm/deal-2"))
        refs = store.deal_refs()
        assert {item.ref for item in store.deals(refs)} == {"crm/deal-1", "crm/deal-2"}
        assert store.deal_refs() == refs
        assert engine.recompute() == len(refs)

    def test_conversions_follow_the_deal(self) -> None:
        won = deal(days=20, value=250, status=DealStatus.WON)
        store, engine = self._ready(click("c1", 1), lead(), deal(), won)
        assert self.conversion_of(store, "crm/lead-1", "lead") == 0
        assert self.conversion_of(store, "crm/deal-1", "won") == 250
        self.deliver(engine, [deal(days=21, value=250)])
        assert self.conversion_of(store, "crm/deal-1", "won") is None
        assert self.conversion_of(store, "crm/lead-1", "lead") == 0

    def test_merged_leads_share_their_journey(self) -> None:
        store, engine = self._ready(
            click("c1", 1),
            click("c2", 2, visitor_id=BEN),
            lead(),
            lead("crm/lead-2", visitor_ids=frozenset({BEN})),
            deal(),
            deal("crm/deal-2", lead_ref="crm/lead-2"),
        )
        engine.process_clicks()
        self.merge(engine, "crm/lead-1", ["crm/lead-2"])
        both = (("c1", 5000), ("c2", 5000))
        assert self.credits_of(store, "crm/deal-1") == both
        assert self.summary_of(store, "crm/lead-1") == ("c1", "c2", 2)

    def merge(self, engine: Engine, winner: str, losers: list[str]) -> None:
        """Merge leads as the host does it."""
        engine.merge_leads(winner, losers)

    def test_forgetting_a_visitor_leaves_no_touch(self) -> None:
        store, engine = self._ready(click("c1", 1), lead(), deal())
        engine.process_clicks()
        self.deliver(engine, [click("c2", 2)])
        engine.forget(ANNA)
        engine.process_clicks()
        assert self.recorded_clicks(store) == []
        assert store.sessions({ANNA}) == []
        assert self.credits_of(store, "crm/deal-1") == ((None, 10_000),)
