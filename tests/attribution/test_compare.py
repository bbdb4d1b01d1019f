"""Models side by side: what each campaign earned, and how much they disagree."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackflow_core.attribution import BUILTIN_RULES, Model, compare
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
