"""Every built-in rule keeps the contract of rules."""

from __future__ import annotations

import random
import unittest
from decimal import Decimal
from zlib import crc32

import pytest

from trackflow_core.attribution import BUILTIN_RULES, Journey, Rule
from trackflow_core.attribution.models import Weigh
from trackflow_core.testing import AttributionModelContract

RULES = {rule.name: rule for rule in BUILTIN_RULES}


TESTS = [name for name in vars(AttributionModelContract) if name.startswith("test_")]


@pytest.mark.parametrize("test", TESTS)
@pytest.mark.parametrize("name", RULES)
def test_a_builtin_rule_keeps_the_contract(name: str, test: str) -> None:
    kit = AttributionModelContract()
    kit.rule = RULES[name]
    getattr(kit, test)()


class TestTimeDecayWithoutHalfLife(AttributionModelContract):
    rule = RULES["time_decay"]
    parameters = {"half_life_days": Decimal(0)}


class TestTimeDecayOfAMinute(AttributionModelContract):
    rule = RULES["time_decay"]
    parameters = {"half_life_days": Decimal("0.0007")}


class TestPositionBasedBeyondTheWhole(AttributionModelContract):
    rule = RULES["position_based"]
    parameters = {"first_percent": Decimal(80), "last_percent": Decimal("70.5")}


class TestPositionBasedOfTheMiddle(AttributionModelContract):
    rule = RULES["position_based"]
    parameters = {"first_percent": Decimal(0), "last_percent": Decimal(0)}


class TestUnderUnittest(AttributionModelContract, unittest.TestCase):
    """The kit runs under unittest too, which is what Odoo's own runner is."""

    rule = RULES["linear"]


def test_the_kit_runs_under_unittest() -> None:
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(TestUnderUnittest)
    outcome = unittest.TestResult()
    suite.run(outcome)
    assert outcome.testsRun == len(TESTS) > 5
    assert outcome.wasSuccessful()


# -- the kit itself: each broken rule fails the test that is about its fault -------------------


def _short(journey: Journey) -> list[int]:
    return [1]


def _floating(journey: Journey) -> list[int]:
    return [0.5] * len(journey.touches)  # type: ignore[list-item]


def _random(journey: Journey) -> list[int]:
    return [random.randrange(1, 1000) for _ in journey.touches]


def _by_calendar(journey: Journey) -> list[int]:
    return [touch.occurred_at.toordinal() % 7 + 1 for touch in journey.touches]


def _by_name(journey: Journey) -> list[int]:
    return [crc32(touch.id.encode()) + 1 for touch in journey.touches]


def _by_milestone(journey: Journey) -> list[int]:
    return [2 if journey.closed_at else 1] + [1] * (len(journey.touches) - 1)


@pytest.mark.parametrize(
    ("weigh", "test"),
    [
        (_short, "weights_are_usable"),
        (_floating, "weights_are_usable"),
        (_random, "weights_are_usable"),
        (_random, "the_order_of_rows_changes_nothing"),
        (_random, "scaling_the_value_scales_the_credit"),
        (_random, "the_window_counts_back_from_the_deal"),
        (_random, "time_zones_change_nothing"),
        (_by_calendar, "shifting_everything_in_time_changes_nothing"),
        (_by_name, "repeating_journeys_leaves_shares_unchanged"),
        (_by_name, "a_positional_rule_looks_at_nothing_but_the_length"),
        (_by_milestone, "only_a_rule_with_milestones_looks_at_them"),
    ],
)
def test_the_kit_catches(weigh: Weigh, test: str) -> None:
    kit = AttributionModelContract()
    kit.rule = Rule("broken", "Broken", "Does it wrong.", weigh, positional=True)
    with pytest.raises(AssertionError):
        getattr(kit, f"test_{test}")()
