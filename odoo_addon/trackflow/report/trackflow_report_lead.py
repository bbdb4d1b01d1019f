from odoo import fields, models
from odoo.tools import SQL
from odoo.tools.translate import LazyTranslate

from ..models.trackflow_lead_status_change import STATUSES

_lt = LazyTranslate(__name__)

# What reports call a group without one.
_NO_CAMPAIGN = _lt("No campaign")
_NO_TOUCH = _lt("No touch")


class TrackflowReportLead(models.Model):
    """One row for each lead or deal: what brought it, how long it took, what came of it."""

    _name = "trackflow.report.lead"
    _inherit = "trackflow.settled"
    _description = "Lead Attribution"
    _auto = False
    _order = "date desc, id desc"
    _rec_name = "lead_id"

    lead_id = fields.Many2one("crm.lead", readonly=True)
    date = fields.Datetime("Came In", readonly=True)
    won_date = fields.Datetime("Won On", readonly=True)
    status = fields.Selection(STATUSES, readonly=True)
    first_channel = fields.Char("First Touch Channel", readonly=True, falsy_value_label=_NO_TOUCH)
    last_channel = fields.Char("Last Touch Channel", readonly=True, falsy_value_label=_NO_TOUCH)
    source = fields.Char(readonly=True)
    medium = fields.Char(readonly=True)
    campaign_id = fields.Many2one("utm.campaign", readonly=True, falsy_value_label=_NO_CAMPAIGN)
    user_id = fields.Many2one("res.users", "Salesperson", readonly=True)
    team_id = fields.Many2one("crm.team", "Sales Team", readonly=True)
    company_id = fields.Many2one("res.company", readonly=True)
    currency_id = fields.Many2one("res.currency", readonly=True)
    influenced = fields.Boolean("Influenced by Marketing", readonly=True)
    touches = fields.Integer(readonly=True)
    days_to_lead = fields.Float("Days to Lead", readonly=True, aggregator="avg")
    days_to_win = fields.Float("Days to Win", readonly=True, aggregator="avg")
    expected_revenue = fields.Monetary(readonly=True)
    won_revenue = fields.Monetary(readonly=True)
    attributed_revenue = fields.Monetary(
        "Won through Marketing", readonly=True, help="What touches earned of the won revenue."
    )

    @property
    def _table_query(self):
        return SQL(
            """
            SELECT lead.id, lead.id AS lead_id, lead.trackflow_lead_date AS date,
                   CASE WHEN lead.won_status = 'won' THEN lead.trackflow_closed_date END AS won_date,
                   CASE WHEN lead.won_status IN ('won', 'lost') THEN lead.won_status
                        ELSE lead.type END AS status,
                   lead.trackflow_first_channel AS first_channel,
                   lead.trackflow_last_channel AS last_channel,
                   lead.trackflow_source AS source, lead.trackflow_medium AS medium,
                   lead.campaign_id, lead.user_id, lead.team_id, lead.company_id,
                   COALESCE(company.currency_id, %(currency)s) AS currency_id,
                   COALESCE(lead.trackflow_marketing_influenced, FALSE) AS influenced,
                   COALESCE(lead.trackflow_touch_count, 0) AS touches,
                   EXTRACT(EPOCH FROM lead.trackflow_lead_date - lead.trackflow_first_touch_date)
                       / 86400 AS days_to_lead,
                   CASE WHEN lead.won_status = 'won'
                        THEN EXTRACT(EPOCH FROM lead.trackflow_closed_date
                                                - lead.trackflow_lead_date) / 86400
                   END AS days_to_win,
                   lead.expected_revenue,
                   CASE WHEN lead.won_status = 'won' THEN lead.expected_revenue
                        ELSE 0 END AS won_revenue,
                   COALESCE(credit.value, 0) AS attributed_revenue
              FROM crm_lead lead
              LEFT JOIN res_company company ON company.id = lead.company_id
              LEFT JOIN (SELECT lead_id, sum(value) AS value FROM trackflow_deal_attribution
                          WHERE deal_status = 'won' AND touch_at IS NOT NULL
                          GROUP BY lead_id) credit ON credit.lead_id = lead.id
             WHERE lead.active OR lead.won_status = 'lost'
            """,
            currency=self.env.company.currency_id.id,
        )
