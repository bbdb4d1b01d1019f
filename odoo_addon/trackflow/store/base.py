"""What the parts of the store share: the environment, savepoints, and rows of crm.lead."""

from collections import defaultdict
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property

import psycopg2
from odoo.tools import SQL

from trackflow_core.errors import InvalidEvent
from trackflow_odoo.mapping import deal_from_record, lead_from_record

from ..guard import isolated
from .values import LOCAL_REF, NAMESPACE, clean, local_ref, parse_version

# What must be in the database before leads are read by SQL.
_READ_FIELDS = [
    "active",
    "company_id",
    "contact_name",
    "date_closed",
    "date_conversion",
    "email_from",
    "expected_revenue",
    "name",
    "partner_name",
    "phone",
    "trackflow_attribution_model_id",
    "trackflow_closed_date",
    "trackflow_deal_date",
    "trackflow_deal_ref",
    "trackflow_deal_version",
    "trackflow_lead_date",
    "trackflow_lead_ref",
    "trackflow_lead_told_at",
    "trackflow_lead_version",
    "trackflow_origin_id",
    "trackflow_won_revenue",
    "type",
    "user_id",
    "won_status",
]

_OWN_COLUMNS = [
    "id",
    "create_date",
    "write_date",
    *(
        field
        for field in _READ_FIELDS
        if field
        not in ("company_id", "trackflow_attribution_model_id", "trackflow_origin_id", "user_id")
    ),
]


