from odoo import fields, models
from odoo.tools import SQL

STEPS = [
    ("1_visit", "Visits"),
    ("2_lead", "Leads"),
    ("3_deal", "Deals"),
    ("4_won", "Won"),
]


class TrackflowReportFunnel(models.Model):
    """Every visit, and every lead, deal and win that came through marketing, as a step."""

    _name = "trackflow.report.funnel"
    _inherit = "trackflow.settled"
    _description = "Conversion Funnel"
    _auto = False
    _order = "step, date desc, id desc"
    _rec_name = "step"

    step = fields.Selection(STEPS, readonly=True)
    date = fields.Datetime(readonly=True)
    channel = fields.Char(readonly=True, help="Of the visit; of the last touch before the lead.")
    source = fields.Char(readonly=True)
    medium = fields.Char(readonly=True)
    campaign = fields.Char(readonly=True)
    lead_id = fields.Many2one("crm.lead", readonly=True)
    visitor_id = fields.Many2one("trackflow.visitor", readonly=True)
    company_id = fields.Many2one("res.company", readonly=True)
    currency_id = fields.Many2one("res.currency", readonly=True)
    number = fields.Integer(readonly=True)
    # A sum over the steps counts a deal once as a lead, too; a sum of each step does not.
    visit_count = fields.Integer("Visits", readonly=True)
    lead_count = fields.Integer("Leads", readonly=True)
    deal_count = fields.Integer("Deals", readonly=True)
    won_count = fields.Integer("Won", readonly=True)
    value = fields.Monetary(readonly=True)

    @property
    def _table_query(self):
        return SQL(
            """
            SELECT funnel.*, (step = '1_visit')::int AS visit_count,
                   (step = '2_lead')::int AS lead_count, (step = '3_deal')::int AS deal_count,
                   (step = '4_won')::int AS won_count
              FROM (
            SELECT session.id::bigint * 4 AS id, '1_visit' AS step, session.session_start AS date,
                   session.channel, session.source, session.medium, session.campaign,
                   NULL::int AS lead_id, session.visitor_id, session.company_id,
                   COALESCE(company.currency_id, %(currency)s) AS currency_id, 1 AS number,
                   0::numeric AS value
              FROM trackflow_session session
              LEFT JOIN res_company company ON company.id = session.company_id
             UNION ALL
            SELECT lead.id::bigint * 4 + step.number, step.name, step.date, lead.trackflow_last_channel,
                   lead.trackflow_source, lead.trackflow_medium, lead.trackflow_campaign, lead.id,
                   lead.trackflow_visitor_id, lead.company_id,
                   COALESCE(company.currency_id, %(currency)s), 1,
                   CASE WHEN step.number > 1 THEN lead.expected_revenue ELSE 0 END
              FROM crm_lead lead
              LEFT JOIN res_company company ON company.id = lead.company_id
             CROSS JOIN LATERAL (VALUES
                   (1, '2_lead', lead.trackflow_lead_date, TRUE),
                   (2, '3_deal', lead.trackflow_deal_date, lead.type = 'opportunity'),
                   (3, '4_won', lead.trackflow_closed_date, lead.won_status = 'won')
                   ) AS step(number, name, date, reached)
             WHERE lead.trackflow_touch_count > 0 AND step.reached
                   ) funnel
            """,
            # What has no company, and so no currency, must not make sums look mixed.
            currency=self.env.company.currency_id.id,
        )
