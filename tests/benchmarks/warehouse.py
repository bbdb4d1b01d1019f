"""All rule-based models over one, three and ten million touches with DuckDB.

Beside SQL written by hand for the same credits: both read the same tables, both write every credit of
every model to a Parquet file, and what both wrote is compared row by row. Each runs in a process of
its own, whose peak of memory is what the operating system says.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from tests.environment.failure import SetupError

MILLIONS = (1, 3, 10)
TIMES_SLOWER = 2.0
GIGABYTES = 4.0
# Time may grow by so much more than the rows do.
BEND = 1.35
LOOKBACK_DAYS = 90
_MEMORY = "2GB"

_TOUCHES = """
CREATE TABLE touches AS
SELECT 'journey-' || (hash(i) % {journeys}) AS journey_id, 'touch-' || i AS touch_id,
    (1767225600000000 + (hash(i + 1) % (120 * 86400)) * 1000000)::BIGINT AS moment,
    ['Affiliates', 'Direct', 'Display', 'Email', 'Organic Search', 'Paid Search', 'Paid Social',
     'Referral'][(1 + hash(i + 2) % 8)::INT] AS channel
FROM range({touches}) AS t(i)
"""
_CONVERSIONS = """
CREATE TABLE conversions AS
SELECT 'journey-' || i AS journey_id, 1767225600000000 + 9504000000000 AS anchor,
    (hash(i) % 5000000)::BIGINT AS value,
    (1767225600000000 + (hash(i + 3) % (110 * 86400)) * 1000000)::BIGINT AS lead_created_at,
    1767225600000000 + 9504000000000 AS deal_created_at,
    1767225600000000 + 11232000000000 AS closed_at
FROM range({journeys}) AS t(i)
"""

# By hand: what somebody who knows the rules and DuckDB writes, with 128-bit integers for the money.
_WINDOW = """
CREATE TEMP TABLE counted AS
SELECT t.journey_id, touch_id, moment, channel, value, lead_created_at, deal_created_at, closed_at,
    row_number() OVER in_order AS place, count(*) OVER (PARTITION BY t.journey_id) AS length
FROM touches t JOIN conversions c USING (journey_id)
WHERE moment BETWEEN anchor - {lookback} AND anchor
WINDOW in_order AS (PARTITION BY t.journey_id ORDER BY moment, touch_id)
"""
_SPLIT = """
WITH weighed AS ({weighed}),
totals AS (SELECT *, sum(weight) OVER (PARTITION BY journey_id) AS total FROM weighed),
parts AS (
    SELECT *, value::HUGEINT * weight // total AS part, value::HUGEINT * weight % total AS remainder
    FROM totals
), ranked AS (
    SELECT *, value - sum(part) OVER (PARTITION BY journey_id) AS units,
        row_number() OVER (PARTITION BY journey_id ORDER BY remainder DESC, place) AS rank
    FROM parts
)
SELECT journey_id, touch_id, channel, weight::DOUBLE / total::DOUBLE AS weight,
    (part + (rank <= units)::INT)::BIGINT AS value
FROM ranked
"""
_WHOLE = """
SELECT journey_id, touch_id, channel, earns::DOUBLE AS weight,
    CASE WHEN earns THEN value ELSE 0 END AS value
FROM (SELECT *, {earns} AS earns FROM counted)
"""
_MILESTONES = """
SELECT *, CASE WHEN others = 0 THEN earned WHEN earned > 0 THEN earned * {share} * others
    ELSE {rest} END AS weight
