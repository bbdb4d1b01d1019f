import logging
from collections import defaultdict
from functools import lru_cache

from odoo import api, fields, models
from odoo.addons.base.models.ir_model import MODULE_UNINSTALL_FLAG
from odoo.tools import SQL

from trackflow_core.attribution import Splitting
from trackflow_core.attribution.allocation import from_minor_units
from trackflow_core.errors import ConfigError
from trackflow_core.model import UNATTRIBUTED

from ..engine import build_engine
from ..relations import UncheckedMany2one, drop_foreign_keys, forget
from ..store import OdooStore
from ..store.values import array_text

_logger = logging.getLogger(__name__)


class TrackflowModelCredit(models.Model):
    """What a channel and campaign would earn of a deal under each attribution model.

    The ledger holds every deal once, under the model that splits it; this holds it once for each
    model, summed up, for comparisons. A job follows the ledger.
    """

    _name = "trackflow.model.credit"
    _description = "TrackFlow Model Comparison"
    _log_access = False
    _order = "lead_id desc, attribution_model_id, value desc, id"
    _rec_name = "channel"

    lead_id = UncheckedMany2one("crm.lead", "Deal", required=True, readonly=True, index=True)
    attribution_model_id = UncheckedMany2one(
        "trackflow.attribution.model", "Model", readonly=True, index=True
    )
    channel = fields.Char(readonly=True)
    campaign_id = UncheckedMany2one("utm.campaign", readonly=True, index="btree_not_null")
    touches = fields.Integer(readonly=True)
    value = fields.Monetary(readonly=True)
    currency_id = UncheckedMany2one("res.currency", readonly=True)
    company_id = UncheckedMany2one("res.company", readonly=True)

    def init(self):
        drop_foreign_keys(self)

    @api.model
    def _forget(self, column, ids):
        """Leave out what has been deleted, and compare all deals without it."""
        if self.env.context.get(MODULE_UNINSTALL_FLAG):
            return
        forget(self, column, ids)
        self.env["trackflow.model.credit.due"].sudo()._add_all()

    @api.model
    def _cron_compare(self, limit=1000):
        """Split the deals that are due under every model."""
        progress = self.env["ir.cron"]._commit_progress
        while done := self._compare(limit):
            if not progress(
                done, remaining=self.env["trackflow.model.credit.due"].search_count([])
            ):
                return

    @api.model
    def _compare(self, limit):
        """Split up to `limit` deals that are due; returns how many there were."""
        claimed = self.env.execute_query(
            SQL(
                """
                SELECT lead_id FROM trackflow_model_credit_due
                 ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
                """,
                limit,
            )
        )
        if not claimed:
            return 0
        # Another process may have changed a model since the last batch.
        self.env.registry.check_signaling(self.env.cr)
        lead_ids = list({lead_id for (lead_id,) in claimed})
        held, wanted = self._held_rows(lead_ids), self._prepare_rows(lead_ids)
        # Of a row that is right one stays, should it be there twice.
        gone = [row_id for row, ids in held.items() for row_id in ids[row in wanted :]]
        if gone:
            self.env.cr.execute(SQL("DELETE FROM trackflow_model_credit WHERE id = ANY(%s)", gone))
        self._insert_rows(wanted - held.keys())
        self.env.cr.execute(
            SQL(
                """
                DELETE FROM trackflow_model_credit_due WHERE id IN (
                    SELECT id FROM trackflow_model_credit_due
                     WHERE lead_id = ANY(%s) FOR UPDATE SKIP LOCKED)
                """,
                lead_ids,
            )
        )
        self.invalidate_model(flush=False)
        return len(claimed)

    @api.model
    def _held_rows(self, lead_ids):
        """The ids of the rows that are kept of these deals, by their content: one for each."""
        rows = self.env.execute_query(
            SQL(
                """
                SELECT id, lead_id, attribution_model_id, channel, campaign_id, touches,
                       value::text, currency_id, company_id
                  FROM trackflow_model_credit WHERE lead_id = ANY(%s)
                """,
                lead_ids,
            )
        )
        held = defaultdict(list)
        for row_id, *content in rows:
            held[tuple(content)].append(row_id)
        return held

    @api.model
    def _insert_rows(self, rows):
        if not rows:
            return
        leads, model_ids, channels, campaigns, *rest = zip(*rows, strict=True)
        touches, values, currencies, companies = rest
        # Few names, many rows: each name is sent once.
        names = list(dict.fromkeys(channels))
        places = {name: place for place, name in enumerate(names, 1)}
        # Nobody deletes one of them meanwhile.
        self.env.cr.execute(
            SQL(
                "SELECT FROM utm_campaign WHERE id = ANY(%s) FOR KEY SHARE",
                list(set(campaigns) - {None}),
            )
        )
        self.env.cr.execute(
            SQL(
                """
                INSERT INTO trackflow_model_credit
                    (lead_id, attribution_model_id, channel, campaign_id, touches, value,
                     currency_id, company_id)
                SELECT r.lead_id, r.model_id, (%(names)s::text[])[r.channel], r.campaign_id,
                       r.touches, r.value, r.currency_id, r.company_id
                  FROM unnest(%(leads)s::int[], %(models)s::int[], %(channels)s::int[],
                              %(campaigns)s::int[], %(touches)s::int[], %(values)s::numeric[],
                              %(currencies)s::int[], %(companies)s::int[])
                       AS r(lead_id, model_id, channel, campaign_id, touches, value, currency_id,
                            company_id)
                 ORDER BY r.lead_id, r.model_id
                """,
                names=names,
                leads=array_text(leads),
                models=array_text(model_ids),
                channels=array_text(places[name] for name in channels),
                campaigns=array_text(campaigns),
                touches=array_text(touches),
                values=array_text(values),
                currencies=array_text(currencies),
                companies=array_text(companies),
            )
        )

    @api.model
    def _prepare_rows(self, lead_ids):
        """The rows that ought to be kept of these deals: what each channel and campaign earns of
        them under each model that they may have."""
        store = OdooStore(self.env)
        engine = build_engine(self.env, store)
        found = {
            lead_id: (deal, store.row(lead_id))
            for lead_id, deal in store.deals_of_records(lead_ids).items()
        }
        deals = [deal for deal, _row in found.values()]
        models_of = _ModelsOfCompanies(self.env)
        models = [
            model
            for key in {(row["company_id"], row["window_days"]) for _deal, row in found.values()}
            for _id, model in models_of(*key)
        ]
        journeys = engine.journeys(deals, models)
        created_at = {
            lead.ref: lead.came_in_at for lead in store.leads({deal.lead_ref for deal in deals})
        }
        rows = set()
        for lead_id, (deal, row) in found.items():
            splitting = Splitting(journeys[deal.ref], deal, created_at.get(deal.lead_ref))
            shared = (row["currency_id"], row["company_id"])
            for model_id, model in models_of(row["company_id"], row["window_days"]):
                try:
                    parts = splitting.parts(model)
                except ConfigError as error:
                    models_of.leave_out(model_id, error)
                    rows = {kept for kept in rows if kept[1] != model_id}
                    continue
                rows.update(
                    (lead_id, model_id, *earner, touches, _amount(value, deal.digits), *shared)
                    for earner, (touches, value) in _sums(parts, store).items()
                )
        return rows


