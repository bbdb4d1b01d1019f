"""What TrackFlow itself contributes through its own hooks."""

from __future__ import annotations

from collections.abc import Iterable

from trackflow_core.attribution import BUILTIN_RULES, Rule
from trackflow_core.hooks.specs import hookimpl


@hookimpl(trylast=True)
def trackflow_register_attribution_models() -> Iterable[Rule]:
    """The rules of `trackflow_core.attribution.models`."""
    return BUILTIN_RULES
