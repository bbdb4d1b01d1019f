"""Connectors as administrators set them up, the job that reads CRMs, and what is written back."""

import json
from contextlib import contextmanager
from datetime import timedelta
from unittest.mock import Mock, patch

from odoo import fields
from odoo.addons.trackflow.engine import plugin_hooks
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import Form, new_test_user, tagged, users
from odoo.tools import mute_logger

from trackflow_core.testing import FakeConnector, FakeCrm
from trackflow_core.testing.fake import FakeConnection

from .common import TrackflowCase

CONNECTOR = "odoo.addons.trackflow.models.trackflow_connector"
POLLING = "odoo.addons.trackflow.models.trackflow_connector_polling"


class ConnectorCase(TrackflowCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env.company.currency_id = cls.env.ref("base.EUR")
        cls.admin = new_test_user(
            cls.env,
            login="tf_admin",
            groups="base.group_system,trackflow.group_trackflow_manager",
        )

    @contextmanager
    def no_commit(self):
        """The jobs commit between pages and messages; here the test's transaction stays open."""
        with patch.object(
            self.env.registry["ir.cron"],
            "_commit_progress",
            lambda cron, processed=0, **kwargs: float("inf"),
        ):
            yield

    def poll(self, *connectors):
        """Let the job read these CRMs, or those whose turn it is."""
        for connector in connectors:
            connector.action_poll()
        with self.no_commit():
            self.env["trackflow.connector"]._cron_poll()
        self.env.invalidate_all()

    def process(self):
        self.env.flush_all()
        with self.no_commit():
            self.env["trackflow.connector.event"]._cron_process_events()
        self.env.invalidate_all()

    def deliver(self):
        self.env.flush_all()
        with self.no_commit():
            self.env["trackflow.outbox.message"]._cron_deliver()
        self.env.invalidate_all()

    def lead(self, **domain):
        return (
            self.env["crm.lead"]
            .with_context(active_test=False)
            .search([(field, "=", value) for field, value in domain.items()])
        )

    def events(self, connector, **domain):
        self.env.invalidate_all()
        terms = [(field, "=", value) for field, value in domain.items()]
        return self.env["trackflow.connector.event"].search(
            [("connector_id", "=", connector.id), *terms]
        )


class FakeCase(ConnectorCase):
    """A CRM in memory, offered beside the real kinds."""

    def setUp(self):
        super().setUp()
        self.crm = FakeCrm(now=fields.Datetime.now().astimezone())
        self.fake = FakeConnector(self.crm)
        connectors = {**plugin_hooks(self.env).connectors, "fake": self.fake}
        patcher = patch(f"{CONNECTOR}.plugin_hooks", lambda env: Mock(connectors=connectors))
        patcher.start()
        self.addCleanup(patcher.stop)
        self.connector = self.connect()

    def connect(self, instance="one", **values):
        return (
            self.env["trackflow.connector"]
            .with_user(self.admin)
            .create(
                {
                    "name": "Fake",
                    "connector": "fake",
                    "instance": instance,
                    "settings": {"key": self.crm.key},
                    **values,
                }
            )
            .with_env(self.env)
        )

    def story(self, visitor):
        """A lead with its visitor, and its deal, won."""
        self.crm.save("L1", name="Zoë", token=self.token(visitor))
        self.crm.save("D1", lead="L1", value=25_000, currency="EUR", status="won", name="Big")


@tagged("post_install", "-at_install")
class TestConnectorSettings(FakeCase):
    def test_the_form_comes_from_the_options_of_the_kind(self):
        with Form(self.env["trackflow.connector"].with_user(self.admin)) as form:
            form.name = "CRM"
            form.connector = "odoo"
            named = {option["name"]: option for option in form.option_list}
            self.assertEqual(named["url"]["title"], "Address")
            self.assertTrue(named["url"]["required"])
            self.assertTrue(named["api_key"]["secret"])
            self.assertEqual(named["page_size"]["default"], 500)
            self.assertTrue(form.polling)
            self.assertTrue(form.write_back)
            form.connector = "webhook"
            self.assertFalse(form.polling)
            self.assertFalse(form.write_back)
            form.instance = "crm"

    def test_secrets_are_set_and_never_read(self):
        self.assertFalse(self.connector.settings)
        self.assertNotIn(self.crm.key, self.connector.option_secrets_encrypted)
        self.assertTrue(self.connector.option_list[0]["is_set"])
        self.assertEqual(self.connector._configuration().key, self.crm.key)
        self.connector.settings = {}
        self.assertEqual(self.connector._configuration().key, self.crm.key, "nothing keeps it")
        self.connector.settings = {"key": "fake-key-renewed"}
        self.assertEqual(self.connector._configuration().key, "fake-key-renewed")
        exported = self.connector.export_data(
            ["settings", "option_list", "option_values", "message_ids/body"]
        )
        self.assertNotIn("fake-key", str(exported))
        with self.assertRaises(ValidationError):
            self.connector.settings = {"key": None}

    def test_wrong_settings_are_refused_in_words(self):
        create = self.env["trackflow.connector"].create
        values = {"name": "X", "connector": "odoo", "instance": "x"}
        with self.assertRaises(ValidationError) as refused:
            create(values)
        self.assertIn("Address is missing", str(refused.exception))
        self.assertIn("API Key is missing", str(refused.exception))
        given = {"url": "ftp://x", "database": "x", "api_key": "s3cret", "colour": "red"}
        with self.assertRaises(ValidationError) as refused:
            create({**values, "settings": given})
        self.assertIn("use an address such as", str(refused.exception))
        self.assertIn("colour", str(refused.exception))
        self.assertNotIn("s3cret", str(refused.exception))

    def test_only_administrators_see_and_change_settings(self):
        manager = self.connector.with_user(self.manager)
        for field in ("settings", "option_values", "option_secrets_encrypted", "secret"):
            with self.subTest(field=field), self.assertRaises(AccessError):
                manager.read([field])
        with self.assertRaises(AccessError):
            manager.settings = {"key": "mine"}
        with self.assertRaises(AccessError):
            manager.action_provision()
        manager.action_check()
        self.assertTrue(manager.findings)
        manager.action_poll()

    @users("tf_salesman", "tf_marketer")
    def test_nobody_else_sees_connectors(self):
        for call in ("action_check", "action_poll", "action_poll_all", "action_retry_failed"):
            with self.subTest(call=call), self.assertRaises(AccessError):
                getattr(self.connector.with_env(self.env), call)()

    def test_the_test_says_what_is_missing(self):
        self.connector.action_check()
        self.assertEqual(
            self.connector.findings,
            [
                {"what": "The key is accepted.", "ok": True, "remedy": ""},
                {
                    "what": "The fields exist.",
                    "ok": False,
                    "remedy": "Prepare the CRM.",
                },
            ],
        )
        self.crm.key = "another"
        self.connector.action_check()
        [found] = self.connector.findings
        self.assertFalse(found["ok"])
        self.assertIn("refuses the key", found["what"])
        self.connector.settings = {"key": "another"}
        self.assertFalse(self.connector.findings, "what the old key found holds no more")

    def test_provisioning_is_shown_first_and_can_be_undone(self):
        admin = self.connector.with_user(self.admin)
        wizard = self.env["trackflow.connector.provision"].browse(
            admin.action_provision()["res_id"]
        )
        self.assertEqual(wizard.changes, [{"verb": "create", "what": "marketing"}])
        self.assertFalse(self.crm.provisioned)
        wizard.with_user(self.admin).action_run()
        self.assertTrue(self.crm.provisioned)
        self.assertTrue(all(found["ok"] for found in self.connector.findings))
        again = self.env["trackflow.connector.provision"].browse(admin.action_provision()["res_id"])
        self.assertFalse(again.changes)
        undo = self.env["trackflow.connector.provision"].browse(
            admin.action_deprovision()["res_id"]
        )
        undo.with_user(self.admin).action_run()
        self.assertFalse(self.crm.provisioned)
        self.crm.key = "another"
        with self.assertRaisesRegex(UserError, "refuses the key"):
            admin.action_provision()

    def test_a_kind_whose_plugin_was_switched_off_says_so(self):
        with patch(f"{CONNECTOR}.plugin_hooks", lambda env: Mock(connectors={})):
            self.connector.action_check()
            self.poll(self.connector)
        self.assertIn("switch it on under Plugins", self.connector.findings[0]["what"])
        self.assertEqual(self.connector.health, "blocked")


@tagged("post_install", "-at_install")
class TestPolling(FakeCase):
    def test_what_a_crm_tells_becomes_leads_and_credits_and_can_be_traced(self):
        self.story(self.journey())
        self.poll()
        deal = self.lead(trackflow_deal_ref="fake/one/D1")
        self.assertEqual(self.credits(deal), [83.34, 83.33, 83.33])
        self.assertEqual(deal.won_status, "won")
        self.assertEqual(self.connector.health, "working")
        self.assertGreater(self.connector.next_poll_at, fields.Datetime.now())
        told = self.events(self.connector)
        self.assertEqual(set(told.mapped("state")), {"done"})
        self.assertEqual(set(told.mapped("origin")), {"poll"})
        about = told.filtered(lambda event: event.kind == "deal").with_user(self.manager)
        self.assertEqual(about.lead_id, deal)
        self.assertEqual(about.action_open_lead()["res_id"], deal.id)
        credits = self.env["trackflow.deal.attribution"].search(
            about.action_open_credits()["domain"]
        )
        self.assertEqual(credits, deal.trackflow_attribution_ids)
        self.assertIn("fake/one/D1", str(about.action_open_messages()["domain"]))

    def test_reading_goes_on_where_it_stopped(self):
        self.crm.page_size = 2
        for number in range(5):
            self.crm.save(f"L{number}", name=f"Lead {number}")
        pages = []
        poll = FakeConnection.poll

        def count(connection, cursor):
            pages.append(cursor)
            if len(pages) == 2:
                raise RuntimeError("killed")
            return poll(connection, cursor)

        with (
            patch.object(FakeConnection, "poll", count),
            mute_logger("odoo.addons.trackflow.guard", POLLING),
        ):
            self.poll()
        self.assertEqual(len(self.events(self.connector)), 2)
        self.assertEqual(self.connector.health, "retrying")
        self.assertIn("RuntimeError", self.connector.problem)
        self.assertNotIn("killed", self.connector.problem)
        self.poll(self.connector)
        self.assertEqual(len(self.events(self.connector)), 5)
        self.assertEqual(self.connector.health, "working")
        self.assertFalse(self.connector.problem)
        self.connector.action_poll_all()
        self.poll()
        self.assertEqual(len(self.events(self.connector)), 5)
        self.assertEqual(len(self.env["crm.lead"].search([("name", "=like", "Lead %")])), 5)

    def test_who_changes_the_connector_waits_until_a_page_is_kept(self):
        def is_locked(connector):
            # A lock leaves its transaction there; a row just written has none.
            self.env.cr.execute(
                "SELECT xmax <> '0' FROM trackflow_connector WHERE id = %s", [connector.id]
            )
            return self.env.cr.fetchone()[0]

        def take_in(connector, page):
            found.append(is_locked(connector))
            return original(connector, page)

        found, model = [], self.env.registry["trackflow.connector"]
        original = model._take_in
        self.crm.save("L1", name="Lead 1")
        self.connector.action_poll()
        self.env.flush_all()
        self.assertFalse(is_locked(self.connector))
        with patch.object(model, "_take_in", take_in):
            self.poll()
        self.assertEqual(found, [True])

    def test_a_time_that_is_over_leaves_the_rest_to_the_next_run(self):
        self.crm.page_size = 1
        for number in range(3):
            self.crm.save(f"L{number}", name=f"Lead {number}")
        with patch.object(
            self.env.registry["ir.cron"], "_commit_progress", lambda cron, processed=0, **kw: 0
        ):
            self.env["trackflow.connector"]._cron_poll()
        self.assertEqual(len(self.events(self.connector)), 1)
        self.assertLessEqual(self.connector.next_poll_at, fields.Datetime.now())

    @mute_logger(POLLING)
    def test_a_busy_crm_is_asked_again_later_and_later(self):
        self.crm.failures = 3
        waits = []
        for _time in range(3):
            self.poll(self.connector)
            waits.append(self.connector.next_poll_at - fields.Datetime.now())
            self.assertEqual(self.connector.health, "retrying")
        self.assertLess(waits[0], waits[1])
        self.assertLess(waits[1], waits[2])
        self.assertFalse(self.connector.activity_ids, "nobody is called for what passes")
        self.crm.failures, self.crm.retry_after = 1, 7200.0
        self.poll(self.connector)
        self.assertGreater(
            self.connector.next_poll_at, fields.Datetime.now() + timedelta(minutes=119)
        )
        self.poll(self.connector)
        self.assertEqual((self.connector.health, self.connector.poll_failures), ("working", 0))

    @mute_logger(POLLING)
    def test_expired_credentials_call_the_administrator_once(self):
        self.crm.key = "fake-key-renewed"
        self.poll(self.connector)
        self.poll(self.connector)
        self.assertEqual(self.connector.health, "blocked")
        [activity] = self.connector.activity_ids
        self.assertEqual(activity.user_id, self.admin)
        self.assertIn("refuses the key", activity.note)
        self.assertGreater(self.connector.next_poll_at, fields.Datetime.now() + timedelta(hours=23))
        self.crm.save("L1", name="Zoë")
        self.crm.provisioned = True
        self.connector.settings = {"key": "fake-key-renewed"}
        self.connector.action_check()
        self.poll()
        self.assertEqual(self.connector.health, "working")
        self.assertFalse(self.connector.activity_ids)
        self.assertTrue(self.lead(trackflow_lead_ref="fake/one/L1"))

    @mute_logger("odoo.addons.trackflow.guard")
    def test_what_cannot_be_taken_in_stops_nobody_else_and_can_be_retried(self):
        self.crm.page_size = 20
        for number in range(9):
            self.crm.save(f"L{number}", name=f"Lead {number}")
        self.crm.save("D1", lead="L1", value=100, currency="XXQ", name="Odd currency")
        self.crm.save("D2", lead="L2", value="much", currency="EUR")
        self.crm.save("D3", lead="L3", value=300, currency="EUR")
        create = type(self.env["crm.lead"]).create

        def fail(leads, vals_list):
            if any(vals.get("name") == "Lead 4" for vals in vals_list):
                raise RuntimeError("another addon refuses this")
            return create(leads, vals_list)

        with patch.object(self.env.registry["crm.lead"], "create", fail):
            self.poll()
        failed = {event.ref: event for event in self.events(self.connector, state="failed")}
        self.assertEqual(set(failed), {"fake/one/L4", "fake/one/D1", "D2"})
        self.assertIn("XXQ", failed["fake/one/D1"].error_message)
        self.assertIn("value", failed["D2"].error_message)
        self.assertIn("another addon", failed["fake/one/L4"].error_message)
        self.assertEqual(json.loads(failed["fake/one/D1"].payload)["currency"], "XXQ")
        self.assertEqual(self.connector.failed_count, 3)
        self.assertTrue(self.lead(trackflow_deal_ref="fake/one/D3"))
        self.assertEqual(self.connector.health, "working")

        self.env["res.currency"].create({"name": "XXQ", "symbol": "Q"})
        self.connector.with_user(self.manager).action_retry_failed()
        self.process()
        self.assertEqual(failed["fake/one/L4"].state, "done")
        self.assertEqual(failed["fake/one/L4"].lead_id.name, "Lead 4")
        self.assertEqual(failed["fake/one/D1"].state, "done")
        self.assertTrue(self.lead(trackflow_deal_ref="fake/one/D1"))
        self.assertEqual((failed["D2"].state, failed["D2"].attempts), ("failed", 2))
        failed["D2"].with_user(self.manager).action_dismiss()
        self.assertEqual(failed["D2"].state, "dismissed")
        self.assertEqual(self.connector.failed_count, 0)

    def test_a_page_costs_the_same_number_of_queries_of_ours_whatever_its_size(self):
        self.crm.page_size = 200
        counts = []
        for begin, end in ((0, 2), (2, 4), (4, 104)):
            for number in range(begin, end):
                self.crm.save(f"L{number}", name=f"Lead {number}")
            with patch.object(FakeConnection, "map_events", None):
                page = self.connector._connection().poll(self.connector.poll_cursor or "")
            refused = self.connector._take_in(page)
            self.env.flush_all()
            before = self.env.cr.sql_log_count
            self.connector._keep_page(page, refused)
            self.env.flush_all()
            counts.append(self.env.cr.sql_log_count - before)
        self.assertEqual(counts[1], counts[2])

    def test_a_connector_that_is_switched_off_is_left_alone(self):
        self.crm.save("L1", name="Zoë")
        self.connector.active = False
        self.poll()
        self.assertFalse(self.events(self.connector))
        self.assertEqual(self.connector.health, "off")
        self.connector.active = True
        self.poll()
        self.assertTrue(self.events(self.connector))


@tagged("post_install", "-at_install")
class TestWriteBack(FakeCase):
    def setUp(self):
        super().setUp()
        self.crm.provisioned = True
        self.story(self.journey())
        self.poll()

    def messages(self, **domain):
        self.env.invalidate_all()
        terms = [(field, "=", value) for field, value in domain.items()]
        return self.env["trackflow.outbox.message"].search(
            [("target", "=", "connector/fake/one"), *terms]
        )

    def test_the_crm_learns_what_earned_its_deals(self):
        self.deliver()
        self.assertEqual(self.crm.marketing["L1"]["touch_count"], 3)
        self.assertEqual(self.crm.marketing["L1"]["source"], "google")
        self.assertEqual(self.crm.marketing["D1"]["influenced"], True)
        self.assertEqual(set(self.messages().mapped("state")), {"sent"})
        self.assertEqual(self.messages()[0].receiver, "Fake")
        self.assertEqual(self.connector.message_out_count, len(self.messages()))
        written = self.crm.writes
        self.connector.action_poll_all()
        self.poll()
        self.deliver()
        self.assertEqual(self.crm.writes, written, "what it knows is not written again")

    @mute_logger("trackflow_core.outbox")
    def test_what_the_crm_has_not_is_given_up_and_can_be_retried(self):
        self.crm.records["D1"]["deleted"] = True
        with patch(
            "trackflow_core.hooks.Hooks.on_writeback_error", autospec=True
        ) as on_writeback_error:
            self.deliver()
        [dead] = self.messages(state="dead")
        self.assertIn("no record", dead.reason)
        self.assertEqual(self.connector.dead_count, 1)
        [told] = on_writeback_error.call_args_list
        self.assertTrue(told.args[3], "told as final")
        del self.crm.records["D1"]["deleted"]
        self.connector.with_user(self.manager).action_retry_failed()
        self.deliver()
        self.assertEqual(dead.state, "sent")

    def test_missing_fields_call_the_administrator_and_wait(self):
        self.crm.provisioned = False
        self.deliver()
        self.assertEqual(set(self.messages().mapped("state")), {"waiting"})
        self.assertIn("prepare the CRM", self.connector.write_problem)
        self.assertEqual(self.connector.health, "blocked")
        self.assertEqual(len(self.connector.activity_ids), 1)
        self.crm.provisioned = True
        self.connector.with_user(self.manager).action_check()
        self.assertFalse(self.connector.write_problem, "the test has found nothing missing")
        self.assertFalse(self.connector.activity_ids)
        self.deliver()
        self.assertEqual(set(self.messages().mapped("state")), {"sent"})
        self.assertEqual(self.connector.health, "working")

    def test_a_connector_that_is_not_written_to_keeps_its_messages(self):
        self.connector.write_back = False
        self.deliver()
        self.assertFalse(self.crm.marketing)
        self.assertEqual(set(self.messages().mapped("state")), {"waiting"})
        self.connector.write_back = True
        self.deliver()
        self.assertTrue(self.crm.marketing)

    def test_leads_of_others_are_none_of_its_business(self):
        self.opportunity(self.journey())
        self.assertFalse([m for m in self.messages() if not m.ref.startswith("fake/one/")])

    def test_no_subscriber_costs_no_query(self):
        self.env["trackflow.connector"]._subscribed()
        with self.assertQueryCount(0):
            self.env["trackflow.connector"]._subscribed()
