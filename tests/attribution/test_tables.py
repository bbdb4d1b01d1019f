"""Tables of journeys give what `attribute` gives deal by deal, to the cent and the touch."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("pyarrow", reason="the extra 'tables' is not installed")

import pyarrow as pa

from trackflow_core.attribution import BUILTIN_RULES, ChannelRule, Model, Path, attribute
from trackflow_core.attribution.tables import Journeys, paths
from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.model import UNATTRIBUTED, Deal, DealStatus, Touch
from trackflow_core.testing.facts import at, deal, touch

MOMENT = pa.timestamp("us", tz="UTC")
RULES = {rule.name: rule for rule in BUILTIN_RULES}
CHANNELS = ["Direct", "Email", "Paid Search"]
HALF = ChannelRule(Decimal("0.5"), channel="Email", campaign="spring")


def tables(
    journeys: dict[str, Sequence[Touch]],
    deals: Sequence[Deal],
    leads_created_at: dict[str, datetime] | None = None,
) -> Journeys:
    rows = [(name, item) for name, touches in journeys.items() for item in touches]
    return Journeys(
        pa.table(
            {
                "journey_id": pa.array([name for name, _ in rows], pa.string()),
                "touch_id": pa.array([item.id for _, item in rows], pa.string()),
                "occurred_at": pa.array([item.occurred_at for _, item in rows], MOMENT),
                "channel": pa.array([item.channel for _, item in rows], pa.string()),
                "campaign": pa.array([item.campaign for _, item in rows], pa.string()),
            }
        ),
        pa.table(
            {
                "journey_id": pa.array([deal.ref for deal in deals], pa.string()),
                "occurred_at": pa.array([deal.began_at for deal in deals], MOMENT),
                "value": pa.array([deal.value for deal in deals], pa.int64()),
                **(milestones(deals, leads_created_at) if leads_created_at is not None else {}),
            }
        ),
    )


def milestones(deals: Sequence[Deal], leads: dict[str, datetime]) -> dict[str, pa.Array]:
    return {
        "lead_created_at": pa.array([leads.get(deal.ref) for deal in deals], MOMENT),
        "deal_created_at": pa.array([deal.began_at for deal in deals], MOMENT),
        "closed_at": pa.array([deal.closed_at for deal in deals], MOMENT),
    }


def found(journeys: Journeys, model: Model) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in journeys.attribute(model).table().to_pylist()]


moments = st.integers(-120 * 1440, 20 * 1440).map(lambda minutes: at(0, minutes))
touches = st.builds(
    lambda name, moment, channel, campaign: touch(
        name, 0, channel, occurred_at=moment, campaign=campaign
    ),
    st.sampled_from([f"t{number}" for number in range(12)]),
    st.one_of(moments, st.just(at(1))),
    st.sampled_from(CHANNELS),
    st.sampled_from(["", "spring"]),
)
journeys = st.lists(st.lists(touches, max_size=8, unique_by=lambda item: item.id), max_size=6)
amounts = st.one_of(st.integers(-(10**7), 10**7), st.sampled_from([2**61, -(2**61), 2**62 - 1]))


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(journeys, st.data(), st.sampled_from(BUILTIN_RULES), st.booleans(), st.booleans())
def test_a_table_is_what_its_deals_are(
    drawn: list[list[Touch]], data: st.DataObject, rule: object, custom: bool, ordered: bool
) -> None:
    model = Model(rule, channel_rules=(HALF,) if custom else ())
    deals = [
        deal(
            f"d{n}",
            value=data.draw(amounts),
            status=data.draw(st.sampled_from(DealStatus)),
            closed_at=data.draw(moments),
        )
        for n in range(len(drawn))
    ]
    leads = {item.ref: data.draw(moments) for item in deals if data.draw(st.booleans())}
    by_ref = {item.ref: told for item, told in zip(deals, drawn, strict=True)}
    by_ref["without a deal"] = [touch("stray", 1)]
    if ordered:
        by_ref = {
            ref: sorted(told, key=lambda item: item.occurred_at) for ref, told in by_ref.items()
        }
    expected = [
        (item.ref, credit.touch and credit.touch.id, credit.channel, credit.weight, credit.value)
        for item in deals
        for credit in attribute(
            by_ref[item.ref], item, model, lead_created_at=leads.get(item.ref)
        ).credits
    ]
    assert found(tables(by_ref, deals, leads), model) == expected


def test_a_repeated_row_counts_once_and_equal_times_are_ordered_by_id() -> None:
    told = [touch("b", 1), touch("a", 1), touch("b", 1), touch("c", 2)]
    rows = found(tables({"d": told}, [deal("d", value=100)]), Model(RULES["linear"]))
    assert [(row[1], row[4]) for row in rows] == [("a", 34), ("b", 33), ("c", 33)]


def test_channels_sum_up_conversions_and_value() -> None:
    told = {
        "d1": [touch("a", 1, "Email"), touch("b", 2, "Direct")],
        "d2": [touch("c", 1, "Email"), touch("gone", 13, "Display")],
        "d3": [],
    }
    deals = [deal("d1", value=101), deal("d2", value=7), deal("d3", value=50)]
    credits = tables(told, deals).attribute(Model(RULES["linear"]))
    assert credits.by_channel() == {
        "Email": (1.5, 58),
        "Direct": (0.5, 50),
        UNATTRIBUTED: (1.0, 50),
    }


@pytest.mark.slow
def test_many_deals_stay_apart() -> None:
    number = 70_000
    told = {f"d{n}": [touch(f"t{n}", 1)] for n in range(0, number, 1000)}
    deals = [deal(f"d{n}", value=n) for n in range(number)]
    rows = found(tables(told, deals), Model(RULES["first_touch"]))
    assert [(row[0], row[4]) for row in rows] == [(f"d{n}", n) for n in range(number)]
    assert [row[1] for row in rows[::1000]] == [f"t{n}" for n in range(0, number, 1000)]


def test_the_largest_amounts_are_split_without_overflow() -> None:
    told = {"d": [touch(f"t{n}", n) for n in range(4)]}
    rows = found(tables(told, [deal("d", value=2**63 - 1)]), Model(RULES["position_based"]))
    assert sum(row[4] for row in rows) == 2**63 - 1
    assert rows[0][4] == rows[3][4] == round(Decimal(2**63 - 1) * 4 / 10)


def test_unequal_weights_share_what_is_left_as_one_deal_does() -> None:
    told = {name: [touch(f"{name}{n}", n) for n in range(4)] for name in ("d", "e")}
    deals = [deal("d", value=101), deal("e", value=-7)]
    model = Model(RULES["position_based"])
    expected = [
        credit.value for item in deals for credit in attribute(told[item.ref], item, model).credits
    ]
    assert [row[4] for row in found(tables(told, deals), model)] == expected


def test_an_empty_table_has_no_credits() -> None:
    journeys = tables({}, [])
    assert journeys.attribute(Model(RULES["linear"])).table().num_rows == 0
    assert journeys.attribute(Model(RULES["time_decay"])).by_channel() == {}


def test_milestones_need_more_than_a_table() -> None:
    with pytest.raises(ConfigError, match=r"'w_shaped' needs milestones.*add a column lead_cr"):
        tables({}, []).attribute(Model(RULES["w_shaped"]))


def test_rows_in_any_order_are_read_in_time() -> None:
    late, early = touch("b", 2, "Direct"), touch("a", 1, "Email")
    model = Model(RULES["time_decay"])
    deals = [deal("d", value=100, days=3)]
    assert found(tables({"d": [late, early]}, deals), model) == found(
        tables({"d": [early, late]}, deals), model
    )


def test_milestones_are_read_from_their_columns() -> None:
    told = [touch(f"t{n}", n) for n in range(4)]
    sold = deal("d", value=100, days=9)
    model = Model(RULES["w_shaped"])
    by_deal = attribute(told, sold, model, lead_created_at=at(2))
    values = [row[4] for row in found(tables({"d": told}, [sold], {"d": at(2)}), model)]
    assert values == [credit.value for credit in by_deal.credits]


def test_paths_that_are_alike_are_counted_together() -> None:
    names = ["d1", "d1", "d2", "d2", "lost", "old"]
    days = [1, 2, 3, 4, 1, 1]
    channels = ["Email", "Direct", "Email", "Direct", "Email", "Display"]
    rows = pa.table(
        {
            "journey_id": names,
            "touch_id": [f"t{n}" for n in range(6)],
            "occurred_at": pa.array([at(day) for day in days], MOMENT),
            "channel": channels,
        }
    )
    sold = pa.table(
        {
            "journey_id": ["d1", "d2", "old", "without a touch"],
            "occurred_at": pa.array([at(5), at(5), at(50), at(5)], MOMENT),
            "value": [100, 100, 70, 1],
        }
    )
    assert paths(rows, sold, timedelta(days=30)) == [
        Path(("Email", "Direct"), 2, 2, 200),
        Path(("Email",), 1, 0, 0),
    ]


TOUCHES = {
    "journey_id": ["d"],
    "touch_id": ["t"],
    "occurred_at": pa.array([at(1)], MOMENT),
    "channel": ["Email"],
}
DEALS = {"journey_id": ["d"], "occurred_at": pa.array([at(2)], MOMENT), "value": [100]}


@pytest.mark.parametrize(
    ("touches", "deals", "reason"),
    [
        ({"channel": None}, {}, "touches has no column 'channel'"),
        ({}, {"occurred_at": None}, "deals has no column 'occurred_at'"),
        ({"occurred_at": [datetime(2026, 3, 1)]}, {}, "touches is timestamp.*with a time zone"),
        ({}, {"occurred_at": ["yesterday"]}, "deals is string, not a timestamp"),
        ({}, {"value": ["a lot"]}, "'value' of the table of deals: "),
        ({}, {"value": [1.5]}, "'value' of the table of deals: "),
        ({}, {"value": pa.array([None], pa.int64())}, "'value' .* has empty rows"),
        ({"occurred_at": pa.array([None], MOMENT)}, {}, "'occurred_at' .* has empty rows"),
        (
            {},
            {
                "journey_id": ["d", "d"],
                "occurred_at": pa.array([at(1), at(2)], MOMENT),
                "value": [1, 2],
            },
            "two deals",
        ),
    ],
)
def test_a_table_that_cannot_be_used_is_named(
    touches: dict[str, object], deals: dict[str, object], reason: str
) -> None:
    def table(columns: dict[str, object], changes: dict[str, object]) -> pa.Table:
        return pa.table({k: v for k, v in {**columns, **changes}.items() if v is not None})

    with pytest.raises(InvalidEvent, match=reason):
        Journeys(table(TOUCHES, touches), table(DEALS, deals))


def test_a_channel_may_be_empty_and_a_window_short() -> None:
    columns = {**TOUCHES, "channel": pa.array([None], pa.string())}
    journeys = Journeys(pa.table(columns), pa.table(DEALS))
    assert found(journeys, Model(RULES["linear"]))[0][1:3] == ("t", "")
    short = Model(RULES["linear"], lookback=timedelta(hours=23))
    assert found(journeys, short) == [("d", None, UNATTRIBUTED, 1.0, 100)]
