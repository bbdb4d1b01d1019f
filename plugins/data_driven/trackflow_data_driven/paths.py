"""Journeys as numbers: all touches of all paths in one array."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias

import numpy as np

from trackflow_core.attribution import Path

Array: TypeAlias = np.ndarray

# Above this, sums of floats are no longer exact.
_EXACT = 2**53


@dataclass(frozen=True, eq=False)
class Paths:
    """Paths in columns.

    `channels` are the names, sorted. `codes` are the places of the touches' channels among them,
    path after path; path `p` begins at `starts[p]`, and the last start is the end. `journeys`,
    `conversions` and `value` (minor units) hold a number for each path.
    """

    channels: tuple[str, ...]
    codes: Array
    starts: Array
    journeys: Array
    conversions: Array
    value: Array

    @classmethod
    def of(cls, paths: Iterable[Path]) -> Paths:
        """The columns of `paths`, in their order.

        Raises OverflowError when the counts or values together are beyond 2^53.
        """
        rows = list(paths)
        sequences = [row.channels for row in rows]
        touches = list(chain.from_iterable(sequences))
        channels = sorted(set(touches))
        numbers = {channel: number for number, channel in enumerate(channels)}
        return cls._checked(
            channels,
            np.fromiter(map(numbers.__getitem__, touches), np.int64, len(touches)),
            np.fromiter(map(len, sequences), np.int64, len(rows)),
            [row.journeys for row in rows],
            [row.conversions for row in rows],
            [row.value for row in rows],
        )

    @classmethod
    def of_columns(
        cls,
        channels: Sequence[str],
        codes: Array,
        lengths: Array,
        conversions: Array,
        value: Array | None = None,
        journeys: Array | None = None,
    ) -> Paths:
        """Paths that are numbers already: `codes` are places in `channels`, path after path.

        `lengths` are the numbers of touches, one or more for each path; without `journeys`, each
        path is one journey; without `value`, conversions have none.

        Raises ValueError when a path has no touch or a code is no place in `channels`, and
        OverflowError when the counts or values together are beyond 2^53.
        """
        if len(lengths) and int(np.min(lengths)) < 1:
            raise ValueError("A path has no touch: leave it out.")
        if len(codes) and not 0 <= int(np.min(codes)) <= int(np.max(codes)) < len(channels):
            raise ValueError("A code is no place in the list of channels.")
        order = sorted(range(len(channels)), key=channels.__getitem__)
        places = np.empty(len(order), dtype=np.int64)
        places[order] = np.arange(len(order))
        return cls._checked(
            [channels[place] for place in order],
            places[np.asarray(codes)],
            lengths,
            np.ones(len(lengths)) if journeys is None else journeys,
            conversions,
            np.zeros(len(lengths)) if value is None else value,
        )

    @classmethod
    def _checked(
        cls,
        channels: Sequence[str],
        codes: Array,
        lengths: Array,
        journeys: Array | Sequence[int],
        conversions: Array | Sequence[int],
        value: Array | Sequence[int],
    ) -> Paths:
        columns = [np.asarray(column, np.float64) for column in (journeys, conversions, value)]
        if any(np.abs(column).sum() >= _EXACT for column in columns):
            raise OverflowError("The paths together hold more than 2^53 journeys or minor units.")
        starts = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
        return cls(tuple(channels), codes, starts, *columns)

    def rows(self) -> Iterator[Path]:
        """The paths one by one, in their order."""
        names = [self.channels[code] for code in self.codes.tolist()]
        starts = self.starts.tolist()
        columns = (self.journeys, self.conversions, self.value)
        numbers = zip(*(column.astype(np.int64).tolist() for column in columns), strict=True)
        for place, (journeys, conversions, value) in enumerate(numbers):
            channels = tuple(names[starts[place] : starts[place + 1]])
            yield Path(channels, journeys, conversions, value)

    def collapsed(self) -> Paths:
        """The same paths with consecutive touches of one channel as one."""
        if not len(self.codes):
            return self
        keep = np.ones(len(self.codes), dtype=bool)
        keep[1:] = self.codes[1:] != self.codes[:-1]
        keep[self.starts[:-1]] = True
        kept = np.concatenate(([0], np.cumsum(keep)))
        return Paths(
            self.channels,
            self.codes[keep],
            kept[self.starts],
            self.journeys,
            self.conversions,
            self.value,
        )
