"""The contract kit for attribution rules: a mixin of plain `test_*` methods.

class TestMyRule(AttributionModelContract):
    rule = MY_RULE
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta, timezone
from decimal import Decimal
from types import MappingProxyType

from trackflow_core.attribution import Attribution, Fit, Journey, Model, Rule, attribute
from trackflow_core.attribution.receipts import check
from trackflow_core.model import UNATTRIBUTED, Deal, DealStatus, Touch
from trackflow_core.testing.facts import at, deal

_CHANNELS = (
    "Direct",
    "Paid Search",
    "Paid Social",
    "Display",
    "Affiliates",
    "Email",
    "Organic Search",
    "Referral",
)
_VALUES = (0, 1, 2, 99, 10_000, 25_000, -1, -10_000, 2**62 + 1)
_LOOKBACK = timedelta(days=90)
_LEAD_DAY = 60
_DEAL_DAY = 100


class AttributionModelContract:
    """What every rule keeps, whoever wrote it. Subclasses give `rule`.

    `parameters` and `fit` are those of the model under test. `journeys` may be overridden to add what a
    rule treats specially.
    """

    rule: Rule
    parameters: Mapping[str, Decimal] = MappingProxyType({})
    fit: Fit | None = None

    def journeys(self) -> Iterator[Sequence[Touch]]:
        """Journeys before the deal, inside the window: all channels, ties, one touch, many."""
        for channel in _CHANNELS:
            yield [_touch(0, 10.0, channel)]
        yield [_touch(number, 10.0, "Email") for number in range(3)]
        yield [_touch(0, float(_DEAL_DAY - 90), "Email"), _touch(1, float(_DEAL_DAY), "Direct")]
        chance = random.Random(1)
        for size in (2, 3, 4, 5, 8, 13, 200):
            for _ in range(5):
                yield [
                    _touch(number, chance.uniform(11, _DEAL_DAY), chance.choice(_CHANNELS))
                    for number in range(size)
                ]

    def test_weights_are_usable(self) -> None:
        for touches in self.journeys():
            journey = self._journey(touches)
            weights = list(self.rule.weigh(journey))
            assert len(weights) == len(touches)
            assert all(type(weight) is int and weight >= 0 for weight in weights), weights
            assert any(weights)
            assert list(self.rule.weigh(journey)) == weights, "asked twice, it answered otherwise"

    def test_a_positional_rule_looks_at_nothing_but_the_length(self) -> None:
        if not self.rule.positional:
            return
        known: dict[int, list[int]] = {}
        for touches in self.journeys():
            weights = list(self.rule.weigh(self._journey(touches)))
            assert weights == known.setdefault(len(touches), weights), "it is not positional"

    def test_a_rule_by_channels_looks_at_nothing_else(self) -> None:
        if not self.rule.by_channels:
            return
        for touches in self.journeys():
            journey = self._journey(touches)
            others = [
                _touch(place, place / 100, touch.channel)
                for place, touch in enumerate(journey.touches)
            ]
            assert list(self.rule.weigh(self._journey(others))) == list(self.rule.weigh(journey)), (
                "it is not by channels"
            )

    def test_only_a_rule_with_milestones_looks_at_them(self) -> None:
        if self.rule.milestones:
            return
        for touches in self.journeys():
            bare = self._journey(touches)
            told = replace(
                bare,
                lead_created_at=at(_LEAD_DAY),
                deal_created_at=at(_DEAL_DAY),
                closed_at=at(_DEAL_DAY + 9),
            )
            assert list(self.rule.weigh(told)) == list(self.rule.weigh(bare)), (
                "it reads milestones: set Rule.milestones"
            )

    def test_credits_sum_to_the_value(self) -> None:
        for touches in self.journeys():
            for value in _VALUES:
                credits = self._attribute(touches, value).credits
                assert sum(credit.value for credit in credits) == value
                assert all(credit.value * value >= 0 for credit in credits), "a sign turned"

    def test_one_touch_earns_everything(self) -> None:
        credits = self._attribute([_touch(0, 50, "Paid Search")], 10_000).credits
        assert [(credit.value, credit.position) for credit in credits] == [(10_000, "only")]

    def test_no_touch_is_unattributed(self) -> None:
        credits = self._attribute([], 10_000).credits
        assert [(credit.channel, credit.value) for credit in credits] == [(UNATTRIBUTED, 10_000)]

    def test_the_order_of_rows_changes_nothing(self) -> None:
        for seed, touches in enumerate(self.journeys()):
            shuffled = list(touches)
            random.Random(seed).shuffle(shuffled)
            first, again = self._attribute(touches), self._attribute([*shuffled, *touches])
            assert (again.credits, again.digest) == (first.credits, first.digest)

    def test_a_receipt_adds_up_by_itself(self) -> None:
        for touches in self.journeys():
            receipt = self._attribute(touches).receipt()
            assert check(receipt, {self.rule.name: self.rule}) == []

    def test_scaling_the_value_scales_the_credit(self) -> None:
        for touches in self.journeys():
            small, large = self._attribute(touches, 10_000), self._attribute(touches, 70_000)
            for one, seven in zip(small.credits, large.credits, strict=True):
                assert seven.weight == one.weight
                # Each is within one minor unit of its exact share.
                assert abs(seven.value - 7 * one.value) <= 8

    def test_repeating_journeys_leaves_shares_unchanged(self) -> None:
        for touches in self.journeys():
            once = _by_channel([self._attribute(touches)])
            copies = [
                self._attribute([replace(touch, id=f"{touch.id}-{copy}") for touch in touches])
                for copy in range(3)
            ]
            assert _by_channel(copies) == {channel: 3 * value for channel, value in once.items()}

    def test_the_window_counts_back_from_the_deal(self) -> None:
        outside = [
            replace(_touch(901, _DEAL_DAY - 90, "Email"), occurred_at=at(_DEAL_DAY - 90.001)),
            replace(_touch(902, _DEAL_DAY, "Paid Search"), occurred_at=at(_DEAL_DAY + 0.001)),
        ]
        for touches in self.journeys():
            alone = self._attribute(touches)
            assert self._attribute([*touches, *outside]).credits == alone.credits

    def test_shifting_everything_in_time_changes_nothing(self) -> None:
        for touches in self.journeys():
            for shift in (timedelta(days=-3650), timedelta(days=400, hours=3, seconds=7)):
                moved = [replace(touch, occurred_at=touch.occurred_at + shift) for touch in touches]
                there = attribute(
                    moved,
                    _deal(10_000, shift),
                    self._model(),
                    lead_created_at=at(_LEAD_DAY) + shift,
                )
                assert _values(there) == _values(self._attribute(touches))

    def test_time_zones_change_nothing(self) -> None:
        tokyo = timezone(timedelta(hours=9))
        for touches in self.journeys():
            moved = [
                replace(touch, occurred_at=touch.occurred_at.astimezone(tokyo)) for touch in touches
            ]
            first, again = self._attribute(touches), self._attribute(moved)
            assert (again.credits, again.digest) == (first.credits, first.digest)

    def _model(self) -> Model:
        return Model(self.rule, self.parameters, lookback=_LOOKBACK, fit=self.fit)

    def _attribute(self, touches: Sequence[Touch], value: int = 10_000) -> Attribution:
        return attribute(touches, _deal(value), self._model(), lead_created_at=at(_LEAD_DAY))

    def _journey(self, touches: Sequence[Touch]) -> Journey:
        ordered = tuple(sorted(touches, key=lambda touch: touch.order_key))
        return Journey(ordered, at(_DEAL_DAY), self._model().parameters, fit=self.fit)


def _touch(number: int, day: float, channel: str) -> Touch:
    return Touch(id=f"touch-{number:03}", occurred_at=at(day), channel=channel)


def _deal(value: int, shift: timedelta = timedelta(0)) -> Deal:
    created, closed = at(_DEAL_DAY) + shift, at(_DEAL_DAY + 9) + shift
    return deal(
        value=value,
        status=DealStatus.WON,
        occurred_at=closed,
        created_at=created,
        closed_at=closed,
    )


def _values(attribution: Attribution) -> list[tuple[str, int]]:
    return [(credit.channel, credit.value) for credit in attribution.credits]


def _by_channel(attributions: Sequence[Attribution]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for attribution in attributions:
        for credit in attribution.credits:
            totals[credit.channel] = totals.get(credit.channel, 0) + credit.value
    return totals
