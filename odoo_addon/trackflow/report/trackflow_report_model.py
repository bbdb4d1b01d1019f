from odoo import fields, models
from odoo.tools import SQL
from odoo.tools.translate import LazyTranslate

_lt = LazyTranslate(__name__)

# What reports call a group without one.
_NO_CAMPAIGN = _lt("No campaign")


class TrackflowReportModel(models.Model):
    """What channels and campaigns earn of each deal under every model, side by side."""

    _name = "trackflow.report.model"
    _inherit = "trackflow.settled"
    _description = "Model Comparison"
    _auto = False
    _order = "date desc, id desc"
    _rec_name = "channel"

    lead_id = fields.Many2one("crm.lead", "Deal", readonly=True)
    attribution_model_id = fields.Many2one("trackflow.attribution.model", "Model", readonly=True)
    own_model = fields.Boolean("Splits the Deal", readonly=True)
    date = fields.Datetime("Became a Deal", readonly=True)
    won_date = fields.Datetime("Won On", readonly=True)
    deal_status = fields.Selection(
        [("open", "Open"), ("won", "Won"), ("lost", "Lost")], readonly=True
    )
    channel = fields.Char(readonly=True)
    campaign_id = fields.Many2one("utm.campaign", readonly=True, falsy_value_label=_NO_CAMPAIGN)
    user_id = fields.Many2one("res.users", "Salesperson", readonly=True)
    team_id = fields.Many2one("crm.team", "Sales Team", readonly=True)
    company_id = fields.Many2one("res.company", readonly=True)
    currency_id = fields.Many2one("res.currency", readonly=True)
    touches = fields.Integer(readonly=True)
    value = fields.Monetary(readonly=True)

    @property
    def _table_query(self):
        return SQL(
            """
            SELECT credit.id, credit.lead_id, credit.attribution_model_id,
                   credit.attribution_model_id = COALESCE(
                       lead.trackflow_attribution_model_id,
                       company.trackflow_attribution_model_id) AS own_model,
                   lead.trackflow_deal_date AS date,
                   CASE WHEN lead.won_status = 'won' THEN lead.trackflow_closed_date END AS won_date,
                   CASE WHEN lead.won_status IN ('won', 'lost') THEN lead.won_status
                        ELSE 'open' END AS deal_status,
                   credit.channel, credit.campaign_id, lead.user_id, lead.team_id,
                   credit.company_id, credit.currency_id, credit.touches, credit.value
              FROM trackflow_model_credit credit
              JOIN crm_lead lead ON lead.id = credit.lead_id
              JOIN res_company company ON company.id = credit.company_id
            """
        )
