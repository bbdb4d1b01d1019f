"""Deals with their models, credits and conversions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Select, delete, select, update

from trackflow_core.attribution import Attribution, Model
from trackflow_core.model import Conversion, Deal
from trackflow_server.store import rows
from trackflow_server.store.base import BaseStore
from trackflow_server.store.schema import (
    attribution,
    attribution_model,
    conversion,
    credit,
    deal,
    merged_lead,
)


class DealStore(BaseStore):
    """The part of the store that keeps deals, models, credits and conversions."""

    def save_deals(self, deals: Sequence[Deal]) -> Sequence[Deal]:
        held = {
            row["ref"]: rows.deal_of(row)
            for row in self.rows(
                select(deal).where(self.among(deal.c.ref, {told.ref for told in deals}))
            )
        }
        for told in deals:
            known = held.get(told.ref)
            held[told.ref] = known.merged_with(told) if known else told
        self._put(deal, [rows.deal_values(item) for item in held.values()])
        current = {item.ref: item for item in self._of_current_leads(held.values())}
        return [current[told.ref] for told in deals]

    def _of_current_leads(self, deals: Collection[Deal]) -> Sequence[Deal]:
        winners = self.winners(merged_lead, {item.lead_ref for item in deals if item.lead_ref})
        return [replace(item, lead_ref=winners.get(item.lead_ref, item.lead_ref)) for item in deals]

    def _deals(self, query: Select[tuple[object, ...]]) -> Sequence[Deal]:
        return self._of_current_leads([rows.deal_of(row) for row in self.rows(query)])

    def deals_of_leads(self, lead_refs: Collection[str]) -> Sequence[Deal]:
        if not lead_refs:
            return []
        current = set(self.winners(merged_lead, lead_refs).values())
        aliases = self._aliases(merged_lead, current)
        return self._deals(
            select(deal).where(self.among(deal.c.lead_ref, aliases)).order_by(deal.c.ref)
        )

    def deals(self, refs: Collection[str] | None = None) -> Sequence[Deal]:
        query = select(deal).order_by(deal.c.ref)
        return self._deals(query if refs is None else query.where(self.among(deal.c.ref, refs)))

    def deal_refs(self) -> Sequence[str]:
        return [row["ref"] for row in self.rows(select(deal.c.ref).order_by(deal.c.ref))]

    def save_models(self, models: Sequence[Model]) -> None:
        """Keep models that deals may choose, by name."""
        self._put(attribution_model, [rows.model_values(model) for model in models])

    def all_models(self) -> Mapping[str, Model]:
        """The models that deals may choose and whose rules are in use, by name."""
        return {
            row["name"]: rows.model_of(row, self._rules)
            for row in self.rows(select(attribution_model))
            if row["rule"] in self._rules
        }

    def choose_model(self, deal_ref: str, name: str | None) -> None:
        """Let a deal be split by the model of this name; by the installation's where None."""
        self.connection.execute(update(deal).where(deal.c.ref == deal_ref).values(model=name))

    def models(self, deal_refs: Collection[str]) -> Mapping[str, Model]:
        chosen = (
            select(deal.c.ref, attribution_model)
            .join_from(deal, attribution_model, attribution_model.c.name == deal.c.model)
            .where(self.among(deal.c.ref, deal_refs))
        )
        return {row["ref"]: rows.model_of(row, self._rules) for row in self.rows(chosen)}

    def replace_credits(self, attributions: Sequence[Attribution]) -> None:
        if not attributions:
            return
        of_deals = self.among(credit.c.deal_ref, {item.deal.ref for item in attributions})
        self.connection.execute(delete(credit).where(of_deals))
        last = {item.deal.ref: item for item in attributions}.values()
        self._put(attribution, [rows.attribution_values(item) for item in last])
        self.add(credit, [row for item in last for row in rows.credit_values(item)])

    def replace_conversions(
        self, keys: Collection[tuple[str, str]], conversions: Iterable[Conversion]
    ) -> None:
        kept = [*conversions]
        left = {(item.ref, item.kind) for item in kept}
        for kind in sorted({kind for _, kind in keys}):
            refs = {ref for ref, of_kind in keys if of_kind == kind and (ref, kind) not in left}
            self.connection.execute(
                delete(conversion).where(
                    conversion.c.kind == kind, self.among(conversion.c.ref, refs)
                )
            )
        self._put(conversion, [rows.conversion_values(item) for item in kept])
