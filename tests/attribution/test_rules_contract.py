"""Every built-in rule keeps the contract of rules."""

from __future__ import annotations

import random
from decimal import Decimal
from zlib import crc32

import pytest

from trackflow_core.attribution import BUILTIN_RULES, Journey, Rule
from trackflow_core.attribution.models import Weigh
from trackflow_core.testing import AttributionModelContract

RULES = {rule.name: rule for rule in BUILTIN_RULES}


class TestFirstTouch(AttributionModelContract):
    rule = RULES["first_touch"]


class TestLastTouch(AttributionModelContract):
    rule = RULES["last_touch"]


class TestLinear(AttributionModelContract):
    rule = RULES["linear"]


class TestTimeDecay(AttributionModelContract):
    rule = RULES["time_decay"]


class TestTimeDecayWithoutHalfLife(AttributionModelContract):
    rule = RULES["time_decay"]
    parameters = {"half_life_days": Decimal(0)}


class TestTimeDecayOfAMinute(AttributionModelContract):
    rule = RULES["time_decay"]
    parameters = {"half_life_days": Decimal("0.0007")}


class TestPositionBased(AttributionModelContract):
    rule = RULES["position_based"]


class TestPositionBasedBeyondTheWhole(AttributionModelContract):
    rule = RULES["position_based"]
    parameters = {"first_percent": Decimal(80), "last_percent": Decimal("70.5")}


class TestPositionBasedOfTheMiddle(AttributionModelContract):
    rule = RULES["position_based"]
    parameters = {"first_percent": Decimal(0), "last_percent": Decimal(0)}


def test_every_builtin_rule_is_under_the_contract() -> None:
    tested = {
        item.rule.name
        for item in globals().values()
        if isinstance(item, type)
        and issubclass(item, AttributionModelContract)
        and hasattr(item, "rule")
    }
    assert tested == set(RULES)


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
    ],
)
def test_the_kit_catches(weigh: Weigh, test: str) -> None:
    kit = AttributionModelContract()
    kit.rule = Rule("broken", "Broken", "Does it wrong.", weigh)
    with pytest.raises(AssertionError):
        getattr(kit, f"test_{test}")()