class _ModelsOfCompanies:
    """The active models as the core knows them; one that cannot be used is left out, once."""

    def __init__(self, env):
        self._models = env["trackflow.attribution.model"].sudo().search([("active", "=", True)])
        self._unusable = set()
        self._known = {}

    def __call__(self, company_id, window_days):
        """Id and model of each that deals of this company may have."""
        key = (company_id, window_days)
        if key not in self._known:
            self._known[key] = list(self._find(*key))
        return self._known[key]

    def _find(self, company_id, window_days):
        for model in self._models:
            if model.id in self._unusable or model.company_id.id not in (False, company_id):
                continue
            try:
                yield model.id, model._core_model(window_days)
            except ConfigError as error:
                self.leave_out(model.id, error)

    def leave_out(self, model_id, error):
        _logger.warning("%s It is left out of comparisons.", error)
        self._unusable.add(model_id)
        self._known = {}


def _sums(parts, store):
    """Touches and value by channel and campaign; what earned nothing is left out."""
    sums = {}
    for touch, value in parts:
        if touch is None:
            sums[UNATTRIBUTED, None] = (0, value)
        elif value:
            earner = (touch.channel, store.campaign_of_touch(touch.id))
            touches, earned = sums.get(earner, (0, 0))
            sums[earner] = (touches + 1, earned + value)
    return sums


@lru_cache(maxsize=4096)
def _amount(value, digits):
    """Minor units as PostgreSQL writes them in major units."""
    return str(from_minor_units(value, digits))


class TrackflowModelCreditDue(models.Model):
    """A deal whose comparison of models is due. Rows are only appended, so that nobody waits."""

    _name = "trackflow.model.credit.due"
    _description = "TrackFlow Comparison Due"
    _log_access = False
    _rec_name = "lead_id"

    lead_id = fields.Many2one(
        "crm.lead", required=True, readonly=True, index=True, ondelete="cascade"
    )

    @api.model
    def _add_all(self):
        """Have every deal compared anew, say because a model has changed."""
        self.env.cr.execute(
            """
            INSERT INTO trackflow_model_credit_due (lead_id)
            SELECT id FROM crm_lead WHERE type = 'opportunity'
            """
        )
        self.env.ref("trackflow.ir_cron_compare_models")._trigger()
