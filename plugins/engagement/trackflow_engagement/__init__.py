"""Answers `GET /engagement/<lead>` of the REST API: how engaged a lead is, and why."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone

from pydantic import BaseModel, Field

from trackflow_core.hooks import ApiCall, ApiRoute, hookimpl


class EngagementPart(BaseModel):
    """What the touches of one kind give."""

    kind: str = Field(description="Kind of the touches.", examples=["meeting"])
    touches: int = Field(description="How many there are.", examples=[1])
    weight: float = Field(description="Points of one at the moment it happens.", examples=[10.0])
    points: float = Field(description="What they give now, to two decimals.", examples=[7.07])


class Engagement(BaseModel):
    """How engaged a lead is at one moment."""

    lead: str = Field(description="The lead.", examples=["crm.lead/42"])
    score: float = Field(description="The sum of all points, to two decimals.", examples=[7.07])
    half_life_days: float = Field(
        description="Days after which a touch's points are halved.", examples=[14.0]
    )
    as_of: datetime = Field(
        description="The moment of the score.", examples=["2026-03-08T09:00:00Z"]
    )
    parts: list[EngagementPart] = Field(description="By kind of touch, most points first.")


@hookimpl
def trackflow_register_api_routes() -> Iterable[ApiRoute]:
    """`GET /engagement/{ref}`: the score of a lead and what it is made of."""
    return [
        ApiRoute(
            "get_engagement",
            "GET",
            "/engagement/{ref}",
            "engagement:read",
            "Read how engaged a lead is, and why",
            engagement,
            answer=Engagement,
        )
    ]


def engagement(call: ApiCall) -> Engagement:
    """The engagement of the lead now, by the host's formula.

    Raises LookupError when there is no such lead.
    """
    asked = call.params["ref"]
    leads = call.store.leads([asked])
    if not leads:
        raise LookupError(f"There is no lead {asked!r}.")
    ref = leads[0].ref
    touches = call.store.touches([ref]).get(ref, ())
    formula, now = call.settings.engagement, datetime.now(timezone.utc)
    return Engagement(
        lead=ref,
        score=formula.score(touches, now),
        half_life_days=formula.half_life / timedelta(days=1),
        as_of=now,
        parts=[
            EngagementPart(
                kind=part.kind,
                touches=part.touches,
                weight=part.weight,
                points=round(part.points, 2),
            )
            for part in formula.parts(touches, now)
        ],
    )
