"""The verbs: what may happen to TrackFlow's facts. Each works on a batch in the host's transaction.

Facts may arrive in any order and any number of times. Whatever arrives, the leads and deals it
touches are refreshed from all that is known, so the order leaves no trace.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import lru_cache
from zoneinfo import ZoneInfo

from trackflow_core import outbox
from trackflow_core.attribution import Attribution, Comparison, Model, attribute, compare
from trackflow_core.config import Settings
from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.hooks import Hooks
from trackflow_core.model import (
    CLICK,
    Click,
    ClickEvent,
    Conversion,
    Deal,
    DealStatus,
    Lead,
    LeadSummary,
    Link,
    Source,
    Touch,
    Verdict,
)
from trackflow_core.ports import Outbox, Store
from trackflow_core.tracking import agents, channels, consent, identity, links, scanners, sessions

_log = logging.getLogger(__name__)

# What splits deals where nobody has chosen.
_LINEAR = Settings().model

# An open visitor never needs more in one request; the job takes the rest.
_DEALS_AT_ONCE = 1000
_CLICKS_OF_ONE_LEAD = 200
_LONG_AGO = datetime.min.replace(tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class Drained:
    """What one run of the click job did; `refreshed` counts the stale leads it took."""

    recorded: int
    rejected: int
    refreshed: int = 0

    @property
    def claimed(self) -> int:
        """How many clicks the run took from the queue."""
        return self.recorded + self.rejected


class Engine:
    """TrackFlow over one store. Cheap to build; keeps no state of its own."""

    def __init__(
        self,
        store: Store,
        hooks: Hooks,
        settings: Settings | None = None,
        outbox: Outbox | None = None,
    ) -> None:
        """An engine over `store`; what subscribers want to know goes to `outbox`."""
        self._outbox = outbox
        self._store = store
        self._hooks = hooks
        self._settings = settings or Settings()

    @property
    def settings(self) -> Settings:
        """What this engine works by."""
        return self._settings

    # -- clicks ----------------------------------------------------------------------------

    def record_click(self, click: Click) -> None:
        """Queue of one click what its tier allows; the only write on a redirect's path."""
        self.record_events([click])

    def record_events(self, events: Sequence[Click]) -> None:
        """Queue of clicks, page views and other events what their tiers allow."""
        kept = [left for event in events if (left := consent.limit(event)) is not None]
        if kept:
            self._store.append_clicks(kept)

    def process_clicks(self, limit: int = 1000) -> Drained:
        """Classify queued clicks, place them in sessions and refresh the leads they bear on.

        A click that cannot be processed is set aside with its reason; the others go on.
        """
        drained, came = self._drain(self._store.claim_clicks(limit))
        stale = set(self._store.take_stale(limit))
        drained = replace(drained, refreshed=len(stale))
        reached = self._reached_by(came)
        self._refresh([*reached, *(self._store.leads(stale) if stale else ())])
        return drained

    def _drain(self, clicks: Sequence[Click]) -> tuple[Drained, Mapping[str, datetime]]:
        """Record these clicks; also returns when each visitor's first one that counts was."""
        if not clicks:
            return Drained(0, 0), {}
        try:
            with self._store.atomic():
                events = self._save(clicks)
            self._tell_of_clicks(events)
            return Drained(len(clicks), 0), _first_moments(events)
        except InvalidEvent as error:
            if len(clicks) == 1:
                self._store.reject_click(clicks[0], str(error))
                return Drained(0, 1), {}
        # Halving finds a poisoned click among a thousand in twenty steps.
        middle = len(clicks) // 2
        left, left_came = self._drain(clicks[:middle])
        right, right_came = self._drain(clicks[middle:])
        total = Drained(left.recorded + right.recorded, left.rejected + right.rejected)
        # The halves are in order of time.
        return total, {**right_came, **left_came}

    def _reached_by(self, came: Mapping[str, datetime]) -> Sequence[Lead]:
        """The leads on which new clicks of these visitors bear, the first at the given moment.

        What comes after a lead and after its deals adds to none of them: customers who come back
        change nothing. Nor does a click change what earlier ones are.
        """
        if not came:
            return ()
        leads = self._store.leads(set(self._store.leads_of_visitors(came)))
        if not leads:
            return ()
        accounts = self._accounts({lead.ref for lead in leads})
        members = {lead.ref for lead in leads}.union(*accounts.values())
        ends = {lead.ref: lead.came_in_at for lead in leads}
        for deal in self._store.deals_of_leads(members):
            # A deal may name its lead as it was called before a merge: it is everybody's then.
            ref = deal.lead_ref if deal.lead_ref in members else ""
            end = max(deal.began_at, deal.won_at or deal.began_at)
            ends[ref] = max(ends.get(ref, end), end)
        return [
            lead
            for lead in leads
            if _first_of(lead, came)
            <= max(ends[ref] for ref in (lead.ref, "", *accounts.get(lead.ref, ())) if ref in ends)
        ]

    def _save(self, clicks: Sequence[Click]) -> Sequence[ClickEvent]:
        known = self._store.links({click.link_code for click in clicks})
        events = [self._classify(click, known.get(click.link_code)) for click in clicks]
        days = {
            sessions.day_of(event.click.visitor_id, event.click.occurred_at, self._zone)
            for event in events
            if event.click.visitor_id and event.counts
        }
        return self._arrange(events, self._store.recorded(days) if days else ())

    def _arrange(
        self, events: Sequence[ClickEvent], held: Sequence[ClickEvent]
    ) -> Sequence[ClickEvent]:
        """Save `events` and the sessions that they and all `held` of the same days make; returns
        the events with their sessions."""
        told = {event.click.event_id: event for event in (*held, *events)}
        arranged = sessions.split(
            (event for event in told.values() if event.click.visitor_id and event.counts),
            self._settings.session_gap,
            self._zone,
        )
        homes = {
            event.click.event_id: session.id for session, members in arranged for event in members
        }
        saved = [_in_session(event, homes.get(event.click.event_id)) for event in events]
        self._store.save_visits(saved, [session for session, _ in arranged])
        new = {event.click.event_id for event in events}
        moved = {
            event.click.event_id: homes[event.click.event_id]
            for event in held
            if event.click.event_id not in new
            and event.click.event_id in homes
            and event.session_id != homes[event.click.event_id]
        }
        gone = {event.session_id for event in held if event.session_id} - set(homes.values())
        if moved or gone:
            self._store.move_clicks(moved, gone)
        return saved

    def _tell_of_clicks(self, events: Sequence[ClickEvent]) -> None:
        if self._outbox is not None:
            self._outbox.post(outbox.of_clicks(self._outbox.subscriptions(), events))
        if self._hooks.listens("trackflow_after_click_recorded"):
            self._store.after_commit(lambda: self._announce_clicks(events))

    @property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self._settings.zone)

    def _classify(self, click: Click, link: Link | None) -> ClickEvent:
        if link is None and (click.kind == CLICK or click.link_code):
            raise InvalidEvent(f"The link {click.link_code!r} does not exist any more.")
        agent = agents.classify(click.user_agent, prefetch=click.prefetch)
        if gateway := scanners.gateway_of(click.ip):
            reason = f"comes from the network of {gateway}"
            agent = replace(agent, verdict=Verdict.BOT, reason=reason)
        source, returns = _came_from(
            click.destination,
            click.referrer,
            _utm_of(link) if link else (),
            self._settings.own_hosts,
        )
        return ClickEvent(
            click,
            self._hooks.is_bot(agent, click, self._settings.context),
            self._hooks.classify_touch(source, click, self._settings.context),
            returns=returns and source.channel == "Direct",
        )

    def choose_destination(self, link: Link, request: links.Request, now: datetime) -> links.Choice:
        """Where a click on `link` goes at `now`: by the link's own rules (`links.choose`), unless a
        plugin knows better. A link that is out of use stays so."""
        choice = links.choose(link, request, now)
        if choice.reason in links.IN_USE:
            return self._hooks.choose_destination(choice, link, request, self._settings.context)
        return choice

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
        # A lead that changes its account leaves deals behind that it no longer adds to.
        left = self._store.leads(self._colleagues({lead.ref for lead in leads}))
        saved_leads = self._store.save_leads(leads) if leads else ()
        saved_deals = self._store.save_deals(deals) if deals else ()
        # Who has lost its touches was told so when it lost them.
        read = {lead.ref for lead in saved_leads if not lead.visitor_ids}
        self._refresh([*saved_leads, *self._catch_up(saved_leads), *left], saved_deals, read)

    def record_touch(self, lead_ref: str, touch: Touch) -> None:
        """Take in a touch that is no click (a call, a meeting, an event, a referral) of one lead.

        The same id told again replaces what was told before.
        """
        refs = self._store.save_touches({lead_ref: [touch]})
        self._refresh(self._store.leads(refs))

    def _catch_up(self, leads: Sequence[Lead]) -> Sequence[Lead]:
        """Process the waiting clicks of the leads' visitors; the other leads these bear on."""
        visitors = {visitor for lead in leads for visitor in lead.visitor_ids}
        if not visitors:
            return ()
        refs = {lead.ref for lead in leads}
        _, came = self._drain(self._store.claim_clicks(_CLICKS_OF_ONE_LEAD, visitors))
        if self._store.has_queued_clicks(visitors):
            self._store.mark_stale(refs)
        return [lead for lead in self._reached_by(came) if lead.ref not in refs]

    def _recognise(self, lead: Lead) -> Lead:
        """`lead` with what came with it turned into visitors; a bad token must not lose it."""
        visitors = lead.visitor_ids
        match = identity.match(
            token=lead.visitor_token,
            cookie=lead.visitor_cookie,
            # Who is known already needs no further proof.
            email_visitor_ids=frozenset() if visitors else lead.email_visitor_ids,
            keys=self._settings.keys,
            now=lead.came_in_at,
        )
        for problem in match.problems:
            _log.warning("The lead %s is not bound by its %s", lead.ref, problem)
        lead = replace(
            lead,
            visitor_ids=visitors | match.visitor_ids,
            visitor_token="",
            visitor_cookie="",
            email_visitor_ids=frozenset(),
        )
        found = self._hooks.resolve_visitor(lead.visitor_ids, lead, self._settings.context)
        return lead if found == lead.visitor_ids else replace(lead, visitor_ids=found)

    def merge_leads(self, winner: str, losers: Collection[str]) -> None:
        """Make one lead of several: `winner` keeps its ref and gets every journey and deal."""
        left = self._colleagues({winner, *losers})
        self._store.merge_leads(winner, losers)
        self._refresh(self._store.leads({winner, *left}))

    # -- visitors --------------------------------------------------------------------------

    def merge_visitors(self, winner: str, losers: Collection[str]) -> None:
        """Make one visitor of several: `winner` keeps its id and gets every click and lead."""
        merged = self._store.merge_visitors(winner, losers)
        self._arrange((), self._store.recorded({sessions.always(merged)}))
        self._refresh(self._store.leads(set(self._store.leads_of_visitors({merged}))))

    def withdraw(self, visitor_id: str) -> None:
        """A visitor withdraws consent: what is recorded becomes mere counts, without a visitor."""
        refs = self._store.leads_of_visitors({visitor_id})
        self._store.withdraw(visitor_id)
        self._refresh(self._store.leads(set(refs)))

    def forget(self, visitor_id: str) -> None:
        """Erase a visitor and refresh the leads and deals that had been bound to it."""
        refs = set(self._store.leads_of_visitors({visitor_id}))
        names = self._store.forget(visitor_id)
        if self._outbox is not None:
            self._outbox.forget(names)
        self._refresh(self._store.leads(refs))

    def recompute(self, deal_refs: Collection[str] | None = None) -> int:
        """Compute the credits of these deals, or of all, anew; returns how many deals.

        A part of them at a time is read, split and kept, all in the host's one transaction.
        """
        refs = list(self._store.deal_refs() if deal_refs is None else deal_refs)
        count = 0
        for start in range(0, len(refs), _DEALS_AT_ONCE):
            deals = self._store.deals(refs[start : start + _DEALS_AT_ONCE])
            self._refresh((), deals)
            count += len(deals)
        return count

    def recompute_from(
        self, deals: Sequence[Deal], journeys: Mapping[str, Sequence[Touch]]
    ) -> None:
        """Compute the credits of these deals anew from `journeys`, which this transaction has read.

        For hosts that also split them by other models: `journeys` gives them for all at once, when
        it is asked for these and for `models_of` the deals.
        """
        self._refresh((), deals, journeys=journeys)

    def models_of(self, deals: Sequence[Deal]) -> Mapping[str, Model]:
        """By which model each of these deals is split, by its ref."""
        return self._models(deals)

    # -- what would follow ------------------------------------------------------------------

    def attributions(
        self, deals: Sequence[Deal], model: Model | None = None
    ) -> Sequence[Attribution]:
        """The credits of these deals by all that is known, under `model` or each deal's own.

        Nothing is kept or told to plugins.
        """
        models = self._models(deals, model)
        spans = _spans((deal, models[deal.ref]) for deal in deals)
        return self._attribute(deals, self._journeys((), deals, spans)[1], models)

    def compare(self, deals: Sequence[Deal], models: Sequence[Model]) -> Comparison:
        """What campaigns earned from these deals under each of `models`; nothing is kept.

        Raises ConfigError when there is no model or two have one name.
        """
        leads = {deal.lead_ref for deal in deals if deal.lead_ref}
        milestones = any(model.rule.milestones for model in models)
        return compare(
            self._journeys((), deals)[1],
            deals,
            models,
            leads_created_at=self._creation_of_leads(leads if milestones else ()),
        )

    def journeys(
        self, deals: Sequence[Deal], models: Collection[Model] = ()
    ) -> Mapping[str, Sequence[Touch]]:
        """The touches of each deal by its ref, in order, whatever window a model has.

        With `models`, those that lie outside of the windows of all of them may be left out.
        """
        windows = {(model.anchor, model.lookback): model for model in models}.values()
        spans = _spans((deal, model) for deal in deals for model in windows)
        _, journeys = self._journeys((), deals, spans)
        return {
            deal.ref: sorted(journeys.get(deal.lead_ref, ()), key=lambda touch: touch.order_key)
            for deal in deals
        }

    # -- what follows ----------------------------------------------------------------------

    def _refresh(
        self,
        leads: Iterable[Lead],
        deals: Sequence[Deal] = (),
        read: Collection[str] = frozenset(),
        journeys: Mapping[str, Sequence[Touch]] | None = None,
    ) -> None:
        """Bring summaries, conversions and credits of these leads and deals up to date.

        Of the leads in `read`, nothing is written back to their CRM unless touches led to them.
        Deals alone may bring their `journeys` along, by the deal's ref.
        """
        leads = [*{lead.ref: lead for lead in leads}.values()]
        deals = [*{deal.ref: deal for deal in deals}.values()]
        lead_refs = {lead.ref for lead in leads}
        if leads:
            known = {deal.ref for deal in deals}
            of_leads = self._store.deals_of_leads(lead_refs | self._colleagues(lead_refs))
            deals = [*deals, *(deal for deal in of_leads if deal.ref not in known)]
        if not leads and not deals:
            return
        models = self._models(deals)
        touches: Mapping[str, Sequence[Touch]] = {}
        if journeys is None:
            spans = _spans((deal, models[deal.ref]) for deal in deals)
            touches, journeys = self._journeys(lead_refs, deals, spans)
        else:
            journeys = {deal.lead_ref: journeys.get(deal.ref, ()) for deal in deals}
        summaries = {lead.ref: _summarise(touches.get(lead.ref, ()), lead) for lead in leads}
        if summaries:
            self._store.save_summaries(summaries)
        attributions = self._attribute_anyhow(deals, journeys, models)
        if attributions:
            self._store.replace_credits(attributions)
        won = [deal for deal in deals if deal.status is DealStatus.WON]
        conversions = [
            *(_lead_conversion(lead, summaries[lead.ref]) for lead in leads),
            *(_won_conversion(deal, journeys.get(deal.lead_ref, ())) for deal in won),
        ]
        conversions = [conversion for conversion in conversions if conversion.touch is not None]
        self._store.replace_conversions(
            [*((lead.ref, "lead") for lead in leads), *((deal.ref, "won") for deal in deals)],
            conversions,
        )
        summarised = [(lead, summaries[lead.ref]) for lead in leads]
        if self._outbox is not None:
            wanted = self._outbox.subscriptions()
            silent = {ref for ref in read if not summaries[ref].touch_count}
            self._outbox.post(
                outbox.of_facts(wanted, summarised, conversions, attributions, silent)
            )
        self._store.after_commit(lambda: self._announce(summarised, conversions, attributions))

    def _journeys(
        self,
        lead_refs: Collection[str],
        deals: Sequence[Deal],
        spans: Mapping[str, tuple[datetime, datetime]] | None = None,
    ) -> tuple[Mapping[str, Sequence[Touch]], Mapping[str, Sequence[Touch]]]:
        """Each lead's own touches, and each deal's journey by the ref of its lead.

        Of a journey, what lies outside of the span that `spans` gives may be missing; see
        `Store.touches`.
        """
        deal_leads = {deal.lead_ref for deal in deals if deal.lead_ref}
        accounts = self._accounts(deal_leads)
        pooled = {ref for others in accounts.values() for ref in others}
        wanted = {*lead_refs, *deal_leads, *pooled}
        # A lead's own touches, and those that add to the deals of others, are wanted whole.
        whole = {*lead_refs, *pooled}
        touches = self._store.touches(
            wanted, {ref: span for ref, span in (spans or {}).items() if ref not in whole}
        )
        journeys = {
            ref: [
                touch
                for member in (ref, *sorted(accounts.get(ref, ())))
                for touch in touches.get(member, ())
            ]
            for ref in deal_leads
        }
        return touches, journeys

    def _accounts(self, lead_refs: Collection[str]) -> Mapping[str, Collection[str]]:
        if not lead_refs or not self._settings.account_journeys:
            return {}
        return self._store.account_leads(lead_refs)

    def _colleagues(self, lead_refs: Collection[str]) -> set[str]:
        """The other leads of these leads' accounts, where journeys are those of accounts."""
        return {ref for others in self._accounts(lead_refs).values() for ref in others}

    def _attribute_anyhow(
        self,
        deals: Sequence[Deal],
        journeys: Mapping[str, Sequence[Touch]],
        models: Mapping[str, Model],
    ) -> Sequence[Attribution]:
        """As `_attribute`; but a plugin's rule that fails must not keep clicks, leads and other
        deals waiting: the linear rule splits its deals meanwhile."""
        try:
            return self._attribute(deals, journeys, models)
        except ConfigError as error:
            if len(deals) > 1:
                return [
                    attribution
                    for deal in deals
                    for attribution in self._attribute_anyhow([deal], journeys, models)
                ]
            [deal] = deals
            _log.error("%s The deal %s is split by the linear rule meanwhile.", error, deal.ref)
            return self._attribute(deals, journeys, {deal.ref: _LINEAR})

    def _attribute(
        self,
        deals: Sequence[Deal],
        journeys: Mapping[str, Sequence[Touch]],
        models: Mapping[str, Model],
    ) -> Sequence[Attribution]:
        created_at = self._creation_of_leads(
            {deal.lead_ref for deal in deals if deal.lead_ref and models[deal.ref].rule.milestones}
        )
        return [
            attribute(
                journeys.get(deal.lead_ref, ()),
                deal,
                models[deal.ref],
                lead_created_at=created_at.get(deal.lead_ref),
            )
            for deal in deals
        ]

    def _models(self, deals: Sequence[Deal], model: Model | None = None) -> Mapping[str, Model]:
        """By which model each deal is split: `model`, or else its own."""
        own = self._store.models({deal.ref for deal in deals}) if deals and model is None else {}
        return {deal.ref: own.get(deal.ref, model or self._settings.model) for deal in deals}

    def _creation_of_leads(self, refs: Collection[str]) -> Mapping[str, datetime]:
        if not refs:
            return {}
        return {lead.ref: lead.came_in_at for lead in self._store.leads(refs)}

    def _announce(
        self,
        leads: Iterable[tuple[Lead, LeadSummary]],
        conversions: Iterable[Conversion],
        attributions: Iterable[Attribution],
    ) -> None:
        hooks, context = self._hooks, self._settings.context
        for lead, summary in leads:
            hooks.after_lead_attributed(lead, summary, context)
        for conversion in conversions:
            hooks.after_conversion_recorded(conversion, context)
        for attribution in attributions:
            hooks.after_deal_attributed(attribution, context)

    def _announce_clicks(self, events: Iterable[ClickEvent]) -> None:
        for event in events:
            self._hooks.after_click_recorded(event, self._settings.context)


