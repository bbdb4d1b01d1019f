"""Every built-in rule and the channel rules, by hand-computed answers."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from trackflow_core.attribution import BUILTIN_RULES, ChannelRule, Journey, Model, Rule, attribute
from trackflow_core.errors import ConfigError
from trackflow_core.model import UNATTRIBUTED, DealStatus
from trackflow_core.testing.facts import at, deal, touch

RULES = {rule.name: rule for rule in BUILTIN_RULES}


def values(rule: str, days: list[float], value: int = 10_000, **parameters: float) -> list[int]:
    model = Model(RULES[rule], {k: Decimal(str(v)) for k, v in parameters.items()})
    touches = [touch(f"t{number}", day) for number, day in enumerate(days)]
    return [credit.value for credit in attribute(touches, deal(value=value), model).credits]


@pytest.mark.parametrize(
    ("rule", "days", "expected"),
    [
        ("first_touch", [1, 2, 3], [10_000, 0, 0]),
        ("last_touch", [1, 2, 3], [0, 0, 10_000]),
        ("linear", [1, 2, 3], [3334, 3333, 3333]),
        ("position_based", [1], [10_000]),
        ("position_based", [1, 2], [5000, 5000]),
        ("position_based", [1, 2, 3], [4000, 2000, 4000]),
        ("position_based", [1, 2, 3, 4], [4000, 1000, 1000, 4000]),
        # A week apart with a half-life of a week: 1 : 2.
        ("time_decay", [2, 9], [3333, 6667]),
        # Three and a half days: 1 : sqrt(2).
        ("time_decay", [5.5, 9], [4142, 5858]),
        ("time_decay", [4], [10_000]),
    ],
)
def test_credits(rule: str, days: list[float], expected: list[int]) -> None:
    assert values(rule, days) == expected


def test_position_weights_are_free() -> None:
    free = {"first_percent": 12.5, "last_percent": 50}
    assert values("position_based", [1, 2, 3, 4], **free) == [1250, 1875, 1875, 5000]
    assert values("position_based", [1, 2], **free) == [2000, 8000]
    assert values("position_based", [1, 2], first_percent=0, last_percent=0) == [5000, 5000]
    assert values("position_based", [1, 2, 3], first_percent=90, last_percent=60) == [6000, 0, 4000]


def test_time_decay_survives_extremes() -> None:
    assert values("time_decay", [-70, 11], half_life_days=0.001) == [0, 10_000]
    assert values("time_decay", [1, 11, 11], half_life_days=0) == [0, 5000, 5000]
    assert values("time_decay", [-78], half_life_days=0.5) == [10_000]


def test_the_window_looks_back_from_the_anchor_and_includes_both_ends() -> None:
    touches = [touch("out", -78.00001), touch("a", -78), touch("b", 12), touch("late", 12.00001)]
    credits = attribute(touches, deal(), Model(RULES["linear"])).credits
    assert [credit.touch.id for credit in credits if credit.touch] == ["a", "b"]


def test_the_anchor_is_created_or_won_by_the_models_choice() -> None:
    touches = [touch("before", 11), touch("between", 20)]
    won = deal(days=30, status=DealStatus.WON)
    created = attribute(touches, won, Model(RULES["linear"]))
    by_won = attribute(touches, won, Model(RULES["linear"], anchor="won"))
    assert (created.anchor, [c.value for c in created.credits]) == (at(12), [10_000])
    assert (by_won.anchor, [c.value for c in by_won.credits]) == (at(30), [5000, 5000])
    assert attribute(touches, deal(), Model(RULES["linear"], anchor="won")).anchor == at(12)


def test_without_touches_everything_is_unattributed() -> None:
    for rule in BUILTIN_RULES:
        (credit,) = attribute([touch("late", 13)], deal(value=77), Model(rule)).credits
        assert (credit.touch, credit.channel, credit.value) == (None, UNATTRIBUTED, 77)
        assert credit.weight == 1.0


def test_positions_name_first_middle_last_and_only() -> None:
    three = attribute([touch(f"t{n}", n) for n in range(3)], deal(), Model(RULES["linear"]))
    assert [credit.position for credit in three.credits] == ["first", "middle", "last"]
    one = attribute([touch("t", 1)], deal(), Model(RULES["linear"]))
    assert [credit.position for credit in one.credits] == ["only"]


def test_a_model_refuses_what_it_cannot_use() -> None:
    with pytest.raises(ConfigError, match="no parameter 'half_life'"):
        Model(RULES["time_decay"], {"half_life": Decimal(3)})
    with pytest.raises(ConfigError, match="half_life_days is -1"):
        Model(RULES["time_decay"], {"half_life_days": Decimal(-1)})
    with pytest.raises(ConfigError, match="anchor is 'now'"):
        Model(RULES["linear"], anchor="now")
    with pytest.raises(ConfigError, match="window"):
        Model(RULES["linear"], lookback=timedelta(days=-1))


@pytest.mark.parametrize("answer", [[1], [1, 1, 1], [0, 0], [1, -1], [0.5, 0.5]])
def test_a_rule_that_returns_nonsense_is_named(answer: list[int]) -> None:
    broken = Rule("broken", "Broken", "", lambda journey: answer)
    with pytest.raises(ConfigError, match="'broken' must return 2"):
        attribute([touch("a", 1), touch("b", 2)], deal(), Model(broken))


def test_a_rule_that_fails_is_named() -> None:
    broken = Rule("broken", "Broken", "", lambda journey: [1 // 0])
    with pytest.raises(ConfigError, match="'broken' failed: ZeroDivisionError"):
        attribute([touch("a", 1), touch("b", 2)], deal(), Model(broken))


def channels(rule: str, *names: str) -> list[int]:
    touches = [touch(f"t{number}", number, name) for number, name in enumerate(names)]
    return [credit.value for credit in attribute(touches, deal(), Model(RULES[rule])).credits]


def test_last_non_direct_passes_over_direct_visits() -> None:
    assert channels("last_non_direct", "Email", "Paid Search", "Direct") == [0, 10_000, 0]
    assert channels("last_non_direct", "Email", "Direct", "Display") == [0, 0, 10_000]
    assert channels("last_non_direct", "Direct", "Direct") == [0, 10_000]


def milestones(
    rule: str, days: list[float], lead_day: float | None, **changes: object
) -> list[int]:
    touches = [touch(f"t{number}", day) for number, day in enumerate(days)]
    found = attribute(
        touches,
        deal(**changes),
        Model(RULES[rule], anchor="won"),
        lead_created_at=None if lead_day is None else at(lead_day),
    )
    return [credit.value for credit in found.credits]


@pytest.mark.parametrize(
    ("days", "lead_day", "expected"),
    [
        # First touch, lead's touch, deal's touch (day 12), and two others that share 10 %.
        ([1, 3, 5, 7, 11], 5.5, [3000, 500, 3000, 500, 3000]),
        # A touch at the very moment of a milestone is the milestone's.
        ([1, 5, 12], 5, [3334, 3333, 3333]),
        ([1, 5, 6, 12], 5, [3000, 3000, 1000, 3000]),
        # The lead's touch is also the first: its shares add up.
        ([1, 8, 11], 2, [6000, 1000, 3000]),
        # The only touch takes everything.
        ([1], 2, [10_000]),
        # Two touches: 30 and 60 of 90.
        ([1, 10], 11, [3333, 6667]),
        # No touch before the lead, or no lead: 30, 10 and 30 of 70.
        ([6, 7, 11], 5, [4286, 1428, 4286]),
        ([6, 7, 11], None, [4286, 1428, 4286]),
    ],
)
def test_w_shaped(days: list[float], lead_day: float | None, expected: list[int]) -> None:
    assert milestones("w_shaped", days, lead_day) == expected


def test_full_path_adds_the_close() -> None:
    won = {"status": DealStatus.WON, "closed_at": at(30)}
    assert milestones("full_path", [1, 4, 8, 11, 20, 25], 5, **won) == [
        2250,
        2250,
        500,
        2250,
        500,
        2250,
    ]
    # Nothing between deal and close: the close is at the deal's touch too.
    assert milestones("full_path", [1, 4, 8, 11], 5, **won) == [2250, 2250, 1000, 4500]
    # An open deal has no close: 22.5, 22.5, 10 and 22.5 of 77.5.
    assert milestones("full_path", [1, 4, 8, 11], 5) == [2903, 2903, 1291, 2903]
    # A lost deal was closed when it was lost.
    lost = {"status": DealStatus.LOST, "closed_at": at(30)}
    assert milestones("full_path", [1, 4, 8, 11], 5, **lost) == [2250, 2250, 1000, 4500]


def test_milestones_are_told_to_rules_that_ask_for_them_only() -> None:
    seen: list[Journey] = []

    def weigh(journey: Journey) -> list[int]:
        seen.append(journey)
        return [1]

    for asks in (False, True):
        rule = Rule("spy", "Spy", "", weigh, milestones=asks)
        attribute([touch("t", 1)], deal(), Model(rule), lead_created_at=at(2))
    told = [(j.lead_created_at, j.deal_created_at, j.closed_at) for j in seen]
    assert told == [(None, None, None), (at(2), at(12), None)]


JOURNEY = (
    touch("t0", 1, "Paid Search", source="google", medium="cpc", campaign="Brand DE"),
    touch("t1", 2, "Email", source="newsletter", medium="email", campaign="spring"),
    touch("t2", 3, "Direct"),
)


def custom(*rules: ChannelRule, base: str = "linear") -> list[int]:
    model = Model(RULES[base], channel_rules=rules)
    return [credit.value for credit in attribute(JOURNEY, deal(), model).credits]


def test_channel_rules_multiply_the_weights_of_their_base() -> None:
    assert custom(ChannelRule(Decimal(2), channel="email")) == [2500, 5000, 2500]
    assert custom(ChannelRule(Decimal("0.5"), channel="Direct"), base="last_touch") == [
        0,
        0,
        10_000,
    ]
    assert custom(ChannelRule(Decimal("1.5"), medium="CPC")) == [4286, 2857, 2857]
    assert custom(ChannelRule(Decimal(0), channel="Direct")) == [5000, 5000, 0]
    half = ChannelRule(Decimal("0.25"), channel="Email")
    assert custom(half, base="position_based") == [4706, 588, 4706]


def test_a_channel_rule_needs_all_its_conditions() -> None:
    both = ChannelRule(Decimal(8), source="google", campaign="brand*")
    assert custom(both) == [8000, 1000, 1000]
    assert custom(ChannelRule(Decimal(8), source="google", campaign="spring")) == [3334, 3333, 3333]
    assert custom(ChannelRule(Decimal(8), campaign="*de")) == [8000, 1000, 1000]
    assert custom(ChannelRule(Decimal(8), campaign="brand.de")) == [3334, 3333, 3333]


def test_the_highest_priority_decides_then_the_first() -> None:
    low, high = ChannelRule(Decimal(8)), ChannelRule(Decimal(0), channel="Direct", priority=5)
    assert custom(low, high) == [5000, 5000, 0]
    twice = ChannelRule(Decimal(2), channel="Email"), ChannelRule(Decimal(9), channel="Email")
    assert custom(*twice) == [2500, 5000, 2500]


def test_a_journey_that_rules_leave_without_weight_keeps_that_of_the_base() -> None:
    assert custom(ChannelRule(Decimal(0))) == [3334, 3333, 3333]
    assert custom(ChannelRule(Decimal(0), channel="Direct"), base="last_touch") == [0, 0, 10_000]


@pytest.mark.parametrize("weight", ["-0.1", "NaN", "Infinity"])
def test_a_channel_rule_refuses_a_weight_it_cannot_use(weight: str) -> None:
    with pytest.raises(ConfigError, match="channel rule's weight"):
        ChannelRule(Decimal(weight))
