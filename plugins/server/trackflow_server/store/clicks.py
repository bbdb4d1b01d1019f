"""The click queue, and what becomes of a click: event and session."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import and_, bindparam, delete, exists, func, or_, select, update

from trackflow_core.model import Click, ClickEvent, Link, Session
from trackflow_core.tracking.sessions import Span
from trackflow_server.store import rows
from trackflow_server.store.schema import click as click_table
from trackflow_server.store.schema import click_queue, link, merged_visitor, session
from trackflow_server.store.totals import TotalStore


class ClickStore(TotalStore):
    """The part of the store that keeps the click queue, clicks and sessions."""

    def append_clicks(self, clicks: Sequence[Click]) -> None:
        self.add(click_queue, [rows.click_values(click) for click in clicks])

    def claim_clicks(
        self, limit: int, visitor_ids: Collection[str] | None = None
    ) -> Sequence[Click]:
        query = select(click_queue).where(click_queue.c.rejected.is_(None))
        if visitor_ids is not None:
            aliases = self._aliases(merged_visitor, visitor_ids)
            query = query.where(self.among(click_queue.c.visitor_id, aliases))
        found = self.rows(
            query.order_by(click_queue.c.occurred_at, click_queue.c.event_id).limit(limit)
        )
        if not found:
            return []
        known = self.known([row["event_id"] for row in found])
        self._settle(known)
        winners = self.winners(
            merged_visitor, {row["visitor_id"] for row in found if row["visitor_id"]}
        )
        return [
            rows.click_of({**row, "visitor_id": winners.get(row["visitor_id"])})
            for row in found
            if row["event_id"] not in known
        ]

    def _settle(self, event_ids: Collection[str]) -> None:
        if event_ids:
            waiting = self.among(click_queue.c.event_id, event_ids)
            self.connection.execute(delete(click_queue).where(waiting))

    def has_queued_clicks(self, visitor_ids: Collection[str]) -> bool:
        aliases = self._aliases(merged_visitor, visitor_ids)
        waiting = exists().where(
            click_queue.c.rejected.is_(None), self.among(click_queue.c.visitor_id, aliases)
        )
        return bool(self.connection.scalar(select(waiting)))

    def queue_lengths(self) -> tuple[int, int]:
        """How many clicks wait, and how many were set aside."""
        rejected = click_queue.c.rejected
        query = select(func.count(), func.count(rejected)).select_from(click_queue)
        total, aside = self.connection.execute(query).one()
        return total - aside, aside

    def reject_click(self, click: Click, reason: str) -> None:
        self.connection.execute(
            update(click_queue)
            .where(click_queue.c.event_id == click.event_id)
            .values(rejected=reason.replace("\0", ""))
        )

    def save_links(self, links: Sequence[Link]) -> None:
        """Keep links, replacing what is held of their codes."""
        number = self.count_change("link")
        self._put(link, [{**rows.link_values(item), "revision": number} for item in links])

    def drop_links(self, kept: Collection[str]) -> None:
        """Delete all links but these."""
        gone = set(self.connection.scalars(select(link.c.code))) - set(kept)
        if gone:
            self.connection.execute(delete(link).where(self.among(link.c.code, gone)))
            self.count_change("link")

    def links_revision(self) -> int:
        """A number that grows whenever links change."""
        return self.revision_of("link")

    def links(self, codes: Collection[str]) -> Mapping[str, Link]:
        if not codes:
            return {}
        found = self.rows(
            select(link).where(self.among(link.c.code, [c for c in codes if "\0" not in c]))
        )
        return {row["code"]: rows.link_of(row) for row in found}

    def sessions(self, visitor_ids: Collection[str]) -> Sequence[Session]:
        found = self.rows(select(session).where(self.among(session.c.visitor_id, visitor_ids)))
        return [rows.session_of(row) for row in found]

    def save_visits(self, events: Sequence[ClickEvent], sessions: Sequence[Session]) -> None:
        self.count(events)
        self.add(click_table, [rows.event_values(event) for event in events])
        self._put(session, [rows.session_values(item) for item in sessions])
        self._settle([event.click.event_id for event in events])

    def recorded(self, spans: Collection[Span]) -> Sequence[ClickEvent]:
        found: list[ClickEvent] = []
        ordered = sorted(spans)
        # Many visitors share few days; so long conditions stay rare.
        for start in range(0, len(ordered), 200):
            within = or_(
                *(
                    and_(
                        click_table.c.visitor_id == span.visitor_id,
                        click_table.c.occurred_at >= span.start,
                        click_table.c.occurred_at < span.end,
                    )
                    for span in ordered[start : start + 200]
                )
            )
            found += map(rows.event_of, self.rows(select(click_table).where(within)))
        return found

    def move_clicks(self, sessions: Mapping[str, str], gone: Collection[str]) -> None:
        if sessions:
            self.connection.execute(
                update(click_table)
                .where(click_table.c.event_id == bindparam("moved"))
                .values(session_id=bindparam("home")),
                [{"moved": event_id, "home": home} for event_id, home in sessions.items()],
            )
        if gone:
            self.connection.execute(delete(session).where(self.among(session.c.id, gone)))