_Utm = tuple[tuple[str, str], ...]


def _utm_of(link: Link) -> _Utm:
    return (
        ("source", link.source),
        ("medium", link.medium),
        ("campaign", link.campaign),
        ("content", link.content),
        ("term", link.term),
    )


# Most clicks of a batch are on few links and come from few places.
@lru_cache(maxsize=4096)
def _came_from(
    destination: str, referrer: str, utm: _Utm, own_hosts: frozenset[str]
) -> tuple[Source, bool]:
    """The source of a click on a link with the fields `utm`, and whether somebody comes back."""
    source = channels.classify(destination, referrer, utm=dict(utm), own_hosts=own_hosts)
    return source, channels.is_return(referrer, own_hosts)


def _in_session(event: ClickEvent, session_id: str | None) -> ClickEvent:
    # `replace` takes thrice as long, once for every click.
    return ClickEvent(event.click, event.agent, event.source, session_id, event.returns)


def _first_moments(events: Iterable[ClickEvent]) -> Mapping[str, datetime]:
    """When each visitor's first event that counts was."""
    found: dict[str, datetime] = {}
    for event in events:
        visitor, moment = event.click.visitor_id, event.click.occurred_at
        if visitor and event.counts:
            found[visitor] = min(found.get(visitor, moment), moment)
    return found


def _first_of(lead: Lead, came: Mapping[str, datetime]) -> datetime:
    """When the first of the lead's visitors came; long ago if it is not told."""
    return min((came[key] for key in lead.visitor_ids if key in came), default=_LONG_AGO)


def _until(touches: Iterable[Touch], moment: datetime) -> Sequence[Touch]:
    earlier = (touch for touch in touches if touch.occurred_at <= moment)
    return sorted(earlier, key=lambda touch: touch.order_key)


def _spans(pairs: Iterable[tuple[Deal, Model]]) -> Mapping[str, tuple[datetime, datetime]]:
    """Between which moments touches can matter to deals under these models, by the ref of their
    lead."""
    found: dict[str, tuple[datetime, datetime]] = {}
    for deal, model in pairs:
        if deal.lead_ref:
            anchor = model.anchor_of(deal)
            # A deal that was won before it was made, says its CRM, has a last touch all the same.
            won_at = deal.won_at or anchor
            start, end = min(anchor, won_at) - model.lookback, max(anchor, won_at)
            first, last = found.get(deal.lead_ref, (start, end))
            found[deal.lead_ref] = (min(first, start), max(last, end))
    return found


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
