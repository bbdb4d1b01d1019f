"""From journeys to a fit: the weights of a Markov chain, and how sure they are.

A weight is a removal effect in parts of 10^9, by conversions or by value; one below zero, which only
refunds bring about, counts as zero. The weights are learned again from as many journeys drawn with
replacement, 200 times from a fixed seed: the bootstrap of Efron (1979).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from itertools import groupby

import numpy as np

from trackflow_core.attribution import Fit, Path
from trackflow_core.attribution.fits import Progress
from trackflow_core.errors import ConfigError
from trackflow_data_driven.chains import MAX_ORDER, Chain, Effect, Markov
from trackflow_data_driven.paths import Array, Paths

# Removal effects are kept to nine decimal places: beyond these, machines may differ.
_SCALE = 10**9
_DRAWS = 200
_SEED = 1


def learn(
    rule: str,
    by_value: bool,
    paths: Sequence[Path],
    parameters: Mapping[str, Decimal],
    fitted_at: datetime,
    progress: Progress,
) -> Fit:
    """The fit of `rule`: the order and grouping of `paths` leave no trace in it.

    Raises ConfigError when `order` is not 1 to 4.
    """
    order, prior = _order(parameters["order"]), parameters["prior_conversions"]
    columns = _cells(paths)
    chain = Chain(columns, order)

    def weigh(journeys: Array) -> tuple[int, ...]:
        found = chain.solve(journeys, columns.conversions * journeys, columns.value * journeys)
        return _weights(found, columns.channels, by_value)

    weights = weigh(columns.journeys * 1.0)
    draws = []
    progress(1 / (_DRAWS + 1))
    for number, counts in enumerate(_redrawn(columns.journeys), 2):
        draws.append(weigh(counts))
        progress(number / (_DRAWS + 1))
    journeys = int(columns.journeys.sum())
    conversions = int((columns.conversions * columns.journeys).sum())
    enough = any(weights) and conversions >= prior
    return Fit(
        rule,
        fitted_at,
        dict(zip(columns.channels, weights, strict=True)),
        unseen=round(sum(weights) / len(weights)) if weights else 0,
        journeys=journeys,
        conversions=conversions,
        parameters={"order": parameters["order"], "prior_conversions": prior},
        draws=tuple(draws),
        note=_note(journeys, conversions, prior, any(weights), enough),
        enough=enough,
    )


def _order(order: Decimal) -> int:
    if order not in range(1, MAX_ORDER + 1):
        raise ConfigError(f"order is {order}; use a whole number from 1 to {MAX_ORDER}.")
    return int(order)


def _cells(paths: Sequence[Path]) -> Paths:
    """`paths` as rows of journeys that ended alike, in one order whatever theirs is.

    `conversions` and `value` are those of a single journey of the row.
    """
    cells: dict[tuple[tuple[str, ...], bool, Fraction], int] = {}
    for path in paths:
        channels = tuple(channel for channel, _ in groupby(path.channels))
        if path.conversions:
            each = Fraction(path.value, path.conversions)
            key = (channels, True, each)
            cells[key] = cells.get(key, 0) + path.conversions
        if path.journeys > path.conversions:
            key = (channels, False, Fraction(0))
            cells[key] = cells.get(key, 0) + path.journeys - path.conversions
    rows = sorted(cells)
    columns = Paths.of(Path(channels) for channels, _, _ in rows)
    return Paths(
        columns.channels,
        columns.codes,
        columns.starts,
        np.array([cells[row] for row in rows], dtype=np.int64),
        np.array([converted for _, converted, _ in rows], dtype=np.float64),
        np.array([float(each) for _, _, each in rows], dtype=np.float64),
    )


def _redrawn(journeys: Array) -> Sequence[Array]:
    """As many journeys drawn again from these, with replacement, `_DRAWS` times."""
    total = int(journeys.sum())
    if not total:
        return []
    # The stream of a RandomState never changes; that of numpy's newer generators may.
    return list(np.random.RandomState(_SEED).multinomial(total, journeys / total, _DRAWS))


def _weights(found: Markov, channels: Sequence[str], by_value: bool) -> tuple[int, ...]:
    def part(effect: Effect) -> float:
        return effect.value if by_value else effect.conversions

    # Of refunds alone nothing can be learned about what brings money.
    if by_value and found.value_per_journey <= 0:
        return (0,) * len(channels)
    return tuple(max(0, round(_SCALE * part(found.effects[channel]))) for channel in channels)


def _note(journeys: int, conversions: int, prior: Decimal, learned: bool, enough: bool) -> str:
    counts = f"{conversions} conversions in {journeys} journeys"
    if not learned:
        return f"Not enough data: {counts}, from which nothing can be learned; position based."
    part = Fraction(conversions) / (conversions + Fraction(prior))
    rest = f"{float(part):.0%} of each split is learned, {float(1 - part):.0%} is position based"
    if enough:
        return f"{counts}: {rest}."
    return f"Not enough data: {counts}, fewer than {prior.normalize():f}; {rest}."
