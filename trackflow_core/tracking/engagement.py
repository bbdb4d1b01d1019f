"""How engaged a visitor is: a number that contacts raise and time lowers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType

from trackflow_core.errors import ConfigError
from trackflow_core.model import Touch

WEIGHTS: Mapping[str, float] = MappingProxyType(
    {"click": 1.0, "call": 5.0, "meeting": 10.0, "event": 8.0, "referral": 6.0}
)
"""Points of one touch by its kind, where nothing else is configured; other kinds earn 1."""

HALF_LIFE = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Part:
    """What the touches of one kind give to a score; `points` are not rounded."""

    kind: str
    touches: int
    weight: float
    points: float


@dataclass(frozen=True, slots=True)
class Formula:
    """`score = sum over touches until now of weight(kind) * 2^(-(now - t) / half_life)`.

    Kinds that `weights` leaves out keep their weight of `WEIGHTS`. Raises ConfigError when a weight
    is negative or `half_life` is not longer than zero.
    """

    weights: Mapping[str, float] = field(default_factory=lambda: WEIGHTS, hash=False)
    half_life: timedelta = HALF_LIFE

    def __post_init__(self) -> None:
        if self.half_life <= timedelta(0):
            raise ConfigError("The half-life of engagement must be longer than zero.")
        if any(weight < 0 for weight in self.weights.values()):
            raise ConfigError("Weights of engagement must be zero or more.")
        object.__setattr__(self, "weights", MappingProxyType({**WEIGHTS, **self.weights}))

    def parts(self, touches: Iterable[Touch], now: datetime) -> Sequence[Part]:
        """The kinds of the touches until `now` (aware), the one with most points first.

        Fractional days count. A touch counts once, however often it is passed, and one that lies
        after `now` does not count yet.
        """
        past = {touch.id: touch for touch in touches if touch.occurred_at <= now}.values()
        decayed: dict[str, list[float]] = defaultdict(list)
        for touch in sorted(past, key=lambda touch: touch.order_key):
            decayed[touch.kind].append(0.5 ** ((now - touch.occurred_at) / self.half_life))
        parts = [
            Part(kind, len(each), self.weight(kind), self.weight(kind) * sum(each))
            for kind, each in decayed.items()
        ]
        return sorted(parts, key=lambda part: (-part.points, part.kind))

    def weight(self, kind: str) -> float:
        """Points of one touch of `kind` at the moment it happens."""
        return self.weights.get(kind, 1.0)

    def score(self, touches: Iterable[Touch], now: datetime) -> float:
        """The sum of the parts, rounded to two decimals."""
        return round(float(sum(part.points for part in self.parts(touches, now))), 2)
