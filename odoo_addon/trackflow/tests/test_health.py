from datetime import timedelta
from unittest.mock import patch

from odoo import fields
from odoo.exceptions import AccessError
from odoo.tests import tagged

from trackflow_core import doctor
from trackflow_core.errors import TrackFlowError

from .common import TrackflowCase


@tagged("post_install", "-at_install")
class TestHealth(TrackflowCase):
    def look(self, method="action_open"):
        action = getattr(self.env["trackflow.health"].with_user(self.manager), method)()
        health = self.env["trackflow.health"].browse(action["res_id"])
        return {line.part: line for line in health.line_ids}

    def test_a_healthy_database_says_so(self):
        lines = self.look()
        for part in ("Redirects", "Clicks Waiting", "Clicks Set Aside", "Connectors", "Clocks"):
            self.assertEqual(lines[part].state, "ok", lines[part].remedy)
        self.assertNotIn("From Click to Credit", lines)

    def test_clicks_that_wait_too_long_are_told(self):
        self.click("v" * 32, days_ago=0)
        self.assertEqual(self.look()["Clicks Waiting"].state, "ok")
        self.click("v" * 32, days_ago=1)
        line = self.look()["Clicks Waiting"]
        self.assertEqual(line.state, "attention")
        self.assertIn("Waiting: 2.", line.detail)
        self.assertIn("scheduled actions", line.remedy)
        self.assertEqual(line.action_open()["res_model"], "trackflow.click.queue")

    def test_what_was_set_aside_or_given_up_is_told(self):
        self.click("v" * 32, days_ago=0)
        self.env.cr.execute("UPDATE trackflow_click_queue SET status = 'failed'")
        self.env["trackflow.failure"].create(
            {"operation": "x", "cause": "y", "last_at": fields.Datetime.now()}
        )
        self.env["trackflow.webhook.endpoint"].create(
            {
                "url": "https://hooks.example/in",
                "event_ids": self.env["trackflow.webhook.event"].search([], limit=1).ids,
            }
        )._disable("It answered 410.")
        lines = self.look()
        self.assertIn("Not recorded: 1.", lines["Clicks Set Aside"].detail)
        self.assertIn("last seven days: 1.", lines["Failures"].detail)
        self.assertIn("https://hooks.example/in", lines["Outgoing Messages"].remedy)

    def test_a_receiver_that_does_not_answer_is_named(self):
        endpoint = self.env["trackflow.webhook.endpoint"].create(
            {
                "url": "https://hooks.example/in",
                "event_ids": self.env["trackflow.webhook.event"].search([], limit=1).ids,
            }
        )
        endpoint.action_test()
        message = self.env["trackflow.outbox.message"].search(
            [("target", "=", endpoint._target)], limit=1
        )
        message.write({"attempts": 2, "reason": "It answered 503."})
        self.assertEqual(self.look()["Outgoing Messages"].state, "ok", "it was told just now")
        self.env.cr.execute(
            "UPDATE trackflow_outbox_message SET create_date = create_date - '11 min'::interval"
        )
        line = self.look()["Outgoing Messages"]
        self.assertEqual(line.state, "attention")
        self.assertIn("https://hooks.example/in has not taken messages", line.remedy)
        self.assertIn("It answered 503.", line.remedy)
        endpoint.active = False
        self.assertEqual(self.look()["Outgoing Messages"].state, "ok", "somebody made it wait")

    def test_jobs_that_do_not_run_are_named(self):
        job = self.env.ref("trackflow.ir_cron_process_clicks")
        self.assertEqual(self.look()["Scheduled Actions"].state, "ok")
        job.nextcall = fields.Datetime.now() - timedelta(hours=5)
        self.assertIn(job.name, self.look()["Scheduled Actions"].detail)
        job.active = False
        self.assertIn("switched off", self.look()["Scheduled Actions"].detail)

    def test_currencies_without_a_rate_are_named(self):
        first, second = currencies = self.env["res.currency"].create(
            [
                {"name": "XAA", "symbol": "a"},
                {"name": "XBB", "symbol": "b"},
            ]
        )
        own = self.env.company.currency_id
        campaign = self.env["utm.campaign"].create(
            {"title": "Fair", "trackflow_currency_id": own.id, "trackflow_budget": 100}
        )
        self.env.flush_all()
        before = self.look()["Currency Rates"].detail
        for currency in currencies:
            self.assertNotIn(currency.name, before, "nothing is kept in it")
        campaign.trackflow_currency_id = first
        self.env["trackflow.campaign.cost"].create(
            {"campaign_id": campaign.id, "amount": 5, "currency_id": second.id}
        )
        self.env.flush_all()
        line = self.look()["Currency Rates"]
        self.assertEqual(line.state, "attention")
        self.assertIn("XAA, XBB", line.detail)
        self.assertNotIn(own.name, line.detail)
        self.assertIn("enter a rate", line.remedy)
        first.rate_ids = [fields.Command.create({"name": "2026-01-01", "rate": 0.9})]
        second.active = False
        self.env.flush_all()
        self.assertEqual(self.look()["Currency Rates"].detail, before)

    def test_what_shared_rates_count_from_needs_none(self):
        base, foreign = self.env["res.currency"].create(
            [{"name": "XAA", "symbol": "a"}, {"name": "XBB", "symbol": "b"}]
        )
        self.env["res.company"].create({"name": "Base", "currency_id": base.id})
        company = self.env["res.company"].create({"name": "Foreign", "currency_id": foreign.id})
        self.env["utm.campaign"].create(
            {
                "title": "Fair",
                "trackflow_company_id": company.id,
                "trackflow_currency_id": base.id,
            }
        )
        self.env.flush_all()
        self.assertIn("XAA", self.env["trackflow.health"]._currencies_without_rate())
        self.env["res.currency.rate"].create(
            {"name": "2026-01-01", "rate": 2, "currency_id": foreign.id, "company_id": False}
        )
        self.env.flush_all()
        self.assertNotIn("XAA", self.env["trackflow.health"]._currencies_without_rate())

    def test_the_doctor_follows_a_click_to_its_credit_and_keeps_nothing(self):
        self.registry_enter_test_mode()
        tables = ("crm.lead", "link.tracker", "trackflow.click.queue", "trackflow.visitor")
        before = {
            model: self.env[model].with_context(active_test=False).search_count([])
            for model in tables
        }
        self.assertEqual(self.look("action_run_doctor")["From Click to Credit"].state, "ok")
        for model, number in before.items():
            records = self.env[model].with_context(active_test=False)
            self.assertEqual(records.search_count([]), number, model)

    def test_the_doctor_names_what_is_broken(self):
        self.registry_enter_test_mode()
        with patch.object(doctor, "check", side_effect=TrackFlowError("The credit is missing.")):
            line = self.look("action_run_doctor")["From Click to Credit"]
        self.assertEqual((line.state, line.remedy), ("attention", "The credit is missing."))

    def test_only_managers_look(self):
        for user in (self.marketer, self.salesman, self.employee):
            for method in ("action_open", "action_run_doctor"):
                with self.assertRaises(AccessError):
                    getattr(self.env["trackflow.health"].with_user(user), method)()
