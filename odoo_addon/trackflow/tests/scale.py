"""A year of a busy company, made by SQL that takes seconds: for benchmarks and plans of queries.

Those who buy come back: a third of all visits are those of visitors who became deals. A visit has
one click or two, every twentieth click is a bot's, every tenth comes from a QR code. Nothing is
random, so that every run has the same rows. The ledger is left to the jobs that keep it.
"""

from contextlib import contextmanager
from dataclasses import dataclass

from odoo.tools import SQL

CAMPAIGNS = 80
LINKS = 1000
_TABLES = ["trackflow_visitor", "trackflow_session", "link_tracker_click", "trackflow_event"]
CHANNELS = ["Paid Search", "Organic Search", "Email", "Organic Social", "Display", "Referral"]


@dataclass(frozen=True)
class Sizes:
    """How many rows of each kind; `deals` must not be more than `visitors`."""

    clicks: int = 1_000_000
    visitors: int = 150_000
    sessions: int = 720_000
    deals: int = 20_000
    events: int = 100_000

    def scaled(self, factor):
        """The same company, smaller or larger."""
        return Sizes(
            *(
                max(round(number * factor), 100)
                for number in (
                    self.clicks,
                    self.visitors,
                    self.sessions,
                    self.deals,
                    self.events,
                )
            )
        )


