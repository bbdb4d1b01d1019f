"""Moving budget: what each model expects of it, and where models would decide otherwise."""

from __future__ import annotations

from decimal import Decimal
from types import MappingProxyType

import pytest

from trackflow_core.attribution.budget import Flip, flips, shift
from trackflow_core.attribution.compare import CampaignComparison, Comparison
from trackflow_core.errors import ConfigError

MODELS = ("first", "last", "linear")


def row(campaign: str | None, *values: int, currency: str = "EUR") -> CampaignComparison:
    ranks = MappingProxyType(dict.fromkeys(MODELS, 1))
    named = MappingProxyType(dict(zip(MODELS, values, strict=True)))
    return CampaignComparison(campaign, currency, 2, named, ranks)


COMPARISON = Comparison(
    MODELS,
    (
        row("spring", 9000, 1000, 5000),
        row("brand", 1000, 9000, 5000),
        row("fair", 100, 100, 100),
        row("gift", 4000, 4000, 4000),
        row("abroad", 5, 5, 5, currency="USD"),
        row(None, 7, 7, 7),
    ),
)
COSTS = {"spring": 1000, "brand": 1000, "fair": 1000, "abroad": 100}


def moved(source: str, target: str, percent: str, elasticity: str = "1") -> dict[str, int]:
    answer = shift(
        COMPARISON,
        COSTS,
        source,
        target,
        Decimal(percent),
        currency="EUR",
        elasticity=Decimal(elasticity),
    )
    return dict(answer.changes)


def test_in_proportion() -> None:
    # A tenth of 9,000 is lost and a tenth of 1,000 won, or the other way round.
    assert moved("spring", "brand", "10") == {"first": -800, "last": 800, "linear": 0}
    assert moved("fair", "spring", "50") == {"first": 4450, "last": 450, "linear": 2450}
    assert moved("spring", "brand", "100")["first"] == -9000 + 1000


def test_diminishing_returns() -> None:
    # Half the cost leaves 0.7071 of the revenue; one and a half brings 1.2247.
    assert moved("spring", "brand", "50", "0.5") == {
        "first": round(-9000 * 0.292893 + 1000 * 0.224745),
        "last": round(-1000 * 0.292893 + 9000 * 0.224745),
        "linear": round(-5000 * 0.292893 + 5000 * 0.224745),
    }


def test_an_answer_says_what_it_assumes() -> None:
    answer = shift(COMPARISON, COSTS, "spring", "brand", Decimal("12.5"), currency="EUR")
    assert (answer.moved, answer.digits, answer.agreed) == (125, 2, False)
    assert "in proportion to cost" in answer.assumptions[0]
    assert any("how spring and brand help others" in line for line in answer.assumptions)
    diminishing = shift(
        COMPARISON, COSTS, "fair", "spring", Decimal(10), currency="EUR", elasticity=Decimal("0.5")
    )
    assert diminishing.agreed
    assert "twice the cost brings 1.41 times the revenue" in diminishing.assumptions[0]


@pytest.mark.parametrize(
    ("source", "target", "percent", "elasticity", "words"),
    [
        ("spring", "spring", "10", "1", "two campaigns"),
        ("spring", "nobody", "10", "1", "No deal in EUR"),
        ("spring", "abroad", "10", "1", "No deal in EUR"),
        ("gift", "spring", "10", "1", "has no cost"),
        ("spring", "gift", "10", "1", "has no cost"),
        ("spring", "brand", "0", "1", "at most 100"),
        ("spring", "brand", "101", "1", "at most 100"),
        ("spring", "brand", "10", "0", "at most 1"),
        ("spring", "brand", "10", "1.5", "at most 1"),
    ],
)
def test_what_cannot_be_moved(
    source: str, target: str, percent: str, elasticity: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        moved(source, target, percent, elasticity)


def test_decisions_that_depend_on_the_model() -> None:
    assert flips(COMPARISON, COSTS, currency="EUR") == (
        Flip("brand", "spring", ("last",), ("first",)),
    )
    # At twice the cost, brand is worse than fair for first touch only when it brings less for it.
    dear = {"spring": 1000, "brand": 20_000, "fair": 1000}
    assert flips(COMPARISON, dear, currency="EUR") == (
        Flip("brand", "fair", ("last", "linear"), ("first",)),
    )
    assert flips(COMPARISON, {}, currency="EUR") == ()
    assert flips(COMPARISON, COSTS, currency="USD") == ()
