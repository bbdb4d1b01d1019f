from datetime import datetime, timedelta, timezone
from unittest.mock import patch

from odoo.addons.trackflow.engine import build_engine
from odoo.addons.trackflow.hooks import post_init_hook
from odoo.addons.trackflow.store import OdooStore
from odoo.tests import tagged
from odoo.tools import mute_logger

from trackflow_core.attribution import Model
from trackflow_core.errors import ConfigError
from trackflow_core.tracking.identity import new_visitor_id

from .common import CRAWLER, TrackflowCase


@tagged("post_install", "-at_install")
class TestClickJob(TrackflowCase):
    def setUp(self):
        super().setUp()
        self.env.cr.execute("DELETE FROM trackflow_click_queue")
        self.link = self.links[0]

    def events(self):
        self.env.invalidate_all()
        return self.env["link.tracker.click"].search([("link_id", "=", self.link.id)])

    def run_job(self):
        # The job commits between batches; here the test's transaction stays open.
        with patch.object(
            self.env.registry["ir.cron"],
            "_commit_progress",
            lambda cron, processed=0, **kwargs: float("inf"),
        ):
            self.env["trackflow.click.queue"]._cron_process_clicks(limit=4)

    def test_a_plugins_rule_that_fails_keeps_no_click_waiting(self):
        visitor = new_visitor_id()
        model = self.env.ref("trackflow.attribution_model_last_touch")
        lead = self.opportunity(visitor, trackflow_attribution_model_id=model.id)
        moment = lead.trackflow_deal_date.replace(tzinfo=timezone.utc)
        for hours in (1, 2):
            self.click(visitor, 0, occurred_at=moment - timedelta(hours=hours))
        weigh = Model.weigh

        def broken(model, journey):
            if model.rule.name == "last_touch":
                raise ConfigError("The rule failed.")
            return weigh(model, journey)

        with patch.object(Model, "weigh", broken), mute_logger("trackflow_core.engine"):
            self.run_job()
        self.assertEqual(len(self.events()), 2)
        self.assertEqual(self.credits(lead), [50.0, 50.0])
        self.assertFalse(lead.trackflow_attribution_ids.attribution_model_id)
        build_engine(self.env).recompute()
        self.assertEqual(self.credits(lead), [0.0, 100.0])
        self.assertEqual(lead.trackflow_attribution_ids.attribution_model_id, model)

    def test_a_click_becomes_event_visitor_and_session(self):
        visitor = new_visitor_id()
        event_id = self.click(
            visitor, 1, ip="203.0.113.0", referrer="https://www.google.com/", internal=False
        )
        self.run_job()
        event = self.events()
        self.assertEqual(event.trackflow_event_id, event_id)
        self.assertEqual(event.ip, "203.0.113.0")
        self.assertEqual(event.trackflow_verdict, "human")
        self.assertEqual(event.trackflow_device, "desktop")
        self.assertEqual(event.trackflow_browser, "Chrome")
        self.assertEqual(event.trackflow_channel, "Paid Search")
        self.assertEqual(event.trackflow_source, "google")
        self.assertEqual(event.trackflow_campaign, self.campaign.name)
        self.assertEqual(event.campaign_id, self.campaign)
        self.assertTrue(event.trackflow_counts)
        known = event.trackflow_visitor_id
        self.assertEqual(known.visitor_key, visitor)
        self.assertEqual(known.name, f"Visitor {visitor[:6]}")
        self.assertEqual(known.first_seen, event.trackflow_occurred_at)
        self.assertEqual((known.source, known.medium), ("google", "cpc"))
        self.assertEqual((known.click_count, known.session_count), (1, 1))
        session = event.trackflow_session_id
        self.assertEqual(session.visitor_id, known)
        self.assertTrue(session.is_bounce)
        self.assertEqual(session.duration_seconds, 0)
        self.assertEqual(session.channel, "Paid Search")
        queued = self.env["trackflow.click.queue"].search([("event_id", "=", event_id)])
        self.assertEqual(queued.status, "done")

    def test_counters_are_rolled_up(self):
        anna, ben = new_visitor_id(), new_visitor_id()
        for visitor, days in ((anna, 3), (anna, 2), (ben, 1), (None, 1)):
            self.click(visitor, days)
        self.click(anna, 1, user_agent=CRAWLER)
        self.click(ben, 1, internal=True)
        self.click(ben, 1, prefetch=True)
        self.run_job()
        self.assertEqual(len(self.events()), 7)
        self.assertEqual(self.link.count, 4)
        self.assertEqual(self.link.trackflow_unique_visitors, 2)
        self.assertEqual(
            self.link.trackflow_last_click,
            max(self.events().filtered("trackflow_counts").mapped("trackflow_occurred_at")),
        )
        self.click(anna, 0.5)
        self.run_job()
        self.assertEqual(self.link.count, 5)
        self.assertEqual(self.link.trackflow_unique_visitors, 2)
        visitor = self.events().trackflow_visitor_id.filtered(lambda v: v.visitor_key == anna)
        self.assertEqual(visitor.click_count, 3)

    def test_the_job_may_run_twice(self):
        visitor = new_visitor_id()
        for days in range(10):
            self.click(visitor, days)
        self.run_job()
        self.run_job()
        self.assertEqual(len(self.events()), 10)
        self.assertEqual(self.link.count, 10)

    def test_a_click_told_again_later_is_settled(self):
        event_id = self.click(new_visitor_id(), 1)
        self.run_job()
        self.env["trackflow.click.queue"].search([]).unlink()
        self.click(new_visitor_id(), 1, event_id=event_id)
        self.run_job()
        self.assertEqual(len(self.events()), 1)
        self.assertEqual(self.env["trackflow.click.queue"].search([]).status, "done")

    def test_a_poisoned_click_is_set_aside_and_the_rest_goes_on(self):
        visitor = new_visitor_id()
        for days in range(5):
            self.click(visitor, days)
        self.click(visitor, 2, link_code="nobody")
        poisoned = self.click(visitor, 3)
        self.env.cr.execute(
            "UPDATE trackflow_click_queue SET visitor_key = NULL, referrer = %s"
            " WHERE event_id = %s",
            [r"\u0000 is no text for a database", poisoned],
        )
        save_clicks = OdooStore._save_clicks

        def refuse(store, events, *ids):
            if any(event.click.event_id == poisoned for event in events):
                store.env.cr.execute("SELECT 'x'::int")
            return save_clicks(store, events, *ids)

        with patch.object(OdooStore, "_save_clicks", refuse), mute_logger("odoo.sql_db"):
            self.run_job()
        failed = self.env["trackflow.click.queue"].search([("status", "=", "failed")])
        self.assertEqual(len(failed), 2)
        self.assertIn(poisoned, failed.mapped("event_id"))
        self.assertIn("does not exist", "".join(failed.mapped("error_message")))
        self.assertIn("invalid input syntax", "".join(failed.mapped("error_message")))
        self.assertEqual(self.link.count, 5)
        failed.with_user(self.manager).action_retry()
        self.run_job()
        self.assertEqual(self.link.count, 6)

    def test_clicks_that_other_code_records_count_too(self):
        click = self.env["link.tracker.click"].add_click(
            self.link.code, ip="198.51.100.77", country_code="DE"
        )
        self.assertEqual(click.ip, "198.51.100.0")
        self.assertEqual(click.country_id.code, "DE")
        self.assertTrue(click.trackflow_occurred_at)
        self.assertEqual(self.link.count, 1)
        click.unlink()
        self.assertEqual(self.link.count, 0)

    def test_a_late_click_reaches_the_deal(self):
        visitor = self.journey(1)
        lead = self.opportunity(visitor)
        self.assertEqual(self.credits(lead), [100.0])
        self.click(visitor, 5, self.links[1])
        self.run_job()
        self.assertEqual(self.credits(lead), [50.0, 50.0])

    def test_counters_left_by_a_lead_are_caught_up(self):
        visitor = self.journey(1)
        self.opportunity(visitor)
        self.assertEqual(len(self.events()), 1)
        self.assertEqual(self.link.count, 0)
        self.run_job()
        self.assertEqual(self.link.count, 1)
        self.assertEqual(self.link.trackflow_unique_visitors, 1)

    def test_a_lead_left_for_later_is_finished(self):
        visitor = self.journey(1)
        lead = self.opportunity()
        lead._trackflow_later({lead.id: self.token(visitor)})
        self.assertTrue(lead.trackflow_stale)
        self.run_job()
        self.assertFalse(lead.trackflow_stale)
        self.assertFalse(lead.trackflow_pending_visitors)
        self.assertEqual(lead.trackflow_visitor_id.visitor_key, visitor)
        self.assertEqual(lead.trackflow_attribution_ids.channel, "Paid Search")

    def test_a_batch_costs_as_many_queries_as_one(self):
        costs = []
        for number in (1, 10, 100):
            for place in range(number):
                self.click(new_visitor_id(), 1, self.links[place % 3])
            store = OdooStore(self.env)
            engine = build_engine(self.env, store)
            before = self.env.cr.sql_log_count
            self.assertEqual(engine.process_clicks().recorded, number)
            costs.append(self.env.cr.sql_log_count - before)
        self.assertLessEqual(max(costs) - min(costs), 1, costs)
        self.assertLessEqual(max(costs), 20)

    def test_times_are_exact(self):
        moment = datetime(2026, 3, 1, 12, 0, 0, 123456, timezone.utc)
        self.click(new_visitor_id(), 0, occurred_at=moment)
        self.run_job()
        self.env.cr.execute(
            "SELECT trackflow_occurred_at FROM link_tracker_click WHERE id = %s",
            [self.events().id],
        )
        self.assertEqual(self.env.cr.fetchone()[0], moment.replace(tzinfo=None))

    def test_deals_from_before_the_addon_get_their_first_credits(self):
        before = self.env["crm.lead"].create(
            [
                {"name": f"Before {n}", "type": "opportunity", "expected_revenue": 100}
                for n in range(6)
            ]
        )
        self.env["trackflow.deal.attribution"].search([("lead_id", "in", before.ids)]).unlink()
        self.env.flush_all()
        post_init_hook(self.env)
        self.run_job()
        credits = self.env["trackflow.deal.attribution"].search([("lead_id", "in", before.ids)])
        self.assertEqual(credits.mapped("channel"), ["Unattributed"] * 6)
        self.assertEqual(sum(credits.mapped("value")), 600)
        self.assertFalse(any(before.mapped("trackflow_stale")))
