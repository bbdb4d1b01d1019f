"""The four classic heuristics on a million touches, beside `marketing-attribution-models`.

Both libraries get the same journeys in the containers they work on, and both are timed from there
to the revenue of each channel: bringing the touches into order, then first, last, linear and
position based. Every credit of ours is checked: each deal's sum to its value, and a sample is what
`attribute` gives deal by deal.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from statistics import median
from time import perf_counter
from typing import Any

from tests.environment.failure import SetupError
from trackflow_core.attribution import BUILTIN_RULES, Model, attribute
from trackflow_core.model import Deal, Touch

TOUCHES = 1_000_000
ROUNDS = 5
SAMPLE = 2_000
TIMES_FASTER = 5
CHANNELS = (
    "Affiliates",
    "Direct",
    "Display",
    "Email",
    "Organic Search",
    "Paid Search",
    "Paid Social",
    "Referral",
)
# Our rule and the other library's method.
HEURISTICS = (
    ("first_touch", "run_first_click"),
    ("last_touch", "run_last_click"),
    ("linear", "run_linear"),
    ("position_based", "run_position_based"),
)
_START = 1_767_225_600_000_000
_HOUR = 3_600_000_000


def main() -> list[str]:
    """Print the medians; the targets that were missed, in words."""
    try:
        import polars as pl
        import pyarrow as pa
        from mam import MAM

        from trackflow_core.attribution.tables import Journeys
    except ImportError as error:
        raise SetupError(
            f"{error.name} is not installed: install the dependency group 'bench'"
        ) from error

    models = {name: Model(_rule(name), lookback=timedelta(days=365)) for name, _ in HEURISTICS}
    rows, deals = _journeys(random.Random(1))
    names, times, channels, lasts, values = zip(*rows, strict=True)
    moment = pa.timestamp("us", tz="UTC")
    touches = pa.table(
        {
            "journey_id": pa.array(names),
            "touch_id": pa.array([f"touch-{number}" for number in range(len(rows))]),
            "occurred_at": pa.array(times, pa.int64()).cast(moment),
            "channel": pa.array(channels),
        }
    )
    table = pa.table(
        {
            "journey_id": list(deals),
            "occurred_at": pa.array([at for at, _ in deals.values()], pa.int64()).cast(moment),
            "value": [value for _, value in deals.values()],
        }
    )
    frame = pl.DataFrame(
        {"journey": names, "at": times, "channel": channels, "converted": lasts, "value": values}
    ).with_columns(pl.col("at").cast(pl.Datetime("us")))

    def ours() -> dict[str, Any]:
        journeys = Journeys(touches, table)
        found = {name: journeys.attribute(model) for name, model in models.items()}
        return {name: (credits, credits.by_channel()) for name, credits in found.items()}

    def theirs() -> dict[str, Any]:
        mam = MAM(
            frame,
            "session",
            "channel",
            "converted",
            "at",
            "journey",
            conversion_value_colname="value",
        )
        return {
            name: dict(getattr(mam, method)()._aggregated_df.iter_rows())
            for name, method in HEURISTICS
        }

    our_seconds, our_results, their_seconds, their_results = _race(ours, theirs)
    ratio = their_seconds / our_seconds
    print(
        f"\nFour heuristics on {len(rows):,} touches of {len(deals):,} deals, medians of {ROUNDS}: "
        f"trackflow {our_seconds:.2f} s, marketing-attribution-models {their_seconds:.2f} s, "
        f"{ratio:.1f} times"
    )
    missed = [] if ratio >= TIMES_FASTER else [f"attribution is only {ratio:.1f} times faster"]
    revenue = sum(value for _, value in deals.values())
    for name, (credits, by_channel) in our_results.items():
        found = credits.table().to_pydict()
        sums = dict.fromkeys(deals, 0)
        for journey, value in zip(found["journey_id"], found["value"], strict=True):
            sums[journey] += value
        wrong = sum(sums[journey] != value for journey, (_, value) in deals.items())
        drift = abs(sum(their_results[name].values()) - revenue)
        print(
            f"{name:>15}: {wrong} deals do not sum to their value to the cent; "
            f"the other's revenue is {drift:.6f} cents off"
        )
        if wrong or sum(value for _, value in by_channel.values()) != revenue:
            missed.append(f"{name} does not sum to the revenue")
        if not _same_deal_by_deal(found, rows, deals, models[name]):
            missed.append(f"{name} differs between table and single deals")
    return missed


def _journeys(
    chance: random.Random,
) -> tuple[list[tuple[str, int, str, bool, float]], dict[str, tuple[int, int]]]:
    """Touches as (journey, microseconds, channel, converts, cents) in the order in which they
    happened, and journey -> (anchor, cents).

    The other library reads a deal's value from its last touch; cents, as floats, lose nothing.
    """
    rows: list[tuple[str, int, str, bool, float]] = []
    deals: dict[str, tuple[int, int]] = {}
    while len(rows) < TOUCHES:
        name, size = f"deal-{len(deals)}", chance.randint(1, 9)
        value, at = chance.randint(1, 5_000_000), _START + chance.randrange(2000) * _HOUR
        for place in range(size):
            at += chance.randrange(1, 72 * _HOUR)
            last = place == size - 1
            rows.append((name, at, chance.choice(CHANNELS), last, float(value) if last else 0.0))
        deals[name] = (at, value)
    rows.sort(key=lambda row: row[1])
    return rows, deals


def _race(
    ours: Callable[[], dict[str, Any]], theirs: Callable[[], dict[str, Any]]
) -> tuple[float, dict[str, Any], float, dict[str, Any]]:
    """Each in its own rounds after one to warm up: median seconds and last result of both."""
    results: list[dict[str, Any]] = []
    seconds: list[float] = []
    for run in (ours, theirs):
        result, found = run(), []
        for _ in range(ROUNDS):
            gc.collect()
            start = perf_counter()
            result = run()
            found.append(perf_counter() - start)
        results.append(result)
        seconds.append(median(found))
    return seconds[0], results[0], seconds[1], results[1]


def _same_deal_by_deal(
    found: dict[str, list[Any]],
    rows: list[tuple[str, int, str, bool, float]],
    deals: dict[str, tuple[int, int]],
    model: Model,
) -> bool:
    sample = dict(list(deals.items())[:SAMPLE])
    touches: dict[str, list[Touch]] = {journey: [] for journey in sample}
    for number, (journey, at, channel, _, _) in enumerate(rows):
        if journey in sample:
            touches[journey].append(Touch(f"touch-{number}", _moment(at), channel))
    expected = [
        (journey, credit.touch and credit.touch.id, credit.weight, credit.value)
        for journey, (at, value) in sample.items()
        for credit in attribute(
            touches[journey], Deal(journey, "", _moment(at), value, "EUR"), model
        ).credits
    ]
    columns = (
        found[name][: len(expected)] for name in ("journey_id", "touch_id", "weight", "value")
    )
    return list(zip(*columns, strict=True)) == expected


def _moment(microseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=microseconds)


def _rule(name: str) -> Any:
    return next(rule for rule in BUILTIN_RULES if rule.name == name)
