"""A store in plain dictionaries: for tests, and the shortest statement of what a store does."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from trackflow_core.attribution import Attribution, Model
from trackflow_core.errors import InvalidEvent
from trackflow_core.model import (
    CLICK,
    Click,
    ClickEvent,
    Conversion,
    Deal,
    Lead,
    LeadSummary,
    Link,
    Session,
    Tier,
    Touch,
)
from trackflow_core.tracking.consent import limit
from trackflow_core.tracking.sessions import Span


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
    touches: dict[str, tuple[str, Touch]] = field(default_factory=dict)
    same_visitor: dict[str, str] = field(default_factory=dict)
    summaries: dict[str, LeadSummary] = field(default_factory=dict)
    models: dict[str, Model] = field(default_factory=dict)
    attributions: dict[str, Attribution] = field(default_factory=dict)
    conversions: dict[tuple[str, str], Conversion] = field(default_factory=dict)
    # What `MemoryCatalog` keeps, by kind and id.
    records: dict[tuple[type, str], object] = field(default_factory=dict)


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

    def append_clicks(self, clicks: Sequence[Click]) -> None:
        state = self._state
        for click in clicks:
            if not any(
                click.event_id in known for known in (state.queue, state.events, state.rejected)
            ):
                state.queue[click.event_id] = click

    def claim_clicks(
        self, limit: int, visitor_ids: Collection[str] | None = None
    ) -> Sequence[Click]:
        queued = map(self._of_current_visitor, self._state.queue.values())
        waiting = [
            click for click in queued if visitor_ids is None or click.visitor_id in visitor_ids
        ]
        return sorted(waiting, key=lambda click: (click.occurred_at, click.event_id))[:limit]

    def has_queued_clicks(self, visitor_ids: Collection[str]) -> bool:
        queued = map(self._of_current_visitor, self._state.queue.values())
        return any(click.visitor_id in visitor_ids for click in queued)

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

    def recorded(self, spans: Collection[Span]) -> Sequence[ClickEvent]:
        return [
            event
            for event in self._state.events.values()
            if any(
                span.visitor_id == event.click.visitor_id
                and span.start <= event.click.occurred_at < span.end
                for span in spans
            )
        ]

    def move_clicks(self, sessions: Mapping[str, str], gone: Collection[str]) -> None:
        for event_id, session_id in sessions.items():
            event = self._state.events[event_id]
            self._state.events[event_id] = replace(event, session_id=session_id)
        for session_id in gone:
            del self._state.sessions[session_id]

    def merge_visitors(self, winner: str, losers: Collection[str]) -> str:
        winner = self._visitor(winner)
        state = self._state
        others = {self._visitor(loser) for loser in losers} - {winner}
        state.same_visitor.update(dict.fromkeys(others, winner))
        state.events = {
            key: replace(event, click=self._of_current_visitor(event.click))
            for key, event in state.events.items()
        }
        state.sessions = {
            key: replace(session, visitor_id=self._visitor(session.visitor_id))
            for key, session in state.sessions.items()
        }
        state.leads = {ref: self._of_current_visitors(lead) for ref, lead in state.leads.items()}
        return winner

    def withdraw(self, visitor_id: str) -> None:
        state, visitor_id = self._state, self._visitor(visitor_id)
        state.queue = {
            key: _counted(self._of_current_visitor(click), visitor_id)
            for key, click in state.queue.items()
        }
        for key, event in state.events.items():
            if event.click.visitor_id == visitor_id:
                click = _counted(event.click, visitor_id)
                state.events[key] = replace(event, click=click, session_id=None)
        self._drop_visitor(visitor_id)

    def save_leads(self, leads: Sequence[Lead]) -> Sequence[Lead]:
        saved = []
        for lead in leads:
            ref = self._current(lead.ref)
            known = self._state.leads.get(ref)
            lead = self._of_current_visitors(replace(lead, ref=ref))
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
        wanted = {self._visitor(visitor_id) for visitor_id in visitor_ids}
        return {ref for ref, lead in self._state.leads.items() if lead.visitor_ids & wanted}

    def account_leads(self, lead_refs: Collection[str]) -> Mapping[str, Collection[str]]:
        leads = self._state.leads
        return {
            ref: [
                other.ref
                for other in leads.values()
                if other.account == leads[self._current(ref)].account
                and other.ref != self._current(ref)
            ]
            for ref in lead_refs
            if self._current(ref) in leads and leads[self._current(ref)].account
        }

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

    def deal_refs(self) -> Sequence[str]:
        return sorted(self._state.deals)

    def touches(
        self,
        lead_refs: Collection[str],
        spans: Mapping[str, tuple[datetime, datetime]] | None = None,
    ) -> Mapping[str, Sequence[Touch]]:
        found: dict[str, Sequence[Touch]] = {}
        for ref in lead_refs:
            lead = self._state.leads.get(self._current(ref))
            found[ref] = [
                _touch(event)
                for event in self._state.events.values()
                if lead and event.is_touch and event.click.visitor_id in lead.visitor_ids
            ] + [
                touch
                for of_lead, touch in self._state.touches.values()
                if self._current(of_lead) == self._current(ref)
            ]
        return found

    def save_touches(self, touches: Mapping[str, Sequence[Touch]]) -> Collection[str]:
        for ref, told in touches.items():
            self._state.touches.update({touch.id: (ref, touch) for touch in told})
        return {self._current(ref) for ref in touches}

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

    def forget(self, visitor_id: str) -> Collection[str]:
        state, visitor_id = self._state, self._visitor(visitor_id)
        state.events = {k: e for k, e in state.events.items() if e.click.visitor_id != visitor_id}
        state.queue = {
            key: click
            for key, click in state.queue.items()
            if self._of_current_visitor(click).visitor_id != visitor_id
        }
        self._drop_visitor(visitor_id)
        given_up = {old for old in state.same_visitor if self._visitor(old) == visitor_id}
        return {visitor_id, *given_up}

    def _drop_visitor(self, visitor_id: str) -> None:
        state = self._state
        state.sessions = {k: s for k, s in state.sessions.items() if s.visitor_id != visitor_id}
        state.leads = {
            ref: replace(lead, visitor_ids=lead.visitor_ids - {visitor_id})
            for ref, lead in state.leads.items()
        }

    def _visitor(self, visitor_id: str) -> str:
        while visitor_id in self._state.same_visitor:
            visitor_id = self._state.same_visitor[visitor_id]
        return visitor_id

    def _of_current_visitor(self, click: Click) -> Click:
        if click.visitor_id not in self._state.same_visitor:
            return click
        return replace(click, visitor_id=self._visitor(click.visitor_id))

    def _of_current_visitors(self, lead: Lead) -> Lead:
        return replace(lead, visitor_ids=frozenset(map(self._visitor, lead.visitor_ids)))

    def _current(self, ref: str) -> str:
        while ref in self._state.merged:
            ref = self._state.merged[ref]
        return ref

    def _deal(self, ref: str) -> Deal:
        deal = self._state.deals[ref]
        return replace(deal, lead_ref=self._current(deal.lead_ref))


def _counted(click: Click, visitor_id: str) -> Click:
    """`click` as a mere count, where it is the visitor's."""
    if click.visitor_id != visitor_id:
        return click
    return limit(replace(click, tier=Tier.AGGREGATE)) or click


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
        kind="click" if event.click.kind == CLICK else "visit",
    )
