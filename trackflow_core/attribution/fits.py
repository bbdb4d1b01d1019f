"""What a rule that learns took from past journeys, frozen so that it can be applied for ever.

A fit is integers and text: applying it needs neither the journeys nor the library that learned it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation
from functools import cached_property
from types import MappingProxyType
from typing import Any

from trackflow_core.errors import ConfigError, InvalidEvent

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Path:
    """The channels of journeys that went alike, in order, and what came of them.

    Of `journeys`, `conversions` ended in one; `value` is that of all of these together, in minor
    units. Journeys of different values may come as paths of their own; the same path may come any
    number of times.

    Raises InvalidEvent on a path without a channel, without a journey, or with more conversions
    than journeys.
    """

    channels: tuple[str, ...]
    journeys: int = 1
    conversions: int = 0
    value: int = 0

    def __post_init__(self) -> None:
        if not self.channels:
            raise InvalidEvent("A path has no channel: leave out journeys without a touch.")
        if self.journeys < 1 or not 0 <= self.conversions <= self.journeys:
            raise InvalidEvent(
                f"The path {' > '.join(self.channels)} has {self.conversions} conversions in "
                f"{self.journeys} journeys: a journey converts once or not at all."
            )
        if self.value and not self.conversions:
            raise InvalidEvent(
                f"The path {' > '.join(self.channels)} has a value without a conversion."
            )


@dataclass(frozen=True)
class Fit:
    """What `rule` learned on `fitted_at` (UTC): a weight for each channel.

    `weights` are non-negative integers, of which only proportions matter; a channel that was not
    among the journeys weighs `unseen`. `parameters` are those that the rule learned with.
    `version` numbers the fits of one model. `draws` are the weights, in the order of `weights`,
    learned from redrawn journeys: how sure the rule is. `note` says in a sentence what the fit
    rests on; `enough` is False where that is too little to rely on.

    Raises ConfigError on weights that cannot be used.
    """

    rule: str
    fitted_at: datetime
    weights: Mapping[str, int]
    unseen: int = 0
    journeys: int = 0
    conversions: int = 0
    parameters: Mapping[str, Decimal] = field(default_factory=lambda: MappingProxyType({}))
    version: int = 1
    draws: tuple[tuple[int, ...], ...] = field(default=(), repr=False)
    note: str = ""
    enough: bool = True

    def __post_init__(self) -> None:
        if self.fitted_at.tzinfo is None:
            raise ConfigError("Fit.fitted_at has no time zone: pass an aware datetime.")
        rows = (tuple(self.weights.values()), (self.unseen,), *self.draws)
        if any(type(weight) is not int or weight < 0 for row in rows for weight in row):
            raise ConfigError(f"The fit of {self.rule!r} holds weights that are no whole numbers.")
        if any(len(row) != len(self.weights) for row in self.draws):
            raise ConfigError(f"A draw of the fit of {self.rule!r} lacks a channel's weight.")
        names = list(self.weights)
        order = sorted(range(len(names)), key=names.__getitem__)
        weights = {names[place]: self.weights[names[place]] for place in order}
        draws = tuple(tuple(row[place] for place in order) for row in self.draws)
        object.__setattr__(self, "fitted_at", self.fitted_at.astimezone(timezone.utc))
        object.__setattr__(self, "weights", MappingProxyType(weights))
        object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))
        object.__setattr__(self, "draws", draws)

    def __hash__(self) -> int:
        return hash((self.rule, self.fitted_at, self.version))

    def weight(self, channel: str) -> int:
        """The weight of `channel`, or of one that was never seen."""
        return self.weights.get(channel, self.unseen)

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {channel: place for place, channel in enumerate(self.weights)}

    def interval(self, channel: str) -> tuple[int, int] | None:
        """Between which weights nine draws of ten lie; None without draws or for a strange channel."""
        place = self._places.get(channel)
        return interval([row[place] for row in self.draws]) if place is not None else None

    def redrawn(self, number: int) -> Fit:
        """The fit as draw `number` would have it; this one where there are no draws.

        Numbers beyond the last draw begin again with the first.
        """
        if not self.draws:
            return self
        row = self.draws[number % len(self.draws)]
        unseen = round(sum(row) / len(row)) if row else self.unseen
        return Fit(
            self.rule,
            self.fitted_at,
            dict(zip(self.weights, row, strict=True)),
            unseen,
            self.journeys,
            self.conversions,
            self.parameters,
            self.version,
            note=self.note,
            enough=self.enough,
        )

    def inputs(self) -> dict[str, Any]:
        """What bears on credits: it goes into the digest of every deal."""
        return {
            "weights": dict(self.weights),
            "unseen": self.unseen,
            "conversions": self.conversions,
        }

    def receipt(self) -> dict[str, Any]:
        """What a receipt tells of the fit, as plain JSON values."""
        return {
            "version": self.version,
            "fitted_at": self.fitted_at.isoformat(),
            "journeys": self.journeys,
            **self.inputs(),
            "enough": self.enough,
            "note": self.note,
        }

    def to_json(self) -> str:
        """The whole fit as JSON, to be kept in a file or a field."""
        return json.dumps(
            {
                "trackflow_fit": _FORMAT,
                "rule": self.rule,
                **self.receipt(),
                "parameters": {
                    name: format(value, "f") for name, value in sorted(self.parameters.items())
                },
                "draws": [list(row) for row in self.draws],
            },
            sort_keys=True,
            ensure_ascii=False,
        )

    @classmethod
    def from_json(cls, text: str) -> Fit:
        """The fit that `to_json` wrote.

        Raises ConfigError when `text` is not such a fit.
        """
        try:
            found = json.loads(text)
            if found["trackflow_fit"] != _FORMAT:
                raise ConfigError(
                    f"The fit has the format {found['trackflow_fit']}; this TrackFlow reads "
                    f"{_FORMAT}: upgrade trackflow-core."
                )
            return cls(
                rule=found["rule"],
                fitted_at=datetime.fromisoformat(found["fitted_at"]),
                weights=found["weights"],
                unseen=found["unseen"],
                journeys=found["journeys"],
                conversions=found["conversions"],
                parameters={name: Decimal(value) for name, value in found["parameters"].items()},
                version=found["version"],
                draws=tuple(tuple(row) for row in found["draws"]),
                note=found["note"],
                enough=found["enough"],
            )
        except (ValueError, KeyError, TypeError, AttributeError, InvalidOperation) as error:
            raise ConfigError(
                "This is not a fitted model as TrackFlow writes it "
                f"({type(error).__name__}: {error}): fit the model again."
            ) from error


Progress = Callable[[float], None]
"""Is told from time to time which part of the work, 0 to 1, is done."""


def no_progress(_part: float) -> None:
    """Tell nobody."""


def interval(values: Sequence[int]) -> tuple[int, int] | None:
    """The values between which the middle nine tenths lie, both included; None where none are.

    The nearest ranks at 5 and 95 percent: both ends are values that occurred.
    """
    if not values:
        return None
    ordered, last = sorted(values), len(values) - 1
    return ordered[(last * 5 + 50) // 100], ordered[(last * 95 + 50) // 100]
