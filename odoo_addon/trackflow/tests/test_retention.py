from datetime import datetime, timedelta, timezone
from unittest.mock import patch

from odoo import fields
from odoo.addons.trackflow.models import trackflow_retention_run
from odoo.exceptions import ValidationError
from odoo.tests import tagged

from trackflow_core.tracking.identity import new_visitor_id

from .common import TrackflowCase


@tagged("post_install", "-at_install")
class TestRetention(TrackflowCase):
    def setUp(self):
        super().setUp()
        self.runs = self.env["trackflow.retention.run"]
        self.runs.search([]).unlink()
        self.env.cr.execute("DELETE FROM trackflow_click_queue")

    def run_job(self, batch=2, seconds_left=lambda calls: float("inf")):
        """One run of the job; `seconds_left` by the number of batches committed."""
        calls = []

        def commit(cron, processed=0, **kwargs):
            calls.append(processed)
            return seconds_left(len(calls))

        with patch.object(self.env.registry["ir.cron"], "_commit_progress", commit):
            self.runs._cron_apply(batch)
        self.env.invalidate_all()

    def last(self, rule):
        return self.runs.search([("rule", "=", rule)], limit=1)

    def seen(self, days_ago):
        """A visitor with one recorded click so many days ago."""
        key = new_visitor_id()
        self.click(key, days_ago)
        self.drain()
        return self.env["trackflow.visitor"].search([("visitor_key", "=", key)])

    def configure(self, **values):
        self.env["res.config.settings"].create(
            {f"trackflow_keep_{name}_days": days for name, days in values.items()}
        ).execute()

    def test_clicks_are_archived_after_two_years(self):
        old, young = self.seen(731), self.seen(729)
        self.run_job()
        self.assertTrue(old.click_ids.trackflow_archived)
        self.assertFalse(young.click_ids.trackflow_archived)
        self.assertEqual(self.links[0].count, 2)
        self.assertEqual(self.last("clicks").row_count, 1)
        self.assertEqual(self.last("clicks").state, "done")

    def test_archived_clicks_still_earn_credit(self):
        lead = self.opportunity(self.journey(1))
        with_credit = self.credits(lead)
        self.configure(clicks=1)
        self.run_job()
        self.assertTrue(lead.trackflow_visitor_id.click_ids.trackflow_archived)
        lead.expected_revenue = 7
        self.assertEqual((with_credit, self.credits(lead)), ([100.0], [7.0]))

    def test_events_of_visitors_who_never_converted_are_deleted_after_a_year(self):
        visits = {"link_code": "", "kind": "page_view"}
        keys = {}
        for name in ("stranger", "returning", "customer", "counted"):
            keys[name] = new_visitor_id() if name != "counted" else None
            self.click(keys[name], 366, destination=f"https://shop.example/{name}", **visits)
        self.click(keys["returning"], 364, destination="https://shop.example/young", **visits)
        self.drain()
        self.opportunity(keys["customer"])
        self.run_job()
        pages = self.env["trackflow.event"].search([]).mapped("page_url")
        self.assertEqual(
            set(pages), {"https://shop.example/customer", "https://shop.example/young"}
        )
        self.assertEqual(self.last("events").row_count, 3)

    def test_recorded_clicks_leave_the_queue_after_a_week(self):
        self.seen(1)
        self.click(new_visitor_id(), 1)
        queue = self.env["trackflow.click.queue"]
        done = queue.search([("status", "=", "done")])
        waiting = queue.search([("status", "=", "queued")])
        failed = waiting.copy({"event_id": "set-aside", "status": "failed"})
        self.run_job()
        self.assertTrue(done.exists())
        (done | failed).processed_at = fields.Datetime.now() - timedelta(days=8)
        self.run_job()
        self.assertFalse(done.exists())
        self.assertTrue(waiting.exists())
        self.assertTrue(failed.exists())

    def test_visits_and_visitors_are_archived_after_a_year(self):
        gone, here = self.seen(366), self.seen(364)
        session = gone.session_ids
        self.run_job()
        self.assertFalse(gone.active)
        self.assertFalse(session.active)
        self.assertEqual(gone.session_ids, session, "the journey still shows it")
        self.assertTrue(here.active)
        self.assertTrue(here.session_ids.active)
        self.assertNotIn(gone, self.env["trackflow.visitor"].search([]))

    def test_a_visitor_who_returns_is_at_hand_again(self):
        visitor = self.seen(400)
        self.run_job()
        self.assertFalse(visitor.active)
        self.click(visitor.visitor_key, 1)
        self.drain()
        self.env.invalidate_all()
        self.assertTrue(visitor.active)
        self.assertEqual(visitor.session_ids.sorted("id").mapped("active"), [False, True])

    def test_the_settings_say_how_long(self):
        visitor = self.seen(20)
        self.run_job()
        self.assertTrue(visitor.active)
        self.configure(clicks=19, sessions=21, queue=2)
        self.run_job()
        self.assertTrue(visitor.click_ids.trackflow_archived)
        self.assertTrue(visitor.active)
        for days in (0, -1):
            with self.assertRaises(ValidationError):
                self.configure(clicks=days)

    def test_days_that_nobody_can_read_are_refused(self):
        parameters = self.env["ir.config_parameter"]
        for days in ("two years", "0", "-1", "12.5", "99999999999"):
            with self.assertRaisesRegex(ValidationError, "trackflow.keep_events_days"):
                parameters.set_param("trackflow.keep_events_days", days)

    def test_days_that_nobody_can_read_delete_nothing_and_stop_no_other_rule(self):
        visitor = self.seen(800)
        parameter = self.env["ir.config_parameter"].create(
            {"key": "trackflow.keep_clicks_days", "value": "1"}
        )
        # As it stood before writing it was refused.
        self.env.cr.execute(
            "UPDATE ir_config_parameter SET value = '2 years' WHERE id = %s", [parameter.id]
        )
        self.env.registry.clear_cache()
        with self.assertLogs("odoo.addons.trackflow.guard", "ERROR"):
            self.run_job()
        self.assertFalse(visitor.click_ids.trackflow_archived)
        self.assertFalse(self.last("clicks"))
        self.assertFalse(visitor.active)
        failure = self.env["trackflow.failure"].search([("operation", "=", "retention")])
        self.assertIn("“2 years” is no time to keep facts", failure.cause)
        self.assertEqual(failure.reference, "trackflow.keep_clicks_days")

    def test_the_settings_say_how_much_is_kept(self):
        self.env.cr.execute("ANALYZE trackflow_click_queue")
        settings = self.env["res.config.settings"].new({})
        number = self.env["trackflow.click.queue"].search_count([])
        self.assertEqual(settings.trackflow_kept_queue, f"About {number} rows now.")
        self.env.cr.execute(
            "UPDATE pg_class SET reltuples = 1234567 WHERE relname = 'trackflow_event'"
        )
        settings.invalidate_recordset()
        self.assertEqual(settings.trackflow_kept_events, "About 1,234,567 rows now.")

    def test_an_interrupted_run_goes_on_where_it_stopped(self):
        for _ in range(5):
            self.seen(800)
        # The first call only tells how much there is.
        self.run_job(seconds_left=lambda calls: 0 if calls == 2 else 1)
        first = self.last("clicks")
        self.assertEqual((first.state, first.row_count), ("running", 2))
        self.assertFalse(self.last("visitors"))
        self.run_job()
        self.assertEqual(self.last("clicks"), first)
        self.assertEqual((first.state, first.row_count), ("done", 5))
        self.assertTrue(self.last("visitors").ended_at)
        self.run_job()
        self.assertNotEqual(self.last("clicks"), first)
        self.assertEqual(self.last("clicks").row_count, 0)

    def test_each_batch_costs_the_same(self):
        for _ in range(4):
            self.seen(800)
        run = self.runs._start(trackflow_retention_run.RULES[0])
        self.env.flush_all()
        before = self.env.cr.sql_log_count
        run._apply(trackflow_retention_run.RULES[0], 3)
        self.assertEqual(self.env.cr.sql_log_count - before, 1)

    def test_a_manager_may_have_it_run_at_once(self):
        cron = self.env.ref("trackflow.ir_cron_apply_retention")
        triggers = self.env["ir.cron.trigger"]
        before = triggers.search_count([("cron_id", "=", cron.id)])
        self.runs.with_user(self.manager).action_run_now()
        self.assertEqual(triggers.search_count([("cron_id", "=", cron.id)]), before + 1)

    def test_the_log_of_runs_does_not_grow_for_ever(self):
        self.run_job()
        old = self.last("clicks")
        old.ended_at = datetime.now(timezone.utc).replace(tzinfo=None) - timedelta(days=366)
        self.runs._gc_old_runs()
        self.assertFalse(old.exists())
        self.assertTrue(self.last("queue"))
