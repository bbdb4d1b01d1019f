"""Contract kits for stores: mixins of plain `test_*` methods, for unittest and pytest alike."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

from trackflow_core.config import Settings
from trackflow_core.engine import Engine
from trackflow_core.hooks import Hooks
from trackflow_core.model import Click, DealStatus, Lead, Link
from trackflow_core.ports import Store
from trackflow_core.testing.facts import ANNA, BEN, LINKS, at, click, deal, lead
from trackflow_core.testing.scenarios import SCENARIOS, Fact, Scenario

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
        """The event ids of all recorded clicks, each as often as it is held."""

    @abstractmethod
    def rejected_clicks(self, store: Store) -> dict[str, str]:
        """The reasons of the clicks set aside, by event id."""

    @abstractmethod
    def conversion_of(self, store: Store, ref: str, kind: str) -> int | None:
        """The value of a lead's or deal's conversion of this kind; None when there is none."""

    def settings(self) -> Settings:
        """The settings under which the kit runs its engine."""
        return Settings()

    def new_engine(self, store: Store) -> Engine:
        """An engine without plugins over `store`."""
        return Engine(store, Hooks(), self.settings())

    def deliver(self, engine: Engine, facts: Iterable[Fact]) -> None:
        """Hand facts to the engine one by one, as a host's entry points would."""
        for fact in facts:
            if isinstance(fact, Click):
                engine.record_click(fact)
            elif isinstance(fact, Lead):
                engine.apply_lead(fact)
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
        engine = self.new_engine(store)
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

    def test_atomic_undoes_its_part_only(self) -> None:
        store, _ = self._ready(click("c1", 1))
        try:
            with store.atomic():
                store.append_click(click("c2", 2))
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
