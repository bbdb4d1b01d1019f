"""What campaigns have brought: the one place where these figures are defined.

clicks             clicks of people from outside on the campaign's links
visitors           different visitors behind those clicks; a click without consent has none
leads, deals       leads that came in and deals that were won with the campaign as last touch
conversions        leads + deals
revenue            the campaign's share of won deals in the ledger, each by its deal's model
cost               costs entered for the campaign; its budget while there are none
conversion rate    conversions / clicks
cost per click     cost / clicks
cost per acquisition  cost / conversions
ROI                (revenue - cost) / cost

Money is in the campaign's currency, at the rate of the day on which a deal was won or a cost fell
due. Of another company's leads, deals and costs nothing is counted.
"""

from odoo.tools import SQL


def campaign_statistics(env, campaign_ids):
    """A query of one row for each of these campaigns that has anything to count.

    `campaign_ids` is a list. Columns: campaign_id, clicks, visitors, leads, deals, conversions,
    revenue, cost (NULL where none was entered), last_click. The caller flushes and checks access.
    """
    companies = env.companies.ids
    return SQL(
        """
        SELECT campaign_id,
               COALESCE(sum(clicks), 0)::bigint AS clicks,
               COALESCE(sum(visitors), 0)::bigint AS visitors,
               COALESCE(sum(leads), 0)::bigint AS leads,
               COALESCE(sum(deals), 0)::bigint AS deals,
               COALESCE(sum(leads + deals), 0)::bigint AS conversions,
               COALESCE(sum(revenue), 0) AS revenue,
               sum(cost) AS cost,
               max(last_click) AS last_click
          FROM (%(clicks)s UNION ALL %(conversions)s UNION ALL %(revenue)s UNION ALL %(cost)s) part
         GROUP BY campaign_id
        """,
        clicks=_clicks(campaign_ids),
        conversions=_conversions(campaign_ids, companies),
        revenue=_revenue(campaign_ids, companies),
        cost=_cost(campaign_ids, companies),
    )


def _clicks(campaign_ids):
    # Grouping twice lets PostgreSQL read one index in order, where count(DISTINCT) would sort.
    return SQL(
        """
        SELECT campaign_id, sum(clicks) AS clicks, count(visitor_id) AS visitors, 0 AS leads,
               0 AS deals, 0::numeric AS revenue, NULL::numeric AS cost,
               max(last_click) AS last_click
          FROM (SELECT campaign_id, trackflow_visitor_id AS visitor_id, count(*) AS clicks,
                       max(trackflow_occurred_at) AS last_click
                  FROM link_tracker_click
                 WHERE trackflow_counts AND campaign_id IS NOT NULL
                       %(campaigns)s
                 GROUP BY 1, 2) visitor
         GROUP BY 1
        """,
        campaigns=_among("campaign_id", campaign_ids),
    )


def _conversions(campaign_ids, companies):
    return SQL(
        """
        SELECT campaign_id, 0, 0, count(*) FILTER (WHERE kind = 'lead'),
               count(*) FILTER (WHERE kind = 'won'), 0, NULL, NULL
          FROM trackflow_conversion
         WHERE campaign_id IS NOT NULL AND kind IN ('lead', 'won')
           AND (company_id IS NULL OR company_id = ANY(%(companies)s))
               %(campaigns)s
         GROUP BY 1
        """,
        companies=companies,
        campaigns=_among("campaign_id", campaign_ids),
    )


def _revenue(campaign_ids, companies):
    won_at = SQL("lead.trackflow_closed_date")
    return SQL(
        """
        SELECT credit.campaign_id, 0, 0, 0, 0, sum(%(value)s), NULL, NULL
          FROM trackflow_deal_attribution credit
          JOIN crm_lead lead ON lead.id = credit.lead_id
          JOIN utm_campaign campaign ON campaign.id = credit.campaign_id
          JOIN res_company company ON company.id = credit.company_id
         WHERE credit.deal_status = 'won' AND credit.company_id = ANY(%(companies)s)
               %(campaigns)s
         GROUP BY 1
        """,
        value=converted(
            SQL("credit.value"),
            SQL("credit.currency_id"),
            SQL("campaign.trackflow_currency_id"),
            SQL("COALESCE(%s, now() AT TIME ZONE 'UTC')::date", won_at),
        ),
        companies=companies,
        campaigns=_among("credit.campaign_id", campaign_ids),
    )


def _cost(campaign_ids, companies):
    return SQL(
        """
        SELECT cost.campaign_id, 0, 0, 0, 0, 0, sum(%(value)s), NULL
          FROM trackflow_campaign_cost cost
          JOIN utm_campaign campaign ON campaign.id = cost.campaign_id
          JOIN res_company company ON company.id = cost.company_id
         WHERE cost.company_id = ANY(%(companies)s)
               %(campaigns)s
         GROUP BY 1
        """,
        value=converted(
            SQL("cost.amount"),
            SQL("cost.currency_id"),
            SQL("campaign.trackflow_currency_id"),
            SQL("cost.date"),
        ),
        companies=companies,
        campaigns=_among("cost.campaign_id", campaign_ids),
    )


def converted(value, source, target, day):
    """`value` in the currency `target` at the rate of `day`; needs a table `company` in scope."""
    return SQL(
        "CASE WHEN %(source)s = %(target)s OR %(target)s IS NULL THEN %(value)s "
        "ELSE %(value)s * %(to)s / %(of)s END",
        value=value,
        source=source,
        target=target,
        to=_rate(target, day),
        of=_rate(source, day),
    )


def _rate(currency, day):
    """A currency's rate as `res.currency` finds it: the last one before, else the first there is."""
    among = SQL(
        "FROM res_currency_rate rate WHERE rate.currency_id = %s AND (rate.company_id IS NULL "
        "OR rate.company_id = split_part(company.parent_path, '/', 1)::int)",
        currency,
    )
    return SQL(
        "COALESCE((SELECT rate.rate %(among)s AND rate.name <= %(day)s "
        "ORDER BY rate.company_id, rate.name DESC LIMIT 1), "
        "(SELECT rate.rate %(among)s ORDER BY rate.company_id, rate.name LIMIT 1), 1.0)",
        among=among,
        day=day,
    )


def _among(column, ids):
    return SQL("AND %s = ANY(%s)", SQL(column), list(ids))
