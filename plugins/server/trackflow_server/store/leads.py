"""Leads with their visitors, accounts and merges."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import and_, bindparam, delete, not_, or_, select, update

from trackflow_core.model import CLICK, Lead, LeadSummary, Touch
from trackflow_server.store import rows
from trackflow_server.store.base import BaseStore
from trackflow_server.store.schema import (
    click,
    conversion,
    lead,
    lead_visitor,
    merged_lead,
    merged_visitor,
    stale_lead,
    touch,
)


class LeadStore(BaseStore):
    """The part of the store that keeps leads."""

    def save_leads(self, leads: Sequence[Lead]) -> Sequence[Lead]:
        current = self.winners(merged_lead, {told.ref for told in leads})
        visitors = self.winners(
            merged_visitor, {visitor for told in leads for visitor in told.visitor_ids}
        )
        held = {found.ref: found for found in self._leads(set(current.values()))}
        saved = []
        for told in leads:
            told = replace(
                told,
                ref=current[told.ref],
                visitor_ids=frozenset(visitors[visitor] for visitor in told.visitor_ids),
            )
            known = held.get(told.ref)
            held[told.ref] = known.merged_with(told) if known else told
            saved.append(held[told.ref])
        self._keep(held.values())
        return [held[told.ref] for told in saved]

    def _keep(self, leads: Collection[Lead]) -> None:
        self._put(lead, [rows.lead_values(item) for item in leads])
        self.add(
            lead_visitor,
            [
                {"lead_ref": item.ref, "visitor_id": visitor}
                for item in leads
                for visitor in sorted(item.visitor_ids)
            ],
        )

    def leads(self, refs: Collection[str]) -> Sequence[Lead]:
        return self._leads(refs) if refs else []

    def _leads(self, refs: Collection[str]) -> Sequence[Lead]:
        bound: dict[str, set[str]] = defaultdict(set)
        for row in self.rows(select(lead_visitor).where(self.among(lead_visitor.c.lead_ref, refs))):
            bound[row["lead_ref"]].add(row["visitor_id"])
        found = self.rows(select(lead).where(self.among(lead.c.ref, refs)).order_by(lead.c.ref))
        return [rows.lead_of(row, frozenset(bound[row["ref"]])) for row in found]

    def leads_of_visitors(self, visitor_ids: Collection[str]) -> Collection[str]:
        if not visitor_ids:
            return set()
        current = set(self.winners(merged_visitor, visitor_ids).values())
        return set(
            self.connection.scalars(
                select(lead_visitor.c.lead_ref).where(
                    self.among(lead_visitor.c.visitor_id, current)
                )
            )
        )

    def account_leads(self, lead_refs: Collection[str]) -> Mapping[str, Collection[str]]:
        current = self.winners(merged_lead, lead_refs)
        one, other = lead.alias(), lead.alias()
        colleagues: dict[str, set[str]] = defaultdict(set)
        for row in self.connection.execute(
            select(one.c.ref, other.c.ref)
            .join_from(one, other, one.c.account == other.c.account)
            .where(
                self.among(one.c.ref, set(current.values())),
                one.c.account != "",
                one.c.ref != other.c.ref,
            )
        ):
            colleagues[row[0]].add(row[1])
        return {ref: colleagues[winner] for ref, winner in current.items() if winner in colleagues}

    def mark_stale(self, lead_refs: Collection[str]) -> None:
        self.add(stale_lead, [{"ref": ref} for ref in sorted(lead_refs)])

    def take_stale(self, limit: int) -> Collection[str]:
        taken = self.connection.scalars(
            select(stale_lead.c.ref).order_by(stale_lead.c.ref).limit(limit)
        ).all()
        if taken:
            self.connection.execute(delete(stale_lead).where(self.among(stale_lead.c.ref, taken)))
        return taken

    def touches(
        self,
        lead_refs: Collection[str],
        spans: Mapping[str, tuple[datetime, datetime]] | None = None,
    ) -> Mapping[str, Sequence[Touch]]:
        if not lead_refs:
            return {}
        current = self.winners(merged_lead, lead_refs)
        found: dict[str, list[Touch]] = defaultdict(list)
        clicks = (
            select(lead_visitor.c.lead_ref, click)
            .join_from(lead_visitor, click, click.c.visitor_id == lead_visitor.c.visitor_id)
            .where(
                self.among(lead_visitor.c.lead_ref, set(current.values())),
                click.c.counts,
                or_(
                    click.c.kind == CLICK,
                    and_(click.c.session_id == click.c.event_id, not_(click.c.returns)),
                ),
            )
        )
        for row in self.rows(clicks):
            found[row["lead_ref"]].append(rows.touch_of_click(row))
        aliases = self._aliases(merged_lead, set(current.values()))
        winners = self.winners(merged_lead, aliases)
        for row in self.rows(select(touch).where(self.among(touch.c.lead_ref, aliases))):
            found[winners[row["lead_ref"]]].append(rows.touch_of(row))
        return {ref: found[winner] for ref, winner in current.items() if winner in found}

    def save_touches(self, touches: Mapping[str, Sequence[Touch]]) -> Collection[str]:
        self._put(
            touch,
            [
                {**rows.touch_values(told), "lead_ref": ref}
                for ref, several in touches.items()
                for told in several
            ],
        )
        return set(self.winners(merged_lead, set(touches)).values())

    def save_summaries(self, summaries: Mapping[str, LeadSummary]) -> None:
        if not summaries:
            return
        self.connection.execute(
            update(lead)
            .where(lead.c.ref == bindparam("of_lead"))
            .values(
                first_touch=bindparam("first"),
                last_touch=bindparam("last"),
                touch_count=bindparam("number"),
            ),
            [
                {
                    "of_lead": ref,
                    "first": rows.touch_json(summary.first),
                    "last": rows.touch_json(summary.last),
                    "number": summary.touch_count,
                }
                for ref, summary in summaries.items()
            ],
        )

    def merge_leads(self, winner: str, losers: Collection[str]) -> None:
        current = self.winners(merged_lead, {winner, *losers})
        winner = current[winner]
        others = {current[loser] for loser in losers} - {winner}
        if not others:
            return
        held = {item.ref: item for item in self._leads({winner, *others})}
        if held:
            # Where the winner is not known yet, it is what the losers were.
            kept = held.get(winner) or max(
                held.values(), key=lambda item: (item.occurred_at, item.event_id)
            )
            merged = replace(
                kept,
                ref=winner,
                created_at=min(item.came_in_at for item in held.values()),
                visitor_ids=frozenset().union(*(item.visitor_ids for item in held.values())),
            )
            self.connection.execute(delete(lead).where(self.among(lead.c.ref, others)))
            self.connection.execute(
                delete(lead_visitor).where(self.among(lead_visitor.c.lead_ref, others))
            )
            self._keep([merged])
        self.connection.execute(
            delete(conversion).where(
                self.among(conversion.c.ref, others), conversion.c.kind == "lead"
            )
        )
        self._merge_ids(merged_lead, winner, others)
