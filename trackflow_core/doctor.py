"""What a host's doctor drives through its parts: a made-up click that becomes a deal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from secrets import token_hex

from trackflow_core.attribution.allocation import from_minor_units
from trackflow_core.engine import Engine
from trackflow_core.errors import TrackFlowError
from trackflow_core.model import Click, Deal, Lead
from trackflow_core.tracking import identity

VALUE = 10_000
"""What the deal is worth, in minor units of its currency."""

_BROWSER = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0.0.0 Safari/537.36"
)


@dataclass(frozen=True)
class Trial:
    """A deal made up, and the only click that led to it."""

    event_id: str
    deal_ref: str
    digits: int


def drive(
    engine: Engine,
    link_code: str,
    destination: str,
    now: datetime,
    currency: str = "EUR",
    digits: int = 2,
) -> Trial:
    """Let somebody click the link two minutes before `now`, become a lead and a deal.

    It goes the ways of real clicks, leads and deals; the caller rolls back what they write.
    """
    mark = token_hex(8)
    trial = Trial(f"doctor-{mark}", f"doctor/{mark}", digits)
    visitor = identity.new_visitor_id()
    engine.record_click(
        Click(
            event_id=trial.event_id,
            occurred_at=now - timedelta(minutes=2),
            link_code=link_code,
            destination=destination,
            visitor_id=visitor,
            user_agent=_BROWSER,
        )
    )
    ref = trial.deal_ref
    engine.apply_lead(Lead(ref, f"lead-{mark}", now, visitor_ids=frozenset({visitor})))
    engine.apply_deal(Deal(ref, f"deal-{mark}", now, VALUE, currency, lead_ref=ref, digits=digits))
    return trial


def check(trial: Trial, credits: Sequence[tuple[str, int]]) -> None:
    """Whether the deal's only touch has earned all of it.

    `credits` are those of the ledger: each with its touch and its value in minor units.

    Raises:
        TrackFlowError: if it has not, with what is there instead.
    """
    if credits != [(trial.event_id, VALUE)]:
        shown = ", ".join(
            f"{from_minor_units(value, trial.digits)} for {touch or 'nobody'}"
            for touch, value in credits
        )
        raise TrackFlowError(
            f"A deal of {from_minor_units(VALUE, trial.digits)} after one click has the credits "
            f"{shown or 'none'}: see which plugin changes clicks or models."
        )
