"""What each lead asks of the database, kept there as functions.

PostgreSQL plans a statement that comes from a client at each call, and these take longer to plan
than to run; the body of a function is planned once a session. See docs/adr/0038.
"""

from typing import NamedTuple

from odoo.tools import SQL

_CLICKS = SQL(
    """
    SELECT id, link_id, campaign_id, trackflow_event_id, trackflow_occurred_at,
           trackflow_channel, trackflow_source, trackflow_medium, trackflow_campaign,
           trackflow_content, trackflow_term
      FROM link_tracker_click
     WHERE trackflow_visitor_id = r.visitor_id
       AND trackflow_counts AND trackflow_event_id IS NOT NULL
    """
)

# The columns of the ledger in the order in which `trackflow_replace_credits` finds them.
_LEDGER = SQL(
    """
    lead_id, attribution_model_id, company_id, currency_id, deal_value, deal_status, position,
    sequence, touch_key, touch_kind, touch_at, channel, source, medium, campaign, content, term,
    campaign_id, link_id, click_id, visitor_id, weight, value, days_to_conversion, anchor, digest,
    fit_version
    """
)
# What is told of a conversion, besides whose and of which kind it is.
_CONVERTED = (
    "occurred_at",
    "value",
    "currency_id",
    "company_id",
    "channel",
    "source",
    "medium",
    "campaign",
    "campaign_id",
    "link_id",
    "click_id",
    "visitor_id",
)


def _columns(names, *table):
    return SQL(", ").join(SQL.identifier(*table, name) for name in names)


class Function(NamedTuple):
    """Arguments and result as PostgreSQL declares them, and the one statement that is run."""

    arguments: str
    returns: str
    statement: SQL


