"""Every engine gives what the core gives deal by deal, to the touch and the cent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackflow_core import hooks
from trackflow_core.attribution import BUILTIN_RULES, ChannelRule, Model, Rule, attribute
from trackflow_core.attribution.fits import no_progress
from trackflow_core.attribution.tables import paths
from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.model import Deal, DealStatus, Touch
from trackflow_core.testing.facts import at, deal, touch
from trackflow_warehouse.journeys import Journeys
from trackflow_warehouse.paths import Paths
from trackflow_warehouse.sources import source_of

MOMENT = pa.timestamp("us", tz="UTC")
RULES = {rule.name: rule for rule in BUILTIN_RULES}
# Those of plugins, too, that look at nothing but channels, and perhaps learn from whole paths.
LEARNING = {rule.name: rule for rule in hooks.load().rules.values() if rule.by_channels}
CHANNEL_RULES = (
    ChannelRule(Decimal("0.35"), channel="email", campaign="spr*"),
    ChannelRule(Decimal(0), channel="Direct"),
)
COLUMNS = ("journey_id", "touch_id", "channel", "weight", "value")
Told = dict[str, Sequence[Touch]]


def tables(told: Told, deals: Sequence[Deal], leads: dict[str, Any]) -> tuple[pa.Table, pa.Table]:
    rows = [(name, item) for name, touches in told.items() for item in touches]
    touches = pa.table(
        {
            "journey_id": pa.array([name for name, _ in rows], pa.string()),
            "touch_id": pa.array([item.id for _, item in rows], pa.string()),
            "occurred_at": pa.array([item.occurred_at for _, item in rows], MOMENT),
            "channel": pa.array([item.channel for _, item in rows], pa.string()),
            "campaign": pa.array([item.campaign or None for _, item in rows], pa.string()),
        }
    )
    conversions = pa.table(
        {
            "journey_id": pa.array([item.ref for item in deals], pa.string()),
            "occurred_at": pa.array([item.began_at for item in deals], MOMENT),
            "value": pa.array([Decimal(item.value) / 100 for item in deals], pa.decimal128(18, 2)),
            "currency": pa.array(["EUR" for _ in deals], pa.string()),
            "lead_created_at": pa.array([leads.get(item.ref) for item in deals], MOMENT),
            "closed_at": pa.array([item.closed_at for item in deals], MOMENT),
        }
    )
    return touches, conversions


def loaded(connection: Any, told: Told, deals: Sequence[Deal], leads: dict[str, Any]) -> Journeys:
    touches, conversions = tables(told, deals, leads)
    source = source_of(
        connection.create_table("touches", touches, overwrite=True),
        connection.create_table("conversions", conversions, overwrite=True),
    )
    return Journeys(source.touches, source.conversions)


def rows_of(journeys: Journeys, model: Model) -> list[tuple[object, ...]]:
    found = journeys.credits(model).to_pyarrow()
    ordered = found.sort_by([("journey_id", "ascending"), ("place", "ascending")])
    return [*zip(*(ordered.column(name).to_pylist() for name in COLUMNS), strict=True)]


def expected(
    told: Told, deals: Sequence[Deal], leads: dict[str, Any], model: Model
) -> list[tuple[object, ...]]:
    return [
        (item.ref, credit.touch and credit.touch.id, credit.channel, credit.weight, credit.value)
        for item in sorted(deals, key=lambda item: item.ref)
        for credit in attribute(
            told.get(item.ref, ()), item, model, lead_created_at=leads.get(item.ref)
        ).credits
    ]


def drawn_touches(chance: Random) -> list[Touch]:
    # Ids that languages sort differently, and thirteen half-lives of an hour for ties in rounding.
    ids = chance.sample(["a", "B", "b", "_", "é", "Z", "10", "9", "a b", "\\x", "z-1", "Å"], 8)
    return [
        touch(
            name,
            0,
            chance.choice(["Direct", "Email", "Paid Search", ""]),
            occurred_at=drawn_moment(chance),
            campaign=chance.choice(["", "spring"]),
        )
        for name in ids[: chance.randrange(9)]
    ]


def drawn_moment(chance: Random) -> datetime:
    if chance.random() < 0.5:
        return at(12, -60 * chance.randrange(16))
    return at(0, chance.randrange(-120 * 1440, 20 * 1440))


def drawn_model(chance: Random, rule: Rule) -> Model:
    half_life = chance.choice([Decimal(7), Decimal("0.5"), 1 / Decimal(24), Decimal(0)])
    return Model(
        rule,
        {"half_life_days": half_life} if rule.name == "time_decay" else {},
        chance.choice([timedelta(0), timedelta(days=2.5), timedelta(days=90)]),
        channel_rules=chance.choice([(), CHANNEL_RULES]),
    )


def check(connection: Any, seed: int, journeys: int) -> None:
    """Journeys and models as hypothesis' seed draws them; many at once, as statements are slow."""
    chance = Random(seed)
    values = [0, 1, -1, 2**51 - 1, chance.randrange(10**7), -chance.randrange(10**7)]
    deals = [
        deal(
            f"d{n:03}",
            value=chance.choice(values),
            status=chance.choice([*DealStatus]),
            closed_at=drawn_moment(chance),
        )
        for n in range(journeys)
    ]
    leads = {item.ref: drawn_moment(chance) for item in deals if chance.random() < 0.7}
    told: Told = {item.ref: drawn_touches(chance) for item in deals}
    told["without a deal"] = [touch("stray", 1)]
    if chance.random() < 0.5:
        told = {ref: [*own, *own[:2]] for ref, own in told.items()}
    rules = [*chance.sample(BUILTIN_RULES, 4), *chance.sample([*LEARNING.values()], 1)]
    with loaded(connection, told, deals, leads) as found:
        for model in (drawn_model(chance, rule) for rule in rules):
            learned = fitted(found, model, told, deals) if model.rule.learn else model
            assert rows_of(found, learned) == expected(told, deals, leads, learned), model