_VISITORS = """
    INSERT INTO trackflow_visitor
           (visitor_key, active, first_seen, last_seen, source, medium, campaign, click_count,
            page_views, session_count, create_date)
    SELECT md5(n::text), TRUE, %(now)s::timestamp - interval '365 days',
           %(now)s::timestamp - ((n * 7919::bigint) %% %(visitors)s * 365.0 / %(visitors)s)
               * interval '1 day',
           'scale', 'cpc', 'campaign', 7, 0, 5, %(now)s
      FROM generate_series(1, %(visitors)s) n
"""
_SESSIONS = """
    INSERT INTO trackflow_session
           (session_key, active, visitor_id, session_start, session_end, hits, is_bounce,
            entry_page, exit_page, source, medium, campaign, channel, verdict, device_type, browser,
            os, company_id, create_date)
    SELECT 's' || n, TRUE,
           %(visitor)s + (n * 7919::bigint)
               %% CASE WHEN n %% 3 = 0 THEN %(deals)s ELSE %(visitors)s END,
           moment, moment, 1, TRUE, 'https://shop.example/', 'https://shop.example/', 'scale',
           'cpc', 'campaign', (%(channels)s::text[])[1 + n %% 6], 'human', 'desktop', 'Chrome',
           'Windows', %(company)s, moment
      FROM (SELECT n, date_trunc('second', %(now)s::timestamp)
                      - ((%(sessions)s - n) * 365.0 / %(sessions)s) * interval '1 day' AS moment
              FROM generate_series(1, %(sessions)s) n) visit
"""
_CLICKS = """
    INSERT INTO link_tracker_click
           (link_id, campaign_id, ip, trackflow_event_id, trackflow_occurred_at,
            trackflow_visitor_id, trackflow_session_id, trackflow_source, trackflow_medium,
            trackflow_campaign, trackflow_content, trackflow_term, trackflow_channel,
            trackflow_verdict, trackflow_device, trackflow_browser, trackflow_os,
            trackflow_destination, trackflow_user_agent, trackflow_internal, trackflow_counts,
            trackflow_link_code, trackflow_prefetch, trackflow_tier, trackflow_rolled_up,
            trackflow_scan, create_date)
    SELECT link.id, link.campaign_id, '203.0.113.0', 'c' || n,
           visit.session_start + (n / %(sessions)s) * interval '5 minutes', visit.visitor_id,
           visit.id, 'scale', 'cpc', 'campaign', '', '', visit.channel,
           CASE WHEN n %% 20 = 0 THEN 'bot' ELSE 'human' END, 'desktop', 'Chrome', 'Windows',
           link.url, 'Mozilla/5.0', FALSE, n %% 20 <> 0, 'code', FALSE, 'full', TRUE,
           n %% 10 = 0, %(now)s
      FROM generate_series(1, %(clicks)s) n
      JOIN trackflow_session visit ON visit.id = %(session)s + (n - 1) %% %(sessions)s
      -- People hear of one company through few of its campaigns.
      JOIN link_tracker link
        ON link.id = (%(links)s::int[])[1 + (visit.visitor_id * 31 + n %% 7) %% %(link_count)s]
"""
_EVENTS = """
    INSERT INTO trackflow_event
           (event_id, event_type, timestamp, visitor_id, session_id, page_url, counts, returns,
            source, medium, campaign, channel, tier, company_id, create_date)
    SELECT 'e' || n, 'page_view', visit.session_start + interval '1 minute', visit.visitor_id,
           visit.id, 'https://shop.example/' || n %% 100, TRUE, TRUE, 'scale', 'cpc', 'campaign',
           visit.channel, 'full', %(company)s, %(now)s
      FROM generate_series(1, %(events)s) n
      JOIN trackflow_session visit ON visit.id = %(session)s + (n * 6007::bigint) %% %(sessions)s
"""
_DEALS = """
    INSERT INTO crm_lead
           (name, won_status, expected_revenue, create_date, write_date, trackflow_lead_date,
            trackflow_deal_date, trackflow_closed_date, date_closed, trackflow_visitor_id,
            %(columns)s)
    SELECT 'Deal ' || n, CASE WHEN n %% 2 = 0 THEN 'won' ELSE 'pending' END, 100 + n %% 977,
           moment, moment, moment - interval '3 days', moment,
           CASE WHEN n %% 2 = 0 THEN moment + interval '10 days' END,
           CASE WHEN n %% 2 = 0 THEN moment + interval '10 days' END,
           %(visitor)s + n - 1, %(columns)s
      FROM crm_lead,
           (SELECT n, date_trunc('second', %(now)s::timestamp)
                      - (n %% 355) * interval '1 day' AS moment
              FROM generate_series(1, %(deals)s) n) deal
     WHERE id = %(pattern)s
"""
_BINDINGS = """
    INSERT INTO crm_lead_trackflow_visitor_rel (lead_id, visitor_id)
    SELECT id, trackflow_visitor_id FROM crm_lead WHERE id > %(pattern)s
"""
_LEADS = """
    INSERT INTO trackflow_conversion
           (lead_id, kind, occurred_at, campaign_id, link_id, click_id, visitor_id, channel,
            company_id, currency_id, value)
    SELECT lead.id, 'lead', lead.trackflow_lead_date, click.campaign_id, click.link_id, click.id,
           lead.trackflow_visitor_id, click.trackflow_channel, %(company)s, %(currency)s, 0
      FROM crm_lead lead
      JOIN LATERAL (SELECT * FROM link_tracker_click c
                     WHERE c.trackflow_visitor_id = lead.trackflow_visitor_id
                       AND c.trackflow_counts
                       AND c.trackflow_occurred_at <= lead.trackflow_lead_date
                     ORDER BY c.trackflow_occurred_at DESC LIMIT 1) click ON TRUE
     WHERE lead.id > %(pattern)s
"""
_COUNTERS = """
    UPDATE link_tracker link
       SET count = found.clicks, trackflow_last_click = found.last,
           trackflow_unique_visitors = found.visitors
      FROM (SELECT link_id, sum(clicks) AS clicks, max(last) AS last,
                   count(visitor_id) AS visitors
              FROM (SELECT link_id, trackflow_visitor_id AS visitor_id, count(*) AS clicks,
                           max(trackflow_occurred_at) AS last
                      FROM link_tracker_click WHERE trackflow_counts GROUP BY 1, 2) person
             GROUP BY 1) found
     WHERE found.link_id = link.id
"""
_QUEUE = """
    INSERT INTO trackflow_click_queue
           (event_id, link_code, occurred_at, visitor_key, ip, user_agent, referrer, destination,
            internal, prefetch, tier, kind, status, create_date)
    SELECT 'q' || n, code.code, %(now)s::timestamp - (n * 3) * interval '1 second',
           md5((1 + n * 7919::bigint %% %(visitors)s)::text), '203.0.113.0', (%(agents)s::text[])[1 + n %% 50],
           'https://www.google.com/', 'https://shop.example/?utm_source=scale&utm_medium=cpc',
           FALSE, FALSE, 'full', 'click', 'queued', %(now)s
      FROM generate_series(1, %(queued)s) n
      JOIN LATERAL (SELECT code FROM link_tracker_code ORDER BY id OFFSET n %% 100 LIMIT 1) code
        ON TRUE
"""


