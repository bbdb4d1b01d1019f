"""Splitting all deals anew: a job in batches, each committed, that goes on where it stopped."""

import logging

from odoo import api, fields, models
from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY
from odoo.tools import SQL

from ..engine import build_engine
from ..store.values import local_ref

_logger = logging.getLogger(__name__)

BATCH = 1000


class TrackflowRecomputeRun(models.Model):
    """All deals, or those that one model splits, are split anew from all that is known."""

    _name = "trackflow.recompute.run"
    _description = "TrackFlow Recomputation"
    _order = "id desc"
    _rec_name = "started_at"

    model_id = fields.Many2one(
        "trackflow.attribution.model",
        readonly=True,
        ondelete="cascade",
        help="Only the deals that this model splits; empty for all.",
    )
    state = fields.Selection(
        [("running", "Running"), ("done", "Done")],
        required=True,
        readonly=True,
        default="running",
    )
    started_at = fields.Datetime("Started", required=True, readonly=True)
    ended_at = fields.Datetime("Ended", readonly=True)
    deal_count = fields.Integer("Deals", readonly=True)
    done_count = fields.Integer("Split", readonly=True, default=0)
    progress = fields.Float(compute="_compute_progress", aggregator=None)
    # Where the run has got to: deals are gone through by id.
    last_id = fields.Integer(readonly=True, default=0, aggregator=None)

    _running_uniq = models.UniqueIndex(
        "(COALESCE(model_id, 0)) WHERE state = 'running'", "This is being recomputed already."
    )

    @api.depends("deal_count", "done_count", "state")
    def _compute_progress(self):
        for run in self:
            part = run.done_count / run.deal_count if run.deal_count else 0
            run.progress = 100 if run.state == "done" else min(part, 1) * 100

    def action_start(self, model=None):
        """Let the job split all deals anew, or those that `model` splits."""
        self.env["trackflow.attribution.model"].check_access("write")
        runs = self.sudo()
        runs._start(model or self.env["trackflow.attribution.model"])
        self.env.ref("trackflow.ir_cron_recompute").sudo()._trigger()
        return self.env["ir.actions.act_window"]._for_xml_id(
            "trackflow.trackflow_recompute_run_action"
        )

    @api.model
    def _start(self, model):
        """The run that is under way, or a new one."""
        run = self.search([("model_id", "=", model.id), ("state", "=", "running")], limit=1)
        self.env["crm.lead"].flush_model(["type"])
        [[count]] = self.env.execute_query(
            SQL("SELECT count(*) FROM crm_lead lead WHERE %s", self._split_by(model))
        )
        return run or self.create(
            {
                "model_id": model.id,
                "started_at": fields.Datetime.now(),
                "deal_count": count,
            }
        )

    @api.model
    def _split_by(self, model):
        """Which rows of `crm_lead lead` are deals that `model` splits; all deals without one."""
        if not model:
            return SQL("lead.type = 'opportunity'")
        return SQL(
            """lead.type = 'opportunity' AND EXISTS (
                SELECT FROM trackflow_deal_attribution credit
                 WHERE credit.lead_id = lead.id AND credit.attribution_model_id = %s)""",
            model.id,
        )

    @api.model
    def _cron_recompute(self, batch=BATCH):
        """Go on with every run that is under way, each batch committed with how far it got."""
        progress = self.env["ir.cron"]._commit_progress
        runs = self.search([("state", "=", "running")], order="id")
        progress(remaining=len(runs))
        for number, run in enumerate(runs, 1):
            while run.state == "running":
                try:
                    run._split_next(batch)
                except PG_CONCURRENCY_EXCEPTIONS_TO_RETRY as error:
                    _logger.info("Deals are split anew later: %s", error)
                    self.env.cr.rollback()
                    break
                if not progress(remaining=len(runs) - number + (run.state == "running")):
                    return

    def _split_next(self, batch):
        """Split the next `batch` deals anew, by what the engine does for a single one, and compare
        them under all models where nobody else does."""
        credits = self.env["trackflow.model.credit"]
        compares = credits._claim()
        self.env["crm.lead"].flush_model(["type", "trackflow_deal_ref"])
        rows = self.env.execute_query(
            SQL(
                """
                SELECT lead.id, COALESCE(lead.trackflow_deal_ref, %s || lead.id)
                  FROM crm_lead lead
                 WHERE lead.id > %s AND %s
                 ORDER BY lead.id
                 LIMIT %s
                """,
                local_ref(""),
                self.last_id,
                self._split_by(self.model_id),
                batch,
            )
        )
        if rows:
            if compares:
                credits._recompute([lead_id for lead_id, _ref in rows])
            else:
                build_engine(self.env).recompute([ref for _id, ref in rows])
            self.write({"last_id": rows[-1][0], "done_count": self.done_count + len(rows)})
        if len(rows) < batch:
            self.write({"state": "done", "ended_at": fields.Datetime.now()})
            # It waited for the run where both would have compared.
            self.env.ref("trackflow.ir_cron_compare_models")._trigger()
        self.flush_recordset()

    @api.autovacuum
    def _gc_old_runs(self):
        limit = fields.Datetime.subtract(fields.Datetime.now(), days=365)
        self.search([("state", "=", "done"), ("ended_at", "<", limit)], limit=1000).unlink()
