"""A receipt can be checked: it is the same for the same inputs and changes with any of them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from trackflow_core.attribution import (
    BUILTIN_RULES,
    ChannelRule,
    Model,
    Rule,
    Splitting,
    attribute,
)
from trackflow_core.model import DealStatus, Touch
from trackflow_core.testing.facts import at, deal, touch

RULES = {rule.name: rule for rule in BUILTIN_RULES}
LINEAR = Model(RULES["linear"])
W_SHAPED = Model(RULES["w_shaped"])
DOUBLED = Model(RULES["linear"], channel_rules=(ChannelRule(Decimal(2), channel="Email"),))
JOURNEY = (
    touch("c1", 1, source="google", medium="cpc", campaign="spring"),
    touch("c2", 4, "Email", source="newsletter", medium="email"),
    touch("c3", 9, "Direct"),
)


def test_the_digest_is_pinned() -> None:
    """Receipts kept for years are compared by digest: this value must never change."""
    assert attribute(JOURNEY, deal(), LINEAR).digest == (
        "982dc1824938036fcca9fdb6a7be6f47a151ba53d7884873da07545d91cfd897"
    )


def test_the_digest_changes_with_every_input() -> None:
    before = attribute(JOURNEY, deal(), LINEAR).digest
    others = [
        attribute(JOURNEY, deal(value=10_001), LINEAR),
        attribute(JOURNEY, deal(currency="USD"), LINEAR),
        attribute(JOURNEY, deal(created_at=at(11)), LINEAR),
        attribute(JOURNEY[:2], deal(), LINEAR),
        attribute((*JOURNEY[:2], replace(JOURNEY[2], channel="SMS")), deal(), LINEAR),
        attribute(JOURNEY, deal(), Model(RULES["last_touch"])),
        attribute(JOURNEY, deal(), Model(replace(RULES["linear"], version="2"))),
        attribute(JOURNEY, deal(), Model(RULES["linear"], lookback=timedelta(days=30))),
        attribute(JOURNEY, deal(), Model(RULES["time_decay"])),
        attribute(JOURNEY, deal(), Model(RULES["time_decay"], {"half_life_days": Decimal(8)})),
        attribute((*JOURNEY[:2], replace(JOURNEY[2], kind="call")), deal(), LINEAR),
        attribute(JOURNEY, deal(), DOUBLED),
        attribute(JOURNEY, deal(), replace(DOUBLED, channel_rules=DOUBLED.channel_rules * 2)),
        attribute(JOURNEY, deal(), W_SHAPED),
        attribute(JOURNEY, deal(), W_SHAPED, lead_created_at=at(3)),
        attribute(JOURNEY, deal(days=20, status=DealStatus.LOST), W_SHAPED),
    ]
    digests = {before, *(other.digest for other in others)}
    assert len(digests) == len(others) + 1


def test_the_digest_ignores_what_does_not_bear_on_the_result() -> None:
    before = attribute(JOURNEY, deal(), LINEAR).digest
    assert attribute(JOURNEY, deal(), LINEAR, lead_created_at=at(3)).digest == before
    lost = deal(days=20, status=DealStatus.LOST)
    assert attribute(JOURNEY, lost, LINEAR).digest == before


def test_the_receipt_is_plain_json() -> None:
    call = touch("call", 8, "Sales", kind="call")
    model = replace(W_SHAPED, name="Board", channel_rules=DOUBLED.channel_rules)
    found = attribute((*JOURNEY, call), deal(), model, lead_created_at=at(5))
    receipt = found.receipt()
    assert json.loads(json.dumps(receipt)) == receipt
    assert (receipt["model"], receipt["rule"], receipt["rule_version"]) == (
        "Board",
        "w_shaped",
        "1",
    )
    assert (receipt["value"], receipt["sum"], receipt["digest"]) == (10_000, 10_000, found.digest)
    assert receipt["milestones"] == {
        "lead_created": "2026-03-07T09:00:00+00:00",
        "deal_created": "2026-03-14T09:00:00+00:00",
        "deal_closed": None,
    }
    assert [credit["kind"] for credit in receipt["credits"]] == ["click", "click", "call", "click"]
    assert receipt["channel_rules"][0]["weight"] == "2"
    unattributed = attribute((), deal(), LINEAR).receipt()
    assert unattributed["milestones"] is None
    assert unattributed["credits"][0]["touch"] is None


def test_explain_shows_what_a_custom_model_looked_at() -> None:
    call = touch("call", 8, "Sales", kind="call")
    everything = ChannelRule(Decimal("0.5"), priority=-1)
    model = replace(W_SHAPED, channel_rules=(*DOUBLED.channel_rules, everything))
    lines = attribute((call,), deal(), model).explain().splitlines()
    assert "Times 2 for channel Email (0)" in lines
    assert "Times 0.5 for every touch (-1)" in lines
    assert "Lead created -" in lines
    assert "Deal created 2026-03-14T09:00:00+00:00" in lines
    assert any("call: Sales (- / - / -)" in line for line in lines)


def test_explain_is_a_receipt() -> None:
    text = attribute(JOURNEY, deal(), LINEAR).explain()
    lines = text.splitlines()
    assert lines[0] == "Deal crm/deal-1: 100.00 EUR"
    assert lines[1] == "Rule linear v1"
    assert lines[2] == "Window 90 days before 2026-03-14T09:00:00+00:00 (deal created)"
    assert "33.34" in lines[5]
    assert "Paid Search (google / cpc / spring)" in lines[5]
    assert "Direct (- / - / -)" in lines[7]
    assert "Sum 100.00 EUR" in lines
    assert "Unattributed" in attribute((), deal(), LINEAR).explain()
    decay = attribute(JOURNEY, deal(), Model(RULES["time_decay"])).explain()
    assert "Rule time_decay v1 (half_life_days=7)" in decay


journeys = st.lists(
    st.builds(
        lambda number, minutes: touch(f"t{number}", 0, occurred_at=at(0, minutes)),
        st.integers(0, 30),
        st.integers(-150_000, 20_000),
    ),
    max_size=15,
    unique_by=lambda item: item.id,
)


@given(journeys, st.integers(-(10**9), 10**9), st.sampled_from(BUILTIN_RULES), st.randoms())
def test_order_of_rows_changes_nothing_and_no_cent_is_lost(
    touches: list[Touch], value: int, rule: object, chance: object
) -> None:
    model = Model(rule)
    told = attribute(touches, deal(value=value), model)
    shuffled = [*touches, *touches]
    chance.shuffle(shuffled)
    again = attribute(shuffled, deal(value=value), model)
    assert again.credits == told.credits
    assert again.digest == told.digest
    assert sum(credit.value for credit in told.credits) == value
    if value > 0:
        assert all(credit.value >= 0 for credit in told.credits)
    keys = [credit.touch.order_key for credit in told.credits if credit.touch]
    assert keys == sorted(keys)


@given(
    journeys,
    st.none() | st.integers(-150_000, 20_000),
    st.sampled_from(BUILTIN_RULES),
    st.integers(0, 120),
    st.sampled_from(["created", "won"]),
)
def test_credits_are_those_of_the_window_and_of_nothing_else(
    touches: list[Touch], lead_minutes: int | None, rule: Rule, days: int, anchor: str
) -> None:
    won = deal(days=14, status=DealStatus.WON)
    model = Model(rule, lookback=timedelta(days=days), anchor=anchor)
    lead_created_at = None if lead_minutes is None else at(0, lead_minutes)
    told = attribute(touches, won, model, lead_created_at=lead_created_at)
    start = told.anchor - model.lookback
    inside = [item for item in touches if start <= item.occurred_at <= told.anchor]
    credited = [credit.touch for credit in told.credits if credit.touch]
    assert credited == sorted(inside, key=lambda item: item.order_key)
    assert sum(credit.value for credit in told.credits) == won.value
    assert abs(sum(credit.weight for credit in told.credits) - 1) < 1e-9
    alone = attribute(inside, won, model, lead_created_at=lead_created_at)
    assert (alone.credits, alone.digest) == (told.credits, told.digest)


@settings(max_examples=50, deadline=None)
@given(journeys, st.none() | st.integers(-150_000, 20_000), st.integers(-(10**6), 10**6))
def test_many_models_split_a_deal_as_each_does_alone(
    touches: list[Touch], lead_minutes: int | None, value: int
) -> None:
    won = deal(days=14, status=DealStatus.WON, value=value)
    lead_created_at = None if lead_minutes is None else at(0, lead_minutes)
    splitting = Splitting(touches, won, lead_created_at)
    for model in (
        *(Model(rule, anchor=anchor) for rule in BUILTIN_RULES for anchor in ("created", "won")),
        Model(RULES["linear"], lookback=timedelta(days=20)),
        DOUBLED,
    ):
        alone = attribute(touches, won, model, lead_created_at=lead_created_at)
        told = splitting.attribute(model)
        assert (told.credits, told.digest) == (alone.credits, alone.digest)
        parts = [(credit.touch, credit.value) for credit in alone.credits]
        assert list(splitting.parts(model)) == parts