def fill(env, sizes):
    """Add the campaigns, links and everything that `sizes` counts; returns the links."""
    links = _make_links(env, sizes)
    pattern = env["crm.lead"].create({"name": "Pattern", "type": "opportunity"})
    pattern.expected_revenue = 100
    env.flush_all()
    values = {
        "now": env.cr.now(),
        "clicks": sizes.clicks,
        "visitors": sizes.visitors,
        "sessions": sizes.sessions,
        "deals": sizes.deals,
        "events": sizes.events,
        "channels": CHANNELS,
        "links": links.ids,
        "link_count": len(links),
        "pattern": pattern.id,
        "columns": _copied_columns(env),
        "company": env.company.id,
        "currency": env.company.currency_id.id,
    }
    with _without_indexes(env):
        _run(env, _VISITORS, values)
        values["visitor"] = _first_of(env, "trackflow_visitor", sizes.visitors)
        _run(env, _SESSIONS, values)
        values["session"] = _first_of(env, "trackflow_session", sizes.sessions)
        for statement in (_CLICKS, _EVENTS, _DEALS, _BINDINGS):
            _run(env, statement, values)
    for statement in (_LEADS, _COUNTERS):
        _run(env, statement, values)
    # The first of them only had to lend its columns.
    pattern.unlink()
    env.invalidate_all()
    return links


def queue_clicks(env, visitors, queued):
    """Let so many clicks wait for the click job, spread over all of the visitors."""
    browsers = [
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
        f"Chrome/{version}.0.0.0 Safari/537.36"
        for version in range(80, 130)
    ]
    _run(
        env,
        _QUEUE,
        {"now": env.cr.now(), "visitors": visitors, "queued": queued, "agents": browsers},
    )


def _make_links(env, sizes):
    count = min(LINKS, max(sizes.clicks // 100, 80))
    campaigns = env["utm.campaign"].create(
        [{"title": f"Campaign {n}", "trackflow_budget": 1000.0 + n} for n in range(CAMPAIGNS)]
    )
    source = env["utm.source"].create({"name": "scale"})
    return env["link.tracker"].create(
        [
            {
                "url": f"https://shop.example/{n}",
                "title": f"Link {n}",
                "source_id": source.id,
                "campaign_id": campaigns[n % CAMPAIGNS].id,
            }
            for n in range(count)
        ]
    )


def _copied_columns(env):
    """The columns of crm.lead that all deals have in common."""
    rows = env.execute_query(
        SQL(
            """
            SELECT column_name FROM information_schema.columns
             WHERE table_name = 'crm_lead' AND table_schema = current_schema
               AND column_name != ALL(%s)
            """,
            [
                "create_date",
                "date_closed",
                "expected_revenue",
                "id",
                "name",
                "trackflow_closed_date",
                "trackflow_deal_date",
                "trackflow_lead_date",
                "trackflow_visitor_id",
                "won_status",
                "write_date",
            ],
        )
    )
    return SQL(", ").join(SQL.identifier(name) for (name,) in rows)


@contextmanager
def _without_indexes(env):
    """Rows are added without indexes and foreign keys, which are ten times slower one by one."""
    indexes = env.execute_query(
        SQL(
            """
            SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid)
              FROM pg_index i
             WHERE i.indrelid = ANY(%s::regclass[]) AND NOT i.indisprimary
            """,
            _TABLES,
        )
    )
    for name, _definition in indexes:
        env.cr.execute(SQL("DROP INDEX %s", SQL(name)))
    [[superuser]] = env.execute_query(
        SQL("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    )
    if superuser:
        env.cr.execute("SET LOCAL session_replication_role = replica")
    yield
    if superuser:
        env.cr.execute("SET LOCAL session_replication_role = origin")
    for _name, definition in indexes:
        env.cr.execute(SQL(definition))
    for table in (*_TABLES, "crm_lead", "crm_lead_trackflow_visitor_rel"):
        env.cr.execute(SQL("ANALYZE %s", SQL.identifier(table)))


def _first_of(env, table, count):
    """The first id of the rows that were added last."""
    [[last]] = env.execute_query(SQL("SELECT max(id) FROM %s", SQL.identifier(table)))
    return last - count + 1


def _run(env, statement, values):
    env.cr.execute(SQL(statement, **values))
