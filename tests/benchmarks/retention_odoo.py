"""How fast the retention job archives and deletes in Odoo, in batches with a commit each."""

from __future__ import annotations

import json

from tests.environment import odoo_server

ROWS = 100_000
TARGET = 20_000
"""Rows a second, for each rule."""

# A visitor, a visit, a queued click, a request, an event and a click of each number, all of them old enough.
FACTS = """
link = env["link.tracker"].create({"url": "https://shop.example/", "title": "Offer"})
for statement in (
    '''INSERT INTO trackflow_visitor (visitor_key, first_seen, last_seen, create_date)
       SELECT 'bench-' || n, moment, moment, moment FROM numbers''',
    '''INSERT INTO trackflow_session (session_key, visitor_id, session_start, session_end, hits)
       SELECT 'bench-' || n, v.id, moment, moment, 1
         FROM numbers JOIN trackflow_visitor v ON v.visitor_key = 'bench-' || n''',
    '''INSERT INTO trackflow_click_queue (event_id, link_code, occurred_at, processed_at, status)
       SELECT 'bench-' || n, 'bench', moment, moment, 'done' FROM numbers''',
    '''INSERT INTO trackflow_api_request_log (request_time, key_prefix, method, endpoint)
       SELECT moment, 'bench', 'GET', '/links' FROM numbers''',
    '''INSERT INTO trackflow_event (event_id, event_type, visitor_id, timestamp)
       SELECT 'bench-' || n, 'page_view', v.id, moment
         FROM numbers JOIN trackflow_visitor v ON v.visitor_key = 'bench-' || n''',
    '''INSERT INTO link_tracker_click
           (link_id, trackflow_event_id, trackflow_occurred_at, trackflow_visitor_id,
            trackflow_session_id, trackflow_counts, ip, trackflow_user_agent, create_date)
       SELECT %(link)s, 'bench-' || n, moment, v.id, s.id, TRUE, '203.0.113.0', 'Browser', moment
         FROM numbers JOIN trackflow_visitor v ON v.visitor_key = 'bench-' || n
         JOIN trackflow_session s ON s.session_key = 'bench-' || n''',
):
    env.cr.execute(
        '''WITH numbers AS (
               SELECT n, now() AT TIME ZONE 'UTC' - interval '3 years' + n * interval '1 second'
                   AS moment FROM generate_series(1, %(rows)s) n) ''' + statement,
        {"rows": ROWS, "link": link.id},
    )
env.cr.commit()
env.cr.execute("ANALYZE")
"""
RUN = """
import json, time
from odoo.addons.trackflow.models.trackflow_retention_run import RULES
runs, found = env["trackflow.retention.run"], {}
for rule in RULES:
    if rule.model in env:
        run, start = runs._start(rule), time.perf_counter()
        while run.state == "running":
            run._apply(rule, 10_000)
            env.cr.commit()
        found[rule.name] = (run.row_count, time.perf_counter() - start)
print("found", json.dumps(found))
"""


def main() -> list[str]:
    """Print the rates; the targets that were missed, in words."""
    with odoo_server.fresh(["trackflow"], options=["--max-cron-threads=0"]) as odoo:
        odoo.shell(f"ROWS = {ROWS}\n{FACTS}")
        printed = odoo.shell(RUN)
    line = next(line for line in printed.splitlines() if line.startswith("found "))
    print(f"\nRetention in Odoo, {ROWS:,} rows of each kind")
    missed = []
    for rule, (rows, seconds) in json.loads(line.removeprefix("found ")).items():
        rate = rows / seconds
        print(f"{rule:>10}: {rows:8,} rows in {seconds:6.2f} s, {rate:10,.0f} rows/s")
        if rows != ROWS:
            missed.append(f"retention of {rule} dealt with {rows:,} rows of {ROWS:,}")
        if rate < TARGET:
            missed.append(f"retention of {rule} deals with {rate:,.0f} rows/s, not {TARGET:,}")
    return missed
