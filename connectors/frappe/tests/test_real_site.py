"""The same story on a real site: FRAPPE_URL and FRAPPE_TOKEN (of a System Manager) name it.

It makes one lead and one deal and removes them again, with fields and webhooks. Use a site for
tests: other leads and deals are read, never written.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import pytest

from trackflow_core.connectors import Instance, WriteBack
from trackflow_core.model import Deal, DealStatus, Lead
from trackflow_core.sync import pages
from trackflow_frappe import FrappeConnection, FrappeConnector, FrappeOptions
from trackflow_frappe.mapping import DEAL, LEAD
from trackflow_frappe.site import Site

URL, TOKEN = os.environ.get("FRAPPE_URL", ""), os.environ.get("FRAPPE_TOKEN", "")
INSTANCE = Instance("frappe/real", "https://trackflow.invalid/hook", ("a-secret-of-the-test",))

pytestmark = pytest.mark.skipif(not (URL and TOKEN), reason="needs FRAPPE_URL and FRAPPE_TOKEN")


@pytest.fixture
def site() -> Site:
    return Site(URL, TOKEN)


@pytest.fixture
def connection(site: Site) -> Iterator[FrappeConnection]:
    connected = FrappeConnector().connect(FrappeOptions(url=URL, token=TOKEN), INSTANCE)
    planned = connected.provision(dry_run=True)
    assert connected.provision(dry_run=False) == planned
    yield connected
    FrappeConnector().connect(FrappeOptions(url=URL, token=TOKEN), INSTANCE).deprovision(False)


def test_the_story_on_a_real_site(connection: FrappeConnection, site: Site) -> None:
    fresh = FrappeConnector().connect(FrappeOptions(url=URL, token=TOKEN), INSTANCE)
    assert not fresh.provision(dry_run=False), "provisioning twice made something anew"
    assert [finding.what for finding in fresh.check() if not finding.ok] == []

    name = f"Zoë Ünal {uuid4().hex[:8]}"
    lead = site.create(LEAD, {"first_name": name, "trackflow_token": "token-of-zoe"})["name"]
    deal = site.create(DEAL, {"lead": lead, "deal_value": 250.01, "status": "Qualification"})
    try:
        told = [page for page in pages(fresh, "")]
        events = [event for page in told for event in page.events]
        [found] = [event for event in events if isinstance(event, Lead) and name in event.name]
        assert found.visitor_token == "token-of-zoe"
        [opened] = [event for event in events if getattr(event, "lead_ref", "") == found.ref]
        assert isinstance(opened, Deal) and opened.value == 25_001

        site.update(DEAL, deal["name"], {"status": "Won"})
        later = [event for page in pages(fresh, told[-1].cursor) for event in page.events]
        won = [event for event in later if event.ref == opened.ref][-1]
        assert isinstance(won, Deal) and won.status is DealStatus.WON
        assert won.won_at and abs(won.won_at - won.occurred_at) < timedelta(minutes=1)

        moment = found.came_in_at - timedelta(days=1)
        for ref, kind in ((found.ref, "lead"), (opened.ref, "deal")):
            fields = WriteBack(
                ref, kind, source="google", medium="cpc", campaign="Frühling <1>", touch_count=3,
                first_touch_at=moment, last_touch_at=moment, model="Linear", influenced=True,
            )  # fmt: skip
            fresh.write_back(fields)
            doctype, document = (LEAD, lead) if kind == "lead" else (DEAL, deal["name"])
            held = site.document(doctype, document)
            assert held["trackflow_source"] == "google" and held["trackflow_touch_count"] == 3
            fresh.write_back(fields)
            assert site.document(doctype, document)["modified"] == held["modified"]

        site.delete(DEAL, deal["name"])
        gone = [event for page in pages(fresh, told[-1].cursor) for event in page.events]
        last = [event for event in gone if event.ref == opened.ref][-1]
        assert isinstance(last, Deal) and (last.status, last.value) == (DealStatus.LOST, 0)
    finally:
        if site.exists(DEAL, deal["name"]):
            site.delete(DEAL, deal["name"])
        site.delete(LEAD, lead)
