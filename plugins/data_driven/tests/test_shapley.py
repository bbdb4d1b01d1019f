"""The closed form is the Shapley value of the sum game, and deals sum to it."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations
from math import factorial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackflow_core.attribution import Model, Path, attribute
from trackflow_core.testing.facts import deal, touch
from trackflow_data_driven import SHAPLEY, Worth, ordered_shapley, shapley

PATHS = st.lists(
    st.builds(
        lambda names, converts, value: Path(tuple(names), 1, int(converts), value * converts),
        st.text("abcd", min_size=1, max_size=6),
        st.booleans(),
        st.integers(-9999, 9999),
    ),
    min_size=1,
    max_size=8,
)


def test_hand_computed() -> None:
    paths = [Path(("a", "b", "a"), 4, 3, 300), Path(("b",), 5, 1, 100), Path(("c",), 2)]
    assert shapley(paths) == {
        "a": Worth(Fraction(3, 2), Fraction(150)),
        "b": Worth(Fraction(5, 2), Fraction(250)),
        "c": Worth(Fraction(0), Fraction(0)),
    }
    ordered = ordered_shapley(paths)
    assert {key: worth.value for key, worth in ordered.items()} == {
        ("a", 1): 75,
        ("a", 3): 75,
        ("b", 1): 100,
        ("b", 2): 150,
        ("c", 1): 0,
    }


def test_degenerate_inputs() -> None:
    assert shapley([]) == ordered_shapley([]) == {}
    two_hundred = tuple(f"channel {number}" for number in range(200))
    found = shapley([Path(two_hundred, 1, 1, 1000)])
    assert {worth.value for worth in found.values()} == {Fraction(5)}
    assert shapley([Path(("a", "b"), 1, 1, -30)])["a"].value == -15
    assert shapley([Path(("a",), 3)])["a"] == Worth(Fraction(0), Fraction(0))


@settings(max_examples=50, deadline=None)
@given(PATHS)
def test_the_closed_form_is_the_shapley_value(paths: list[Path]) -> None:
    found = shapley(paths)
    for channel in found:
        assert found[channel].conversions == _by_definition(paths, channel, "conversions")
        assert found[channel].value == _by_definition(paths, channel, "value")


@settings(max_examples=50, deadline=None)
@given(PATHS)
def test_nothing_is_lost_and_places_sum_to_channels(paths: list[Path]) -> None:
    found, ordered = shapley(paths), ordered_shapley(paths)
    assert sum(worth.value for worth in found.values()) == sum(p.value for p in paths)
    assert sum(worth.conversions for worth in found.values()) == sum(p.conversions for p in paths)
    assert all(worth.conversions >= 0 for worth in found.values())
    for channel, worth in found.items():
        places = [other.value for (name, _), other in ordered.items() if name == channel]
        assert sum(places) == worth.value


@settings(max_examples=50, deadline=None)
@given(PATHS)
def test_deals_sum_to_it(paths: list[Path]) -> None:
    converted = [p for p in paths if p.conversions]
    totals: dict[str, int] = {}
    for p in converted:
        journey = [touch(f"t{place}", place, name) for place, name in enumerate(p.channels)]
        for credit in attribute(journey, deal(value=p.value), Model(SHAPLEY)).credits:
            totals[credit.channel] = totals.get(credit.channel, 0) + credit.value
    found = shapley(converted)
    for channel, total in totals.items():
        touches = sum(p.channels.count(channel) for p in converted)
        assert abs(total - found[channel].value) < touches + 1


def test_a_channels_touches_share_its_part() -> None:
    journey = [touch("1", 1, "a"), touch("2", 2, "b"), touch("3", 3, "a")]
    credits = attribute(journey, deal(value=1000), Model(SHAPLEY)).credits
    assert [credit.value for credit in credits] == [250, 500, 250]


@pytest.mark.parametrize("value", [0, -1000])
def test_refunds_and_nothing(value: int) -> None:
    journey = [touch("1", 1, "a"), touch("2", 2, "b")]
    credits = attribute(journey, deal(value=value), Model(SHAPLEY)).credits
    assert [credit.value for credit in credits] == [value // 2, value // 2]


def _by_definition(paths: Sequence[Path], channel: str, what: str) -> Fraction:
    """The mean of what the channel adds, over all orders in which channels may come together."""

    def worth(members: frozenset[str]) -> int:
        return sum(getattr(p, what) for p in paths if members >= set(p.channels))

    everyone = {name for p in paths for name in p.channels}
    others, count = everyone - {channel}, len(everyone)
    total = Fraction(0)
    for size in range(count):
        weight = Fraction(factorial(size) * factorial(count - size - 1), factorial(count))
        for members in map(frozenset, combinations(sorted(others), size)):
            total += weight * (worth(members | {channel}) - worth(members))
    return total
