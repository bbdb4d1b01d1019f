"""One story through every connector of ours: a click here, a lead and a deal in a CRM elsewhere,
credits here, attribution there. Told twice, late and in another order it gives the same bytes."""

import json
import random
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

from odoo.tests import tagged

from trackflow_core.ports import IncomingRequest
from trackflow_frappe.mapping import DEAL, LEAD
from trackflow_frappe.testing import FrappeDouble
from trackflow_odoo.remote import TOKEN
from trackflow_twenty.mapping import OPPORTUNITY, PERSON
from trackflow_twenty.testing import TwentyDouble
from trackflow_webhook import new_secret, sign

from .odoo_double import OdooDouble
from .test_connectors import ConnectorCase
from .test_outbox import receiver


@tagged("post_install", "-at_install")
class TestGoldenStory(ConnectorCase):
    def setUp(self):
        super().setUp()
        self.env["trackflow.plugin"]._synchronise()
        plugins = self.env["trackflow.plugin"].with_context(active_test=False)
        plugins.search([("name", "in", ("frappe", "twenty"))]).active = True
        self.visitor = self.journey()

    @classmethod
    def _request_handler(cls, session, request, /, **options):
        # Odoo's guard against the network takes no pair of timeouts; the doubles are on loopback.
        return super()._request_handler(session, request, **{**options, "timeout": 10})

    def connect(self, kind, settings, **values):
        return (
            self.env["trackflow.connector"]
            .with_user(self.admin)
            .create(
                {
                    "name": kind.title(),
                    "connector": kind,
                    "instance": "acme",
                    "settings": settings,
                    **values,
                }
            )
            .with_env(self.env)
        )

    def prepare(self, connector):
        action = connector.with_user(self.admin).action_provision()
        wizard = self.env["trackflow.connector.provision"].browse(action["res_id"])
        self.assertTrue(wizard.changes)
        wizard.with_user(self.admin).action_run()
        self.assertTrue(all(found["ok"] for found in connector.findings), connector.findings)

    def receive(self, connector, body, headers):
        incoming = IncomingRequest(body, {name.lower(): text for name, text in headers.items()})
        self.env["trackflow.connector"].sudo()._receive(
            connector.connector, connector.instance, incoming, datetime.now(timezone.utc)
        )

    @contextmanager
    def undone(self):
        """A part of the story that will not have happened."""
        self.env.flush_all()
        savepoint = self.env.cr.savepoint(flush=False)
        try:
            yield
        finally:
            savepoint.close(rollback=True)
            self.env.transaction.clear()

    def ledger(self, connector):
        """The deal's credits as the ledger has them, byte by byte."""
        self.env.flush_all()
        self.env.invalidate_all()
        deal = self.env["trackflow.deal.attribution"].search(
            [("lead_id.trackflow_deal_ref", "=like", f"{connector._namespace}/%")]
        )
        self.assertEqual(deal.sorted("sequence").mapped("value"), [83.34, 83.33, 83.33])
        self.assertEqual(set(deal.mapped("deal_status")), {"won"})
        return [
            (row.digest, row.touch_key, row.weight, row.value, str(row.anchor))
            for row in deal.sorted("sequence")
        ]

    def test_frappe(self):
        with FrappeDouble("Asia/Kolkata").running() as site:
            connector = self.connect(
                "frappe",
                {"url": site.url, "token": site.token},
                secret=self.env["trackflow.connector"].new_secret("frappe"),
            )
            self.prepare(connector)
            hints = []

            def tell(*, after):
                hints.extend(site.queue)
                site.queue.clear()
                for hint in after:
                    self.receive(connector, hint.body, hint.headers)
                self.process()
                self.poll()

            with self.undone():
                lead = site.insert(
                    LEAD, {"first_name": "Zoë", "trackflow_token": self.token(self.visitor)}
                )
                tell(after=site.queue[:])
                deal = site.convert(lead["name"], {"deal_value": 250})
                tell(after=site.queue * 2)
                site.change(DEAL, deal, {"status": "Won"})
                tell(after=site.queue[:])
                in_time = self.ledger(connector)
            with self.undone():
                tell(after=random.Random(7).sample(hints * 2, 2 * len(hints)))
                connector.action_poll_all()
                self.poll()
                self.assertEqual(self.ledger(connector), in_time, "late, shuffled and twice")
            self.poll(connector)
            self.assertEqual(self.ledger(connector), in_time)
            self.deliver()
            told = site.document(DEAL, deal)
            self.assertEqual(told["trackflow_source"], "google")
            self.assertEqual(told["trackflow_touch_count"], 3)
            self.assertEqual(told["trackflow_marketing_influenced"], 1)
            self.assertEqual(site.document(LEAD, lead["name"])["trackflow_touch_count"], 3)
            self.assertNotIn(site.token, str(self.events(connector).mapped("payload")))

    def test_twenty(self):
        with TwentyDouble().running() as workspace:
            # Its clock moves with each write, and its webhooks must not be from the future.
            workspace.now = datetime.now(timezone.utc) - timedelta(minutes=1)
            connector = self.connect(
                "twenty",
                {"url": workspace.url, "key": workspace.key, "currency": "EUR"},
                secret=self.env["trackflow.connector"].new_secret("twenty"),
            )
            self.prepare(connector)
            amount = {
                "amountMicros": 250_000_000,
                "currencyCode": self.env.company.currency_id.name,
            }
            hints = []

            def tell():
                hints.extend(workspace.queue)
                for hint in workspace.queue:
                    self.receive(connector, hint.body, hint.headers)
                workspace.queue.clear()
                self.process()
                self.poll()

            with self.undone():
                person = workspace.insert(
                    PERSON,
                    {"name": {"firstName": "Zoë"}, "trackflowToken": self.token(self.visitor)},
                )
                tell()
                deal = workspace.insert(OPPORTUNITY, {"pointOfContactId": person, "amount": amount})
                other = workspace.insert(PERSON, {"name": {"firstName": "Ben"}})
                tell()
                workspace.change(OPPORTUNITY, deal, {"stage": "CUSTOMER"})
                tell()
                in_time = self.ledger(connector)
            with self.undone():
                for hint in random.Random(7).sample(hints * 2, 2 * len(hints)):
                    self.receive(connector, hint.body, hint.headers)
                self.process()
                connector.action_poll_all()
                self.poll()
                self.assertEqual(self.ledger(connector), in_time, "late, shuffled and twice")
            self.poll(connector)
            self.assertEqual(self.ledger(connector), in_time)
            written = workspace.writes
            self.deliver()
            self.assertEqual(workspace.writes, written + 2, "one lead and one deal")
            told = workspace.record(OPPORTUNITY, deal)
            self.assertEqual(told["trackflowSource"], "google")
            self.assertEqual(told["trackflowTouchCount"], 3)
            self.assertTrue(told["trackflowInfluenced"])
            self.assertEqual(workspace.record(PERSON, person)["trackflowTouchCount"], 3)
            self.assertIsNone(workspace.record(PERSON, other)["trackflowTouchCount"])
            self.assertNotIn(workspace.key, str(self.events(connector).mapped("payload")))

    def test_odoo(self):
        remote = OdooDouble()
        with remote.running() as url:
            connector = self.connect(
                "odoo",
                {
                    "url": url,
                    "database": "crm",
                    "user": "admin",
                    "api_key": remote.key,
                    "page_size": 1,
                },
            )
            self.prepare(connector)
            with self.undone():
                remote.save(7, name="Zoë", **{TOKEN: self.token(self.visitor)})
                self.poll(connector)
                stamp = remote.now.strftime("%Y-%m-%d %H:%M:%S")
                remote.save(7, type="opportunity", expected_revenue=250.0, date_conversion=stamp)
                remote.save(8, name="Another")
                self.poll(connector)
                remote.save(7, won_status="won", date_closed=stamp)
                self.poll(connector)
                self.poll(connector)
                in_time = self.ledger(connector)
            for _time in range(2):
                connector.action_poll_all()
                self.poll()
                self.assertEqual(self.ledger(connector), in_time, "late and twice")
            self.deliver()
            self.assertEqual(remote.leads[7]["x_trackflow_source"], "google")
            self.assertEqual(remote.leads[7]["x_trackflow_touch_count"], 3)
            self.assertTrue(remote.leads[7]["x_trackflow_marketing_influenced"])
            self.assertFalse(remote.leads[8]["x_trackflow_touch_count"])
            written = remote.writes
            self.poll(connector)
            self.deliver()
            self.assertEqual(remote.writes, written, "our own writing is no news")
            self.assertEqual(self.ledger(connector), in_time)

    def test_webhook(self):
        secret = new_secret()
        with receiver() as (url, seen):
            connector = self.connect(
                "webhook",
                {"write_back_url": url, "write_back_secret": new_secret()},
                secret=secret,
                write_back=True,
            )
            now = datetime.now(timezone.utc).replace(microsecond=0)
            deal = {"id": "17", "lead_id": "17", "currency": "EUR", "value": "250.00"}
            lead = {"id": "17", "name": "Zoë", "visitor_token": self.token(self.visitor)}
            story = [
                ("evt_lead", {"type": "lead.created", "data": lead}, timedelta(seconds=-3)),
                ("evt_deal", {"type": "deal.created", "data": deal}, timedelta(seconds=-2)),
                ("evt_won", {"type": "deal.won", "data": deal}, timedelta(seconds=-1)),
            ]

            def tell(number):
                event_id, told, age = story[number]
                body = json.dumps({**told, "timestamp": (now + age).isoformat()}).encode()
                self.receive(connector, body, sign(body, secret, event_id, now))

            with self.undone():
                for number in range(3):
                    tell(number)
                    self.process()
                in_time = self.ledger(connector)
            with self.undone():
                for number in (2, 1, 2, 0, 1, 0):
                    tell(number)
                    self.process()
                self.assertEqual(self.ledger(connector), in_time, "shuffled and twice")
            for number in (1, 2, 0):
                tell(number)
            self.process()
            self.assertEqual(self.ledger(connector), in_time, "late")
            self.deliver()
            told = {json.loads(body)["type"]: json.loads(body)["data"] for _headers, body in seen}
            self.assertEqual(told["lead.attributed"]["touch_count"], 3)
            self.assertEqual(told["deal.attributed"]["ref"], "webhook/acme/17")
            self.assertTrue(told["deal.attributed"]["influenced"])
