"""Models side by side: what each campaign earned, and how much they disagree."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackflow_core.attribution import BUILTIN_RULES, Fit, Journey, Model, Rule, compare
from trackflow_core.errors import ConfigError
from trackflow_core.testing.facts import at, deal, touch

RULES = {rule.name: rule for rule in BUILTIN_RULES}
FIRST, LAST, LINEAR = (Model(RULES[name]) for name in ("first_touch", "last_touch", "linear"))
JOURNEY = [
    touch("c1", 1, campaign="spring"),
    touch("c2", 2, campaign="brand"),
    touch("c3", 3, campaign=""),
]


def test_every_campaign_has_its_revenue_range_and_rank() -> None:
    unbound = deal("crm/deal-2", value=500, lead_ref="")
    found = compare({"crm/lead-1": JOURNEY}, [deal(), unbound], [FIRST, LAST, LINEAR])
    assert found.models == ("first_touch", "last_touch", "linear")
    rows = {row.campaign: row for row in found.campaigns}
    assert dict(rows["spring"].values) == {"first_touch": 10_000, "last_touch": 0, "linear": 3334}
    assert dict(rows["spring"].ranks) == {"first_touch": 1, "last_touch": 3, "linear": 1}
    assert (rows["spring"].spread, rows["spring"].rank_spread) == (10_000, 2)
    # Equal revenue, equal rank.
    assert dict(rows["brand"].ranks) == {"first_touch": 3, "last_touch": 3, "linear": 2}
    assert rows[None].ranks["linear"] == 4
    assert rows[None].spread == 0
    assert [row.campaign for row in found.campaigns] == ["", "spring", "brand", None]


def test_the_comparison_reads_as_a_table_and_as_json() -> None:
    found = compare({"crm/lead-1": JOURNEY}, [deal(), deal("d", lead_ref="")], [FIRST, LINEAR])
    lines = found.explain().splitlines()
    assert lines[0].split() == [
        "Campaign",
        "Currency",
        "first_touch",
        "linear",
        "Spread",
        "Ranks",
        "apart",
    ]
    assert lines[1].split() == ["spring", "EUR", "100.00", "#1", "33.34", "#2", "66.66", "1"]
    assert any(line.startswith("(no campaign)") for line in lines)
    assert lines[-1].startswith("Unattributed")
    receipt = found.receipt()
    assert json.loads(json.dumps(receipt)) == receipt
    assert receipt["campaigns"][0]["spread"] == 6666
    assert compare({}, [], [FIRST]).explain().startswith("Campaign")


def test_currencies_are_never_added_up() -> None:
    yen = deal("crm/deal-2", value=999, currency="JPY", digits=0)
    found = compare({"crm/lead-1": JOURNEY[:1]}, [deal(), yen], [FIRST])
    assert [(row.currency, row.values["first_touch"]) for row in found.campaigns] == [
        ("EUR", 10_000),
        ("JPY", 999),
    ]
    assert "999 #1" in found.explain()


def test_milestone_rules_learn_when_the_lead_came_in() -> None:
    journey = [touch(f"t{day}", day, campaign=f"c{day}") for day in (1, 4, 8, 11)]
    found = compare(
        {"crm/lead-1": journey},
        [deal()],
        [Model(RULES["w_shaped"])],
        leads_created_at={"crm/lead-1": at(5)},
    )
    values = {row.campaign: row.values["w_shaped"] for row in found.campaigns}
    assert values == {"c1": 3000, "c4": 3000, "c8": 1000, "c11": 3000}


@pytest.mark.parametrize("models", [[], [FIRST, FIRST]])
def test_models_need_names_of_their_own(models: list[Model]) -> None:
    with pytest.raises(ConfigError, match="name of its own"):
        compare({}, [], models)


@given(st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=6), st.lists(st.integers(0, 10**6)))
def test_under_every_model_the_rows_sum_to_the_revenue(
    names: list[str], amounts: list[int]
) -> None:
    journey = [touch(f"t{day}", day, campaign=name) for day, name in enumerate(names)]
    deals = [deal(f"d{number}", value=value) for number, value in enumerate(amounts)]
    models = [Model(rule) for rule in BUILTIN_RULES]
    found = compare({"crm/lead-1": journey}, deals, models)
    for model in models:
        assert sum(row.values[model.name] for row in found.campaigns) == sum(amounts)
        if found.campaigns:
            assert min(row.ranks[model.name] for row in found.campaigns) == 1


def test_revenue_scatters_with_its_deals() -> None:
    deals = [deal(f"d{value}", value=value) for value in (100, 200, 300, 400, 500)]
    journey = {"crm/lead-1": [touch("c", 1, campaign="spring")]}
    (row,) = compare(journey, deals, [FIRST]).campaigns
    # The sum's variance is 5 times that of the values, 25,000: 1,500 and 1.645 times 353.6 around.
    assert row.intervals["first_touch"] == (918, 2082)
    (few,) = compare(journey, deals[:4], [FIRST]).campaigns
    assert few.intervals == {}
    alike = [deal(f"d{number}", value=100) for number in range(5)]
    (row,) = compare(journey, alike, [FIRST]).campaigns
    assert row.intervals["first_touch"] == (500, 500)
    receipt = compare(journey, deals, [FIRST]).receipt()
    assert receipt["campaigns"][0]["intervals"] == {"first_touch": [918, 2082]}


def test_only_refunds_let_revenue_end_below_zero() -> None:
    journey = {"crm/lead-1": [touch("c", 1, campaign="spring")]}
    # One deal of five decides: 1,000 and 1.645 times 1,000 around.
    deals = [deal(f"d{n}", value=1000 * (n == 0)) for n in range(5)]
    (row,) = compare(journey, deals, [FIRST]).campaigns
    assert row.intervals["first_touch"] == (0, 2645)
    (row,) = compare(journey, [*deals, deal("back", value=-500)], [FIRST]).campaigns
    low, high = row.intervals["first_touch"]
    assert low < 0 < high


def test_what_was_learned_scatters_too() -> None:
    def weigh(journey: Journey) -> list[int]:
        return [journey.fit.weight(t.channel) if journey.fit else 1 for t in journey.touches]

    def learn(*arguments: object) -> Fit:
        raise NotImplementedError

    rule = Rule("learned", "Learned", "Weighs channels.", weigh, learn=learn)
    fit = Fit("learned", at(1), {"Email": 1, "Paid Search": 1}, draws=((1, 3), (3, 1)))
    journey = {"crm/lead-1": [touch("c", 1, campaign="spring"), touch("d", 2, "Email")]}
    deals = [deal(f"d{number}", value=100) for number in range(5)]
    sure = Model(rule, fit=replace(fit, draws=()), name="sure")
    rows = compare(journey, deals, [Model(rule, fit=fit), sure]).campaigns
    spring = next(row for row in rows if row.campaign == "spring")
    assert spring.values["learned"] == spring.values["sure"] == 250
    assert spring.intervals["sure"] == (250, 250)
    # The draws give 375 and 125: a deviation of 176.8, and 1.645 times that around, ended at zero.
    assert spring.intervals["learned"] == (0, 541)


def test_progress_is_told() -> None:
    told: list[float] = []
    compare({}, [deal("a"), deal("b")], [FIRST], progress=told.append)
    assert told == [0.5, 1.0]