class BaseStore:
    """One environment's store; it works as superuser and lives as long as one engine.

    `new_leads` are the ids of leads that this transaction has just created: nothing can be held
    of them yet, so nothing is looked up. `defer_counters` leaves the counters of links, which
    all visitors share, to the click job. `absorb_deals` merges leads the way Odoo does, where
    one record speaks for all deals of the merged ones. `comparison_follows` has deals compared
    under all models by the job, when their credits have been replaced. `alone` says that nobody
    else works in the transaction, so that what fails may undo all of it: that costs no savepoint.
    """

    def __init__(
        self,
        env,
        new_leads=(),
        defer_counters=False,
        absorb_deals=False,
        comparison_follows=True,
        alone=False,
    ):
        self.env = env(su=True, context={**env.context, "active_test": False})
        self._new = frozenset(new_leads)
        self._defer_counters = defer_counters
        self._absorb_deals = absorb_deals
        self._comparison_follows = comparison_follows
        self._alone = alone
        # Rows of crm.lead by id, and ids by kind and ref, as this transaction sees them.
        self._rows = {}
        self._ids = {"lead": {}, "deal": {}}
        self._chosen_models = {}
        self._touch_records = {}
        # Ids and keys of the visitors that have been bound, by the lead.
        self._bound = defaultdict(set)
        self._idle_visitors = frozenset()

    @contextmanager
    def atomic(self):
        self.env.flush_all()
        alone, self._alone = self._alone, False
        savepoint = None if alone else self.env.cr.savepoint(flush=False)
        try:
            yield
            self.env.flush_all()
        except (psycopg2.DataError, psycopg2.IntegrityError) as error:
            self._undo(savepoint)
            reason = error.diag.message_primary or str(error)
            raise InvalidEvent(f"The database refuses this: {reason}.") from error
        except BaseException:
            self._undo(savepoint)
            raise
        else:
            if savepoint is not None:
                savepoint.close(rollback=False)
        finally:
            self._alone = alone

    def _undo(self, savepoint):
        if savepoint is None:
            self.env.cr.rollback()
        else:
            savepoint.close(rollback=True)
        self.env.transaction.clear()
        self._forget_rows()

    def after_commit(self, callback):
        self.env.cr.postcommit.add(isolated(callback))

    # -- rows of crm.lead ------------------------------------------------------------------

    def records(self, lead_ids):
        """For each of these records of crm.lead: id, lead (without visitors), deal or None."""
        return [
            (
                lead_id,
                self._lead(lead_id, {}),
                self._deal(lead_id) if row["type"] == "opportunity" else None,
            )
            for lead_id, row in self._read(lead_ids).items()
        ]

    def _lead(self, lead_id, visitors):
        row = self._rows[lead_id]
        lead = lead_from_record(row, NAMESPACE)
        moment, event_id = parse_version(row["trackflow_lead_version"])
        if moment:
            # The name is left out: the record may carry that of the deal.
            lead = replace(lead, occurred_at=moment, event_id=event_id)
        return replace(
            lead,
            ref=row["trackflow_lead_ref"] or lead.ref,
            visitor_ids=visitors.get(lead_id, frozenset()),
        )

    def _deal(self, lead_id):
        row = self._rows[lead_id]
        deal = deal_from_record(row, NAMESPACE)
        moment, event_id = parse_version(row["trackflow_deal_version"])
        return replace(
            deal,
            occurred_at=moment or deal.occurred_at,
            event_id=event_id if moment else deal.event_id,
            ref=row["trackflow_deal_ref"] or deal.ref,
            lead_ref=(
                row["origin_ref"]
                or (row["trackflow_origin_id"] and local_ref(row["trackflow_origin_id"]))
                or row["trackflow_lead_ref"]
                or local_ref(lead_id)
            ),
        )

    def _is_lead(self, row):
        """Whether a lead was told of, not just a deal that names one."""
        return bool(not row["trackflow_lead_ref"] or row["trackflow_lead_version"])

    def _read(self, lead_ids):
        """Rows by id, from memory where this transaction has read them already."""
        wanted = dict.fromkeys(lead_ids)
        missing = [lead_id for lead_id in wanted if lead_id not in self._rows]
        if missing and self._new.issuperset(missing):
            self._rows.update(self._read_new(missing))
        elif missing:
            self._read_where(SQL("lead.id = ANY(%s)", missing))
        return {lead_id: self._rows[lead_id] for lead_id in wanted if lead_id in self._rows}

    def _read_new(self, lead_ids):
        """Rows of records whose values the ORM still holds, without a query."""
        rows = {}
        for lead in self._browse(lead_ids):
            company = (
                lead.company_id
                or lead.user_id.company_id
                or lead.create_uid.company_id
                or self.env.company
            )
            rows[lead.id] = {
                **{field: lead[field] for field in _OWN_COLUMNS},
                "trackflow_origin_id": None,
                "origin_ref": None,
                "company_id": company.id,
                "currency_id": company.currency_id.id,
                "currency_name": company.currency_id.name,
                "currency_digits": company.currency_id.decimal_places,
                "window_days": company.trackflow_window_days,
                "model_id": (
                    lead.trackflow_attribution_model_id or company.trackflow_attribution_model_id
                ).id,
            }
        return rows

    def _read_where(self, condition):
        self.env["crm.lead"].flush_model(_READ_FIELDS)
        self.env["res.company"].flush_model(
            ["currency_id", "trackflow_attribution_model_id", "trackflow_window_days"]
        )
        self.env.cr.execute(
            SQL(
                """
                SELECT lead.id, lead.type, lead.name, lead.contact_name, lead.email_from,
                       lead.phone, lead.partner_name, lead.active, lead.won_status,
                       -- What a won deal brought, where that is known, is better than a guess.
                       COALESCE(CASE WHEN lead.won_status = 'won'
                                     THEN NULLIF(lead.trackflow_won_revenue, 0) END,
                                lead.expected_revenue)::text AS expected_revenue,
                       lead.create_date, lead.write_date, lead.date_closed, lead.date_conversion,
                       lead.trackflow_lead_date, lead.trackflow_deal_date,
                       lead.trackflow_closed_date, lead.trackflow_lead_ref,
                       lead.trackflow_deal_ref, lead.trackflow_lead_version,
                       lead.trackflow_deal_version, lead.trackflow_lead_told_at,
                       lead.trackflow_origin_id,
                       origin.trackflow_lead_ref AS origin_ref,
                       company.id AS company_id, currency.id AS currency_id,
                       currency.name AS currency_name,
                       currency.decimal_places AS currency_digits,
                       company.trackflow_window_days AS window_days,
                       COALESCE(lead.trackflow_attribution_model_id,
                                company.trackflow_attribution_model_id) AS model_id
                  FROM crm_lead lead
                  LEFT JOIN crm_lead origin ON origin.id = lead.trackflow_origin_id
                  LEFT JOIN res_users creator ON creator.id = lead.create_uid
                  LEFT JOIN res_users seller ON seller.id = lead.user_id
                  JOIN res_company company ON company.id = COALESCE(
                       lead.company_id, seller.company_id, creator.company_id, %s)
                  JOIN res_currency currency ON currency.id = company.currency_id
                 WHERE %s
                 ORDER BY lead.id
                """,
                self.env.company.id,
                condition,
            )
        )
        rows = {row["id"]: row for row in self.env.cr.dictfetchall()}
        self._rows.update(rows)
        return rows

    def _resolve(self, kind, refs, merged=True):
        """The ids of the records that `refs` mean; unknown ones are left out."""
        found, unknown = {}, []
        known = self._ids[kind]
        for ref in refs:
            if local := LOCAL_REF.match(ref):
                found[ref] = int(local[1])
            elif merged and ref in known:
                found[ref] = known[ref]
            else:
                unknown.append(ref)
        if not unknown:
            return found
        column = SQL.identifier(f"trackflow_{kind}_ref")
        rows = self._select(
            SQL(
                """
                SELECT %(column)s, id, FALSE FROM crm_lead WHERE %(column)s = ANY(%(refs)s)
                 UNION ALL
                SELECT ref, lead_id, TRUE FROM trackflow_merged_ref
                 WHERE kind = %(kind)s AND ref = ANY(%(refs)s)
                """,
                column=column,
                kind=kind,
                refs=unknown,
            )
        )
        for ref, lead_id, is_merged in rows:
            known[ref] = lead_id
            if merged or not is_merged:
                found[ref] = lead_id
        return found

    def _forget_rows(self, keep_ids=False):
        self._rows.clear()
        if not keep_ids:
            self._ids = {"lead": {}, "deal": {}}

    def _prepare_new_lead(self, ref):
        """A lead of another CRM of which only the ref is known."""
        # Where Odoo's leads are switched off, each begins as an opportunity.
        uses_leads = self.env.user.has_group("crm.group_use_lead")
        return {
            "name": clean(ref),
            "trackflow_lead_ref": ref,
            "type": "lead" if uses_leads else "opportunity",
            "user_id": False,
            "company_id": self.env.company.id,
        }

    @cached_property
    def _leads(self):
        """crm.lead for writing what another CRM tells: quietly, and without telling ourselves."""
        return self.env["crm.lead"].with_context(
            trackflow_from_engine=True,
            mail_create_nosubscribe=True,
            mail_auto_subscribe_no_notify=True,
        )

    def _browse(self, lead_ids):
        return self._leads.browse(lead_ids)

    def _select(self, query):
        self.env.cr.execute(query)
        return self.env.cr.fetchall()
