import io
import logging
from functools import lru_cache

from odoo import api, fields, models
from odoo.addons.base.models.ir_model import MODULE_UNINSTALL_FLAG
from odoo.tools import SQL

from trackflow_core.attribution import Splitting
from trackflow_core.errors import ConfigError
from trackflow_core.model import UNATTRIBUTED

from ..engine import build_engine
from ..relations import UncheckedMany2one, drop_foreign_keys
from ..store import OdooStore
from ..store.values import amount_text, copied_text

_logger = logging.getLogger(__name__)

_COLUMNS = SQL(
    "lead_id, attribution_model_id, channel, campaign_id, touches, value, currency_id, company_id"
)


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

    lead_id = UncheckedMany2one(
        "crm.lead", "Deal", required=True, readonly=True, index=True, ondelete="cascade"
    )
    # Neither model nor campaign has an index: the rows of one lie on most pages of the table, and
    # each row written would pay for it.
    attribution_model_id = UncheckedMany2one(
        "trackflow.attribution.model", "Model", readonly=True, ondelete="cascade"
    )
    channel = fields.Char(readonly=True)
    campaign_id = UncheckedMany2one("utm.campaign", readonly=True)
    touches = fields.Integer(readonly=True)
    value = fields.Monetary(readonly=True)
    currency_id = UncheckedMany2one("res.currency", readonly=True, ondelete="cascade")
    company_id = UncheckedMany2one("res.company", readonly=True, ondelete="cascade")

    def init(self):
        drop_foreign_keys(self)

    @api.model
    def _compare_all(self):
        """Have all deals compared anew; not while a module is loaded, whose deals tell of
        themselves, nor while one is uninstalled."""
        if not any(map(self.env.context.get, ("install_mode", MODULE_UNINSTALL_FLAG))):
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
    def _claim(self):
        """Whether this transaction may compare: one at a time does, so that no row is added twice.

        To be asked first in a transaction, before it sees the database as it then stays for it.
        """
        [[claimed]] = self.env.execute_query(
            SQL("SELECT pg_try_advisory_xact_lock(hashtext(%s))", self._table)
        )
        if claimed:
            # Another process may have changed a model since the last batch.
            self.env.registry.check_signaling(self.env.cr)
        return claimed

    @api.model
    def _compare(self, limit):
        """Split up to `limit` deals that are due; returns how many there were, 0 also while another
        transaction compares."""
        if not self._claim():
            return 0
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
        lead_ids = list({lead_id for (lead_id,) in claimed})
        comparison = _Comparison(self.env, lead_ids)
        self._replace(lead_ids, comparison.lines(comparison.journeys()))
        return len(claimed)

    @api.model
    def _recompute(self, lead_ids):
        """Split these deals anew, each by its own model and by all, after one reading of their
        touches. The caller has claimed the comparison."""
        comparison = _Comparison(self.env, lead_ids, comparison_follows=False)
        engine, deals = comparison.engine, comparison.deals
        journeys = comparison.journeys(engine.models_of(deals).values())
        engine.recompute_from(deals, journeys)
        self._replace(lead_ids, comparison.lines(journeys))

    @api.model
    def _replace(self, lead_ids, wanted):
        """Make these lines the only rows of these deals, which then are no longer due."""
        held, twice = self._held_lines(lead_ids)
        gone = [*twice, *(row_id for line, row_id in held.items() if line not in wanted)]
        if gone:
            self.env.cr.execute(
                SQL("DELETE FROM trackflow_model_credit WHERE id = ANY(%s::int[])", gone)
            )
        self._add_lines([line for line in wanted if line not in held])
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

    @api.model
    def _held_lines(self, lead_ids):
        """The rows that are kept of these deals: the id of one by its line, and of all its equals."""
        found = io.StringIO()
        self._copy(
            SQL(
                # Not flattened, and without telling how many deals there are: else the planner
                # reads all rows for a batch, or compiles the query for rows without end.
                """
                COPY (SELECT id, %s FROM unnest(ARRAY(SELECT unnest(%s::int[]))) AS deal
                        JOIN LATERAL (SELECT * FROM trackflow_model_credit
                                       WHERE lead_id = deal OFFSET 0) held ON TRUE) TO STDOUT
                """,
                _COLUMNS,
                lead_ids,
            ),
            found,
        )
        held, twice = {}, []
        for row in found.getvalue().split("\n")[:-1]:
            row_id, _, line = row.partition("\t")
            if held.setdefault(line, row_id) != row_id:
                twice.append(row_id)
        return held, twice

    @api.model
    def _add_lines(self, lines):
        if not lines:
            return
        # Nobody deletes one of their campaigns meanwhile.
        campaigns = {line.split("\t", 4)[3] for line in lines} - {copied_text(None)}
        self.env.cr.execute(
            SQL("SELECT FROM utm_campaign WHERE id = ANY(%s) FOR KEY SHARE", [*map(int, campaigns)])
        )
        # INSERT takes half as long again for so many rows.
        lines = "\n".join(lines)
        self._copy(SQL("COPY trackflow_model_credit (%s) FROM STDIN", _COLUMNS), io.StringIO(lines))

    @api.model
    def _copy(self, statement, lines):
        self.env.cr.copy_expert(self.env.cr.mogrify(statement).decode(), lines)


