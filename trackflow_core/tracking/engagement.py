"""How engaged a visitor is: a number that contacts raise and time lowers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

from trackflow_core.errors import ConfigError
from trackflow_core.model import Touch

WEIGHTS: Mapping[str, float] = MappingProxyType(
    {"click": 1.0, "call": 5.0, "meeting": 10.0, "event": 8.0, "referral": 6.0}
)
"""Points of one touch by its kind, where nothing else is configured; other kinds earn 1."""

HALF_LIFE = timedelta(days=14)


def score(
    touches: Iterable[Touch],
    now: datetime,
    *,
    weights: Mapping[str, float] = WEIGHTS,
    half_life: timedelta = HALF_LIFE,
) -> float:
    """The sum over the touches until `now` of `weight(kind) * 2^(-(now - t) / half_life)`.

    Fractional days count. Rounded to two decimals. A touch counts once, however often it is
    passed, and one that lies after `now` does not count yet.

    Raises ConfigError when a weight is negative or `half_life` is not longer than zero.
    """
    if half_life <= timedelta(0):
        raise ConfigError("The half-life of engagement must be longer than zero.")
    if any(weight < 0 for weight in weights.values()):
        raise ConfigError("Weights of engagement must be zero or more.")
    past = {touch.id: touch for touch in touches if touch.occurred_at <= now}.values()
    ordered = sorted(past, key=lambda touch: touch.order_key)
    points = (
        weights.get(touch.kind, 1.0) * 0.5 ** ((now - touch.occurred_at) / half_life)
        for touch in ordered
    )
    return round(float(sum(points)), 2)
