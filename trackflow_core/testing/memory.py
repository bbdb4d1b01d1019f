"""A store in plain dictionaries: for tests, and the shortest statement of what a store does."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from trackflow_core.attribution import Attribution, Model
from trackflow_core.errors import InvalidEvent
from trackflow_core.model import (
    Click,
    ClickEvent,
    Conversion,
    Deal,
    Lead,
    LeadSummary,
    Link,
    Session,
    Touch,
)


@dataclass
class _State:
    links: dict[str, Link] = field(default_factory=dict)
    queue: dict[str, Click] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)
    events: dict[str, ClickEvent] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    leads: dict[str, Lead] = field(default_factory=dict)
    merged: dict[str, str] = field(default_factory=dict)
    deals: dict[str, Deal] = field(default_factory=dict)
    stale: set[str] = field(default_factory=set)
    summaries: dict[str, LeadSummary] = field(default_factory=dict)
    models: dict[str, Model] = field(default_factory=dict)
    attributions: dict[str, Attribution] = field(default_factory=dict)
    conversions: dict[tuple[str, str], Conversion] = field(default_factory=dict)


class MemoryStore:
    """`ports.Store` for one thread. Commits at once, so callbacks run at once.

    `fail_on` is a dial: `save_visits` refuses a batch that holds one of these event ids.
    """

    def __init__(self, links: Iterable[Link] = (), fail_on: Collection[str] = ()) -> None:
        self._state = _State(links={link.code: link for link in links})
        self.fail_on = set(fail_on)

    # -- what tests look at ----------------------------------------------------------------

    def attribution(self, deal_ref: str) -> Attribution | None:
        """The attribution that `replace_credits` last kept for a deal."""
        return self._state.attributions.get(deal_ref)

    def summary(self, lead_ref: str) -> LeadSummary | None:
        """What is frozen on a lead."""
        return self._state.summaries.get(self._current(lead_ref))

    def rejections(self) -> Mapping[str, str]:
        """Reasons of the clicks set aside, by event id."""
        return dict(self._state.rejected)

    def click_events(self) -> Sequence[ClickEvent]:
        """Every recorded click."""
        return tuple(self._state.events.values())

    def conversions(self) -> Sequence[Conversion]:
        """Every conversion."""
        return tuple(self._state.conversions.values())

    def choose_model(self, deal_ref: str, model: Model) -> None:
        """Let a deal have its own model."""
        self._state.models[deal_ref] = model

    # -- ports.Store -----------------------------------------------------------------------

    @contextmanager
    def atomic(self) -> Iterator[None]:
        # The facts are frozen, so copying the containers is enough.
        before = _State(**{name: copy.copy(kept) for name, kept in vars(self._state).items()})
        try:
            yield
        except BaseException:
            self._state = before
            raise

    def after_commit(self, callback: Callable[[], None]) -> None:
        callback()

    def append_click(self, click: Click) -> None:
        known = self._state.queue.keys() | self._state.events.keys() | self._state.rejected.keys()
        if click.event_id not in known:
            self._state.queue[click.event_id] = click

    def claim_clicks(
        self, limit: int, visitor_ids: Collection[str] | None = None
    ) -> Sequence[Click]:
        waiting = [
            click
            for click in self._state.queue.values()
            if visitor_ids is None or click.visitor_id in visitor_ids
        ]
        return sorted(waiting, key=lambda click: (click.occurred_at, click.event_id))[:limit]

    def has_queued_clicks(self, visitor_ids: Collection[str]) -> bool:
        return any(click.visitor_id in visitor_ids for click in self._state.queue.values())

    def reject_click(self, click: Click, reason: str) -> None:
        del self._state.queue[click.event_id]
        self._state.rejected[click.event_id] = reason

    def links(self, codes: Collection[str]) -> Mapping[str, Link]:
        return {code: self._state.links[code] for code in codes if code in self._state.links}

    def sessions(self, visitor_ids: Collection[str]) -> Sequence[Session]:
        return [s for s in self._state.sessions.values() if s.visitor_id in visitor_ids]

    def save_visits(self, events: Sequence[ClickEvent], sessions: Sequence[Session]) -> None:
        for event in events:
            if event.click.event_id in self.fail_on:
                raise InvalidEvent(f"The store refuses the click {event.click.event_id}.")
            self._state.events[event.click.event_id] = event
            self._state.queue.pop(event.click.event_id, None)
        self._state.sessions.update({session.id: session for session in sessions})

    def save_leads(self, leads: Sequence[Lead]) -> Sequence[Lead]:
        saved = []
        for lead in leads:
            ref = self._current(lead.ref)
            known = self._state.leads.get(ref)
            lead = replace(lead, ref=ref)
            self._state.leads[ref] = known.merged_with(lead) if known else lead
            saved.append(self._state.leads[ref])
        return saved

    def save_deals(self, deals: Sequence[Deal]) -> Sequence[Deal]:
        for deal in deals:
            known = self._state.deals.get(deal.ref)
            self._state.deals[deal.ref] = known.merged_with(deal) if known else deal
        return [self._deal(deal.ref) for deal in deals]

    def leads(self, refs: Collection[str]) -> Sequence[Lead]:
        return [self._state.leads[ref] for ref in sorted(refs) if ref in self._state.leads]

    def leads_of_visitors(self, visitor_ids: Collection[str]) -> Collection[str]:
        wanted = set(visitor_ids)
        return {ref for ref, lead in self._state.leads.items() if lead.visitor_ids & wanted}

    def mark_stale(self, lead_refs: Collection[str]) -> None:
        self._state.stale |= set(lead_refs)

    def take_stale(self, limit: int) -> Collection[str]:
        taken = sorted(self._state.stale)[:limit]
        self._state.stale -= set(taken)
        return taken

    def deals_of_leads(self, lead_refs: Collection[str]) -> Sequence[Deal]:
        wanted = {self._current(ref) for ref in lead_refs}
        return [deal for deal in self.deals() if deal.lead_ref in wanted]

    def deals(self, refs: Collection[str] | None = None) -> Sequence[Deal]:
        return [self._deal(ref) for ref in self._state.deals if refs is None or ref in refs]

    def touches(self, lead_refs: Collection[str]) -> Mapping[str, Sequence[Touch]]:
        found: dict[str, Sequence[Touch]] = {}
        for ref in lead_refs:
            lead = self._state.leads.get(self._current(ref))
            found[ref] = [
                _touch(event)
                for event in self._state.events.values()
                if lead and event.counts and event.click.visitor_id in lead.visitor_ids
            ]
        return found

    def save_summaries(self, summaries: Mapping[str, LeadSummary]) -> None:
        self._state.summaries.update(summaries)

    def models(self, deal_refs: Collection[str]) -> Mapping[str, Model]:
        return {ref: self._state.models[ref] for ref in deal_refs if ref in self._state.models}

    def replace_credits(self, attributions: Sequence[Attribution]) -> None:
        self._state.attributions.update({a.deal.ref: a for a in attributions})

    def replace_conversions(
        self, keys: Collection[tuple[str, str]], conversions: Iterable[Conversion]
    ) -> None:
        for key in keys:
            self._state.conversions.pop(key, None)
        self._state.conversions.update({(c.ref, c.kind): c for c in conversions})

    def merge_leads(self, winner: str, losers: Collection[str]) -> None:
        for loser in set(losers) - {winner}:
            lead = self._state.leads.pop(loser, None)
            self._state.merged[loser] = winner
            self._state.summaries.pop(loser, None)
            self._state.conversions.pop((loser, "lead"), None)
            if lead is not None:
                kept = self._state.leads[winner]
                self._state.leads[winner] = replace(
                    kept,
                    created_at=min(kept.came_in_at, lead.came_in_at),
                    visitor_ids=kept.visitor_ids | lead.visitor_ids,
                )

    def forget(self, visitor_id: str) -> None:
        state = self._state
        state.events = {k: e for k, e in state.events.items() if e.click.visitor_id != visitor_id}
        state.queue = {k: c for k, c in state.queue.items() if c.visitor_id != visitor_id}
        state.sessions = {k: s for k, s in state.sessions.items() if s.visitor_id != visitor_id}
        state.leads = {
            ref: replace(lead, visitor_ids=lead.visitor_ids - {visitor_id})
            for ref, lead in state.leads.items()
        }

    def _current(self, ref: str) -> str:
        while ref in self._state.merged:
            ref = self._state.merged[ref]
        return ref

    def _deal(self, ref: str) -> Deal:
        deal = self._state.deals[ref]
        return replace(deal, lead_ref=self._current(deal.lead_ref))


def _touch(event: ClickEvent) -> Touch:
    return Touch(
        id=event.click.event_id,
        occurred_at=event.click.occurred_at,
        channel=event.source.channel,
        source=event.source.source,
        medium=event.source.medium,
        campaign=event.source.campaign,
        content=event.source.content,
        term=event.source.term,
        visitor_id=event.click.visitor_id or "",
        link_code=event.click.link_code,
    )
