"""Markov chains are exact: hand-computed answers, and a second way to compute them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackflow_core.attribution import Path
from trackflow_core.errors import ConfigError
from trackflow_data_driven.chains import Markov, markov
from trackflow_data_driven.paths import Paths

CYCLIC = [Path(("a", "b", "a"), 4, 3, 300), Path(("b", "a"), 5, 1, 100)]


def path(names: str, journeys: int = 1, conversions: int = 0, value: int = 0) -> Path:
    return Path(tuple(names), journeys, conversions, value)


@st.composite
def path_lists(draw: st.DrawFn) -> list[Path]:
    found = []
    for names in draw(st.lists(st.text("abcd", min_size=1, max_size=6), min_size=1, max_size=7)):
        journeys = draw(st.integers(1, 9))
        conversions = draw(st.integers(0, journeys))
        value = draw(st.integers(0, 9999)) if conversions else 0
        found.append(path(names, journeys, conversions, value))
    return found


# -- hand-computed -------------------------------------------------------------------------------


def test_the_cyclic_example() -> None:
    # Steps: (start)>a 4, (start)>b 5, a>b 4, b>a 9, a>conversion 4, a>null 5. From a: x = 4/13 b +
    # 4/13 with b = a, so a = 4/9 = P. Without b: (start)>a 4/9, from there 4/13: P' = 16/117.
    found = markov(CYCLIC)
    assert found.conversion_rate == pytest.approx(4 / 9, abs=1e-12)
    assert found.value_per_journey == pytest.approx(400 / 9, abs=1e-12)
    assert found.effects["b"].conversions == pytest.approx(1 - (16 / 117) / (4 / 9), abs=1e-12)
    assert round(found.effects["b"].conversions, 4) == 0.6923
    assert found.effects["a"].conversions == pytest.approx(1, abs=1e-12)
    assert found.shares()["b"] == pytest.approx(9 / 22, abs=1e-12)


def test_one_path() -> None:
    found = markov([path("ab", 1, 1, 500)])
    assert (found.conversion_rate, found.value_per_journey) == (1, 500)
    assert {(e.conversions, e.value) for e in found.effects.values()} == {(1, 1)}
    assert found.shares() == {"a": 0.5, "b": 0.5}


def test_no_conversion() -> None:
    found = markov([path("ab", 3), path("b", 2)])
    assert (found.conversion_rate, found.value_per_journey) == (0, 0)
    assert all(e.conversions == e.value == 0 for e in found.effects.values())
    assert found.shares() == {}


def test_no_path() -> None:
    assert markov([]) == Markov(0.0, 0.0, {})
    for order in (2, 4):
        assert markov([], order) == Markov(0.0, 0.0, {})


def test_a_channel_on_every_path_is_missed_by_all() -> None:
    found = markov([path("ca", 3, 2), path("bc", 2, 1), path("c", 1, 0)])
    assert found.effects["c"].conversions == pytest.approx(1, abs=1e-12)


def test_two_hundred_channels() -> None:
    paths = [Path((f"channel {number}",), 2, 1, 10) for number in range(200)]
    found = markov(paths)
    assert found.conversion_rate == pytest.approx(0.5, abs=1e-12)
    assert len(found.effects) == 200
    for effect in found.effects.values():
        assert (effect.conversions, effect.value) == pytest.approx((1 / 200, 1 / 200), abs=1e-12)


def test_two_hundred_channels_in_a_row() -> None:
    # Each journey converts, and meets every channel: each is missed by all.
    found = markov([Path(tuple(f"channel {number}" for number in range(200)), 1, 1)])
    assert [e.conversions for e in found.effects.values()] == pytest.approx([1.0] * 200)


def test_a_channel_without_conversions_is_not_missed() -> None:
    found = markov([path("a", 4, 2), path("b", 9)])
    assert found.effects["b"].conversions == 0
    assert found.effects["a"].conversions == pytest.approx(1, abs=1e-12)


def test_refunds_lower_the_value_and_not_the_conversions() -> None:
    # Of 80 in all, 100 are lost without a, and -20 without b.
    found = markov([path("a", 1, 1, 100), path("b", 1, 1, -20)])
    assert found.effects["a"].value == pytest.approx(1.25, abs=1e-12)
    assert found.effects["b"].value == pytest.approx(-0.25, abs=1e-12)
    assert found.effects["b"].conversions == pytest.approx(0.5, abs=1e-12)


def test_values_of_zero() -> None:
    found = markov([path("a", 2, 1, 0), path("b", 1, 1, 0)])
    assert [e.value for e in found.effects.values()] == [0, 0]
    assert found.effects["a"].conversions == pytest.approx(0.5, abs=1e-12)
    cancelled = markov([path("a", 1, 1, 50), path("b", 1, 1, -50)])
    assert [e.value for e in cancelled.effects.values()] == [0, 0]


def test_a_longer_memory_tells_who_came_before() -> None:
    # a>b converts and c>b does not. Order 1 forgets that at b; order 2 knows.
    paths = [path("ab", 1, 1), path("cb", 1, 0)]
    first, second = markov(paths), markov(paths, 2)
    assert {name: e.conversions for name, e in first.effects.items()} == pytest.approx(
        {"a": 0.5, "b": 1, "c": 0.5}
    )
    assert {name: e.conversions for name, e in second.effects.items()} == pytest.approx(
        {"a": 1, "b": 1, "c": 0}
    )


def test_order_four_looks_back_four_touches() -> None:
    # All end alike in their last three touches; only the fourth last differs.
    paths = [path("abcd", 1, 1), path("ebcd", 1, 0)]
    third, fourth = markov(paths, 3), markov(paths, 4)
    assert third.effects["a"].conversions == pytest.approx(0.5)
    assert fourth.effects["a"].conversions == pytest.approx(1)
    assert fourth.effects["e"].conversions == pytest.approx(0)


@pytest.mark.parametrize("order", [0, 5, -1])
def test_other_orders_are_refused(order: int) -> None:
    with pytest.raises(ConfigError, match="use 1 to 4"):
        markov(CYCLIC, order)


# -- properties ----------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(path_lists(), st.integers(1, 4))
def test_the_chain_converts_as_often_as_was_observed(paths: list[Path], order: int) -> None:
    found = markov(paths, order)
    journeys = sum(p.journeys for p in paths)
    rate = sum(p.conversions for p in paths) / journeys
    assert abs(found.conversion_rate - rate) <= 1e-12
    assert found.value_per_journey == pytest.approx(
        sum(p.value for p in paths) / journeys, rel=1e-12, abs=1e-12
    )


@settings(max_examples=60, deadline=None)
@given(path_lists(), st.integers(1, 4), st.booleans())
def test_effects_are_what_removal_leaves(paths: list[Path], order: int, collapse: bool) -> None:
    found = markov(paths, order, collapse=collapse)
    for channel in found.effects:
        expected = _effect(paths, order, channel, collapse)
        assert found.effects[channel].conversions == pytest.approx(float(expected[0]), abs=1e-11)
        assert found.effects[channel].value == pytest.approx(float(expected[1]), abs=1e-11)


@settings(max_examples=40, deadline=None)
@given(path_lists(), st.integers(1, 4))
def test_many_states_are_solved_alike(paths: list[Path], order: int) -> None:
    dense = markov(paths, order)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trackflow_data_driven.chains._DENSE", 0)
        sparse = markov(paths, order)
    assert sparse.conversion_rate == pytest.approx(dense.conversion_rate, abs=1e-12)
    for channel, effect in dense.effects.items():
        assert sparse.effects[channel].conversions == pytest.approx(effect.conversions, abs=1e-11)
        assert sparse.effects[channel].value == pytest.approx(effect.value, abs=1e-11)


@settings(max_examples=50, deadline=None)
@given(path_lists(), st.integers(1, 4), st.randoms(use_true_random=False))
def test_shuffling_rows_changes_nothing(
    paths: list[Path], order: int, chance: random.Random
) -> None:
    shuffled = list(paths)
    chance.shuffle(shuffled)
    split = [
        part
        for p in shuffled
        for part in (
            [p, Path(p.channels, 2, 0), Path(p.channels, 3, 0)]
            if p.conversions == 0
            else [p, Path(p.channels, 5, 0)]
        )
    ]
    together = [Path(p.channels, p.journeys + 5, p.conversions, p.value) for p in paths]
    assert markov(shuffled, order) == markov(paths, order)
    assert markov(split, order) == markov(together, order)


@settings(max_examples=50, deadline=None)
@given(path_lists())
def test_collapsing_repeats_changes_no_effect(paths: list[Path]) -> None:
    _same(markov(paths, collapse=True), markov(paths, collapse=False))


@settings(max_examples=50, deadline=None)
@given(path_lists(), st.integers(1, 4), st.integers(2, 5))
def test_repeating_a_touch_changes_no_effect(paths: list[Path], order: int, times: int) -> None:
    repeated = [
        Path(
            tuple(channel for channel in p.channels for _ in range(times)),
            p.journeys,
            p.conversions,
            p.value,
        )
        for p in paths
    ]
    assert markov(repeated, order) == markov(paths, order)


@settings(max_examples=50, deadline=None)
@given(path_lists(), st.integers(1, 4), st.integers(2, 1000))
def test_repeating_every_journey_changes_no_effect(
    paths: list[Path], order: int, times: int
) -> None:
    many = [
        Path(p.channels, p.journeys * times, p.conversions * times, p.value * times) for p in paths
    ]
    _same(markov(many, order), markov(paths, order))


@settings(max_examples=50, deadline=None)
@given(path_lists(), st.integers(1, 4), st.integers(2, 1000))
def test_scaling_values_changes_no_effect(paths: list[Path], order: int, factor: int) -> None:
    scaled = [Path(p.channels, p.journeys, p.conversions, p.value * factor) for p in paths]
    _same(markov(scaled, order), markov(paths, order))


@settings(max_examples=50, deadline=None)
@given(path_lists(), st.integers(1, 4))
def test_effects_are_parts(paths: list[Path], order: int) -> None:
    for effect in markov(paths, order).effects.values():
        assert -1e-12 <= effect.conversions <= 1 + 1e-12
        assert -1e-12 <= effect.value <= 1 + 1e-12


# -- columns -------------------------------------------------------------------------------------


def test_columns_are_the_same_paths() -> None:
    columns = Paths.of_columns(
        ["b", "a"],
        codes=np.array([1, 0, 1, 0, 1]),
        lengths=np.array([3, 2]),
        conversions=np.array([3, 1]),
        value=np.array([300, 100]),
        journeys=np.array([4, 5]),
    )
    assert columns.channels == ("a", "b")
    assert markov(columns) == markov(CYCLIC)
    single = Paths.of_columns(["a"], np.array([0]), np.array([1]), np.array([1]))
    assert markov(single).conversion_rate == 1


@pytest.mark.parametrize(("codes", "lengths"), [([0, 2], [2]), ([-1], [1]), ([0], [1, 0])])
def test_columns_that_are_no_paths_are_refused(codes: list[int], lengths: list[int]) -> None:
    with pytest.raises(ValueError, match=r"touch|place"):
        Paths.of_columns(["a", "b"], np.array(codes), np.array(lengths), np.zeros(len(lengths)))


def test_more_than_floats_can_count_is_refused() -> None:
    with pytest.raises(OverflowError, match="2\\^53"):
        markov([path("a", 1, 1, 2**53)])


def _same(one: Markov, other: Markov) -> None:
    assert one.effects.keys() == other.effects.keys()
    for channel, effect in one.effects.items():
        assert effect.conversions == pytest.approx(other.effects[channel].conversions, abs=1e-12)
        assert effect.value == pytest.approx(other.effects[channel].value, abs=1e-11)


def _effect(
    paths: Sequence[Path], order: int, channel: str, collapse: bool
) -> tuple[Fraction, Fraction]:
    """The removal effect by its definition: the chain without the channel, in fractions."""
    whole = _expected(paths, order, None, collapse)
    rest = _expected(paths, order, channel, collapse)
    return (
        1 - rest[0] / whole[0] if whole[0] else Fraction(0),
        1 - rest[1] / whole[1] if whole[1] else Fraction(0),
    )


def _expected(
    paths: Sequence[Path], order: int, without: str | None, collapse: bool
) -> tuple[Fraction, Fraction]:
    """Conversions and value to be expected of one journey that ends where it meets `without`."""
    steps: dict[tuple[str, ...], dict[tuple[str, ...] | None, Fraction]] = {}
    gains: dict[tuple[str, ...], list[Fraction]] = {}
    for p in paths:
        names = [name for name, _ in groupby(p.channels)] if collapse else list(p.channels)
        states = [tuple(names[max(0, end - order) : end]) for end in range(len(names) + 1)]
        for before, after in zip(states, [*states[1:], None], strict=True):
            row = steps.setdefault(before, {})
            row[after] = row.get(after, Fraction(0)) + p.journeys
        gain = gains.setdefault(states[-1], [Fraction(0), Fraction(0)])
        gain[0] += p.conversions
        gain[1] += p.value
    states = [state for state in steps if not (state and state[-1] == without)]
    rows = []
    for state in states:
        total = sum(steps[state].values())
        row = [Fraction(int(other == state)) for other in states]
        for after, count in steps[state].items():
            if after in states:
                row[states.index(after)] -= count / total
        gain = gains.get(state, [Fraction(0), Fraction(0)])
        rows.append([*row, gain[0] / total, gain[1] / total])
    for pivot in range(len(rows)):
        swap = next(place for place in range(pivot, len(rows)) if rows[place][pivot])
        rows[pivot], rows[swap] = rows[swap], rows[pivot]
        rows[pivot] = [number / rows[pivot][pivot] for number in rows[pivot]]
        for place in range(len(rows)):
            factor = rows[place][pivot]
            if place != pivot and factor:
                rows[place] = [
                    a - factor * b for a, b in zip(rows[place], rows[pivot], strict=True)
                ]
    start = states.index(())
    return rows[start][-2], rows[start][-1]