def fitted(journeys: Journeys, model: Model, told: Told, deals: Sequence[Deal]) -> Model:
    """`model` with what it learns from the engine's paths, which are those of the core."""
    assert model.rule.learn is not None
    with Paths(journeys.touches, journeys.conversions, model.lookback) as found:
        rows = found.rows()
    touches, conversions = tables(told, deals, {})
    values = pa.array([item.value for item in deals], pa.int64())
    minor = conversions.set_column(2, "value", values)
    core = paths(touches, minor, model.lookback)
    assert Counter(rows) == Counter(core)
    # What a machine adds up in another order may differ by rounding; the fit does not.
    learned = model.rule.learn(rows, model.parameters, at(0), no_progress)
    assert learned == model.rule.learn(core, model.parameters, at(0), no_progress)
    return replace(model, fit=learned)


@pytest.mark.slow
@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32))
def test_duckdb_is_what_the_core_is(duckdb_connection: Any, seed: int) -> None:
    check(duckdb_connection, seed, 60)


@pytest.mark.slow
@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32))
def test_postgresql_is_what_the_core_is(postgres_connection: Any, seed: int) -> None:
    check(postgres_connection, seed, 60)


@pytest.mark.slow
@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32))
def test_clickhouse_is_what_the_core_is(clickhouse_connection: Any, seed: int) -> None:
    check(clickhouse_connection, seed, 60)


STORY: Told = {
    "d1": [touch("b", 1, "Email"), touch("a", 1, "Direct"), touch("c", 5), touch("d", 11)],
    "d2": [touch("e", 2, "Direct"), touch("late", 13)],
    "d4": [touch(f"t{n:03}", n / 30, "Email" if n % 3 else "Direct") for n in range(150)],
}
DEALS = [deal("d1", value=10001), deal("d2", value=-7), deal("d3", value=50), deal("d4", value=99)]
LEADS = {"d1": at(4)}


# Ibis and Spark use what pandas will drop.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
# Spark closes its sockets late.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.slow
def test_spark_is_what_the_core_is(spark_connection: Any) -> None:
    check(spark_connection, 1, 30)


def test_long_journeys_and_small_values(duckdb_connection: Any) -> None:
    with loaded(duckdb_connection, STORY, DEALS, LEADS) as found:
        for rule in BUILTIN_RULES:
            model = Model(rule)
            assert rows_of(found, model) == expected(STORY, DEALS, LEADS, model)


def test_channels_sum_up_conversions_and_value(duckdb_connection: Any) -> None:
    with loaded(duckdb_connection, STORY, DEALS, LEADS) as found:
        rows = found.by_channel(Model(RULES["last_touch"])).to_pyarrow().to_pylist()
    assert [row for row in rows if row["conversions"]] == [
        {"channel": "Paid Search", "conversions": 1.0, "value": 10001},
        {"channel": "Email", "conversions": 1.0, "value": 99},
        {"channel": "Unattributed", "conversions": 1.0, "value": 50},
        {"channel": "Direct", "conversions": 1.0, "value": -7},
    ]


def test_a_plugins_rule_of_places_works_and_another_is_refused(duckdb_connection: Any) -> None:
    def second(journey: Any) -> Sequence[int]:
        return [1 + (place == 1) for place in range(len(journey.touches))]

    places = Rule("second", "Second", "The second earns double.", second, positional=True)
    with loaded(duckdb_connection, STORY, DEALS, LEADS) as found:
        model = Model(places)
        assert rows_of(found, model) == expected(STORY, DEALS, LEADS, model)
        with pytest.raises(ConfigError, match=r"looks at each journey by itself.*--engine core"):
            found.credits(Model(Rule("each", "Each", "Looks.", second)))


def test_what_does_not_fit_into_64_bits_is_refused(duckdb_connection: Any) -> None:
    with pytest.raises(InvalidEvent, match="more than an engine of tables can split"):
        loaded(duckdb_connection, {}, [deal("d", value=2**51)], {})
    long = {"d1": [touch(f"{n}", n / 1000) for n in range(300)]}
    fine = (ChannelRule(Decimal("1.000000001"), channel="Paid Search"),)
    with (
        loaded(duckdb_connection, long, DEALS[:1], {}) as found,
        pytest.raises(
            InvalidEvent, match="too many touches, or its weights and channel rules too many digits"
        ),
    ):
        found.credits(Model(RULES["time_decay"], channel_rules=fine))
