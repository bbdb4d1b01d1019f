"""The five models of the specification, by hand-computed answers."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from trackflow_core.attribution import BUILTIN_RULES, Model, Rule, attribute
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
