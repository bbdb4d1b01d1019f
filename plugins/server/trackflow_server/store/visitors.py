"""Visitors: merging them, and what is left of one who withdraws consent or asks to be erased."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from sqlalchemy import Table, bindparam, delete, select, update

from trackflow_core.model import Tier
from trackflow_core.tracking import consent
from trackflow_server.store import rows
from trackflow_server.store.schema import (
    click,
    click_queue,
    lead_visitor,
    merged_visitor,
    session,
    touch,
)
from trackflow_server.store.totals import TotalStore


class VisitorStore(TotalStore):
    """The part of the store that merges, strips and erases visitors."""

    def merge_visitors(self, winner: str, losers: Collection[str]) -> str:
        current = self.winners(merged_visitor, {winner, *losers})
        winner = current[winner]
        others = {current[loser] for loser in losers} - {winner}
        if not others:
            return winner
        with self.recounted({winner, *others}):
            for table in (click, session, touch):
                self.connection.execute(
                    update(table)
                    .where(self.among(table.c.visitor_id, others))
                    .values(visitor_id=winner)
                )
        bound = self.connection.scalars(
            select(lead_visitor.c.lead_ref)
            .where(self.among(lead_visitor.c.visitor_id, others))
            .distinct()
        ).all()
        self.add(lead_visitor, [{"lead_ref": ref, "visitor_id": winner} for ref in bound])
        self._unbind(others)
        self._merge_ids(merged_visitor, winner, others)
        return winner

    def withdraw(self, visitor_id: str) -> None:
        names = self._names_of(visitor_id)
        with self.recounted(names):
            for table in (click_queue, click):
                self._strip(table, names)
        self._drop_visitors(names)

    def _strip(self, table: Table, visitor_ids: Collection[str]) -> None:
        """Leave of these visitors' clicks in `table` what a mere count may keep."""
        found = self.rows(select(table).where(self.among(table.c.visitor_id, visitor_ids)))
        stripped = [
            {"key": kept.event_id, "kept_referrer": kept.referrer}
            for row in found
            if (kept := consent.limit(replace(rows.click_of(row), tier=Tier.AGGREGATE)))
        ]
        if stripped:
            self.connection.execute(
                update(table)
                .where(table.c.event_id == bindparam("key"))
                .values(
                    visitor_id=None,
                    ip="",
                    data="",
                    referrer=bindparam("kept_referrer"),
                    tier=Tier.AGGREGATE.value,
                    **({"session_id": None} if table is click else {}),
                ),
                stripped,
            )

    def forget(self, visitor_id: str) -> Collection[str]:
        names = self._names_of(visitor_id)
        with self.recounted(names, erased=True):
            for table in (click_queue, click):
                self.connection.execute(delete(table).where(self.among(table.c.visitor_id, names)))
        self._drop_visitors(names)
        return names

    def _names_of(self, visitor_id: str) -> set[str]:
        winner = self.winners(merged_visitor, {visitor_id})[visitor_id]
        return self._aliases(merged_visitor, {winner})

    def _drop_visitors(self, visitor_ids: Collection[str]) -> None:
        self.connection.execute(
            delete(session).where(self.among(session.c.visitor_id, visitor_ids))
        )
        self._unbind(visitor_ids)

    def _unbind(self, visitor_ids: Collection[str]) -> None:
        self.connection.execute(
            delete(lead_visitor).where(self.among(lead_visitor.c.visitor_id, visitor_ids))
        )
