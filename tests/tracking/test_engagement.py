"""Engagement rises with contacts and falls with time."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackflow_core.errors import ConfigError
from trackflow_core.model import Touch
from trackflow_core.testing.facts import at, touch
from trackflow_core.tracking.engagement import WEIGHTS, Formula, Part

score = Formula().score


def test_a_touch_counts_half_after_a_half_life() -> None:
    assert score([touch("a", 0)], at(0)) == 1.0
    assert score([touch("a", 0)], at(14)) == 0.5
    assert score([touch("a", 0)], at(7)) == 0.71
    assert Formula(half_life=timedelta(days=7)).score([touch("a", 0)], at(28)) == 0.06
    assert score([], at(0)) == 0.0


def test_kinds_have_weights() -> None:
    told = [touch("a", 0), touch("b", 0, kind="meeting"), touch("c", 0, kind="fax")]
    assert score(told, at(0)) == 12.0
    changed = Formula({"click": 0, "fax": 2.5})
    assert changed.score(told, at(0)) == 12.5
    assert changed.weights == {**WEIGHTS, "click": 0, "fax": 2.5}
    assert {Formula(): 1}[Formula()] == 1


def test_the_parts_say_what_a_score_is_made_of() -> None:
    told = [touch("a", 0), touch("b", 14), touch("c", 14, kind="meeting"), touch("d", 99)]
    assert Formula().parts(told, at(14)) == [
        Part("meeting", 1, 10.0, 10.0),
        Part("click", 2, 1.0, 1.5),
    ]


def test_the_future_and_repetitions_do_not_count() -> None:
    assert score([touch("a", 0), touch("a", 0), touch("b", 1)], at(0.5)) == score(
        [touch("a", 0)], at(0.5)
    )


@given(st.lists(st.floats(-300, 0), max_size=20), st.randoms(), st.floats(0.1, 100))
def test_order_changes_nothing_and_time_only_lowers(
    days: list[float], chance: object, later: float
) -> None:
    told = [touch(f"t{number}", day) for number, day in enumerate(days)]
    shuffled: list[Touch] = chance.sample(told, len(told))
    assert score(shuffled, at(0)) == score(told, at(0))
    assert score(told, at(later)) <= score(told, at(0))
    assert score([*told, touch("new", 0)], at(0)) > score(told, at(0))


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="half-life"):
        Formula(half_life=timedelta(0))
    with pytest.raises(ConfigError, match="zero or more"):
        Formula({"click": -1})
