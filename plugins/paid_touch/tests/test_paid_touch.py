"""Paid channels share the deal."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import trackflow_paid_touch
from trackflow_core.attribution import Model, attribute
from trackflow_core.hooks import Hooks, load
from trackflow_core.testing import AttributionModelContract
from trackflow_core.testing.facts import deal, touch
from trackflow_paid_touch import PAID_TOUCH


class TestPaidTouch(AttributionModelContract):
    rule = PAID_TOUCH


@pytest.mark.parametrize(
    ("channels", "values"),
    [
        (["Paid Search", "Email", "Paid Other"], [5000, 0, 5000]),
        (["Display", "Affiliates", "Direct"], [5000, 5000, 0]),
        (["Email", "Direct", "Referral"], [3334, 3333, 3333]),
        (["Paid Social"], [10_000]),
    ],
)
def test_paid_touches_share_the_deal(channels: list[str], values: list[int]) -> None:
    journey = [touch(f"t{number}", number, channel) for number, channel in enumerate(channels)]
    credits = attribute(journey, deal(), Model(PAID_TOUCH)).credits
    assert [credit.value for credit in credits] == values


def test_it_registers(trackflow_hooks: Callable[..., Hooks]) -> None:
    assert "paid_touch" in trackflow_hooks({"paid": trackflow_paid_touch}).rules


def test_it_is_found_by_its_entry_point() -> None:
    assert load(frozenset({"paid_touch"})).rules["paid_touch"] is PAID_TOUCH