FROM (
    SELECT *, sum((earned = 0)::INT) OVER (PARTITION BY journey_id) AS others
    FROM (SELECT *, (place = 1)::INT + {earned} AS earned FROM ({reached}))
)
"""


def _reached(*names: str, share: int, rest: int) -> str:
    counts = ", ".join(
        f"sum((moment <= {name})::INT) OVER (PARTITION BY journey_id) AS reached_{name}"
        for name in names
    )
    earned = " + ".join(f"(place = reached_{name})::INT" for name in names)
    weighed = _MILESTONES.format(
        share=share, rest=rest, earned=earned, reached=f"FROM counted SELECT *, {counts}"
    )
    return _SPLIT.format(weighed=weighed)


_BY_HAND = {
    "first_touch": _WHOLE.format(earns="place = 1"),
    "last_touch": _WHOLE.format(earns="place = length"),
    "last_non_direct": _WHOLE.format(
        earns="place = coalesce(max(place) FILTER (channel <> 'Direct') "
        "OVER (PARTITION BY journey_id), length)"
    ),
    "linear": "SELECT journey_id, touch_id, channel, 1.0 / length AS weight, "
    "value // length + (place <= value % length)::INT AS value FROM counted",
    "time_decay": _SPLIT.format(
        weighed="SELECT *, round_even(1e12 * pow(2.0, -((max(moment) OVER (PARTITION BY journey_id)"
        " - moment) / 1e6) / (7 * 86400.0)), 0)::BIGINT AS weight FROM counted"
    ),
    "position_based": _SPLIT.format(
        weighed="SELECT *, CASE WHEN length <= 2 THEN 1 WHEN place IN (1, length) "
        "THEN 2 * (length - 2) ELSE 1 END AS weight FROM counted"
    ),
    "w_shaped": _reached("lead_created_at", "deal_created_at", share=30, rest=10),
    "full_path": _reached("lead_created_at", "deal_created_at", "closed_at", share=45, rest=20),
}
_UNATTRIBUTED = """
UNION ALL SELECT journey_id, NULL, 'Unattributed', 1.0, value
FROM conversions ANTI JOIN counted USING (journey_id)
"""


def main() -> list[str]:
    """Print seconds and memory of both; the targets that were missed, in words."""
    try:
        import trackflow_warehouse  # noqa: F401
    except ImportError as error:
        raise SetupError(f"{error.name} is not installed: run make setup") from error
    missed = []
    seconds: dict[int, float] = {}
    for millions in MILLIONS:
        with tempfile.TemporaryDirectory() as folder:
            _prepare(Path(folder), millions * 1_000_000)
            ours, theirs = (_measured(name, folder) for name in ("ours", "by_hand"))
            different = _differences(Path(folder))
        seconds[millions] = ours["seconds"]
        ratio = ours["seconds"] / theirs["seconds"]
        print(
            f"{millions:>3} million touches, {len(_BY_HAND)} models: trackflow "
            f"{ours['seconds']:.1f} s in {ours['gigabytes']:.1f} GB, SQL by hand "
            f"{theirs['seconds']:.1f} s in {theirs['gigabytes']:.1f} GB, {ratio:.2f} times; "
            f"{different} credits differ"
        )
        # Of few touches the start of Python is half of the time.
        if ratio > TIMES_SLOWER and millions == max(MILLIONS):
            missed.append(f"the warehouse takes {ratio:.2f} times the SQL at {millions} million")
        if ours["gigabytes"] > GIGABYTES:
            missed.append(f"the warehouse takes {ours['gigabytes']:.1f} GB at {millions} million")
        if different:
            missed.append(f"{different} credits differ from the SQL's at {millions} million")
    least, most = min(seconds), max(seconds)
    growth = seconds[most] / seconds[least]
    print(f"Time grew {growth:.1f} times for {most / least:.1f} times the touches")
    if growth > BEND * most / least:
        missed.append(f"the warehouse's time grew {growth:.1f} times")
    return missed


def _prepare(folder: Path, touches: int) -> None:
    import duckdb

    with duckdb.connect(str(folder / "data.duckdb")) as database:
        journeys = touches // 5
        database.execute(_TOUCHES.format(touches=touches, journeys=journeys))
        database.execute(_CONVERSIONS.format(journeys=journeys))


def _measured(who: str, folder: str) -> dict[str, float]:
    """Seconds and peak of memory of one side, in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.warehouse", who, folder]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _differences(folder: Path) -> int:
    import duckdb

    both = (folder / "ours", folder / "by_hand")
    different = 0
    for name in _BY_HAND:
        one, other = (f"FROM '{side / name}.parquet'" for side in both)
        query = (
            f"FROM (({one} EXCEPT ALL {other}) UNION ALL ({other} EXCEPT ALL {one})) "
            "SELECT count(*)"
        )
        with duckdb.connect() as database:
            database.execute(f"SET memory_limit = '{_MEMORY}'")
            row = database.execute(query).fetchone()
        different += row[0] if row else 0
    return different


def _run(who: str, folder: Path) -> None:
    import resource

    (folder / who).mkdir()
    start = perf_counter()
    {"ours": _ours, "by_hand": _by_hand}[who](folder)
    seconds = perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"seconds": seconds, "gigabytes": peak}))


def _ours(folder: Path) -> None:
    import ibis

    from trackflow_core.attribution import BUILTIN_RULES, Model
    from trackflow_warehouse.journeys import Journeys

    connection = ibis.duckdb.connect(folder / "data.duckdb", read_only=True)
    connection.raw_sql(f"SET memory_limit = '{_MEMORY}'")
    connection.raw_sql(f"SET temp_directory = '{folder / 'ours.tmp'}'")
    connection.raw_sql("SET preserve_insertion_order = false")
    journeys = Journeys(connection.table("touches"), connection.table("conversions"))
    for rule in BUILTIN_RULES:
        credits = journeys.credits(Model(rule)).drop("place")
        connection.to_parquet(credits, folder / "ours" / f"{rule.name}.parquet")


def _by_hand(folder: Path) -> None:
    import duckdb

    with duckdb.connect(str(folder / "data.duckdb"), read_only=True) as database:
        database.execute(f"SET memory_limit = '{_MEMORY}'")
        database.execute(f"SET temp_directory = '{folder / 'by_hand.tmp'}'")
        database.execute("SET preserve_insertion_order = false")
        database.execute(_WINDOW.format(lookback=LOOKBACK_DAYS * 86400 * 10**6))
        for name, query in _BY_HAND.items():
            target = folder / "by_hand" / f"{name}.parquet"
            database.execute(f"COPY ({query} {_UNATTRIBUTED}) TO '{target}'")


if __name__ == "__main__":
    _run(sys.argv[1], Path(sys.argv[2]))
