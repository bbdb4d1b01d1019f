"""Markov chains beside `ChannelAttribution` and `marketing-attribution-models`.

Ten thousand distinct paths: both get them in the containers they work on and give each channel's
credit. One million journeys: both get a table of touches. Ours is checked against the observed rate
of conversion, which an exact chain has to meet. ChannelAttribution needs a compiler, so it is
installed where the benchmark runs, in an environment of its own; where that fails, its part says so.
"""

from __future__ import annotations

import gc
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path as File
from statistics import median
from time import perf_counter
from typing import Any

from tests.environment import bootstrap, cache
from tests.environment.failure import SetupError
from tests.environment.progress import run_logged, step
from trackflow_core.attribution import Path

PEER = ("ChannelAttribution==2.2.5", "matplotlib", "pandas")
PATHS, ROUNDS = 10_000, 5
JOURNEYS, JOURNEY_ROUNDS = 1_000_000, 3
MOST_SECONDS, MOST_OF_PEER, TIMES_FASTER = 0.05, 0.5, 5
CHANNELS = (
    "Affiliates",
    "Direct",
    "Display",
    "Email",
    "Organic Search",
    "Paid Search",
    "Paid Social",
    "Referral",
    "Video",
    "SMS",
)
_PEER_RUN = """
import json, sys, time
import pandas
from ChannelAttribution import markov_model
rounds, rows = json.load(open(sys.argv[1]))
data = pandas.DataFrame(rows, columns=["path", "conversions", "value", "null"])
seconds = []
for _ in range(rounds + 1):
    start = time.perf_counter()
    found = markov_model(data, "path", "conversions", var_value="value", var_null="null", order=1,
                         out_more=True, seed=1, verbose=False, flg_pro=False)
    seconds.append(time.perf_counter() - start)
effects = found["removal_effects"]
rows = zip(effects["channel_name"], effects["removal_effects_conversion"])
print(json.dumps([seconds[1:], dict(rows)]))
"""


def main() -> list[str]:
    """Print the medians; the targets that were missed, in words."""
    try:
        import polars  # noqa: F401
        import pyarrow  # noqa: F401
        from mam import MAM  # noqa: F401
    except ImportError as error:
        raise SetupError(
            f"{error.name} is not installed: install the dependency group 'bench'"
        ) from error
    return [*_ten_thousand_paths(random.Random(1)), *_a_million_journeys(random.Random(2))]


def _ten_thousand_paths(chance: random.Random) -> list[str]:
    from trackflow_data_driven.chains import markov

    names: set[tuple[str, ...]] = set()
    while len(names) < PATHS:
        names.add(tuple(chance.choices(CHANNELS, k=chance.randint(1, 9))))
    paths = []
    for name in sorted(names):
        conversions = chance.randint(0, 5)
        paths.append(
            Path(name, conversions + chance.randint(1, 40), conversions, conversions * 12_300)
        )
    result, ours = _timed(lambda: markov(paths), ROUNDS)
    rate = sum(path.conversions for path in paths) / sum(path.journeys for path in paths)
    print(
        f"\nMarkov order 1 on {PATHS:,} distinct paths, medians of {ROUNDS}: "
        f"trackflow {ours * 1000:.1f} ms, P(conversion) {result.conversion_rate - rate:+.1e} off"
    )
    missed = []
    if ours > MOST_SECONDS:
        missed.append(f"Markov takes {ours * 1000:.0f} ms")
    if abs(result.conversion_rate - rate) > 1e-12:
        missed.append("Markov is not exact")
    peer = _channel_attribution(paths)
    if peer is None:
        return [*missed, "ChannelAttribution could not be installed here"]
    theirs, effects = peer
    apart = max(abs(effects[name] - found.conversions) for name, found in result.effects.items())
    print(
        f"ChannelAttribution {theirs * 1000:.1f} ms ({ours / theirs:.2f} of its time); "
        f"its simulated removal effects are up to {apart:.4f} off ours"
    )
    if ours > MOST_OF_PEER * theirs:
        missed.append(f"Markov takes {ours / theirs:.2f} of ChannelAttribution's time")
    return missed


