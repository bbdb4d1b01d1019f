"""The verbs: what may happen to TrackFlow's facts. Each works on a batch in the host's transaction.

Facts may arrive in any order and any number of times. Whatever arrives, the leads and deals it
touches are refreshed from all that is known, so the order leaves no trace.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from trackflow_core.attribution import Attribution, attribute
from trackflow_core.config import Settings
from trackflow_core.errors import InvalidEvent
from trackflow_core.hooks import Hooks
from trackflow_core.model import (
    Click,
    ClickEvent,
    Conversion,
    Deal,
    DealStatus,
    Lead,
    LeadSummary,
    Link,
    Session,
    Touch,
    Verdict,
)
from trackflow_core.ports import Store
from trackflow_core.tracking import agents, channels, identity, scanners, sessions

_log = logging.getLogger(__name__)

# An open visitor never needs more in one request; the job takes the rest.
_CLICKS_OF_ONE_LEAD = 200


@dataclass(frozen=True, slots=True)
class Drained:
    """What one run of the click job did."""

    recorded: int
    rejected: int

    @property
    def claimed(self) -> int:
        """How many clicks the run took from the queue."""
        return self.recorded + self.rejected


class Engine:
    """TrackFlow over one store. Cheap to build; keeps no state of its own."""

    def __init__(self, store: Store, hooks: Hooks, settings: Settings | None = None) -> None:
        self._store = store
        self._hooks = hooks
        self._settings = settings or Settings()

    # -- clicks ----------------------------------------------------------------------------

    def record_click(self, click: Click) -> None:
        """Queue one click; the only write on a redirect's path."""
        self._store.append_click(click)

    def process_clicks(self, limit: int = 1000) -> Drained:
        """Classify queued clicks, place them in sessions and refresh the leads they bear on.

        A click that cannot be processed is set aside with its reason; the others go on.
        """
        drained, visitors = self._drain(self._store.claim_clicks(limit))
        stale = set(self._store.take_stale(limit))
        if visitors:
            stale |= set(self._store.leads_of_visitors(visitors))
        if stale:
            self._refresh(self._store.leads(stale))
        return drained

    def _drain(self, clicks: Sequence[Click]) -> tuple[Drained, set[str]]:
        if not clicks:
            return Drained(0, 0), set()
        try:
            with self._store.atomic():
                visitors = self._save(clicks)
            return Drained(len(clicks), 0), visitors
        except InvalidEvent as error:
            if len(clicks) == 1:
                self._store.reject_click(clicks[0], str(error))
                return Drained(0, 1), set()
        # Halving finds a poisoned click among a thousand in twenty steps.
        middle = len(clicks) // 2
        left, left_visitors = self._drain(clicks[:middle])
        right, right_visitors = self._drain(clicks[middle:])
        total = Drained(left.recorded + right.recorded, left.rejected + right.rejected)
        return total, left_visitors | right_visitors

    def _save(self, clicks: Sequence[Click]) -> set[str]:
        links = self._store.links({click.link_code for click in clicks})
        events = [self._classify(click, links.get(click.link_code)) for click in clicks]
        visitors = {event.click.visitor_id for event in events if event.click.visitor_id}
        known = {session.id: session for session in self._store.sessions(visitors)}
        changed: dict[str, Session] = {}
        placed: list[ClickEvent] = []
        for event in sorted(
            events, key=lambda event: (event.click.occurred_at, event.click.event_id)
        ):
            if event.click.visitor_id and event.counts:
                session = sessions.place(event, tuple(known.values()), self._settings.session_gap)
                known[session.id] = changed[session.id] = session
                event = ClickEvent(event.click, event.agent, event.source, session.id)
            placed.append(event)
        self._store.save_visits(placed, tuple(changed.values()))
        return visitors

    def _classify(self, click: Click, link: Link | None) -> ClickEvent:
        if link is None:
            raise InvalidEvent(f"The link {click.link_code!r} does not exist any more.")
        agent = agents.classify(click.user_agent, prefetch=click.prefetch)
        if gateway := scanners.gateway_of(click.ip):
            reason = f"comes from the network of {gateway}"
            agent = replace(agent, verdict=Verdict.BOT, reason=reason)
        source = channels.classify(
            click.destination,
            click.referrer,
            utm={
                "source": link.source,
                "medium": link.medium,
                "campaign": link.campaign,
                "content": link.content,
                "term": link.term,
            },
            own_hosts=self._settings.own_hosts,
        )
        return ClickEvent(
            click,
            self._hooks.is_bot(agent, click, self._settings.context),
            self._hooks.classify_touch(source, click, self._settings.context),
        )

    def country_of(self, address: str) -> str:
        """In which country an IP address is, in two letters; "" where no plugin knows."""
        return self._hooks.geolocate(address, self._settings.context)

    # -- leads and deals -------------------------------------------------------------------

    def apply_lead(self, lead: Lead) -> None:
        """Take in what a CRM says of one lead; see `apply`."""
        self.apply(leads=[lead])

    def apply_deal(self, deal: Deal) -> None:
        """Take in what a CRM says of one deal; see `apply`."""
        self.apply(deals=[deal])

    def apply(self, leads: Sequence[Lead] = (), deals: Sequence[Deal] = ()) -> None:
        """Take in leads and deals, bind visitors, and refresh all that follows from them.

        Clicks of the leads' visitors that still wait in the queue are processed first.
        """
        leads = [self._recognise(lead) for lead in leads]
        saved_leads = self._store.save_leads(leads) if leads else ()
        saved_deals = self._store.save_deals(deals) if deals else ()
        self._refresh([*saved_leads, *self._catch_up(saved_leads)], saved_deals)

    def _catch_up(self, leads: Sequence[Lead]) -> Sequence[Lead]:
        """Process the waiting clicks of the leads' visitors; the other leads these bear on."""
        visitors = {visitor for lead in leads for visitor in lead.visitor_ids}
        if not visitors:
            return ()
        refs = {lead.ref for lead in leads}
        drained, _ = self._drain(self._store.claim_clicks(_CLICKS_OF_ONE_LEAD, visitors))
        if self._store.has_queued_clicks(visitors):
            self._store.mark_stale(refs)
        if not drained.recorded:
            return ()
        return self._store.leads(set(self._store.leads_of_visitors(visitors)) - refs)

    def _recognise(self, lead: Lead) -> Lead:
        """`lead` with its token turned into a visitor; a bad token must not lose the lead."""
        if not lead.visitor_token:
            return lead
        visitors = lead.visitor_ids
        try:
            visitors |= {
                identity.read_token(lead.visitor_token, self._settings.keys, lead.came_in_at)
            }
        except InvalidEvent as error:
            _log.warning("The lead %s is kept without a visitor: %s", lead.ref, error)
        return replace(lead, visitor_ids=visitors, visitor_token="")

    def merge_leads(self, winner: str, losers: Collection[str]) -> None:
        """Make one lead of several: `winner` keeps its ref and gets every journey and deal."""
        self._store.merge_leads(winner, losers)
        self._refresh(self._store.leads({winner}))

    def forget(self, visitor_id: str) -> None:
        """Erase a visitor and refresh the leads and deals that had been bound to it."""
        refs = set(self._store.leads_of_visitors({visitor_id}))
        self._store.forget(visitor_id)
        self._refresh(self._store.leads(refs))

    def recompute(self, deal_refs: Collection[str] | None = None) -> int:
        """Compute the credits of these deals, or of all, anew; returns how many deals."""
        deals = self._store.deals(deal_refs)
        self._refresh((), deals)
        return len(deals)

    # -- what follows ----------------------------------------------------------------------

    def _refresh(self, leads: Sequence[Lead], deals: Sequence[Deal] = ()) -> None:
        """Bring summaries, conversions and credits of these leads and deals up to date."""
        lead_refs = {lead.ref for lead in leads}
        if leads:
            known = {deal.ref for deal in deals}
            of_leads = self._store.deals_of_leads(lead_refs)
            deals = [*deals, *(deal for deal in of_leads if deal.ref not in known)]
        if not leads and not deals:
            return
        touches = self._store.touches(
            lead_refs | {deal.lead_ref for deal in deals if deal.lead_ref}
        )
        summaries = {lead.ref: _summarise(touches.get(lead.ref, ()), lead) for lead in leads}
        if summaries:
            self._store.save_summaries(summaries)
        attributions = self._attribute(deals, touches)
        if attributions:
            self._store.replace_credits(attributions)
        won = [deal for deal in deals if deal.status is DealStatus.WON]
        conversions = [
            *(_lead_conversion(lead, summaries[lead.ref]) for lead in leads),
            *(_won_conversion(deal, touches.get(deal.lead_ref, ())) for deal in won),
        ]
        self._store.replace_conversions(
            [*((lead.ref, "lead") for lead in leads), *((deal.ref, "won") for deal in deals)],
            [conversion for conversion in conversions if conversion.touch is not None],
        )
        self._store.after_commit(lambda: self._announce(attributions))

    def _attribute(
        self, deals: Sequence[Deal], touches: Mapping[str, Sequence[Touch]]
    ) -> Sequence[Attribution]:
        if not deals:
            return ()
        own = self._store.models({deal.ref for deal in deals})
        models = {deal.ref: own.get(deal.ref, self._settings.model) for deal in deals}
        created_at = self._creation_of_leads(
            {deal.lead_ref for deal in deals if deal.lead_ref and models[deal.ref].rule.milestones}
        )
        return [
            attribute(
                touches.get(deal.lead_ref, ()),
                deal,
                models[deal.ref],
                lead_created_at=created_at.get(deal.lead_ref),
            )
            for deal in deals
        ]

    def _creation_of_leads(self, refs: Collection[str]) -> Mapping[str, datetime]:
        if not refs:
            return {}
        return {lead.ref: lead.came_in_at for lead in self._store.leads(refs)}

    def _announce(self, attributions: Iterable[Attribution]) -> None:
        for attribution in attributions:
            self._hooks.after_deal_attributed(attribution, self._settings.context)


def _until(touches: Iterable[Touch], moment: datetime) -> Sequence[Touch]:
    earlier = (touch for touch in touches if touch.occurred_at <= moment)
    return sorted(earlier, key=lambda touch: touch.order_key)


def _summarise(touches: Iterable[Touch], lead: Lead) -> LeadSummary:
    earlier = _until(touches, lead.came_in_at)
    if not earlier:
        return LeadSummary()
    return LeadSummary(earlier[0], earlier[-1], len(earlier))


def _lead_conversion(lead: Lead, summary: LeadSummary) -> Conversion:
    return Conversion(lead.ref, "lead", lead.came_in_at, summary.last)


def _won_conversion(deal: Deal, touches: Iterable[Touch]) -> Conversion:
    won_at = deal.won_at or deal.occurred_at
    earlier = _until(touches, won_at)
    return Conversion(
        ref=deal.ref,
        kind="won",
        occurred_at=won_at,
        touch=earlier[-1] if earlier else None,
        value=deal.value,
        currency=deal.currency,
        digits=deal.digits,
    )
