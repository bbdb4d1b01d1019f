"""Where a session ends and the next begins.

A session is a run of one visitor's clicks. It ends by a pause, at midnight in the site's time zone,
and by a click of another campaign. Because midnight always ends it, the sessions of a day follow
from the clicks of that day alone: a late click is answered by splitting its day anew, and the order
of arrival leaves no trace.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache
from zoneinfo import ZoneInfo

from trackflow_core.model import ClickEvent, Session

_DAY = timedelta(days=1)
GAP = timedelta(minutes=30)
UTC = ZoneInfo("UTC")
_BEGINNING = datetime(1, 1, 2, tzinfo=timezone.utc)
_END = datetime(9999, 12, 30, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A visitor's time from `start` (included) to `end` (not included), in UTC."""

    visitor_id: str
    start: datetime
    end: datetime


def day_of(visitor_id: str, moment: datetime, zone: ZoneInfo = UTC) -> Span:
    """The visitor's day in `zone` that `moment` lies in: no session reaches beyond it."""
    day = moment.astimezone(zone).date()
    start, end = _bounds(day, zone)
    # Where clocks are put back over midnight, an hour of yesterday comes after today began.
    if moment >= end:
        start, end = _bounds(day + _DAY, zone)
    return Span(visitor_id, start, end)


def always(visitor_id: str) -> Span:
    """All of a visitor's time."""
    return Span(visitor_id, _BEGINNING, _END)


def split(
    events: Iterable[ClickEvent], gap: timedelta = GAP, zone: ZoneInfo = UTC
) -> Sequence[tuple[Session, Sequence[ClickEvent]]]:
    """The sessions of `events`, which may be of any visitors and in any order, with their events.

    Within a visitor's events by (time, id) a session ends before an event that comes more than
    `gap` after the one before it, on another day in `zone`, or with a campaign that is not the
    session's; an event without a campaign continues any session. The session is called by its
    first event's id and takes source and agent from it.
    """
    runs: list[list[ClickEvent]] = []
    end = _BEGINNING
    for event in sorted(events, key=_order):
        if not runs or _opens(event, runs[-1], gap, end):
            runs.append([])
            end = day_of("", event.click.occurred_at, zone).end
        runs[-1].append(event)
    return [(_session(run), run) for run in runs]


def _order(event: ClickEvent) -> tuple[str, datetime, str]:
    return (event.click.visitor_id or "", event.click.occurred_at, event.click.event_id)


def _opens(event: ClickEvent, run: Sequence[ClickEvent], gap: timedelta, end: datetime) -> bool:
    """Whether `event` begins a session after `run`, whose day lasts until `end`."""
    last = run[-1].click
    return (
        event.click.visitor_id != last.visitor_id
        or event.click.occurred_at - last.occurred_at > gap
        or event.click.occurred_at >= end
        or event.source.campaign not in ("", run[0].source.campaign)
    )


def _session(run: Sequence[ClickEvent]) -> Session:
    first, last = run[0], run[-1]
    return Session(
        id=first.click.event_id,
        visitor_id=first.click.visitor_id or "",
        started_at=first.click.occurred_at,
        ended_at=last.click.occurred_at,
        hits=len(run),
        source=first.source,
        agent=first.agent,
        entry_page=first.click.destination,
        exit_page=last.click.destination,
    )


@lru_cache(maxsize=4096)
def _bounds(day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """When `day` begins in `zone` and when the next one does."""
    return _midnight(day, zone), _midnight(day + _DAY, zone)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(timezone.utc)
