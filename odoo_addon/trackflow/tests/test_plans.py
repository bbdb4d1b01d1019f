import json
from collections import deque
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

from odoo.addons.trackflow.catalog import OdooCatalog
from odoo.addons.trackflow.engine import build_engine
from odoo.addons.trackflow.store import OdooStore
from odoo.tests import tagged
from odoo.tools import SQL

from trackflow_core.api.storage import Query, Visitor
from trackflow_core.model import ClickEvent, Conversion
from trackflow_core.tracking.sessions import Span

from . import scale
from .common import TrackflowCase

BIG = {
    "crm_lead",
    "link_tracker_click",
    "trackflow_conversion",
    "trackflow_deal_attribution",
    "trackflow_event",
    "trackflow_model_credit",
    "trackflow_session",
    "trackflow_visitor",
}
SIZES = scale.Sizes(clicks=100_000, visitors=15_000, sessions=72_000, deals=2_000, events=30_000)


@tagged("post_install", "-at_install")
class TestPlans(TrackflowCase):
    """No screen, job or API list reads a big table from end to end where an index would do."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        scale.fill(cls.env, SIZES)
        runs = cls.env["trackflow.recompute.run"]
        run = runs._start(cls.env["trackflow.attribution.model"])
        while run.state == "running":
            run._split_next(1000)
        cls.env["trackflow.model.credit"]._compare(3000)
        cls.env.flush_all()
        for table in (*BIG, "link_tracker", "crm_lead_trackflow_visitor_rel"):
            cls.env.cr.execute(SQL("ANALYZE %s", SQL.identifier(table)))
        cls.deal = cls.env["crm.lead"].search([("name", "=", "Deal 1000")])
        cls.visitor = cls.deal.trackflow_visitor_id
        cls.link = cls.env["link.tracker.click"].search([], limit=1).link_id
        # Plans are of the rows as the planner expects them; a small cache would blur them.
        cls.env.cr.execute("SET LOCAL effective_cache_size = '2GB'")
        cls.env.cr.execute("SET LOCAL random_page_cost = 1.1")

    @contextmanager
    def plans(self):
        """The scans of every statement inside the block, those inside of functions too, as pairs
        of table and index."""
        found = set()
        self.env.flush_all()
        self.env.invalidate_all()
        connection, cr = self.env.cr._cnx, self.env.cr
        cr.execute("LOAD 'auto_explain'")
        cr.execute("SET LOCAL auto_explain.log_format = json")
        cr.execute("SET LOCAL auto_explain.log_nested_statements = on")
        cr.execute("SET LOCAL auto_explain.log_min_duration = 0")
        cr.execute("SET LOCAL client_min_messages = log")
        kept, connection.notices = connection.notices, deque()
        try:
            yield found
        finally:
            notices, connection.notices = connection.notices, kept
            cr.execute("SET LOCAL auto_explain.log_min_duration = -1")
            cr.execute("SET LOCAL client_min_messages = notice")
        for notice in notices:
            if " plan:\n" in notice:
                found.update(_scans(json.loads(notice.partition(" plan:\n")[2])["Plan"]))

    def assert_uses(self, scans, *indexes):
        """That these indexes are used, and no big table is read whole."""
        whole = {table for table, index in scans if not index} & BIG
        self.assertFalse(whole, "read from end to end")
        used = {index for _table, index in scans}
        self.assertFalse(set(indexes) - used, f"not used; used are {sorted(filter(None, used))}")

    def test_the_lists_of_clicks(self):
        at_hand = [("trackflow_counts", "=", True), ("trackflow_archived", "!=", True)]
        clicks = self.env["link.tracker.click"].with_user(self.marketer)
        with self.plans() as scans:
            clicks.search(at_hand, order="trackflow_occurred_at desc, id desc", limit=80)
        self.assert_uses(scans, "link_tracker_click_trackflow_at_hand_idx")
        with self.plans() as scans:
            clicks.search([("link_id", "=", self.link.id)], limit=80)
        self.assert_uses(scans)
        with self.plans() as scans:
            clicks.search([("trackflow_visitor_id", "=", self.visitor.id)], limit=80)
        self.assert_uses(scans, "link_tracker_click_trackflow_visitor_moment_idx")

    def test_the_lists_of_visitors_visits_and_events(self):
        for model, index in (
            ("trackflow.visitor", "trackflow_visitor__last_seen_index"),
            ("trackflow.session", "trackflow_session_session_start_idx"),
            ("trackflow.event", "trackflow_event_timestamp_idx"),
            ("trackflow.conversion", "trackflow_conversion__occurred_at_index"),
        ):
            with self.plans() as scans:
                self.env[model].with_user(self.marketer).search([], limit=80)
            self.assert_uses(scans, index)

    def test_a_visitors_form_and_journey(self):
        visitor = self.visitor.with_user(self.marketer)
        with self.plans() as scans:
            visitor.trackflow_journey()
            visitor.read(["device", "conversion_count", "engagement_score"])
            visitor.event_ids.mapped("event_type")
        self.assert_uses(
            scans,
            "trackflow_session_visitor_start_idx",
            "trackflow_conversion_visitor_moment_idx",
            "trackflow_event_visitor_timestamp_idx",
        )

    def test_a_deals_marketing_tab(self):
        deal = self.deal.with_user(self.manager)
        with self.plans() as scans:
            deal.trackflow_attribution_ids.read(["channel", "value"])
            build_engine(self.env).recompute([deal._trackflow_ref()])
        self.assert_uses(
            scans,
            "trackflow_deal_attribution__lead_id_index",
            "link_tracker_click_trackflow_visitor_moment_idx",
        )

    def test_a_campaigns_figures(self):
        campaign = self.link.campaign_id.with_user(self.marketer)
        with self.plans() as scans:
            campaign.read(["trackflow_clicks", "trackflow_revenue", "trackflow_roi"])
        self.assert_uses(scans, "link_tracker_click_trackflow_campaign_visitor_idx")

    def test_a_links_figures(self):
        link = self.link.with_user(self.marketer)
        with self.plans() as scans:
            link.read(["count", "trackflow_conversions", "trackflow_unique_visitors"])
        self.assert_uses(scans, "trackflow_conversion__link_id_index")

    def test_the_dashboard_of_a_week(self):
        today = self.env.cr.now().date()
        period = {"since": str(today - timedelta(days=6)), "until": str(today)}
        with self.plans() as scans:
            self.env["trackflow.dashboard"].with_user(self.marketer).get_data(period)
        clicks = {index for table, index in scans if table == "link_tracker_click"}
        self.assertIn("link_tracker_click_trackflow_dashboard_idx", clicks)
        self.assertNotIn(None, clicks)
        self.assertNotIn(("trackflow_session", None), scans)

    def test_the_click_job(self):
        scale.queue_clicks(self.env, SIZES.visitors, 5_000)
        self.env.cr.execute("ANALYZE trackflow_click_queue")
        store = OdooStore(self.env)
        now = datetime.now(timezone.utc)
        with self.plans() as scans:
            store.claim_clicks(100)
            store.recorded(
                {Span(self.visitor.visitor_key, now - timedelta(days=1), now + timedelta(days=1))}
            )
            store.leads_of_visitors({self.visitor.visitor_key})
            store.touches([self.deal._trackflow_ref()])
        self.assert_uses(
            scans,
            "trackflow_click_queue_queued_idx",
            "trackflow_visitor_visitor_key_uniq",
            "link_tracker_click_trackflow_visitor_moment_idx",
            "trackflow_event_visitor_timestamp_idx",
            "trackflow_event_touch_idx",
        )

    def test_lists_of_the_api(self):
        catalog = OdooCatalog(self.env)
        with self.plans() as scans:
            catalog.page(ClickEvent, Query(limit=50))
            catalog.page(ClickEvent, Query(limit=50, visitor_id=self.visitor.visitor_key))
            catalog.page(Visitor, Query(limit=50))
            catalog.page(Conversion, Query(limit=50))
        self.assert_uses(scans, "trackflow_visitor_visitor_key_uniq")

    def test_the_log_of_a_key(self):
        self.env.cr.execute(
            """
            INSERT INTO trackflow_api_key (name, key_prefix, key_hash, user_id)
            SELECT 'Key ' || n, 'scale' || n, 'x', %s FROM generate_series(1, 50) n
            """,
            [self.manager.id],
        )
        self.env.cr.execute(
            """
            INSERT INTO trackflow_api_request_log (request_time, key_id, endpoint)
            SELECT now() - n * interval '1 minute', key.id, '/links'
              FROM generate_series(1, 400) n, trackflow_api_key key
            """
        )
        self.env.cr.execute("ANALYZE trackflow_api_request_log")
        key = self.env["trackflow.api.key"].search([("key_prefix", "=", "scale7")])
        logs = self.env["trackflow.api.request.log"].with_user(self.manager)
        with self.plans() as scans:
            logs.search([("key_id", "=", key.id)], limit=80)
        self.assertIn(
            ("trackflow_api_request_log", "trackflow_api_request_log_key_moment_idx"), scans
        )


def _scans(node):
    if "Relation Name" in node and node["Node Type"] != "ModifyTable":
        index = node.get("Index Name")
        if node["Node Type"] == "Bitmap Heap Scan":
            index = _first_index(node)
        yield node["Relation Name"], index
    for child in node.get("Plans", ()):
        yield from _scans(child)


def _first_index(node):
    for child in node.get("Plans", ()):
        return child.get("Index Name") or _first_index(child)
    return None