class _Comparison:
    """Some deals under every model that they may have."""

    def __init__(self, env, lead_ids, comparison_follows=True):
        self._store = OdooStore(env, comparison_follows=comparison_follows)
        self.engine = build_engine(env, self._store)
        self._deals = self._store.deals_of_records(lead_ids)
        self._rows = {lead_id: self._store.row(lead_id) for lead_id in self._deals}
        self._models_of = _ModelsOfCompanies(env)

    @property
    def deals(self):
        return list(self._deals.values())

    def journeys(self, more_models=()):
        """The touches of each deal that matter to its comparison, and to these models."""
        windows = {(row["company_id"], row["window_days"]) for row in self._rows.values()}
        models = [model for window in windows for _id, model in self._models_of(*window)]
        return self.engine.journeys(self.deals, [*models, *more_models])

    def lines(self, journeys):
        """What each channel and campaign earns of the deals under each model: lines as COPY takes
        them, with the id of their model."""
        created_at = self._store.lead_dates({deal.lead_ref for deal in self.deals})
        lines = {}
        for lead_id, deal in self._deals.items():
            row, digits = self._rows[lead_id], deal.digits
            journey = journeys[deal.ref]
            earners = {touch.id: self._earner(touch) for touch in journey}
            splitting = Splitting(journey, deal, created_at.get(deal.lead_ref))
            shared = f"{row['currency_id']}\t{row['company_id']}"
            for model_id, model in self._models_of(row["company_id"], row["window_days"]):
                try:
                    parts = splitting.parts(model)
                except ConfigError as error:
                    self._models_of.leave_out(model_id, error)
                    lines = {line: of for line, of in lines.items() if of != model_id}
                    continue
                for earner, (touches, value) in _sums(parts, earners).items():
                    amount = amount_text(value, digits)
                    line = f"{lead_id}\t{model_id}\t{earner}\t{touches}\t{amount}\t{shared}"
                    lines[line] = model_id
        return lines

    def _earner(self, touch):
        return _earner(touch.channel, self._store.campaign_of_touch(touch))


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


@lru_cache(maxsize=4096)
def _earner(channel, campaign_id):
    """Channel and campaign as COPY takes them."""
    return f"{copied_text(channel)}\t{copied_text(campaign_id)}"


def _sums(parts, earners):
    """Touches and value by who earned them; what earned nothing is left out."""
    sums = {}
    for touch, value in parts:
        if touch is None:
            sums[_earner(UNATTRIBUTED, None)] = (0, value)
        elif value:
            earner = earners[touch.id]
            touches, earned = sums.get(earner, (0, 0))
            sums[earner] = (touches + 1, earned + value)
    return sums


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
