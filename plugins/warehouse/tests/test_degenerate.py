"""Odd journeys with answers computed by hand, under every model and on every engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import pyarrow as pa
import pytest

from trackflow_core import hooks
from trackflow_core.attribution import Model, attribute
from trackflow_core.attribution.tables import Journeys as CoreJourneys
from trackflow_core.model import Deal, Touch
from trackflow_core.testing.facts import at, deal, touch
from trackflow_warehouse.journeys import Journeys

RULES = hooks.load().rules
# One sequence of values by journey and place; an unattributed conversion has a single one.
Answer: TypeAlias = dict[str, list[int]]
Engine: TypeAlias = Callable[[dict[str, list[Touch]], Sequence[Deal], Model], Answer]


def by_deal(told: dict[str, list[Touch]], deals: Sequence[Deal], model: Model) -> Answer:
    return {
        item.ref: [credit.value for credit in attribute(told[item.ref], item, model).credits]
        for item in deals
    }


def columns(told: dict[str, list[Touch]]) -> dict[str, pa.Array]:
    rows = [(name, item) for name, touches in told.items() for item in touches]
    return {
        "journey_id": pa.array([name for name, _ in rows], pa.string()),
        "touch_id": pa.array([item.id for _, item in rows], pa.string()),
        "channel": pa.array([item.channel for _, item in rows], pa.string()),
        "occurred_at": pa.array(
            [item.occurred_at for _, item in rows], pa.timestamp("us", tz="UTC")
        ),
    }


def by_table(told: dict[str, list[Touch]], deals: Sequence[Deal], model: Model) -> Answer:
    moments = pa.array([item.began_at for item in deals], pa.timestamp("us", tz="UTC"))
    table = pa.table(
        {
            "journey_id": pa.array([item.ref for item in deals], pa.string()),
            "occurred_at": moments,
            "deal_created_at": moments,
            "value": pa.array([item.value for item in deals], pa.int64()),
        }
    )
    found = CoreJourneys(pa.table(columns(told)), table).attribute(model).table()
    return gathered(
        zip(*(found.column(n).to_pylist() for n in ("journey_id", "value")), strict=True)
    )


def gathered(rows: Any) -> Answer:
    found: Answer = {}
    for journey, value in rows:
        found.setdefault(journey, []).append(value)
    return found


def on(connection: Any) -> Engine:
    def split(told: dict[str, list[Touch]], deals: Sequence[Deal], model: Model) -> Answer:
        touches = columns(told)
        touches["moment"] = touches.pop("occurred_at").cast(pa.int64())
        anchors = pa.array([item.began_at for item in deals], pa.timestamp("us", tz="UTC"))
        conversions = pa.table(
            {
                "journey_id": pa.array([item.ref for item in deals], pa.string()),
                "anchor": anchors.cast(pa.int64()),
                "lead_created_at": pa.nulls(len(deals), pa.int64()),
                "deal_created_at": anchors.cast(pa.int64()),
                "closed_at": pa.nulls(len(deals), pa.int64()),
                "value": pa.array([item.value for item in deals], pa.int64()),
            }
        )
        tables = (
            connection.create_table("odd_touches", pa.table(touches), overwrite=True),
            connection.create_table("odd_conversions", conversions, overwrite=True),
        )
        with Journeys(*tables) as journeys:
            found = journeys.credits(model).to_pyarrow().sort_by("place")
        return gathered(
            zip(*(found.column(n).to_pylist() for n in ("journey_id", "value")), strict=True)
        )

    return split


@pytest.fixture(
    params=[
        "by deal",
        "by table",
        "duckdb",
        pytest.param("postgres", marks=pytest.mark.slow),
        pytest.param("clickhouse", marks=pytest.mark.slow),
    ]
)
def split(request: pytest.FixtureRequest) -> Engine:
    if request.param in ("by deal", "by table"):
        return {"by deal": by_deal, "by table": by_table}[request.param]
    return on(request.getfixturevalue(f"{request.param}_connection"))


def whole(place: int, count: int, value: int) -> list[int]:
    return [value * (number == place) for number in range(count)]


# 200 touches of 200 channels at one moment, and 200 cents. First and last are due 40 % each, 80;
# the 40 that are left go one by one to those after the first. W-shaped without a lead: 30 to 30 to
# 10, so 85.71 each and 28.57 for all others: 86, 86, and 28 single cents. Full path without a lead
# or a close: 22.5 to 22.5 to 10, so 81.82 each and 36.36: 82, 82, and 36 single cents. Before a
# fit, Markov is position based.
def ends(each: int, singles: int) -> list[int]:
    return [each, *[1] * singles, *[0] * (198 - singles), each]


TWO_HUNDRED = {
    "first_touch": whole(0, 200, 200),
    "last_touch": whole(199, 200, 200),
    "last_non_direct": whole(199, 200, 200),
    "linear": [1] * 200,
    "time_decay": [1] * 200,
    "shapley": [1] * 200,
    "position_based": ends(80, 40),
    "markov": ends(80, 40),
    "markov_value": ends(80, 40),
    "w_shaped": ends(86, 28),
    "full_path": ends(82, 36),
}

# Direct is on every path: Direct, Email a week later, Direct at the moment of the deal after
# another week; 700 cents. Time decay of a week: 1 to 2 to 4. W-shaped without a lead: 30 to 10 to
# 30; full path: 22.5 to 10 to 22.5, so 286.36, 127.27, 286.36: the cent goes to the larger rests,
# of which both ends have one. Shapley: Direct and Email share, 350 each.
EVERYWHERE = {
    "first_touch": [700, 0, 0],
    "last_touch": [0, 0, 700],
    "last_non_direct": [0, 700, 0],
    "linear": [234, 233, 233],
    "time_decay": [100, 200, 400],
    "position_based": [280, 140, 280],
    "markov": [280, 140, 280],
    "markov_value": [280, 140, 280],
    "w_shaped": [300, 100, 300],
    "full_path": [287, 127, 286],
    "shapley": [175, 350, 175],
}


def test_every_model_has_its_answers() -> None:
    bundled = {name for name, rule in RULES.items() if name in TWO_HUNDRED}
    assert bundled == TWO_HUNDRED.keys() == EVERYWHERE.keys()


@pytest.mark.parametrize("name", TWO_HUNDRED)
def test_two_hundred_channels_and_values_of_every_sign(split: Engine, name: str) -> None:
    journey = [touch(f"t{n:03}", 1, f"Channel {n}") for n in range(200)]
    values = {"paid": 200, "nothing": 0, "refund": -200}
    deals = [deal(ref, value=value, created_at=at(20)) for ref, value in values.items()]
    found = split(dict.fromkeys(values, journey), deals, Model(RULES[name]))
    expected = TWO_HUNDRED[name]
    assert found["paid"] == expected
    assert found["nothing"] == [0] * 200
    assert found["refund"] == [-value for value in expected]


@pytest.mark.parametrize("name", EVERYWHERE)
def test_a_channel_on_every_path(split: Engine, name: str) -> None:
    journey = [touch("1", 6, "Direct"), touch("2", 13, "Email"), touch("3", 20, "Direct")]
    deals = [deal("d", value=700, created_at=at(20))]
    found = split({"d": journey}, deals, Model(RULES[name]))
    assert found == {"d": EVERYWHERE[name]}


@pytest.mark.parametrize("name", EVERYWHERE)
def test_one_touch_takes_all_and_no_touch_leaves_it_unattributed(split: Engine, name: str) -> None:
    told = {"one": [touch("1", 19, "Email")], "none": [touch("late", 21, "Email")]}
    deals = [deal(ref, value=-101, created_at=at(20)) for ref in told]
    found = split(told, deals, Model(RULES[name]))
    assert found == {"one": [-101], "none": [-101]}


@pytest.mark.parametrize("name", EVERYWHERE)
def test_no_conversion_is_no_credit(split: Engine, name: str) -> None:
    assert split({"d": [touch("1", 19, "Email")]}, [], Model(RULES[name])) == {}
