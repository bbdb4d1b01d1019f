"""Journeys as a Markov chain, solved exactly.

A state is the last `order` channels of a journey; a journey begins in `(start)` and ends in a
conversion or without one. With F the numbers of journeys that went from state to state, D those
that left each state and K those that converted from it, the conversions to be expected from the
states are x = (D - F)^-1 K. The removal effect of a channel is the part of all conversions that is
lost when every journey that would meet the channel ends there: with A = (D - F)^-1 and S the states
whose last channel it is, 1' (A_SS)^-1 x_S / (all conversions). Nothing is simulated.

Source: Anderl, Becker, von Wangenheim and Schumann, "Mapping the customer journey", International
Journal of Research in Marketing 33 (2016); absorbing chains after Kemeny and Snell (1960).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import SuperLU, splu

from trackflow_core.attribution import Path
from trackflow_core.errors import ConfigError
from trackflow_data_driven.paths import Array, Paths

MAX_ORDER = 4
# Up to so many states a whole inverse is quicker than a sparse factor for each channel.
_DENSE = 1000


@dataclass(frozen=True, slots=True)
class Effect:
    """Which part of all conversions, and of their value, is lost without a channel.

    `value` may lie outside of 0 to 1 where refunds make some values negative. It is 0 where all
    values together are 0, and both are 0 without a conversion.
    """

    conversions: float
    value: float


@dataclass(frozen=True, slots=True)
class Markov:
    """A solved chain.

    `conversion_rate` is the probability that a journey converts, `value_per_journey` the expected
    value in minor units; both equal what was observed. `effects` are by channel name.
    """

    conversion_rate: float
    value_per_journey: float
    effects: Mapping[str, Effect]

    def shares(self) -> Mapping[str, float]:
        """The removal effects for conversions as parts of one; empty without a conversion."""
        total = sum(effect.conversions for effect in self.effects.values())
        if not total:
            return {}
        return {name: effect.conversions / total for name, effect in self.effects.items()}


def markov(paths: Iterable[Path] | Paths, order: int = 1, *, collapse: bool = True) -> Markov:
    """The chain of `paths`, in any order of rows, journeys without conversion included.

    With `collapse`, consecutive touches of one channel count as one; a chain of order 1 has the
    same effects either way.

    Raises ConfigError when `order` is not 1 to 4.
    """
    columns = paths if isinstance(paths, Paths) else Paths.of(paths)
    chain = Chain(columns, order, collapse=collapse)
    return chain.solve(columns.journeys, columns.conversions, columns.value)


class Chain:
    """The states of paths and the steps between them, ready for any counts of these paths."""

    def __init__(self, paths: Paths, order: int = 1, *, collapse: bool = True) -> None:
        if order not in range(1, MAX_ORDER + 1):
            raise ConfigError(f"The order of a Markov chain is {order}; use 1 to {MAX_ORDER}.")
        if collapse:
            paths = paths.collapsed()
        self._channels = paths.channels
        self._path = np.repeat(np.arange(len(paths.starts) - 1), np.diff(paths.starts))
        first = np.zeros(len(paths.codes), dtype=bool)
        first[paths.starts[:-1]] = True
        state, self._channel_of = _states(paths.codes, first, order, len(self._channels))
        count = len(self._channel_of)
        before = _shifted(state, first, count)
        self._end = state[paths.starts[1:] - 1]
        self._edges, self._step = _numbered(before * count + state, (count + 1) * count)
        self._from, self._to = np.divmod(self._edges, count) if count else (self._edges,) * 2

    @cached_property
    def _sets(self) -> list[Array]:
        """The states of each channel."""
        order = np.argsort(self._channel_of, kind="stable")
        ends = np.cumsum(np.bincount(self._channel_of, minlength=len(self._channels)))
        return list(np.split(order, ends[:-1]))

    def solve(self, journeys: Array, conversions: Array, value: Array) -> Markov:
        """The chain with these numbers for each path. A path of 0 journeys is as if it were not
        there; its conversions and value must then be 0."""
        nobody = dict.fromkeys(self._channels, Effect(0.0, 0.0))
        total = float(journeys.sum())
        if not total:
            return Markov(0.0, 0.0, nobody)
        flow = np.bincount(self._step, journeys[self._path], len(self._edges))
        count = len(self._channel_of)
        visits = np.bincount(self._to, flow, count)
        gains = np.column_stack(
            [np.bincount(self._end, gain, count) for gain in (conversions, value)]
        )
        inner = (self._from < count) & (flow > 0)
        matrix = sparse.csc_array(
            (-flow[inner], (self._from[inner], self._to[inner])), shape=(count, count)
        )
        # A state that nobody visits must not make the matrix singular.
        matrix = matrix + sparse.diags_array(np.where(visits > 0, visits, 1.0), format="csc")
        begin = self._from == count
        start = np.bincount(self._to[begin], flow[begin], count)
        if count <= _DENSE:
            expected, lost = self._remove_dense(matrix.toarray(), gains)
        else:
            expected, lost = self._remove_sparse(matrix, gains, start)
        rate, worth = start @ expected / total
        sums = gains.sum(axis=0)
        parts = np.divide(lost, sums, out=np.zeros_like(lost), where=sums != 0)
        effects = {
            name: Effect(float(of_conversions), float(of_value))
            for name, (of_conversions, of_value) in zip(self._channels, parts, strict=True)
        }
        return Markov(float(rate), float(worth), effects if sums[0] else nobody)

    def _remove_dense(self, matrix: Array, gains: Array) -> tuple[Array, Array]:
        """What is expected from each state, and what is lost without each channel."""
        inverse = np.linalg.inv(matrix)
        expected = inverse @ gains
        if np.array_equal(self._channel_of, np.arange(len(self._channels))):
            # Each channel is a single state: what order 1 always is.
            return expected, expected / np.diag(inverse)[:, None]
        lost = [
            np.linalg.solve(inverse[np.ix_(states, states)], expected[states]).sum(axis=0)
            for states in self._sets
        ]
        return expected, np.array(lost).reshape(-1, 2)

    def _remove_sparse(
        self, matrix: sparse.csc_array, gains: Array, start: Array
    ) -> tuple[Array, Array]:
        expected = _factor(matrix).solve(gains)
        sums = start @ expected
        lost = []
        rows = matrix.tocsr()
        for states in self._sets:
            left = np.ones(len(start), dtype=bool)
            left[states] = False
            places = np.flatnonzero(left)
            if not len(places):
                lost.append(sums)
                continue
            rest = _factor(rows[places][:, places].tocsc()).solve(gains[places])
            lost.append(sums - start[places] @ rest)
        return expected, np.array(lost)


def _factor(matrix: sparse.csc_array) -> SuperLU:
    # The diagonal outweighs its row: no pivot is needed, which keeps the factors sparse.
    symmetric = {"SymmetricMode": True}
    return splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=symmetric)


def _states(codes: Array, first: Array, order: int, channels: int) -> tuple[Array, Array]:
    """The state after each touch, and the channel that each state ends in."""
    if order == 1:
        return codes, np.arange(channels)
    state, count = codes, channels
    for _ in range(order - 1):
        # What came before this touch, and the touch: one channel longer each time.
        pairs = _shifted(state, first, count) * channels + codes
        found, state = _numbered(pairs, (count + 1) * channels)
        count = len(found)
    return state, found % channels


def _numbered(keys: Array, size: int) -> tuple[Array, Array]:
    """The different keys, all below `size`, in order, and where among them each key stands."""
    if size > max(len(keys), 1):
        found, place = np.unique(keys, return_inverse=True)
        return found, place
    found = np.flatnonzero(np.bincount(keys, minlength=size))
    places = np.empty(size, dtype=np.int64)
    places[found] = np.arange(len(found))
    return found, places[keys]


def _shifted(state: Array, first: Array, start: int) -> Array:
    """The state before each touch: that after the one before it, or `start`."""
    before = np.empty_like(state)
    before[1:] = state[:-1]
    before[first] = start
    return before
