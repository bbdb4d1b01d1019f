"""The Shapley value of the sum game, in closed form.

In the sum game, channels together are worth the conversions of all journeys that needed no other
channel. Its Shapley value splits each conversion equally over the distinct channels of its journey:
a sum over journeys, exact for any number of channels, never negative for conversions.

Source: Zhao, Mahboobi and Bagheri, "Shapley Value Methods for Attribution Modeling in Online
Advertising" (2018), with its ordered variant, which tells a channel's value by place in the journey.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from trackflow_core.attribution import Path


@dataclass(frozen=True, slots=True)
class Worth:
    """What a channel is worth, exactly: conversions, and their value in minor units."""

    conversions: Fraction
    value: Fraction


def shapley(paths: Iterable[Path]) -> Mapping[str, Worth]:
    """The Shapley value of each channel, by name. The values sum to all that was observed."""
    totals: dict[str, dict[int, list[int]]] = {}
    for path in paths:
        distinct = set(path.channels)
        for channel in distinct:
            _add(totals.setdefault(channel, {}), len(distinct), path)
    return {channel: _worth(totals[channel]) for channel in sorted(totals)}


def ordered_shapley(paths: Iterable[Path]) -> Mapping[tuple[str, int], Worth]:
    """The Shapley value of each channel at each place (1 is the first touch) of the journeys.

    A channel that came several times has its part equally from each of these places. The places
    of a channel sum to its Shapley value.
    """
    totals: dict[tuple[str, int], dict[int, list[int]]] = {}
    for path in paths:
        distinct = len(set(path.channels))
        times: dict[str, int] = {}
        for channel in path.channels:
            times[channel] = times.get(channel, 0) + 1
        for place, channel in enumerate(path.channels, 1):
            _add(totals.setdefault((channel, place), {}), distinct * times[channel], path)
    return {key: _worth(totals[key]) for key in sorted(totals)}


def _add(sums: dict[int, list[int]], divisor: int, path: Path) -> None:
    conversions_value = sums.setdefault(divisor, [0, 0])
    conversions_value[0] += path.conversions
    conversions_value[1] += path.value


def _worth(sums: Mapping[int, list[int]]) -> Worth:
    return Worth(
        sum((Fraction(found[0], divisor) for divisor, found in sums.items()), Fraction(0)),
        sum((Fraction(found[1], divisor) for divisor, found in sums.items()), Fraction(0)),
    )
