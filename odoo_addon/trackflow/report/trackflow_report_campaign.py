from odoo import fields, models
from odoo.tools import SQL
from odoo.tools.translate import LazyTranslate

_lt = LazyTranslate(__name__)

# What reports call a group without one.
_NO_CAMPAIGN = _lt("No campaign")


class TrackflowReportCampaign(models.Model):
    """Every click, conversion, credit and cost as a row, to be summed up by any of their terms.

    The figures are those of `statistics`: what counts there, counts here.
    """

    _name = "trackflow.report.campaign"
    _inherit = "trackflow.settled"
    _description = "Campaign Performance"
    _auto = False
    _order = "date desc, id desc"
    _rec_name = "campaign_id"

    date = fields.Datetime(readonly=True)
    campaign_id = fields.Many2one("utm.campaign", readonly=True, falsy_value_label=_NO_CAMPAIGN)
    link_id = fields.Many2one("link.tracker", readonly=True)
    source = fields.Char(readonly=True)
    medium = fields.Char(readonly=True)
    channel = fields.Char(readonly=True)
    company_id = fields.Many2one("res.company", readonly=True)
    currency_id = fields.Many2one("res.currency", readonly=True)
    visitor_id = fields.Many2one("trackflow.visitor", "Visitors", readonly=True)
    clicks = fields.Integer(readonly=True)
    leads = fields.Integer(readonly=True)
    deals = fields.Integer("Deals Won", readonly=True)
    revenue = fields.Monetary("Attributed Revenue", readonly=True)
    cost = fields.Monetary(readonly=True)

    @property
    def _table_query(self):
        # Four facts share the numbers: that makes their ids distinct without sorting them.
        return SQL(
            """
            SELECT click.id::bigint * 4 AS id, click.trackflow_occurred_at AS date, click.campaign_id,
                   click.link_id, click.trackflow_source AS source,
                   click.trackflow_medium AS medium, click.trackflow_channel AS channel,
                   campaign.trackflow_company_id AS company_id, %(currency)s AS currency_id,
                   click.trackflow_visitor_id AS visitor_id,
                   1 AS clicks, 0 AS leads, 0 AS deals, 0::numeric AS revenue, 0::numeric AS cost
              FROM link_tracker_click click
              LEFT JOIN utm_campaign campaign ON campaign.id = click.campaign_id
             WHERE click.trackflow_counts
             UNION ALL
            SELECT fact.id::bigint * 4 + 1, fact.occurred_at, fact.campaign_id, fact.link_id, fact.source,
                   fact.medium, fact.channel, fact.company_id, fact.currency_id, NULL,
                   0, (fact.kind = 'lead')::int, (fact.kind = 'won')::int, 0, 0
              FROM trackflow_conversion fact
             UNION ALL
            %(credits)s
             UNION ALL
            SELECT cost.id::bigint * 4 + 3,
                   cost.date::timestamp AT TIME ZONE %(zone)s AT TIME ZONE 'UTC',
                   cost.campaign_id, NULL, NULL, NULL, NULL, cost.company_id, cost.currency_id,
                   NULL, 0, 0, 0, 0, cost.amount
              FROM trackflow_campaign_cost cost
            """,
            credits=self._credits_query(),
            # Clicks cost nothing here; their currency must not make sums look mixed.
            currency=self.env.company.currency_id.id,
            # A cost has a day, which begins where its reader is.
            zone=self.env.tz.zone,
        )

    def _credits_query(self):
        """Won revenue under each deal's own model, or under that of `trackflow_model_id` in the
        context, whose credits name neither link nor source."""
        model_id = self.env.context.get("trackflow_model_id")
        if model_id:
            return SQL(
                """
                SELECT credit.id::bigint * 4 + 2, lead.trackflow_closed_date, credit.campaign_id,
                       NULL, NULL, NULL, credit.channel,
                       credit.company_id, credit.currency_id, NULL, 0, 0, 0, credit.value, 0
                  FROM trackflow_model_credit credit
                  JOIN crm_lead lead ON lead.id = credit.lead_id
                 WHERE lead.won_status = 'won' AND credit.attribution_model_id = %s
                """,
                int(model_id),
            )
        return SQL(
            """
            SELECT credit.id::bigint * 4 + 2, lead.trackflow_closed_date, credit.campaign_id,
                   credit.link_id, credit.source, credit.medium, credit.channel,
                   credit.company_id, credit.currency_id, NULL, 0, 0, 0, credit.value, 0
              FROM trackflow_deal_attribution credit
              JOIN crm_lead lead ON lead.id = credit.lead_id
             WHERE credit.deal_status = 'won'
            """
        )
