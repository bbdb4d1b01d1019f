"""Deals: what is told of them, and their credits and conversions."""

import json
import logging
from dataclasses import replace
from datetime import datetime

from odoo.tools import SQL

from trackflow_core.attribution.allocation import from_minor_units
from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.model import DealStatus

from .base import BaseStore
from .values import (
    LOCAL_REF,
    amount_text,
    array_text,
    clean,
    local_ref,
    naive,
    text_time,
    touch_columns,
    version,
)

_logger = logging.getLogger(__name__)


class DealStore(BaseStore):
    def save_deals(self, deals):
        remote = [deal for deal in deals if not LOCAL_REF.match(deal.ref)]
        if not remote:
            return deals
        ids = self._resolve("deal", [deal.ref for deal in deals])
        lead_ids = self._resolve("lead", {deal.lead_ref for deal in remote if deal.lead_ref})
        facts = {}
        for deal in remote:
            facts[deal.ref] = facts[deal.ref].merged_with(deal) if deal.ref in facts else deal
        self._read([*ids.values(), *lead_ids.values()])
        for ref, fact in facts.items():
            ids[ref] = self._save_remote_deal(fact, ids.get(ref), lead_ids)
            self._ids["deal"][ref] = ids[ref]
        self._forget_rows(keep_ids=True)
        self._read(ids.values())
        return [deal if LOCAL_REF.match(deal.ref) else self._deal(ids[deal.ref]) for deal in deals]

    def _save_remote_deal(self, fact, record_id, lead_ids):
        """Take in one deal; returns the id of its record."""
        row = self._rows.get(record_id)
        if row and row["trackflow_deal_ref"] and row["trackflow_deal_ref"] != fact.ref:
            # Its record was merged into another one here, which speaks for both.
            return record_id
        lead_row = self._rows.get(lead_ids.get(fact.lead_ref))
        if row is None and lead_row and not lead_row["trackflow_deal_ref"]:
            row = lead_row
        known = self._told_deal(row) if row and row["trackflow_deal_version"] else None
        if known and lead_row and known.lead_ref and self._own_lead_id(row) == lead_row["id"]:
            # Another name of the same lead, into which the one of that name was merged.
            fact = replace(fact, lead_ref=known.lead_ref)
        state = known.merged_with(fact) if known else fact
        if state == known:
            return row["id"]
        # The value held is in the company's currency already.
        told = state.event_id == fact.event_id and state.occurred_at == fact.occurred_at
        company = self.env["res.company"].browse(row["company_id"]) if row else self.env.company
        vals = self._prepare_deal(state, company, with_value=told)
        vals["trackflow_deal_ref"] = fact.ref
        before = known.lead_ref if known else ""
        if state.lead_ref != before:
            vals.update(self._lead_of_deal(state.lead_ref, before, row, lead_row))
        if row is None:
            record = self._leads.create(
                {
                    "name": clean(fact.ref),
                    "user_id": False,
                    "company_id": company.id,
                    **vals,
                }
            )
        else:
            record = self._browse(row["id"])
            record.write(vals)
        if told:
            self._set_status(record, state)
        if "trackflow_lead_ref" in vals:
            self._ids["lead"][state.lead_ref] = record.id
        if state.lead_ref:
            lead_ids.update(self._resolve("lead", [state.lead_ref]))
        record.flush_recordset()
        self._forget_rows(keep_ids=True)
        self._read([record.id, *lead_ids.values()])
        return record.id

    def _told_deal(self, row):
        """The deal as facts told it: a record of which no lead was named is no lead of its own."""
        deal = self._deal(row["id"])
        told_at = row["trackflow_lead_told_at"]
        if told_at:
            return replace(deal, lead_told_at=datetime.fromisoformat(told_at))
        if row["trackflow_origin_id"] or row["trackflow_lead_ref"]:
            return replace(deal, lead_told_at=deal.occurred_at)
        return replace(deal, lead_ref="")

    def _own_lead_id(self, row):
        """The record of the lead that `row` came from, or that it is itself."""
        return row["trackflow_origin_id"] or row["id"]

    def _lead_of_deal(self, lead_ref, before, row, lead_row):
        """Values that give a deal its lead, which was `before`.

        `row` is the deal's record, None where it is new; `lead_row` that of the lead, None where
        only its ref is known: the deal's record stands for it until it is told, unless it is
        another lead already.
        """
        if lead_row:
            # A lead of another CRM stays one, wherever the deal of its record went.
            own = lead_row["trackflow_lead_ref"] and lead_row["id"]
            lead_id = own or self._own_lead_id(lead_row)
            return {"trackflow_origin_id": lead_id if not row or row["id"] != lead_id else False}
        if row and (row["trackflow_lead_ref"] or before == local_ref(row["id"])):
            lead = self._leads.create(self._prepare_new_lead(lead_ref))
            self._ids["lead"][lead_ref] = lead.id
            return {"trackflow_origin_id": lead.id}
        return {"trackflow_origin_id": False, "trackflow_lead_ref": lead_ref}

    def _prepare_deal(self, deal, company, with_value):
        vals = {
            "type": "opportunity",
            "trackflow_lead_told_at": deal.lead_told_at and deal.lead_told_at.isoformat(),
            "trackflow_deal_date": naive(deal.began_at),
            "trackflow_deal_version": version(deal),
        }
        if deal.name:
            vals["name"] = clean(deal.name)
        if with_value:
            vals["expected_revenue"] = self._in_company_currency(deal, company)
        return vals

    def _in_company_currency(self, deal, company):
        amount = float(from_minor_units(deal.value, deal.digits))
        if deal.currency == company.currency_id.name:
            return amount
        currency = self.env["res.currency"].search([("name", "=", deal.currency)], limit=1)
        if not currency.active:
            raise InvalidEvent(
                f"The currency {deal.currency!r} of {deal.ref} is not active in Odoo: activate it "
                "and give it a rate."
            )
        return currency._convert(amount, company.currency_id, company, deal.began_at.date())

    def _set_status(self, record, deal):
        """Win, lose or reopen the way Odoo does it."""
        status = DealStatus({"pending": "open"}.get(record.won_status, record.won_status) or "open")
        if status is not deal.status:
            if status is DealStatus.WON:
                stage = record._stage_find(domain=[("is_won", "=", False)])
                record.write({"stage_id": stage.id})
            elif status is DealStatus.LOST:
                record.action_restore()
            if deal.status is DealStatus.WON:
                record.action_set_won()
            elif deal.status is DealStatus.LOST:
                record.action_set_lost()
        closed_at = deal.closed_at and naive(deal.closed_at)
        record.write({"trackflow_closed_date": closed_at or False})

    def deals_of_leads(self, lead_refs):
        ids = set(self._resolve("lead", lead_refs).values())
        # A lead that has just been made has no other deal than the one being told.
        if ids <= self._new:
            return []
        rows = self._read_where(
            SQL(
                "(lead.id = ANY(%(ids)s) AND lead.trackflow_origin_id IS NULL"
                " OR lead.trackflow_origin_id = ANY(%(ids)s)) AND lead.type = 'opportunity'",
                ids=list(ids),
            )
        )
        return [self._deal(lead_id) for lead_id in rows]

    def deals(self, refs=None):
        if refs is None:
            rows = self._read_where(SQL("lead.type = 'opportunity'"))
        else:
            rows = self._read(self._resolve("deal", refs).values())
        return [
            self._deal(lead_id) for lead_id, row in rows.items() if row["type"] == "opportunity"
        ]

    def deals_of_company(self, company_id):
        """The deals of one company, in the order in which they were entered."""
        rows = self._read_where(SQL("lead.type = 'opportunity' AND company.id = %s", company_id))
        return [self._deal(lead_id) for lead_id in rows]

    def deals_of_records(self, lead_ids):
        """The deals that these records of crm.lead are, by the record's id."""
        return {
            lead_id: self._deal(lead_id)
            for lead_id, row in self._read(lead_ids).items()
            if row["type"] == "opportunity"
        }

    def row(self, lead_id):
        """What is known of a record of crm.lead that has been read: its company and so on."""
        return self._rows[lead_id]

    def deal_refs(self):
        self._leads.flush_model(["trackflow_deal_ref", "type"])
        rows = self.env.execute_query(
            SQL(
                "SELECT COALESCE(trackflow_deal_ref, %s || id) FROM crm_lead"
                " WHERE type = 'opportunity' ORDER BY id",
                local_ref(""),
            )
        )
        return [ref for (ref,) in rows]

    def models(self, deal_refs):
        ids = self._resolve("deal", deal_refs)
        rows = self._read(ids.values())
        found, models = {}, {}
        for ref, lead_id in ids.items():
            row = rows.get(lead_id)
            key = row and (row["model_id"], row["window_days"])
            if not key or not key[0]:
                continue
            if key not in models:
                models[key] = self._core_model(*key)
            if models[key]:
                found[ref] = models[key]
                self._chosen_models[lead_id] = (key[0], models[key])
        return found

    def _core_model(self, model_id, window_days):
        try:
            return self.env["trackflow.attribution.model"].browse(model_id)._core_model(window_days)
        except ConfigError as error:
            _logger.error("%s Deals are split by the linear rule meanwhile.", error)
            return None

    def replace_credits(self, attributions):
        ids = self._resolve("deal", [attribution.deal.ref for attribution in attributions])
        rows = self._read(ids.values())
        split = {ids[one.deal.ref]: one for one in attributions if ids[one.deal.ref] in rows}
        old = [lead_id for lead_id in split if lead_id not in self._new]
        credits, kinds = self._credit_rows(split)
        self.env.cr.execute(
            SQL(
                """
                SELECT trackflow_replace_credits(
                    %s::int[], %s::int[], %s::text[], %s::timestamp[], %s::text[], %s::float8[],
                    %s::numeric[], %s::int[], %s::int[], %s::int[], %s::int[], %s::int[],
                    %s::jsonb, %s::jsonb, %s::int[], %s::int[])
                """,
                *_credit_columns(credits),
                json.dumps(self._told_of_deals(split)),
                json.dumps(_told_of_kinds(kinds)),
                old,
                list(split) if self._comparison_follows else [],
            )
        )
        self.env["trackflow.deal.attribution"].invalidate_model(flush=False)
        self._browse(ids.values()).invalidate_recordset(["trackflow_attribution_ids"], flush=False)

    def _told_of_deals(self, attributions):
        """What all credits of a deal share, for each of these deals by the id of its record."""
        return [
            {
                "lead_id": lead_id,
                "model_id": self._model_id(lead_id, one.model),
                "company_id": self._rows[lead_id]["company_id"],
                "currency_id": self._rows[lead_id]["currency_id"],
                "deal_value": amount_text(one.deal.value, one.deal.digits),
                "deal_status": one.deal.status.value,
                "anchor": text_time(one.anchor),
                "digest": one.digest,
                "fit_version": one.model.fit and one.model.fit.version,
            }
            for lead_id, one in attributions.items()
        ]

    def _model_id(self, lead_id, model):
        """The record of the model that split a deal; None where it was not the deal's own."""
        record_id, chosen = self._chosen_models.get(lead_id, (None, None))
        return record_id if chosen is model else None

    def replace_conversions(self, keys, conversions):
        ids = {
            kind: self._resolve(
                "lead" if kind == "lead" else "deal", [ref for ref, own in keys if own == kind]
            )
            for kind in {kind for _ref, kind in keys}
        }
        kept, rows = set(), []
        records = self._records_of_touches([one.touch for one in conversions if one.touch])
        for conversion in conversions:
            lead_id = ids[conversion.kind][conversion.ref]
            kept.add((lead_id, conversion.kind))
            touch = conversion.touch
            rows.append(
                {
                    "lead_id": lead_id,
                    "kind": conversion.kind,
                    "occurred_at": text_time(conversion.occurred_at),
                    "value": amount_text(conversion.value, conversion.digits),
                    **touch_columns(touch),
                    **(dict(zip(_RECORDS, records[touch.id], strict=True)) if touch else {}),
                }
            )
        gone = [
            {"lead_id": lead_id, "kind": kind}
            for kind, found in ids.items()
            for lead_id in found.values()
            if lead_id not in self._new and (lead_id, kind) not in kept
        ]
        if gone:
            self.env.cr.execute(
                SQL(
                    """
                    DELETE FROM trackflow_conversion c
                     USING jsonb_to_recordset(%s::jsonb) AS r(lead_id int, kind text)
                     WHERE c.lead_id = r.lead_id AND c.kind = r.kind
                    """,
                    json.dumps(gone),
                )
            )
        if rows:
            self._save_conversions(rows)
        if gone or rows:
            self.env["trackflow.conversion"].invalidate_model(flush=False)

    def _save_conversions(self, rows):
        held = self._read({row["lead_id"] for row in rows})
        for row in rows:
            row["company_id"] = held[row["lead_id"]]["company_id"]
            row["currency_id"] = held[row["lead_id"]]["currency_id"]
        self.env.cr.execute(
            SQL(
                "SELECT trackflow_save_conversions(%s::jsonb)",
                json.dumps(rows),
            )
        )

    def _credit_rows(self, attributions):
        """A row for each credit, and the numbers in them of what credits tell of their touches:
        each once, for those of a batch are few."""
        records = self._records_of_touches(
            [
                credit.touch
                for one in attributions.values()
                for credit in one.credits
                if credit.touch
            ]
        )
        numbers, rows = {}, []
        for lead_id, one in attributions.items():
            for sequence, credit in enumerate(one.credits, 1):
                touch = credit.touch
                kind = (credit.channel, *(_told_by(touch) if touch else ()))
                rows.append(
                    (
                        lead_id,
                        sequence,
                        touch and touch.id,
                        touch and text_time(touch.occurred_at),
                        credit.position,
                        credit.weight,
                        amount_text(credit.value, one.deal.digits),
                        numbers.setdefault(kind, len(numbers)),
                        *(records[touch.id] if touch else _NO_RECORDS),
                    )
                )
        return rows, numbers


def _credit_columns(rows):
    """The columns of these rows as `trackflow_replace_credits` takes them."""
    leads, sequences, event_ids, moments, positions, *numbered = (
        zip(*rows, strict=True) if rows else [()] * 12
    )
    return (
        array_text(leads),
        array_text(sequences),
        list(event_ids),
        array_text(moments),
        array_text(positions),
        *map(array_text, numbered),
    )


def _told_of_kinds(numbers):
    """What credits tell of their touches, by its number."""
    return [
        {"number": number, **dict(zip(("channel", *_TOLD), kind, strict=False))}
        for kind, number in numbers.items()
    ]


def _told_by(touch):
    """What the ledger tells of a touch, named by `_TOLD`."""
    return (touch.kind, touch.source, touch.medium, touch.campaign, touch.content, touch.term)


_TOLD = ("touch_kind", "source", "medium", "campaign", "content", "term")

# What `_records_of_touches` tells of a touch.
_RECORDS = ("campaign_id", "link_id", "click_id", "visitor_id")
_NO_RECORDS = (None,) * len(_RECORDS)
