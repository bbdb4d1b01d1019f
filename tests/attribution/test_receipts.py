"""A receipt is checked by itself: it adds up as it was told, and not with anything changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trackflow_core.api.shapes import receipt_answer
from trackflow_core.attribution import (
    BUILTIN_RULES,
    Attribution,
    ChannelRule,
    Fit,
    Journey,
    Model,
    Rule,
    attribute,
)
from trackflow_core.attribution.receipts import check
from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.model import DealStatus, Touch
from trackflow_core.testing.facts import at, deal, touch


def _learned(journey: Journey) -> Sequence[int]:
    return [journey.fit.weight(item.channel) if journey.fit else 1 for item in journey.touches]


LEARNED = Rule(
    "learned", "Learned", "", _learned, {"floor": Decimal(1)}, learn=lambda *_: FIT, version="3"
)
FIT = Fit("learned", at(20), {"Paid Search": 1, "Email": 3}, 4, 9, 4, version=7, note="Four.")
RULES = {rule.name: rule for rule in (*BUILTIN_RULES, LEARNED)}
JOURNEY = (
    touch("c1", 1, source="google", medium="cpc", campaign="spring"),
    touch("c2", 4.0001, "Email", source="newsletter", kind="call"),
    touch("c3", 9, "Direct"),
)
HALVED = (ChannelRule(Decimal("0.5"), channel="dir*", priority=2),)


def told_by_the_api(found: Attribution) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(receipt_answer(found.receipt()).model_dump_json())
    return told


def split(rule: str = "linear", touches: Sequence[Touch] = JOURNEY, **changes: Any) -> Attribution:
    model = Model(RULES[rule], fit=FIT if rule == "learned" else None, **changes)
    won = deal(value=10_001, days=20, status=DealStatus.WON, closed_at=at(20))
    return attribute(touches, won, model, lead_created_at=at(5))


@pytest.mark.parametrize("anchor", ["created", "won"])
@pytest.mark.parametrize("rules", [(), HALVED], ids=["plain", "channel rules"])
@pytest.mark.parametrize("rule", RULES)
def test_the_receipt_of_every_rule_adds_up(
    rule: str, rules: tuple[ChannelRule, ...], anchor: str
) -> None:
    found = split(rule, anchor=anchor, channel_rules=rules)
    assert check(found.receipt(), RULES) == []
    told = told_by_the_api(found)
    assert told["anchor"].endswith("Z")
    assert check(told, RULES) == []


def test_the_api_tells_a_fit_as_it_tells_everything() -> None:
    """Its moment ends in Z, and nothing of it is lost: the digest covers its weights."""
    told = told_by_the_api(split("learned"))
    assert told["fit"] == {**FIT.receipt(), "fitted_at": "2026-03-22T09:00:00Z"}


def test_the_receipt_of_a_deal_without_a_touch_adds_up() -> None:
    told = told_by_the_api(split(touches=()))
    assert [credit["channel"] for credit in told["credits"]] == ["Unattributed"]
    assert check(told, RULES) == []


@pytest.mark.parametrize(
    ("place", "value", "first"),
    [
        (("credits", 1, "value"), 3333, "credits[1].value is 3333, but the receipt's inputs give"),
        (("value",), 10_002, "sum is 10001, but the receipt's inputs give 10002."),
        (("sum",), 10_000, "sum is 10000, but the receipt's inputs give 10001."),
        (("credits", 0, "weight"), 0.2, "credits[0].weight is 0.2, but"),
        (("credits", 0, "touch"), "x", "digest is '"),
        (("credits", 2, "source"), "bing", "digest is '"),
        (("credits", 2, "kind"), "call", "digest is '"),
        (("credits", 2, "occurred_at"), "2026-03-11T09:00:01Z", "credits[2].weight is"),
        (("credits", 0, "occurred_at"), "2020-03-11T09:00:00Z", "The number of credits is 3, but"),
        (("parameters", "half_life_days"), "8", "credits[0].weight is"),
        (("channel_rules", 0, "weight"), "0.25", "credits[0].weight is"),
        (("lookback_seconds",), 7_776_001, "digest is '"),
        (("anchor",), "2026-03-14T09:00:01Z", "digest is '"),
        (("currency",), "USD", "digest is '"),
        (("digits",), 3, "digest is '"),
        (("rule_version",), "2", "rule_version is '2', but the receipt's inputs give '1'."),
        (("milestones",), {}, "milestones is {}, but the receipt's inputs give None."),
    ],
    ids=lambda item: ".".join(map(str, item)) if isinstance(item, tuple) else None,
)
def test_what_was_changed_is_named(place: tuple[Any, ...], value: object, first: str) -> None:
    told = deepcopy(told_by_the_api(split("time_decay", channel_rules=HALVED)))
    assert check(told, RULES) == []
    *way, last = place
    home: Any = told
    for step in way:
        home = home[step]
    home[last] = value
    assert any(line.startswith(first) for line in check(told, RULES)), check(told, RULES)


@pytest.mark.parametrize("name", ["weights", "unseen", "conversions"])
def test_a_changed_fit_is_found(name: str) -> None:
    told = told_by_the_api(split("learned"))
    told["fit"][name] = {"Email": 4} if name == "weights" else 5
    assert check(told, RULES)[-1].startswith("digest is '")


def test_a_changed_milestone_is_found() -> None:
    told = told_by_the_api(split("full_path"))
    for name in ("lead_created", "deal_created", "deal_closed"):
        changed = {**told, "milestones": {**told["milestones"], name: "2026-03-13T09:00:00Z"}}
        assert check(changed, RULES), name


def test_a_touch_left_out_or_taken_in_is_found() -> None:
    told = told_by_the_api(split())
    assert check({**told, "credits": told["credits"][:2]}, RULES)
    assert check({**told, "credits": [*told["credits"], told["credits"][0]]}, RULES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"credits": None}, "This is no receipt of TrackFlow: "),
        ({"value": 100.01}, "This is no receipt of TrackFlow: 100.01 is not a whole number."),
        ({"anchor": "yesterday"}, "This is no receipt of TrackFlow: "),
        ({"anchor": "2026-03-14T09:00:00"}, "has no time zone"),
        ({"lookback_seconds": 10**18}, "This is no receipt of TrackFlow: "),
        ({"parameters": {"half_life_days": "x"}}, "This is no receipt of TrackFlow: "),
        ({"parameters": {"nothing": "1"}}, "has no parameter 'nothing'"),
        ({"rule": "strange"}, "The receipt's rule 'strange' is not installed"),
    ],
)
def test_what_cannot_be_checked_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigError, InvalidEvent), match=message):
        check({**split().receipt(), **changes}, RULES)
    with pytest.raises(InvalidEvent, match="it lacks 'rule'"):
        check({"type": "about:blank", "status": 404}, RULES)


journeys = st.lists(
    st.builds(
        lambda number, minutes, channel: touch(
            f"t{number}", 0, channel, occurred_at=at(0, minutes)
        ),
        st.integers(0, 30),
        st.integers(-100_000, 20_000),
        st.sampled_from(["Direct", "Email", "Paid Search", "Été 🌻"]),
    ),
    max_size=12,
    unique_by=lambda item: item.id,
)


@given(journeys, st.integers(-(10**9), 10**9), st.sampled_from(sorted(RULES)), st.data())
def test_any_receipt_adds_up_until_a_cent_moves(
    touches: list[Touch], value: int, rule: str, data: st.DataObject
) -> None:
    model = Model(RULES[rule], fit=FIT if rule == "learned" else None)
    told = told_by_the_api(attribute(touches, deal(value=value), model))
    assert check(told, RULES) == []
    place = data.draw(st.integers(0, len(told["credits"]) - 1))
    told["credits"][place]["value"] += data.draw(st.sampled_from([-1, 1]))
    [line] = check(told, RULES)
    assert line.startswith(f"credits[{place}].value is ")


def test_the_digest_is_made_as_the_reference_says() -> None:
    """The recipe of docs/reference/attribution.md, followed without TrackFlow."""
    page = Path(__file__).resolve().parents[2] / "docs/reference/attribution.md"
    recipe = page.read_text().split("### The digest's recipe")[1].split("```python\n")[1]
    names: dict[str, Any] = {}
    exec(recipe.split("```")[0], names)  # noqa: S102 - the documentation's own code
    for rule in RULES:
        for rules in ((), HALVED):
            told = told_by_the_api(split(rule, channel_rules=rules))
            assert names["digest_of"](told) == told["digest"]
    told = told_by_the_api(split(touches=[replace(JOURNEY[0], channel="Été 🌻")]))
    assert names["digest_of"](told) == told["digest"]
