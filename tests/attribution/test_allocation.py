"""Money is split to the last minor unit, for every value and every weight."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackflow_core.attribution.allocation import (
    allocate,
    currency_digits,
    from_minor_units,
    to_minor_units,
)
from trackflow_core.errors import InvalidEvent

weights = st.lists(st.integers(0, 10**12), min_size=1, max_size=40).filter(any)


@given(st.integers(-(10**15), 10**15), weights)
def test_the_parts_sum_to_the_value(value: int, shares: list[int]) -> None:
    assert sum(allocate(value, shares)) == value


@given(st.integers(0, 10**15), weights)
def test_no_part_is_a_whole_unit_from_its_exact_share(value: int, shares: list[int]) -> None:
    total = sum(shares)
    for part, share in zip(allocate(value, shares), shares, strict=True):
        assert part >= 0
        assert abs(part * total - value * share) < total


@given(st.integers(1, 10**12), weights)
def test_a_negative_value_mirrors_the_positive(value: int, shares: list[int]) -> None:
    assert allocate(-value, shares) == [-part for part in allocate(value, shares)]


@given(st.integers(0, 10**12), weights, st.integers(1, 1000))
def test_only_proportions_matter(value: int, shares: list[int], factor: int) -> None:
    assert allocate(value, [share * factor for share in shares]) == allocate(value, shares)


@pytest.mark.parametrize(
    ("value", "shares", "parts"),
    [
        (10_000, [1, 1, 1], [3334, 3333, 3333]),
        (200, [1, 1, 1], [67, 67, 66]),
        (-101, [1, 1], [-51, -50]),
        (0, [3, 1], [0, 0]),
        (1, [0, 1, 1], [0, 1, 0]),
        (100, [2, 1], [67, 33]),
    ],
)
def test_ties_go_to_the_earlier_place(value: int, shares: list[int], parts: list[int]) -> None:
    assert allocate(value, shares) == parts


@pytest.mark.parametrize("shares", [[0, 0], [1, -1, 1], [-1]])
def test_unusable_weights_are_refused(shares: list[int]) -> None:
    with pytest.raises(ValueError, match="non-negative"):
        allocate(100, shares)


@pytest.mark.parametrize(
    ("amount", "digits", "units"),
    [
        ("250.00", 2, 25_000),
        (0.29, 2, 29),
        (1.005, 2, 101),
        (Decimal("1234.5"), 3, 1_234_500),
        (1500, 0, 1500),
        ("-0.005", 2, -1),
        ("99999999999999999999999999.99", 2, 9_999_999_999_999_999_999_999_999_999),
    ],
)
def test_amounts_become_minor_units(amount: Decimal | str, digits: int, units: int) -> None:
    assert to_minor_units(amount, digits) == units
    assert to_minor_units(from_minor_units(units, digits), digits) == units


@pytest.mark.parametrize("amount", ["", "12,50", "NaN", "Infinity", "1e999999", "ten"])
def test_what_is_no_amount_is_named(amount: str) -> None:
    with pytest.raises(InvalidEvent, match="not an amount"):
        to_minor_units(amount, 2)


def test_minor_units_follow_iso_4217() -> None:
    assert [currency_digits(code) for code in ("EUR", "jpy", "KWD", "CLF")] == [2, 0, 3, 4]
