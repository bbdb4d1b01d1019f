"""What `trackflow export` reads: the same rows of a TrackFlow server's store and of an Odoo.

Columns are those of `star.SCHEMAS`, in their order; rows come in the order of `occurred_at`, which
the files are cut by. Amounts are text that `Decimal` understands.
"""

from __future__ import annotations

from collections.abc import Mapping

_SERVER_SOURCE = "channel, source, medium, campaign, content, term"
# A click of somebody who became a lead belongs to the lead's journey, another to its visitor's.
_SERVER_JOURNEY = """COALESCE(
    (SELECT MIN(COALESCE(m.winner, v.lead_ref)) FROM lead_visitor v
       LEFT JOIN merged_lead m ON m.ref = v.lead_ref WHERE v.visitor_id = t.visitor_id),
    t.visitor_id, {own})"""

# ruff: noqa: S608 - queries of fixed text, without anything from outside
SERVER: Mapping[str, str] = {
    "touches": f"""
        SELECT {_SERVER_JOURNEY.format(own="t.event_id")}, t.event_id, t.occurred_at,
               {_SERVER_SOURCE}, CASE WHEN t.kind = 'click' THEN 'click' ELSE 'visit' END,
               t.visitor_id, t.session_id, t.link_code
          FROM click t
         WHERE t.counts AND NOT t.returns AND (t.kind = 'click' OR t.session_id = t.event_id)
         UNION ALL
        SELECT COALESCE(m.winner, t.lead_ref), t.id, t.occurred_at, {_SERVER_SOURCE}, t.kind,
               NULLIF(t.visitor_id, ''), NULL, t.link_code
          FROM touch t LEFT JOIN merged_lead m ON m.ref = t.lead_ref
         ORDER BY 3, 2
        """,
    "sessions": f"""
        SELECT id, visitor_id, started_at, ended_at, hits, {_SERVER_SOURCE}, device, browser, os
          FROM session ORDER BY started_at, id
        """,
    "conversions": """
        SELECT COALESCE(m.winner, NULLIF(d.lead_ref, ''), d.ref), d.ref, a.anchor,
               CAST(d.value AS TEXT) || 'E-' || CAST(d.digits AS TEXT), d.currency, d.status
          FROM deal d JOIN attribution a ON a.deal_ref = d.ref
          LEFT JOIN merged_lead m ON m.ref = d.lead_ref
         ORDER BY a.anchor, d.ref
        """,
    "credits": """
        SELECT c.deal_ref, c.place, a.anchor, c.touch_id, c.channel, c.source, c.medium, c.campaign,
               c.content, c.term, c.position, c.weight,
               CAST(c.value AS TEXT) || 'E-' || CAST(d.digits AS TEXT), d.currency, a.model, a.digest
          FROM credit c JOIN attribution a ON a.deal_ref = c.deal_ref
          JOIN deal d ON d.ref = c.deal_ref
         ORDER BY a.anchor, c.deal_ref, c.place
        """,
}

_ODOO_LEAD = "COALESCE(lead.trackflow_lead_ref, 'crm.lead/' || lead.id)"
_ODOO_DEAL = "COALESCE(deal.trackflow_deal_ref, 'crm.lead/' || deal.id)"
_ODOO_BOUND = f"""LEFT JOIN LATERAL (
    SELECT {_ODOO_LEAD} AS ref FROM crm_lead_trackflow_visitor_rel rel
      JOIN crm_lead lead ON lead.id = rel.lead_id
     WHERE rel.visitor_id = v.id ORDER BY lead.id LIMIT 1) bound ON TRUE"""


def _odoo_source(table: str, prefix: str = "") -> str:
    names = ("channel", "source", "medium", "campaign", "content", "term")
    return ", ".join(f"COALESCE({table}.{prefix}{name}, '')" for name in names)


ODOO: Mapping[str, str] = {
    "touches": f"""
        SELECT COALESCE(bound.ref, v.visitor_key, c.trackflow_event_id), c.trackflow_event_id,
               c.trackflow_occurred_at, {_odoo_source("c", "trackflow_")}, 'click', v.visitor_key,
               s.session_key, COALESCE(c.trackflow_link_code, '')
          FROM link_tracker_click c
          LEFT JOIN trackflow_visitor v ON v.id = c.trackflow_visitor_id
          LEFT JOIN trackflow_session s ON s.id = c.trackflow_session_id
          {_ODOO_BOUND}
         WHERE c.trackflow_counts AND c.trackflow_event_id IS NOT NULL
           AND c.trackflow_occurred_at IS NOT NULL
         UNION ALL
        SELECT COALESCE(bound.ref, v.visitor_key), e.event_id, e.timestamp, {_odoo_source("e")},
               'visit', v.visitor_key, s.session_key, ''
          FROM trackflow_event e
          JOIN trackflow_session s ON s.session_key = e.event_id
          JOIN trackflow_visitor v ON v.id = s.visitor_id
          {_ODOO_BOUND}
         WHERE e.counts AND NOT e.returns
         UNION ALL
        SELECT t.lead_ref, t.touch_key, t.occurred_at, {_odoo_source("t")}, t.kind, NULL, NULL, ''
          FROM trackflow_touch t
         ORDER BY 3, 2
        """,
    "sessions": f"""
        SELECT s.session_key, v.visitor_key, s.session_start, s.session_end, s.hits,
               {_odoo_source("s")}, COALESCE(s.device_type, ''), COALESCE(s.browser, ''),
               COALESCE(s.os, '')
          FROM trackflow_session s JOIN trackflow_visitor v ON v.id = s.visitor_id
         WHERE s.session_start IS NOT NULL
         ORDER BY s.session_start, s.session_key
        """,
    "conversions": f"""
        SELECT COALESCE({_ODOO_LEAD}, {_ODOO_DEAL}), {_ODOO_DEAL}, a.anchor, a.deal_value::text,
               currency.name, a.deal_status
          FROM (SELECT lead_id, MIN(anchor) AS anchor, MIN(deal_value) AS deal_value,
                       MIN(currency_id) AS currency_id, MIN(deal_status) AS deal_status
                  FROM trackflow_deal_attribution GROUP BY lead_id) a
          JOIN crm_lead deal ON deal.id = a.lead_id
          LEFT JOIN crm_lead lead ON lead.id = COALESCE(deal.trackflow_origin_id, deal.id)
          LEFT JOIN res_currency currency ON currency.id = a.currency_id
         ORDER BY a.anchor, 2
        """,
    "credits": f"""
        SELECT {_ODOO_DEAL}, a.sequence, a.anchor, a.touch_key, {_odoo_source("a")}, a.position,
               a.weight, a.value::text, currency.name, COALESCE(model.rule, 'linear'), a.digest
          FROM trackflow_deal_attribution a
          JOIN crm_lead deal ON deal.id = a.lead_id
          LEFT JOIN res_currency currency ON currency.id = a.currency_id
          LEFT JOIN trackflow_attribution_model model ON model.id = a.attribution_model_id
         ORDER BY a.anchor, 1, a.sequence
        """,
    "spend": """
        SELECT campaign.name, cost.date, cost.name, cost.amount::text, currency.name
          FROM trackflow_campaign_cost cost
          JOIN utm_campaign campaign ON campaign.id = cost.campaign_id
          LEFT JOIN res_currency currency ON currency.id = cost.currency_id
         ORDER BY cost.date, cost.id
        """,
}
