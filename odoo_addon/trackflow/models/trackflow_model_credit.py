import json
import logging

from odoo import api, fields, models
from odoo.tools import SQL

from trackflow_core.attribution import attribute
from trackflow_core.attribution.allocation import from_minor_units
from trackflow_core.errors import ConfigError

from ..engine import build_engine
from ..store import OdooStore
from ..store.values import touch_columns

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

    lead_id = fields.Many2one(
        "crm.lead", "Deal", required=True, readonly=True, index=True, ondelete="cascade"
    )
    attribution_model_id = fields.Many2one(
        "trackflow.attribution.model", "Model", readonly=True, index=True, ondelete="cascade"
    )
    channel = fields.Char(readonly=True)
    campaign_id = fields.Many2one(
        "utm.campaign", readonly=True, index="btree_not_null", ondelete="set null"
    )
    touches = fields.Integer(readonly=True)
    value = fields.Monetary(readonly=True)
    currency_id = fields.Many2one("res.currency", readonly=True)
    company_id = fields.Many2one("res.company", readonly=True, ondelete="cascade")

    @api.model
    def _cron_compare(self, limit=500):
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
                SELECT id, lead_id FROM trackflow_model_credit_due
                 ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
                """,
                limit,
            )
        )
        if not claimed:
            return 0
        lead_ids = list({lead_id for _id, lead_id in claimed})
        rows = self._prepare_rows(lead_ids)
        self.env.cr.execute(
            SQL(
                """
                WITH done AS (DELETE FROM trackflow_model_credit_due WHERE id = ANY(%(due)s)),
                     old AS (DELETE FROM trackflow_model_credit WHERE lead_id = ANY(%(leads)s))
                INSERT INTO trackflow_model_credit
                    (lead_id, attribution_model_id, channel, campaign_id, touches, value,
                     currency_id, company_id)
                SELECT r.lead_id, r.model_id, r.channel,
                       COALESCE(click.campaign_id, touch.campaign_id), count(r.event_id),
                       sum(r.value), r.currency_id, r.company_id
                  FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(
                       lead_id int, model_id int, company_id int, currency_id int, event_id text,
                       channel text, value numeric)
                  LEFT JOIN link_tracker_click click ON click.trackflow_event_id = r.event_id
                  LEFT JOIN trackflow_touch touch ON touch.touch_key = r.event_id
                 GROUP BY 1, 2, 3, 4, 7, 8
                """,
                due=[row[0] for row in claimed],
                leads=lead_ids,
                rows=json.dumps(rows),
            )
        )
        self.invalidate_model(flush=False)
        return len(claimed)

    @api.model
    def _prepare_rows(self, lead_ids):
        """One row for each credit of these deals under each model that they may have."""
        store = OdooStore(self.env)
        engine = build_engine(self.env, store)
        records = {
            deal.ref: (lead_id, deal) for lead_id, _lead, deal in store.records(lead_ids) if deal
        }
        deals = [deal for _id, deal in records.values()]
        journeys = engine.journeys(deals) if deals else {}
        created_at = {
            lead.ref: lead.came_in_at for lead in store.leads({deal.lead_ref for deal in deals})
        }
        available = self.env["trackflow.attribution.model"].sudo().search([("active", "=", True)])
        rows, unusable = [], set()
        for ref, (lead_id, deal) in records.items():
            row = store._rows[lead_id]
            for model in available:
                if model.id in unusable or model.company_id.id not in (False, row["company_id"]):
                    continue
                try:
                    attribution = attribute(
                        journeys.get(ref, ()),
                        deal,
                        model._core_model(row["window_days"]),
                        lead_created_at=created_at.get(deal.lead_ref),
                    )
                except ConfigError as error:
                    _logger.warning("%s It is left out of comparisons.", error)
                    unusable.add(model.id)
                    continue
                rows += [
                    {
                        "lead_id": lead_id,
                        "model_id": model.id,
                        "company_id": row["company_id"],
                        "currency_id": row["currency_id"],
                        "channel": credit.channel,
                        "event_id": touch_columns(credit.touch).get("event_id"),
                        "value": str(from_minor_units(credit.value, deal.digits)),
                    }
                    for credit in attribution.credits
                    if credit.value or credit.touch is None
                ]
        return rows


class TrackflowModelCreditDue(models.Model):
    """A deal whose comparison of models is due. Rows are only appended, so that nobody waits."""

    _name = "trackflow.model.credit.due"
    _description = "TrackFlow Comparison Due"
    _log_access = False
    _rec_name = "lead_id"

    lead_id = fields.Many2one("crm.lead", required=True, readonly=True, ondelete="cascade")

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
