"""What was learned splits single deals: to the cent, frozen, and careful with few conversions."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trackflow_data_driven
from trackflow_core.attribution import (
    BUILTIN_RULES,
    Attribution,
    Fit,
    Model,
    Path,
    Rule,
    attribute,
)
from trackflow_core.attribution.fits import no_progress
from trackflow_core.errors import ConfigError
from trackflow_core.hooks import Hooks, load
from trackflow_core.model import DealStatus
from trackflow_core.testing import AttributionModelContract
from trackflow_core.testing.facts import at, deal, touch
from trackflow_data_driven import MARKOV, MARKOV_VALUE, SHAPLEY

CYCLIC = [Path(("Display", "Email", "Display"), 4, 3, 300), Path(("Email", "Display"), 5, 1, 100)]
SURE = {"prior_conversions": Decimal(0)}
POSITION_BASED = next(rule for rule in BUILTIN_RULES if rule.name == "position_based")
CHANNELS = ("Direct", "Display", "Email", "Paid Search", "Referral")


def fit(paths: Sequence[Path], rule: Rule = MARKOV, **parameters: Decimal) -> Fit:
    assert rule.learn is not None
    return rule.learn(paths, {**rule.parameters, **parameters}, at(100), no_progress)


def credits_of(model: Model, channels: Sequence[str], value: int = 10_000) -> list[int]:
    journey = [touch(f"t{place:03}", place / 20, name) for place, name in enumerate(channels)]
    return [credit.value for credit in attribute(journey, deal(value=value), model).credits]


FITTED = fit(CYCLIC, prior_conversions=Decimal(4))


class TestMarkovBeforeItsFirstFit(AttributionModelContract):
    rule = MARKOV


class TestMarkov(AttributionModelContract):
    rule = MARKOV
    fit = FITTED


class TestMarkovWithoutPrior(AttributionModelContract):
    rule = MARKOV
    fit = fit(CYCLIC, order=Decimal(2), **SURE)


class TestMarkovByValue(AttributionModelContract):
    rule = MARKOV_VALUE
    fit = fit(CYCLIC, MARKOV_VALUE, prior_conversions=Decimal("0.5"))


class TestShapley(AttributionModelContract):
    rule = SHAPLEY


# -- one deal ------------------------------------------------------------------------------------


def test_a_deal_is_split_by_what_was_learned() -> None:
    # Display is missed by all conversions, Email by 9/13 of them: 13 to 9.
    found = fit(CYCLIC, **SURE)
    assert dict(found.weights) == {"Display": 10**9, "Email": 692307692}
    assert credits_of(Model(MARKOV, fit=found), ["Display", "Email"], 2200) == [1300, 900]


def test_a_channels_touches_share_its_weight() -> None:
    model = Model(MARKOV, fit=fit(CYCLIC, **SURE))
    assert credits_of(model, ["Display", "Email", "Display"], 2200) == [650, 900, 650]


def test_a_strange_channel_weighs_as_the_mean() -> None:
    found = fit(CYCLIC, **SURE)
    assert found.unseen == 846153846
    assert credits_of(Model(MARKOV, fit=found), ["Podcast", "Display"], 2400) == [1100, 1300]


def test_few_conversions_are_mixed_with_position_based() -> None:
    # Four conversions and a prior of four: half 13 to 9, half one to one.
    assert credits_of(Model(MARKOV, fit=FITTED), ["Display", "Email"], 4400) == [2400, 2000]
    # Four and twelve: a quarter and three quarters.
    model = Model(MARKOV, fit=fit(CYCLIC, prior_conversions=Decimal(12)))
    assert credits_of(model, ["Display", "Email"], 8800) == [4600, 4200]
    # Three touches: half 650/900/650 of 2200, half 40/20/40.
    model = Model(MARKOV, fit=FITTED)
    assert credits_of(model, ["Display", "Email", "Display"], 4400) == [1530, 1340, 1530]


def test_without_a_fit_it_is_position_based() -> None:
    for channels in (["Email"], ["Email", "Direct"], list(CHANNELS)):
        expected = credits_of(Model(POSITION_BASED), channels)
        for rule in (MARKOV, MARKOV_VALUE):
            assert credits_of(Model(rule), channels) == expected


def test_channels_that_are_not_missed_share_by_position() -> None:
    found = fit([Path(("Email",), 2, 1), Path(("Direct", "Referral"), 9)], **SURE)
    assert dict(found.weights) == {"Direct": 0, "Email": 10**9, "Referral": 0}
    model = Model(MARKOV, fit=found)
    assert credits_of(model, ["Direct", "Referral", "Direct"], 1000) == [400, 200, 400]
    assert credits_of(model, ["Direct", "Email"], 1000) == [0, 1000]


@pytest.mark.parametrize("value", [0, -2200])
def test_refunds_are_split_alike(value: int) -> None:
    model = Model(MARKOV, fit=fit(CYCLIC, **SURE))
    assert credits_of(model, ["Display", "Email"], value) == [value * 13 // 22, value * 9 // 22]


# -- what is learned -----------------------------------------------------------------------------


def test_a_rule_by_value_follows_the_money() -> None:
    # By conversions, both are missed alike; of 400 in all, 300 came by Email.
    paths = [Path(("Email",), 2, 1, 300), Path(("Display",), 2, 1, 100)]
    assert dict(fit(paths).weights) == {"Display": 500_000_000, "Email": 500_000_000}
    by_value = fit(paths, MARKOV_VALUE)
    assert dict(by_value.weights) == {"Display": 250_000_000, "Email": 750_000_000}
    assert by_value.rule == "markov_value"


def test_refunds_take_weight_by_value_and_never_below_zero() -> None:
    paths = [Path(("Email",), 1, 1, 100), Path(("Display",), 1, 1, -20)]
    assert dict(fit(paths, MARKOV_VALUE).weights) == {"Display": 0, "Email": 1_250_000_000}
    refunds = fit([Path(("Email",), 1, 1, -100)], MARKOV_VALUE)
    assert dict(refunds.weights) == {"Email": 0}
    assert not refunds.enough


def test_the_fit_says_what_it_rests_on() -> None:
    found = fit(CYCLIC)
    assert (found.journeys, found.conversions, found.fitted_at) == (9, 4, at(100))
    assert not found.enough
    assert found.note == (
        "Not enough data: 4 conversions in 9 journeys, fewer than 100; "
        "4% of each split is learned, 96% is position based."
    )
    many = fit([replace(path, journeys=1000, conversions=300) for path in CYCLIC])
    assert many.enough
    assert many.note == (
        "600 conversions in 2000 journeys: 86% of each split is learned, 14% is position based."
    )


@pytest.mark.parametrize("paths", [[], [Path(("Email", "Direct"), 7)]])
def test_without_conversions_nothing_is_learned(paths: list[Path]) -> None:
    for rule in (MARKOV, MARKOV_VALUE):
        found = fit(paths, rule, **SURE)
        assert not found.enough
        assert found.note.startswith("Not enough data: 0 conversions in")
        assert set(found.weights.values()) <= {0}
        channels = ["Email", "Direct", "Email"]
        assert credits_of(Model(rule, fit=found), channels, 1000) == [400, 200, 400]


@pytest.mark.parametrize("order", ["0", "5", "1.5"])
def test_an_order_that_does_not_exist_is_refused(order: str) -> None:
    with pytest.raises(ConfigError, match="whole number from 1 to 4"):
        fit(CYCLIC, order=Decimal(order))


def test_draws_surround_the_weight_and_narrow_with_more_journeys() -> None:
    def width(times: int) -> int:
        found = fit([Path(p.channels, p.journeys * times, p.conversions * times) for p in CYCLIC])
        low, high = found.interval("Email") or (0, 0)
        assert low <= found.weights["Email"] <= high
        return high - low

    assert len(FITTED.draws) == 200
    assert width(1000) < width(100) < width(10)
    # A hundredfold data, a tenth of the width.
    assert 5 < width(10) / width(1000) < 20


def test_progress_is_told() -> None:
    told: list[float] = []
    assert MARKOV.learn is not None
    MARKOV.learn(CYCLIC, MARKOV.parameters, at(1), told.append)
    assert told == sorted(told)
    assert 0 < told[0] < 0.1
    assert told[-1] == 1


@pytest.mark.parametrize("seed", range(3))
def test_rows_in_any_order_and_grouping_give_the_same_fit(seed: int) -> None:
    rows = [Path(path.channels, 1, 1, 100) for path in CYCLIC for _ in range(path.conversions)] + [
        Path(path.channels, path.journeys - path.conversions) for path in CYCLIC
    ]
    random.Random(seed).shuffle(rows)
    expected = fit(CYCLIC)
    assert fit(rows) == expected
    repeated = [replace(p, channels=tuple(c for c in p.channels for _ in "xy")) for p in rows]
    assert fit(repeated) == expected


def test_repeating_all_journeys_changes_no_weight() -> None:
    many = fit([Path(p.channels, p.journeys * 7, p.conversions * 7, p.value * 7) for p in CYCLIC])
    assert many.weights == fit(CYCLIC).weights
    assert many.conversions == 28


# -- properties of every model -------------------------------------------------------------------


MODELS = [
    *map(Model, [*BUILTIN_RULES, MARKOV, MARKOV_VALUE, SHAPLEY]),
    Model(MARKOV, fit=FITTED),
    Model(MARKOV, fit=fit(CYCLIC, **SURE)),
]

JOURNEYS = st.lists(
    st.tuples(st.sampled_from(CHANNELS), st.integers(-120 * 24, 2 * 24)), max_size=12
)


def _attribute(
    model: Model, journey: Sequence[tuple[str, int]], value: int, rows: Sequence[int]
) -> Attribution:
    touches = [touch(f"t{row:02}", 12 + journey[row][1] / 24, journey[row][0]) for row in rows]
    won = deal(value=value, status=DealStatus.WON, closed_at=at(14))
    return attribute(touches, won, model, lead_created_at=at(5))


@settings(max_examples=40, deadline=None)
@given(JOURNEYS, st.integers(-(10**12), 10**12), st.randoms(use_true_random=False))
def test_every_model_keeps_the_properties(
    journey: list[tuple[str, int]], value: int, chance: random.Random
) -> None:
    rows = list(range(len(journey)))
    shuffled = chance.sample(rows, len(rows))
    inside = [row for row in rows if -90 * 24 <= journey[row][1] <= 0]
    for model in MODELS:
        found = _attribute(model, journey, value, rows)
        assert sum(credit.value for credit in found.credits) == value
        assert all(credit.value * value >= 0 for credit in found.credits)
        again = _attribute(model, journey, value, shuffled)
        assert (again.credits, again.digest) == (found.credits, found.digest)
        assert _attribute(model, journey, value, inside).credits == found.credits
        tenfold = _attribute(model, journey, value * 10, rows)
        for one, ten in zip(found.credits, tenfold.credits, strict=True):
            assert abs(ten.value - 10 * one.value) <= 11


@settings(max_examples=40, deadline=None)
@given(JOURNEYS)
def test_look_back_counts_from_the_deal(journey: list[tuple[str, int]]) -> None:
    rows = list(range(len(journey)))
    for model in MODELS:
        short = replace(model, lookback=timedelta(days=3))
        late = [row for row in rows if -3 * 24 <= journey[row][1] <= 0]
        assert (
            _attribute(short, journey, 500, rows).credits
            == _attribute(model, journey, 500, late).credits
        )


# -- frozen --------------------------------------------------------------------------------------


def test_the_same_inputs_give_the_same_bytes() -> None:
    journey = [touch("c1", 1, "Display"), touch("c2", 4, "Email"), touch("c3", 9, "Display")]
    kept = Fit.from_json(fit(CYCLIC).to_json())
    found = attribute(journey, deal(), Model(MARKOV, fit=kept))
    assert [credit.value for credit in found.credits] == [3960, 2080, 3960]
    assert found.digest == "960e9825233a974d32124f6ca3f04e03cd78f54743d91a7ab8bc57edd394c305"
    assert "Not enough data: 4 conversions in 9 journeys" in found.explain()


# -- found like anyone's plugin ------------------------------------------------------------------


def test_they_register(trackflow_hooks: Callable[..., Hooks]) -> None:
    rules = trackflow_hooks({"data_driven": trackflow_data_driven}).rules
    assert {"markov", "markov_value", "shapley"} <= rules.keys()


def test_they_are_found_by_their_entry_point() -> None:
    assert load(frozenset({"data_driven"})).rules["markov"] is MARKOV
