import json
import threading
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest.mock import patch

from odoo.addons.trackflow.engine import build_engine
from odoo.addons.trackflow.store.outbox import OdooOutbox
from odoo.exceptions import AccessError, ValidationError
from odoo.tests import tagged, users
from odoo.tools import mute_logger
from standardwebhooks import Webhook

from trackflow_core.model import Outgoing
from trackflow_core.outbox import EVENTS
from trackflow_core.testing import OutboxContract

from .common import TrackflowCase


@contextmanager
def receiver(status=204):
    """A real endpoint on loopback that answers `status`; gives its address and what it saw."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append(({k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/hook", seen
    finally:
        server.shutdown()
        server.server_close()


class EndpointCase(TrackflowCase):
    def _endpoint(self, *events, **values):
        known = self.env["trackflow.webhook.event"].search([("name", "in", events or EVENTS)])
        return self.env["trackflow.webhook.endpoint"].create(
            {"url": "https://warehouse.example/hook", "event_ids": known.ids, **values}
        )

    def _held(self, endpoint):
        return self.env["trackflow.outbox.message"].search(
            [("endpoint_id", "in", endpoint.ids)], order="id"
        )


@tagged("post_install", "-at_install")
class TestOdooOutbox(EndpointCase, OutboxContract):
    def new_outbox(self):
        self.endpoint = self._endpoint("deal.attributed")
        self.target = self.endpoint._target
        return OdooOutbox(self.env)

    def now(self):
        return datetime.now(timezone.utc)

    def test_what_waits_for_the_same_is_due_when_that_is_free(self):
        outbox, now = self.new_outbox(), self.now()
        self.assertFalse(outbox.next_due())
        outbox.post([self._told(1, latest=True)])
        self.assertTrue(outbox.is_due(self.now()))
        outbox.claim(self.now(), now + timedelta(minutes=10), 10)
        outbox.post([self._told(2, latest=True)])
        self.assertFalse(outbox.is_due(self.now()))
        self.assertEqual(outbox.next_due(), (now + timedelta(minutes=10)).replace(tzinfo=None))

    def state_of(self, outbox, message):
        held = self.env["trackflow.outbox.message"].search([("message_key", "=", message.id)])
        return held.state or "", held.reason or ""

    def problems(self, outbox):
        return {self.target: self.endpoint.problem}


@tagged("post_install", "-at_install")
class TestWebhooks(EndpointCase):
    def test_every_event_can_be_chosen(self):
        known = self.env["trackflow.webhook.event"].search([])
        self.assertEqual(tuple(known.mapped("name")), EVENTS)

    def test_a_deal_reaches_its_receiver(self):
        self.env["ir.config_parameter"].set_param("trackflow.allowed_networks", "127.0.0.0/8")
        secret = self.env["trackflow.webhook.endpoint"].new_secret()
        with receiver() as (url, seen):
            endpoint = self._endpoint("deal.attributed", url=url, secret=secret)
            lead = self.env["crm.lead"].create(
                {"name": "Won", "type": "opportunity", "expected_revenue": 100}
            )
            self._deliver()
            [(headers, body)] = seen
            told = Webhook(secret).verify(body, headers)
            self.assertEqual(told["type"], "deal.attributed")
            self.assertEqual(told["data"]["value"], 10_000)
            self.assertEqual(told["data"]["deal"], f"crm.lead/{lead.id}")
            self.assertEqual(endpoint.sent_count, 1)
            build_engine(self.env).recompute([f"crm.lead/{lead.id}"])
            self._deliver()
            self.assertEqual(len(seen), 1, "what did not change is not told again")

    def test_a_receiver_that_is_gone_is_disabled_and_can_be_enabled(self):
        self.env["ir.config_parameter"].set_param("trackflow.allowed_networks", "127.0.0.0/8")
        with receiver(410) as (url, seen), mute_logger("trackflow_core.outbox"):
            endpoint = self._endpoint(url=url)
            endpoint.action_test()
            self._deliver()
            self.assertEqual(len(seen), 1)
        self.assertFalse(endpoint.active)
        self.assertIn("410", endpoint.problem)
        self.assertEqual(endpoint.dead_count, 1)
        endpoint.active = True
        self.assertFalse(endpoint.problem)
        endpoint.action_retry_dead()
        self.assertEqual(self._held(endpoint).state, "waiting")

    def test_the_job_is_not_woken_for_a_receiver_that_is_switched_off(self):
        endpoint = self._endpoint()
        endpoint.action_test()
        endpoint.active = False
        triggers = self.env["ir.cron.trigger"].search([])
        self._deliver()
        self.assertFalse(self.env["ir.cron.trigger"].search([]) - triggers)
        self.assertEqual(self._held(endpoint).state, "waiting")

    def test_private_addresses_are_not_called(self):
        with receiver() as (url, seen):
            endpoint = self._endpoint(url=url)
            endpoint.action_test()
            self._deliver()
        self.assertFalse(seen)
        held = self._held(endpoint)
        self.assertEqual(held.state, "waiting")
        self.assertIn("inside a private network", held.reason)

    def test_a_new_secret_signs_beside_the_old_one(self):
        endpoint = self._endpoint(secret="whsec_b2xkIHNlY3JldA==")
        self.assertEqual(endpoint.secret_count, 1)
        endpoint.invalidate_recordset()
        self.assertFalse(endpoint.secret)
        self.assertNotIn("b2xk", endpoint.secrets_encrypted)
        endpoint.secret = "whsec_bmV3IHNlY3JldA=="
        self.assertEqual(endpoint._secrets(), ["whsec_bmV3IHNlY3JldA==", "whsec_b2xkIHNlY3JldA=="])
        endpoint.action_drop_old_secret()
        self.assertEqual(endpoint._secrets(), ["whsec_bmV3IHNlY3JldA=="])

    def test_own_networks_may_be_called_where_settings_allow_it(self):
        settings = self.env["res.config.settings"]
        with self.assertRaises(ValidationError):
            settings.create({"trackflow_allowed_networks": "everywhere"})
        settings.create({"trackflow_allowed_networks": "10.0.0.0/8 fd00::/8"}).execute()
        courier = self.env["trackflow.outbox.message"]._courier(lambda: None)
        allowed = courier.senders["webhook"].post.allowed
        self.assertEqual([str(network) for network in allowed], ["10.0.0.0/8", "fd00::/8"])

    def told_of_links(self, endpoint):
        """What the transaction will have told at its end."""
        self.env.cr.flush()
        return [(message.event, json.loads(message.body)) for message in self._held(endpoint)]

    def test_links_that_people_make_change_and_archive_are_told(self):
        endpoint = self._endpoint("link.created", "link.changed", "link.deleted")
        links = self.env["link.tracker"].with_user(self.marketer)
        made = links.create([{"url": f"https://shop.example/{n}"} for n in range(3)])
        made[0].title = "Poster"
        told = self.told_of_links(endpoint)
        self.assertEqual([event for event, _body in told], ["link.created"] * 3)
        self.assertEqual(told[0][1]["code"], made[0].code)
        self.assertEqual(told[0][1]["title"], "Poster", "told as it was at the end")
        made[:2].trackflow_paused = True
        made[2].active = False
        told = self.told_of_links(endpoint)[3:]
        self.assertEqual(
            [(event, body["status"]) for event, body in told],
            [("link.changed", "paused")] * 2 + [("link.deleted", "archived")],
        )
        made[0].title = "Poster"
        self.assertEqual(len(self.told_of_links(endpoint)), 6, "nothing of it was news")
        code = made[1].code
        made[1].sudo().unlink()
        event, body = self.told_of_links(endpoint)[-1]
        self.assertEqual((event, body["code"]), ("link.deleted", code))

    def test_many_links_are_told_by_as_many_queries_as_few(self):
        endpoint = self._endpoint("link.changed")
        links = self.env["link.tracker"].create(
            [{"url": f"https://shop.example/{n}"} for n in range(45)]
        )
        self.env.cr.flush()
        counts = []
        for number, some in enumerate((links[:2], links[2:5], links[5:])):
            some.trackflow_term = f"shoes {number}"
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            self.env.cr.flush()
            counts.append(self.env.cr.sql_log_count - before)
        self.assertEqual(len(self._held(endpoint)), 45)
        self.assertEqual(counts[1], counts[2])

    def test_links_that_nobody_wants_to_know_of_cost_nothing(self):
        self._endpoint("link.created")
        self.links._trackflow_is_wanted("link.changed")
        with self.assertQueryCount(0):
            self.links._trackflow_changed("link.changed")
        self.assertFalse(self.env.cr.precommit.data.get("trackflow.links"))

    def test_an_endpoint_has_a_secret_an_address_and_events(self):
        self.assertEqual(self._endpoint().secret_count, 1)
        with self.assertRaises(ValidationError):
            self._endpoint(url="ftp://warehouse.example")
        with self.assertRaises(ValidationError):
            self._endpoint(event_ids=False)

    def test_what_was_sent_long_ago_is_removed(self):
        endpoint = self._endpoint()
        endpoint.action_test()
        outbox = OdooOutbox(self.env)
        now = datetime.now(timezone.utc)
        [message] = outbox.claim(now + timedelta(seconds=1), now + timedelta(minutes=1), 9)
        outbox.sent(message, now - timedelta(days=31))
        self.env["trackflow.outbox.message"]._gc_sent()
        self.assertFalse(self._held(endpoint))

    def test_many_messages_forget_a_visitor_by_as_many_queries_as_few(self):
        endpoint = self._endpoint("deal.attributed")
        outbox = OdooOutbox(self.env)
        body = '{"visitor_ids":["v_1"]}'
        for number in (1, 30):
            outbox.post(
                [
                    Outgoing(endpoint._target, "deal.attributed", f"crm/{number}/{deal}", body)
                    for deal in range(number)
                ]
            )
            with self.assertQueryCount(2):
                outbox.forget(["v_1"])
        self.assertEqual({*self._held(endpoint).mapped("body")}, {'{"visitor_ids":[]}'})

    @users("tf_salesman", "tf_marketer")
    def test_managers_alone_see_endpoints(self):
        for model in ("trackflow.webhook.endpoint", "trackflow.outbox.message"):
            with self.assertRaises(AccessError):
                self.env[model].search([])

    def test_no_subscriber_costs_no_query(self):
        outbox = OdooOutbox(self.env)
        outbox.subscriptions()
        with self.assertQueryCount(0):
            outbox.subscriptions()
            outbox.post([])

    def test_the_data_is_json(self):
        endpoint = self._endpoint()
        endpoint.action_test()
        self.assertIn("message", json.loads(self._held(endpoint).body))

    def _deliver(self):
        # The job commits between messages; here the test's transaction stays open.
        with patch.object(
            self.env.registry["ir.cron"],
            "_commit_progress",
            lambda cron, processed=0, **kwargs: float("inf"),
        ):
            self.env["trackflow.outbox.message"]._cron_deliver()
        self.env.invalidate_all()
