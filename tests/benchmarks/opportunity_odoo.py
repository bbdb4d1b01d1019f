"""What attribution adds to creating opportunities in Odoo, one by one and a hundred at a time.

The same script runs in Odoo with crm and link_tracker and in Odoo with TrackFlow, in alternating
rounds. With TrackFlow each opportunity is bound to a visitor who has three touches, so that every
credit is real.
"""

from __future__ import annotations

import json
from statistics import median

from tests.environment import odoo_server

ROUNDS = 3
SINGLES = 40
BATCHES = 5
SCRIPT = """
import json, time
from datetime import datetime, timezone
Lead = env["crm.lead"].with_user(env.ref("base.user_admin"))
tracked = "trackflow.visitor" in env
if tracked:
    from odoo.addons.trackflow.keys import visitor_keys
    from trackflow_core.tracking.identity import issue_token
    token = issue_token("a" * 32, visitor_keys(env), datetime.now(timezone.utc))

def values(number):
    vals = {"name": f"Opportunity {number}", "type": "opportunity", "expected_revenue": 100.0 + number,
            "contact_name": "Office", "email_from": f"office{number}@shop.example"}
    if tracked:
        vals["trackflow_visitor_token"] = token
    return vals

def timed(batch, times):
    found = []
    for number in range(times):
        start = time.perf_counter()
        Lead.create([values(n) for n in range(batch)])
        env.flush_all()
        env.cr.commit()
        found.append(time.perf_counter() - start)
        env.invalidate_all()
    return found

timed(1, 5), timed(100, 1)
print("seconds", json.dumps({"1": timed(1, %d), "100": timed(100, %d)}))
"""
JOURNEY = """
from datetime import datetime, timedelta, timezone
from odoo.addons.trackflow.engine import build_engine
from trackflow_core.model import Click
link = env["link.tracker"].create({"url": "https://shop.example/", "title": "Offer"})
engine = build_engine(env)
for days in (3, 2, 1):
    engine.record_click(Click(
        event_id=f"bench-{days}", occurred_at=datetime.now(timezone.utc) - timedelta(days=days),
        link_code=link.code, destination=link.url, visitor_id="a" * 32, user_agent=""))
engine.process_clicks()
env.cr.commit()
"""


def main() -> list[str]:
    """Print the medians; the targets that were missed, in words."""
    alone: dict[str, list[float]] = {"1": [], "100": []}
    tracked: dict[str, list[float]] = {"1": [], "100": []}
    with (
        odoo_server.fresh(["crm", "link_tracker"]) as plain,
        odoo_server.fresh(["trackflow"]) as ours,
    ):
        ours.shell(JOURNEY)
        for _ in range(ROUNDS):
            for odoo, found in ((plain, alone), (ours, tracked)):
                printed = odoo.shell(SCRIPT % (SINGLES, BATCHES))
                line = next(x for x in printed.splitlines() if x.startswith("seconds "))
                for batch, seconds in json.loads(line.removeprefix("seconds ")).items():
                    found[batch] += seconds
        (credits,) = ours.sql("SELECT count(*) FROM trackflow_deal_attribution")
        (leads,) = ours.sql("SELECT count(*) FROM crm_lead")
    print(
        f"\nCreating opportunities, medians of {ROUNDS} rounds, {credits[0]} credits of {leads[0]}"
    )
    missed = []
    for batch, limit in (("1", 0.25), ("100", 0.15)):
        before, after = median(alone[batch]) * 1000, median(tracked[batch]) * 1000
        added = after / before - 1
        print(
            f"batch of {batch:>3}: Odoo {before:8.1f} ms, with TrackFlow {after:8.1f} ms, +{added:.1%}"
        )
        if added > limit:
            missed.append(f"a batch of {batch} costs {added:.0%} more, not {limit:.0%}")
    if credits[0] != 3 * leads[0]:
        missed.append(f"{leads[0]} opportunities have {credits[0]} credits")
    return missed