FUNCTIONS = {
    # Binds visitors to leads; a new visitor becomes known by it.
    "trackflow_bind": Function(
        "pairs jsonb, moment timestamp",
        "TABLE (lead_id int, visitor_id int, visitor_key varchar, clicks_wait bool)",
        SQL(
            """
            WITH pair AS (
                SELECT r.lead_id, COALESCE(v.visitor_key, r.visitor_key) AS visitor_key
                  FROM jsonb_to_recordset(pairs) AS r(lead_id int, visitor_key text)
                  LEFT JOIN trackflow_merged_visitor m ON m.visitor_key = r.visitor_key
                  LEFT JOIN trackflow_visitor v ON v.id = m.visitor_id
            ), fresh AS (
                INSERT INTO trackflow_visitor (visitor_key, click_count, session_count, create_date)
                SELECT DISTINCT pair.visitor_key, 0, 0, moment FROM pair
                 WHERE NOT EXISTS (SELECT FROM trackflow_visitor v
                                    WHERE v.visitor_key = pair.visitor_key)
                ON CONFLICT DO NOTHING
                RETURNING id, visitor_key
            ), visitor AS (
                SELECT id, visitor_key FROM fresh
                 UNION
                SELECT id, visitor_key FROM trackflow_visitor v
                 WHERE v.visitor_key IN (SELECT visitor_key FROM pair)
            ), bound AS (
                INSERT INTO crm_lead_trackflow_visitor_rel (lead_id, visitor_id)
                SELECT pair.lead_id, visitor.id FROM pair JOIN visitor USING (visitor_key)
                ON CONFLICT DO NOTHING
            )
            SELECT pair.lead_id, visitor.id, visitor_key,
                   EXISTS (SELECT FROM trackflow_click_queue q
                            WHERE q.status = 'queued'
                              AND q.visitor_key IN (SELECT visitor_key FROM pair))
              FROM pair JOIN visitor USING (visitor_key)
            """,
        ),
    ),
    # The touches of visitors of leads, each lead with its span; of what was before the span, the
    # last click of each visitor and all visits are among them.
    "trackflow_touches_of_visitors": Function(
        "leads int[], visitors int[], keys text[], starts timestamp[], ends timestamp[]",
        """
        TABLE (lead_id int, kind text, touch_key varchar, occurred_at timestamp, channel varchar,
               source varchar, medium varchar, campaign varchar, content varchar, term varchar,
               visitor_key text, link_id int, click_id int, visitor_id int, campaign_id int)
        """,
        SQL(
            """
            WITH r AS (
                SELECT * FROM unnest(leads, visitors, keys, starts, ends)
                           AS r(lead_id, visitor_id, visitor_key, since, until)
            )
            SELECT r.lead_id, 'click', c.trackflow_event_id, c.trackflow_occurred_at,
                   COALESCE(c.trackflow_channel, ''), COALESCE(c.trackflow_source, ''),
                   COALESCE(c.trackflow_medium, ''), COALESCE(c.trackflow_campaign, ''),
                   COALESCE(c.trackflow_content, ''), COALESCE(c.trackflow_term, ''),
                   r.visitor_key, c.link_id, c.id, r.visitor_id, c.campaign_id
              FROM r
              JOIN LATERAL (
                %(clicks)s AND trackflow_occurred_at BETWEEN r.since AND r.until
                 UNION ALL
                (%(clicks)s AND trackflow_occurred_at < r.since
                  ORDER BY trackflow_occurred_at DESC, trackflow_event_id COLLATE "C" DESC
                  LIMIT 1)
              ) c ON TRUE
             UNION ALL
            SELECT r.lead_id, 'visit', e.event_id, e.timestamp,
                   COALESCE(e.channel, ''), COALESCE(e.source, ''), COALESCE(e.medium, ''),
                   COALESCE(e.campaign, ''), COALESCE(e.content, ''), COALESCE(e.term, ''),
                   r.visitor_key, NULL, NULL, r.visitor_id, named.id
              FROM r
              JOIN trackflow_event e
                ON e.visitor_id = r.visitor_id AND e.timestamp <= r.until
               AND e.counts AND NOT e.returns
              JOIN trackflow_session s
                ON s.session_key = e.event_id AND s.visitor_id = e.visitor_id
              LEFT JOIN utm_campaign named ON named.name = e.campaign
            """,
            clicks=_CLICKS,
        ),
    ),
    # Writes the summaries of leads' journeys, unless only another TrackFlow knows them.
    "trackflow_save_summaries": Function(
        "summaries jsonb",
        "void",
        SQL(
            """
            UPDATE crm_lead
               SET trackflow_source = r.source,
                   trackflow_medium = r.medium,
                   trackflow_campaign = r.campaign,
                   trackflow_first_touch_source = r.first_source,
                   trackflow_last_touch_source = r.last_source,
                   trackflow_first_channel = r.first_channel,
                   trackflow_last_channel = r.last_channel,
                   trackflow_first_touch_date = r.first_date,
                   trackflow_last_touch_date = r.last_date,
                   trackflow_touch_count = r.touches,
                   trackflow_marketing_influenced = r.touches > 0,
                   trackflow_attributed_elsewhere = FALSE,
                   trackflow_visitor_id = COALESCE(crm_lead.trackflow_visitor_id, (
                       SELECT min(rel.visitor_id) FROM crm_lead_trackflow_visitor_rel rel
                        WHERE rel.lead_id = crm_lead.id)),
                   campaign_id = COALESCE(crm_lead.campaign_id, link.campaign_id, r.campaign_id),
                   medium_id = COALESCE(crm_lead.medium_id, link.medium_id),
                   source_id = COALESCE(crm_lead.source_id, link.source_id)
              FROM jsonb_to_recordset(summaries) AS r(
                   id int, source text, medium text, campaign text, first_source text,
                   last_source text, first_channel text, last_channel text,
                   first_date timestamp, last_date timestamp, touches int,
                   campaign_id int, link_id int)
              LEFT JOIN link_tracker link ON link.id = r.link_id
             WHERE crm_lead.id = r.id
               AND (r.touches > 0 OR crm_lead.trackflow_attributed_elsewhere IS NOT TRUE)
            """,
        ),
    ),
    # Replaces the credits of deals: those told of each in arrays, what all credits of a deal share
    # in `deals`, what they tell of their touches in `kinds`, each once. A ledger of eight relations
    # is costly to write, so what is right already is left. The deals in `due` are to be compared.
    "trackflow_replace_credits": Function(
        """
        leads int[], sequences int[], event_ids text[], moments timestamp[], positions text[],
        weights float8[], amounts numeric[], numbers int[], campaigns int[], links int[],
        clicks int[], visitors int[], deals jsonb, kinds jsonb, known int[], due int[]
        """,
        "void",
        SQL(
            """
            WITH listed AS (
                INSERT INTO trackflow_model_credit_due (lead_id) SELECT unnest(due)
            ), new AS MATERIALIZED (
                SELECT credit.lead_id, deal.model_id, deal.company_id, deal.currency_id,
                       deal.deal_value, deal.deal_status, credit.position, credit.sequence,
                       credit.event_id, kind.touch_kind, credit.touch_at, kind.channel, kind.source,
                       kind.medium, kind.campaign, kind.content, kind.term, credit.campaign_id,
                       credit.link_id, credit.click_id, credit.visitor_id, credit.weight::numeric,
                       credit.value,
                       EXTRACT(EPOCH FROM deal.anchor - credit.touch_at)::float8 / 86400,
                       deal.anchor, deal.digest, deal.fit_version
                  FROM unnest(leads, sequences, event_ids, moments, positions, weights, amounts,
                              numbers, campaigns, links, clicks, visitors)
                       AS credit(lead_id, sequence, event_id, touch_at, position, weight, value,
                                 number, campaign_id, link_id, click_id, visitor_id)
                  JOIN jsonb_to_recordset(deals) AS deal(
                       lead_id int, model_id int, company_id int, currency_id int,
                       deal_value numeric, deal_status text, anchor timestamp, digest text,
                       fit_version int) ON deal.lead_id = credit.lead_id
                  JOIN jsonb_to_recordset(kinds) AS kind(
                       number int, channel text, touch_kind text, source text, medium text,
                       campaign text, content text, term text) ON kind.number = credit.number
            ), old AS MATERIALIZED (
                SELECT held.* FROM unnest(known) AS deal
                  JOIN LATERAL (SELECT id, %(ledger)s FROM trackflow_deal_attribution
                                 WHERE lead_id = deal OFFSET 0) held ON TRUE
            ), kept AS (
                SELECT %(ledger)s FROM old
            ), changed AS MATERIALIZED (
                SELECT lead_id FROM (TABLE new EXCEPT ALL TABLE kept) added
                 UNION
                SELECT lead_id FROM (TABLE kept EXCEPT ALL TABLE new) gone
            ), deleted AS (
                DELETE FROM trackflow_deal_attribution WHERE id = ANY(ARRAY(
                    SELECT id FROM old WHERE lead_id IN (TABLE changed)))
            )
            INSERT INTO trackflow_deal_attribution (%(ledger)s)
            SELECT * FROM new WHERE lead_id IN (TABLE changed)
            """,
            ledger=_LEDGER,
        ),
    ),
    # Writes conversions; what is right already is not written again.
    "trackflow_save_conversions": Function(
        "conversions jsonb",
        "void",
        SQL(
            """
            INSERT INTO trackflow_conversion AS held (lead_id, kind, %(converted)s)
            SELECT r.*
              FROM jsonb_to_recordset(conversions) AS r(
                   lead_id int, kind text, occurred_at timestamp, value numeric,
                   currency_id int, company_id int, channel text, source text, medium text,
                   campaign text, campaign_id int, link_id int, click_id int, visitor_id int)
            ON CONFLICT (lead_id, kind) DO UPDATE SET (%(converted)s) = ROW(%(told)s)
             WHERE (%(held)s) IS DISTINCT FROM (%(told)s)
            """,
            converted=_columns(_CONVERTED),
            held=_columns(_CONVERTED, "held"),
            told=_columns(_CONVERTED, "excluded"),
        ),
    ),
}


def define(cr):
    """Create the functions, or bring them up to date."""
    drop(cr)
    for name, function in FUNCTIONS.items():
        cr.execute(
            SQL(
                """
                CREATE FUNCTION %s(%s) RETURNS %s AS $$
                #variable_conflict use_column
                BEGIN
                    %s %s;
                END
                $$ LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan
                """,
                SQL.identifier(name),
                SQL(function.arguments),
                SQL(function.returns),
                SQL() if function.returns == "void" else SQL("RETURN QUERY"),
                function.statement,
            )
        )


def drop(cr):
    """Leave the database without the functions."""
    for name in FUNCTIONS:
        cr.execute(SQL("DROP FUNCTION IF EXISTS %s", SQL.identifier(name)))
