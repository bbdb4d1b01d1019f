"""How a test of variants stands."""

from __future__ import annotations

import pytest

from trackflow_core.tracking.variants import Result, standing


def test_one_variant_is_no_test() -> None:
    assert standing([]) is None
    assert standing([Result("A", 1000, 500)]) is None


def test_the_better_rate_leads_with_the_normal_distributions_confidence() -> None:
    # z = (0.12 - 0.10) / sqrt(0.12 * 0.88 / 1000 + 0.10 * 0.90 / 1000) = 1.4299; table: 0.9236
    found = standing([Result("A", 1000, 100), Result("B", 1000, 120)])
    assert found is not None
    assert found.leader == "B"
    assert found.confidence == pytest.approx(0.9236, abs=1e-4)


def test_the_order_of_variants_changes_nothing() -> None:
    results = [Result("A", 900, 90), Result("B", 1000, 120), Result("C", 500, 20)]
    assert standing(results) == standing(reversed(results))


@pytest.mark.parametrize(
    "results",
    [
        [Result("A", 0, 0), Result("B", 0, 0)],
        [Result("A", 20, 1), Result("B", 20, 3)],
        [Result("A", 1000, 0), Result("B", 1000, 1)],
        [Result("A", 1000, 1000), Result("B", 1000, 1000)],
        [Result("A", 100000, 1000), Result("B", 9, 5)],
        [Result("A", 1000, 1000), Result("B", 1000, 0)],
    ],
)
def test_too_little_data_says_nothing(results: list[Result]) -> None:
    found = standing(results)
    assert found is not None
    assert found.confidence is None


def test_equal_rates_are_a_coin_toss() -> None:
    found = standing([Result("A", 1000, 100), Result("B", 1000, 100)])
    assert found is not None
    assert found.confidence == pytest.approx(0.5)
