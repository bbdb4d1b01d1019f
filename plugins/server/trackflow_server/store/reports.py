"""What the dashboard shows: sums and lists, each by one query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import func, select

from trackflow_core.model import CLICK, DealStatus
from trackflow_server.store.database import SqlStore
from trackflow_server.store.schema import attribution, click, credit, deal, lead, lead_visitor

Row = Mapping[str, Any]


class Reports:
    """The reports of one transaction."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    def totals(self) -> Row:
        """How many leads and deals there are, and how many deals were won."""
        won = func.count().filter(deal.c.status == DealStatus.WON.value)
        [deals] = self._store.rows(
            select(func.count().label("deals"), won.label("won")).select_from(deal)
        )
        leads = self._store.connection.scalar(select(func.count()).select_from(lead))
        return {**deals, "leads": leads}

    def earned(self, by: str) -> Sequence[Row]:
        """Attributed value of won deals by "channel" or "campaign", the most first."""
        group = credit.c[by]
        value = func.sum(credit.c.value)
        return self._store.rows(
            select(
                group.label("name"),
                deal.c.currency,
                deal.c.digits,
                value.label("value"),
                func.count(credit.c.deal_ref.distinct()).label("deals"),
            )
            .join_from(credit, deal, deal.c.ref == credit.c.deal_ref)
            .where(deal.c.status == DealStatus.WON.value)
            .group_by(group, deal.c.currency, deal.c.digits)
            .order_by(value.desc(), group)
        )

    def campaign_clicks(self) -> Mapping[str, Row]:
        """People's clicks and visitors by campaign."""
        found = self._store.rows(
            select(
                click.c.campaign,
                func.count().label("clicks"),
                func.count(click.c.visitor_id.distinct()).label("visitors"),
            )
            .where(click.c.counts, click.c.kind == CLICK)
            .group_by(click.c.campaign)
        )
        return {row["campaign"]: row for row in found}

    def deals(self, limit: int) -> Sequence[Row]:
        """The newest deals with how many touches earned a part of each."""
        touches = func.count(credit.c.touch_id)
        return self._store.rows(
            select(deal, touches.label("touches"))
            .join_from(deal, credit, credit.c.deal_ref == deal.c.ref, isouter=True)
            .group_by(deal.c.place)
            .order_by(deal.c.created_at.desc(), deal.c.ref)
            .limit(limit)
        )

    def receipt(self, deal_ref: str) -> Mapping[str, Any] | None:
        """The receipt of a deal's credits."""
        query = select(attribution.c.receipt).where(attribution.c.deal_ref == deal_ref)
        return self._store.connection.scalar(query)

    def clicks_of_link(self, code: str, limit: int) -> Sequence[Row]:
        """A link's newest clicks."""
        return self._store.rows(
            select(click)
            .where(click.c.link_code == code)
            .order_by(click.c.occurred_at.desc(), click.c.event_id)
            .limit(limit)
        )

    def visitors(self, limit: int) -> Sequence[Row]:
        """Who was seen last, with the lead each is bound to."""
        last = func.max(click.c.occurred_at)
        seen = (
            select(
                click.c.visitor_id,
                func.min(click.c.occurred_at).label("first_seen"),
                last.label("last_seen"),
                func.count().label("events"),
            )
            .where(click.c.visitor_id.is_not(None), click.c.counts)
            .group_by(click.c.visitor_id)
            .order_by(last.desc())
            .limit(limit)
            .subquery()
        )
        name = func.max(lead.c.name)
        return self._store.rows(
            select(seen, name.label("lead"))
            .join_from(
                seen, lead_visitor, lead_visitor.c.visitor_id == seen.c.visitor_id, isouter=True
            )
            .join(lead, lead.c.ref == lead_visitor.c.lead_ref, isouter=True)
            .group_by(*seen.c)
            .order_by(seen.c.last_seen.desc())
        )
