from datetime import datetime, timedelta, timezone

from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged

from trackflow_core.model import Click
from trackflow_core.tracking.identity import new_visitor_id

from ..engine import build_engine
from .common import BROWSER, CRAWLER, TrackflowCase

LIST_FIELDS = (
    "name",
    "first_seen",
    "last_seen",
    "source",
    "session_count",
    "click_count",
    "page_views",
    "conversion_count",
    "engagement_score",
)


@tagged("post_install", "-at_install")
class TestVisitors(TrackflowCase):
    def visitor(self, key):
        return self.env["trackflow.visitor"].search([("visitor_key", "=", key)])

    def view(self, key, days_ago, page, kind="page_view"):
        build_engine(self.env).record_events(
            [
                Click(
                    event_id=f"{key}-{page}-{kind}",
                    occurred_at=datetime.now(timezone.utc) - timedelta(days=days_ago),
                    link_code="",
                    destination=f"https://shop.example{page}",
                    visitor_id=key,
                    user_agent=BROWSER,
                    kind=kind,
                )
            ]
        )

    def test_the_journey_joins_visits_events_leads_and_deals(self):
        key = new_visitor_id()
        self.click(key, 5.001, self.links[0])
        self.view(key, 5, "/prices")
        self.click(key, 2, self.links[1])
        self.drain()
        self.opportunity(key, user_id=self.salesman.id, name="Prices").action_set_won()
        data = self.visitor(key).with_user(self.marketer).trackflow_journey()
        self.assertEqual([entry["kind"] for entry in data["timeline"]], ["won", "visit", "visit"])
        self.assertEqual(data["timeline"][0]["milestones"], ["lead", "deal", "won"])
        first = data["timeline"][-1]
        self.assertEqual(first["milestones"], ["first_touch"])
        self.assertEqual(first["channel"], "Paid Search")
        self.assertEqual(first["campaign"]["id"], self.campaign.id)
        self.assertEqual(
            [(step["label"], step["title"]) for step in first["steps"]][1], ("Viewed", "/prices")
        )
        lead = self.env["crm.lead"].search([("name", "=", "Prices")])
        may_read = lead.with_user(self.marketer).has_access("read")
        self.assertEqual(data["timeline"][0]["record"]["name"], "Prices" if may_read else "")
        self.assertEqual(self.visitor(key).page_views, 1)

    def test_an_event_is_named_in_words(self):
        key = new_visitor_id()
        self.view(key, 2, "/prices")
        self.view(key, 1, "/prices", kind="price_asked")
        self.drain()
        events = self.visitor(key).event_ids.with_user(self.marketer)
        self.assertEqual(events.mapped("display_name"), ["price_asked", "Page view"])
        groups = events.formatted_read_group(
            [("id", "in", events.ids)], ["event_type"], ["__count"]
        )
        self.assertEqual(
            {group["event_type"]: group["__extra_domain"] for group in groups},
            {
                "Page view": [("event_type", "=", "page_view")],
                "price_asked": [("event_type", "=", "price_asked")],
            },
        )

    def test_who_reads_leads_sees_their_names(self):
        key = self.journey(1)
        self.opportunity(key, user_id=self.salesman.id, name="Prices")
        self.manager.group_ids += self.env.ref("sales_team.group_sale_salesman_all_leads")
        data = self.visitor(key).with_user(self.manager).trackflow_journey()
        self.assertEqual(data["timeline"][0]["record"]["name"], "Prices")

    def test_visits_and_leads_of_other_companies_are_no_entries(self):
        company = self.env["res.company"].create({"name": "Other"})
        key = self.journey(3)
        self.drain()
        lead = self.opportunity(key)
        self.env.flush_all()
        visits = self.visitor(key).session_ids
        self.env.cr.execute(
            "UPDATE trackflow_session SET company_id = %s WHERE id = %s",
            [company.id, visits[1].id],
        )
        lead.write({"user_id": False, "team_id": False, "company_id": company.id})
        self.env.flush_all()
        self.env.invalidate_all()
        shown = self.visitor(key).with_user(self.marketer).trackflow_journey()["timeline"]
        self.assertEqual(
            [entry["session"] for entry in shown], [visits[0].id, visits[2].id], "newest first"
        )

    def test_what_does_not_count_is_no_entry(self):
        key = new_visitor_id()
        self.click(key, 1, user_agent=CRAWLER)
        self.drain()
        self.assertEqual(self.visitor(key).trackflow_journey()["timeline"], [])

    def test_a_long_journey_costs_as_many_queries_as_a_short_one(self):
        counts = []
        # The first reads rules, too, which Odoo remembers.
        for visits in (1, 2, 12):
            key = new_visitor_id()
            for day in range(visits):
                self.click(key, day + 1, self.links[day % 3])
            self.drain()
            visitor = self.visitor(key)
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            visitor.trackflow_journey()
            counts.append(self.env.cr.sql_log_count - before)
        self.assertEqual(counts[1], counts[2])

    def test_a_page_of_visitors_costs_as_many_queries_as_two(self):
        for _ in range(80):
            self.click(new_visitor_id(), 1)
        self.drain()
        visitors = self.env["trackflow.visitor"].with_user(self.marketer).search([], limit=80)
        counts = []
        visitors.read(LIST_FIELDS)
        for page in (visitors[:2], visitors):
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            page.read(LIST_FIELDS)
            counts.append(self.env.cr.sql_log_count - before)
        self.assertEqual(counts[0], counts[1])

    def test_managers_merge_visitors(self):
        early, late = new_visitor_id(), new_visitor_id()
        self.click(early, 9, self.links[0])
        self.click(late, 3, self.links[1])
        self.drain()
        lead = self.opportunity(late, user_id=self.salesman.id)
        self.assertEqual(self.credits(lead), [100.0])
        pair = self.visitor(early) | self.visitor(late)
        with self.assertRaises(AccessError):
            pair.with_user(self.marketer).action_merge()
        with self.assertRaises(UserError):
            self.visitor(early).with_user(self.manager).action_merge()
        merge = (
            self.env["trackflow.visitor.merge"]
            .with_user(self.manager)
            .with_context(active_ids=pair.ids)
            .create({})
        )
        self.assertEqual(merge.winner_id.visitor_key, early)
        told = merge.action_merge()["params"]
        self.assertEqual(told["next"]["res_id"], self.visitor(early).id)
        self.assertIn(f"2 visitors are one now: {merge.winner_id.name}", told["message"])
        self.assertFalse(self.visitor(late))
        self.assertEqual(self.credits(lead), [50.0, 50.0])
        self.assertEqual(lead.trackflow_visitor_id, self.visitor(early))

    def test_a_merge_counts_visits_and_clicks(self):
        early, late = new_visitor_id(), new_visitor_id()
        self.links[1].campaign_id = self.env["utm.campaign"].create({"title": "Autumn"})
        noon = datetime.now(timezone.utc).replace(hour=12) - timedelta(days=1)
        # Between two clicks of one visit, another campaign's.
        for key, minutes, link in ((early, 0, 0), (late, 1, 1), (early, 2, 0)):
            moment = noon + timedelta(minutes=minutes)
            self.click(key, 1, self.links[link], occurred_at=moment)
        self.drain()
        build_engine(self.env).merge_visitors(early, {late})
        visitor = self.visitor(early)
        self.assertEqual(len(visitor.session_ids), 3)
        self.assertEqual((visitor.session_count, visitor.click_count), (3, 3))
        self.click(early, 1, occurred_at=noon + timedelta(minutes=3))
        self.drain()
        self.assertEqual((visitor.session_count, visitor.click_count), (3, 4))
        self.assert_nothing_points_nowhere()

    def test_merged_visitors_are_one_visitor_of_each_link(self):
        early, late = new_visitor_id(), new_visitor_id()
        for key, number in ((early, 0), (late, 0), (late, 0), (late, 1)):
            self.click(key, 1, self.links[number])
        self.drain()
        self.assertEqual(self.links[:2].mapped("trackflow_unique_visitors"), [2, 1])
        build_engine(self.env).merge_visitors(early, {late})
        self.assertEqual(self.links[0].trackflow_unique_visitors, 1)
        self.assertEqual(self.links[1].trackflow_unique_visitors, 1)
        build_engine(self.env).forget(early)
        self.assertEqual(self.links[0].trackflow_unique_visitors, 0)
        self.assertEqual(self.links[1].trackflow_unique_visitors, 0)

    def test_a_deleted_click_is_in_no_counter_of_its_link(self):
        anna, ben = new_visitor_id(), new_visitor_id()
        for key, number in ((anna, 0), (anna, 0), (ben, 0), (ben, 1)):
            self.click(key, 1, self.links[number])
        self.drain()
        clicks = self.links[0].link_click_ids
        clicks.trackflow_scan = True
        self.links[0].trackflow_scans = 3
        of_anna = clicks.filtered(lambda click: click.trackflow_visitor_id.visitor_key == anna)
        counters = ("count", "trackflow_unique_visitors", "trackflow_scans")
        of_anna[0].unlink()
        self.assertEqual([self.links[0][counter] for counter in counters], [2, 2, 2])
        (of_anna[1] | self.links[1].link_click_ids).unlink()
        self.assertEqual([self.links[0][counter] for counter in counters], [1, 1, 1])
        self.assertEqual([self.links[1][counter] for counter in counters], [0, 0, 0])

    def test_a_click_that_waits_to_be_counted_is_deleted_from_no_counter(self):
        self.click(new_visitor_id(), 1, self.links[0])
        self.drain()
        self.click(new_visitor_id(), 1, self.links[0])
        self.drain()
        waiting = self.links[0].link_click_ids[0]
        waiting.sudo().trackflow_rolled_up = False
        self.links[0].count = 1
        waiting.unlink()
        self.assertEqual(self.links[0].count, 1)

    def test_sales_and_employees_read_no_journeys(self):
        visitor = self.journey(1)
        self.drain()
        for user in (self.salesman, self.employee):
            with self.assertRaises(AccessError):
                self.visitor(visitor).with_user(user).trackflow_journey()
