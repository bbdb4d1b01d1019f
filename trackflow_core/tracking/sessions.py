"""Where a session ends and the next begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from trackflow_core.model import ClickEvent, Session


def place(
    event: ClickEvent, sessions: Sequence[Session], gap: timedelta = timedelta(minutes=30)
) -> Session:
    """The session that `event` belongs to, with the event counted in.

    It joins the visitor's session that it lies in, or lies no more than `gap` away from, the
    nearest in time, the earlier of equally near ones; otherwise it opens one. A late event that
    came before its session's start becomes its entry.
    """
    click = event.click
    near = [
        session
        for session in sessions
        if session.visitor_id == click.visitor_id
        and session.started_at - gap <= click.occurred_at <= session.ended_at + gap
    ]
    if not near:
        return Session(
            id=click.event_id,
            visitor_id=click.visitor_id or "",
            started_at=click.occurred_at,
            ended_at=click.occurred_at,
            hits=1,
            source=event.source,
            agent=event.agent,
            entry_page=click.destination,
            exit_page=click.destination,
        )

    def distance(session: Session) -> tuple[timedelta, object]:
        before = session.started_at - click.occurred_at
        after = click.occurred_at - session.ended_at
        return (max(before, after, timedelta(0)), session.started_at)

    session = min(near, key=distance)
    changed = replace(session, hits=session.hits + 1)
    if click.occurred_at < session.started_at:
        changed = replace(
            changed,
            started_at=click.occurred_at,
            entry_page=click.destination,
            source=event.source,
        )
    if click.occurred_at >= session.ended_at:
        changed = replace(changed, ended_at=click.occurred_at, exit_page=click.destination)
    return changed