def _channel_attribution(paths: list[Path]) -> tuple[float, dict[str, float]] | None:
    """Its median seconds and removal effects; None where it cannot be installed."""
    version = "{}.{}".format(*sys.version_info[:2])
    try:
        with cache.lock("channel-attribution"), step("Preparing ChannelAttribution (once)"):
            home = cache.prepare(cache.root() / "channel-attribution" / version, _install)
    except SetupError as error:
        print(error)
        return None
    rows = [
        (
            " > ".join(path.channels),
            path.conversions,
            path.value,
            path.journeys - path.conversions,
        )
        for path in paths
    ]
    with tempfile.TemporaryDirectory() as work:
        data = File(work) / "paths.json"
        data.write_text(json.dumps([ROUNDS, rows]))
        # It greets on standard output; the last line is ours.
        answer = subprocess.run(
            [sys.executable, "-c", _PEER_RUN, data],
            env={**bootstrap.uv_environment(), "PYTHONPATH": str(home), "MPLBACKEND": "agg"},
            cwd=work,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    seconds, effects = json.loads(answer.splitlines()[-1])
    return median(seconds), effects


def _install(folder: File) -> None:
    run_logged(
        [bootstrap.uv(), "pip", "install", "--target", folder, *PEER],
        cache.root() / "logs" / "channel-attribution.log",
        "ChannelAttribution could not be built (it needs a C++ compiler)",
        env=bootstrap.uv_environment(),
    )


def _a_million_journeys(chance: random.Random) -> list[str]:
    import polars as pl
    import pyarrow as pa
    from mam import MAM

    from trackflow_data_driven.chains import markov
    from trackflow_data_driven.tables import paths_of

    journeys: list[int] = []
    channels: list[str] = []
    ends: list[bool] = []
    sizes = chance.choices((1, 2, 3, 4, 5, 6), k=JOURNEYS)
    converts = chance.choices((True, False), (1, 9), k=JOURNEYS)
    for number, (size, converted) in enumerate(zip(sizes, converts, strict=True)):
        journeys += [number] * size
        channels += chance.choices(CHANNELS, k=size)
        ends += [False] * (size - 1) + [converted]
    rows = len(journeys)
    times = pa.array(range(rows), pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    touches = pa.table(
        {"journey_id": pa.array(journeys), "occurred_at": times, "channel": channels}
    )
    touches = touches.append_column("touch_id", touches.column("journey_id").cast(pa.string()))
    won = [place for place, converted in enumerate(ends) if converted]
    deals = pa.table(
        {
            "journey_id": [journeys[place] for place in won],
            "occurred_at": times.take(pa.array(won)),
            "value": [100] * len(won),
        }
    )
    frame = pl.DataFrame(
        {"journey": journeys, "at": range(rows), "channel": channels, "converted": ends}
    ).with_columns(pl.col("at").cast(pl.Datetime("us")), pl.col("journey").cast(pl.String))

    def run_theirs() -> Any:
        return MAM(frame, "session", "channel", "converted", "at", "journey").run_markov()

    year = timedelta(days=365)
    result, ours = _timed(lambda: markov(paths_of(touches, deals, year)), JOURNEY_ROUNDS)
    _, theirs = _timed(run_theirs, JOURNEY_ROUNDS)
    rate = len(won) / JOURNEYS
    print(
        f"Markov order 1 on {JOURNEYS:,} journeys of {rows:,} touches, medians of "
        f"{JOURNEY_ROUNDS}: trackflow {ours:.2f} s, marketing-attribution-models {theirs:.2f} s, "
        f"{theirs / ours:.1f} times"
    )
    missed = []
    if theirs < TIMES_FASTER * ours:
        missed.append(f"Markov on journeys is only {theirs / ours:.1f} times faster")
    if abs(result.conversion_rate - rate) > 1e-12:
        missed.append("Markov on journeys is not exact")
    return missed


def _timed(run: Callable[[], Any], rounds: int) -> tuple[Any, float]:
    """The last result and the median seconds, after one round to warm up."""
    result, seconds = run(), []
    for _ in range(rounds):
        gc.collect()
        start = perf_counter()
        result = run()
        seconds.append(perf_counter() - start)
    return result, median(seconds)
