"""An attribution rule: the touches of paid channels share the deal equally."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trackflow_core.attribution import Journey, Rule
from trackflow_core.hooks import hookimpl

_PAID = ("Display", "Affiliates")


def _weigh(journey: Journey) -> Sequence[int]:
    paid = [_is_paid(touch.channel) for touch in journey.touches]
    return [int(earns) for earns in paid] if any(paid) else [1] * len(paid)


def _is_paid(channel: str) -> bool:
    return channel.startswith("Paid") or channel in _PAID


PAID_TOUCH = Rule(
    name="paid_touch",
    title="Paid touches",
    description="Touches of paid channels earn the same; without one, every touch does.",
    weigh=_weigh,
)


@hookimpl
def trackflow_register_attribution_models() -> Iterable[Rule]:
    """The rule `paid_touch`."""
    return (PAID_TOUCH,)
