import json
from datetime import datetime, timedelta, timezone
from unittest.mock import patch

from odoo import fields
from odoo.addons.trackflow import receiving
from odoo.addons.trackflow.keys import visitor_keys
from odoo.addons.trackflow.receiving import peer
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import Form, HttpCase, new_test_user, tagged
from odoo.tools import config, mute_logger

from trackflow_core.errors import ConfigError
from trackflow_core.tracking.identity import new_visitor_id, sign_cookie
from trackflow_webhook import new_secret, sign

from .common import TrackflowCase

RECEIVING = "odoo.addons.trackflow.receiving"


class WebhookCase(TrackflowCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.secret = new_secret()
        cls.env.company.currency_id = cls.env.ref("base.EUR")
        cls.connector = cls.env["trackflow.connector"].create(
            {"name": "Shop", "connector": "webhook", "instance": "shop", "secret": cls.secret}
        )
        cls.admin = new_test_user(
            cls.env, login="tf_admin", groups="base.group_system,trackflow.group_trackflow_manager"
        )

    def events(self):
        self.env.invalidate_all()
        return self.env["trackflow.connector.event"].search(
            [("connector_id", "=", self.connector.id)]
        )

    def run_job(self):
        with patch.object(
            self.env.registry["ir.cron"],
            "_commit_progress",
            lambda cron, processed=0, **kwargs: float("inf"),
        ):
            self.env["trackflow.connector.event"]._cron_process_events()

    def body(self, kind, days_ago, **data):
        moment = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(days=days_ago)
        return {"type": kind, "timestamp": moment.isoformat(), "data": data}

    def story(self, visitor, lead="17", deal="17", value="250.00"):
        """A lead with its visitor's token, its deal, and the deal won."""
        shared = {"id": deal, "lead_id": lead, "currency": "EUR", "value": value}
        return {
            f"evt_lead_{lead}": self.body(
                "lead.created",
                0,
                id=lead,
                name="Web enquiry",
                email="anna@example.com",
                visitor_token=self.token(visitor),
            ),
            f"evt_deal_{deal}": self.body("deal.created", 0, **shared),
            f"evt_won_{deal}": {
                **self.body("deal.won", 0, **shared),
                "timestamp": (datetime.now(timezone.utc) + timedelta(seconds=1)).isoformat(),
            },
        }

    def lead(self, **domain):
        return (
            self.env["crm.lead"]
            .with_context(active_test=False)
            .search([(field, "=", value) for field, value in domain.items()])
        )


@tagged("post_install", "-at_install")
class TestWebhook(WebhookCase, HttpCase):
    def post(self, body, event_id="evt_1", secret=None, now=None, path="webhook/shop", **headers):
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        signed = sign(raw, secret or self.secret, event_id, now or datetime.now(timezone.utc))
        return self.url_open(
            f"/trackflow/hooks/{path}",
            data=raw,
            headers={"Content-Type": "application/json", **signed, **headers},
        )

    def test_a_signed_story_gives_the_credits_of_the_same_story_in_odoo(self):
        visitor = self.journey()
        for event_id, body in self.story(visitor).items():
            answer = self.post(body, event_id)
            self.assertEqual((answer.status_code, answer.json()), (202, {"status": "accepted"}))
        self.run_job()
        self.assertEqual(set(self.events().mapped("state")), {"done"})
        told = self.lead(trackflow_deal_ref="webhook/shop/17")
        own = self.opportunity(visitor, expected_revenue=250.0, company_id=self.env.company.id)
        own.action_set_won()
        self.assertEqual(told.won_status, "won")
        self.assertEqual(self.credits(told), [83.34, 83.33, 83.33])
        self.assertEqual(self.credits(told), self.credits(own))
        for field in ("channel", "link_id", "click_id", "position", "campaign_id", "deal_status"):
            self.assertEqual(
                [row[field] for row in told.trackflow_attribution_ids.sorted("sequence")],
                [row[field] for row in own.trackflow_attribution_ids.sorted("sequence")],
                field,
            )
        self.assertEqual(told.trackflow_lead_ref, "webhook/shop/17")
        self.assertEqual(told.email_from, "anna@example.com")

    def test_a_cookie_joins_a_lead_to_its_visitor(self):
        visitor = self.journey()
        cookie = sign_cookie(visitor, visitor_keys(self.env))
        self.post(self.body("lead.created", 0, id="20", name="Asks", visitor_cookie=cookie))
        self.run_job()
        self.assertEqual(self.lead(trackflow_lead_ref="webhook/shop/20").trackflow_touch_count, 3)
        self.assertFalse(self.events().error_message)

    def test_an_event_says_why_its_lead_has_no_visitor(self):
        self.post(
            self.body(
                "lead.created", 0, id="21", name="Asks", visitor_token="t.x", visitor_cookie="c.x"
            )
        )
        with mute_logger("trackflow_core.engine"):
            self.run_job()
        self.assertEqual(self.events().state, "done")
        self.assertIn("no visitor by its token", self.events().error_message)
        self.assertIn("no visitor by its cookie", self.events().error_message)
        self.assertFalse(self.lead(trackflow_lead_ref="webhook/shop/21").trackflow_visitor_id)

    def test_a_job_that_was_just_called_is_not_called_again(self):
        job = self.env.ref("trackflow.ir_cron_process_events")

        def calls():
            return self.env["ir.cron.trigger"].search_count([("cron_id", "=", job.id)])

        before = calls()
        for number in (1, 2, 2, 3):
            self.post(self.body("lead.created", 0, id=str(number)), f"evt_{number}")
        self.assertEqual((len(self.events()), calls()), (3, before + 1))
        for event in self.events():
            event.received_at -= timedelta(seconds=3)
        self.env.flush_all()
        self.post(self.body("lead.created", 0, id="4"), "evt_4")
        self.assertEqual(calls(), before + 2, "a call may have been lost")

    def test_a_delivery_counts_once(self):
        visitor = self.journey()
        for _time in range(2):
            for event_id, body in self.story(visitor).items():
                self.assertEqual(self.post(body, event_id).status_code, 202)
            self.run_job()
        self.assertEqual(len(self.events()), 3)
        self.assertEqual(len(self.lead(trackflow_deal_ref="webhook/shop/17")), 1)
        self.assertEqual(
            self.credits(self.lead(trackflow_deal_ref="webhook/shop/17")), [83.34, 83.33, 83.33]
        )

    @mute_logger(RECEIVING)
    def test_what_is_not_authentic_is_refused(self):
        body = self.body("lead.created", 0, id="1")
        now = datetime.now(timezone.utc)
        answers = [
            self.post(body, secret=new_secret()),
            self.post(body, now=now - timedelta(minutes=6)),
            self.post(body, now=now + timedelta(minutes=6)),
            self.post(body, path="webhook/nobody"),
            self.post(body, path="nobody/shop"),
            self.post(body, path="odoo/shop"),
            self.post(b"[]"),
            self.url_open(
                "/trackflow/hooks/webhook/shop",
                data=b"\xff",
                headers=dict(sign(b"{}", self.secret, "evt", now)),
            ),
            self.url_open("/trackflow/hooks/webhook/shop", data=b"{}"),
            self.url_open("/trackflow/hooks/webhook/shop", data=b"", method="POST"),
            self.post(body, **{"webhook-signature": "v1,\xff"}),
        ]
        for answer in answers:
            self.assertEqual(answer.status_code, 401)
            self.assertEqual(answer.headers["Content-Type"], "application/problem+json")
            self.assertEqual(answer.headers["Cache-Control"], "no-store")
            self.assertEqual(answer.headers["X-Content-Type-Options"], "nosniff")
            self.assertEqual(answer.json()["detail"], "The request could not be authenticated.")
        self.assertFalse(self.events())

    @mute_logger(RECEIVING)
    def test_a_connector_that_is_switched_off_refuses(self):
        self.connector.active = False
        self.assertEqual(self.post(self.body("lead.created", 0, id="1")).status_code, 401)

    @mute_logger(RECEIVING)
    def test_what_cannot_be_checked_yet_is_to_be_sent_again(self):
        body = self.body("lead.created", 0, id="1")
        self.connector.secret_encrypted = False
        answer = self.post(body)
        self.assertEqual(answer.status_code, 503)
        self.assertEqual(answer.headers["Retry-After"], "60")
        self.assertEqual(answer.headers["Content-Type"], "application/problem+json")
        self.assertEqual(answer.json()["title"], "Service Unavailable")
        self.assertIn("send this again", answer.json()["detail"])
        self.connector.secret = self.secret
        self.assertEqual(self.post(body).status_code, 202)
        self.assertEqual(len(self.events()), 1)

    @mute_logger(RECEIVING)
    def test_a_renewed_secret_and_the_one_before_are_accepted_until_a_date(self):
        body, renewed = self.body("lead.created", 0, id="1"), new_secret()
        self.connector.with_user(self.admin).secret = renewed
        week = fields.Datetime.now() + timedelta(days=7)
        self.assertAlmostEqual(self.connector.former_secret_until, week, delta=timedelta(minutes=1))

        def answers():
            self.env.flush_all()
            return [self.post(body, secret=one).status_code for one in (renewed, self.secret)]

        self.assertEqual(answers(), [202, 202])
        self.connector.former_secret_until = fields.Datetime.now() - timedelta(seconds=1)
        self.assertEqual(answers(), [202, 401])
        self.connector.action_remove_secret()
        self.assertEqual(answers(), [503, 503])

    @mute_logger(RECEIVING)
    def test_a_certificate_is_believed_from_a_trusted_proxy_alone(self):
        fingerprint = "ab" * 32
        self.connector.write(
            {
                "secret": fingerprint,
                "settings": {"verification": "mtls", "header": "x-client-fingerprint"},
            }
        )
        self.env.flush_all()
        body = json.dumps(self.body("lead.created", 0, id="1", name="Asks"))

        def post():
            return self.url_open(
                "/trackflow/hooks/webhook/shop",
                data=body,
                headers={"Content-Type": "application/json", "x-client-fingerprint": fingerprint},
            ).status_code

        self.assertEqual(post(), 401)
        for proxies, status in (("192.0.2.0/24", 401), ("192.0.2.0/24, 127.0.0.1", 202)):
            with patch.dict(config.options, {"trackflow_trusted_proxies": proxies}):
                self.assertEqual(post(), status)
        self.assertEqual(len(self.events()), 1)

    def test_the_peer_is_who_is_connected_whatever_is_forwarded(self):
        behind = {"REMOTE_ADDR": "203.0.113.9"}
        self.assertEqual(peer(behind), "203.0.113.9")
        behind["werkzeug.proxy_fix.orig"] = {"REMOTE_ADDR": "10.0.0.2"}
        self.assertEqual(peer(behind), "10.0.0.2")

    def test_another_company_s_connector_takes_its_own_calls(self):
        other = self.env["res.company"].create({"name": "Elsewhere"})
        secret = new_secret()
        connector = self.env["trackflow.connector"].create(
            {
                "name": "Elsewhere",
                "connector": "webhook",
                "instance": "elsewhere",
                "secret": secret,
                "company_id": other.id,
            }
        )
        self.env.flush_all()
        body = self.body("lead.created", 0, id="1", name="Asks")
        with mute_logger(RECEIVING):
            self.assertEqual(self.post(body, path="webhook/elsewhere").status_code, 401)
        self.assertEqual(self.post(body, path="webhook/elsewhere", secret=secret).status_code, 202)
        self.env.invalidate_all()
        self.assertEqual(connector.event_count, 1)
        self.assertFalse(self.events())

    def test_a_body_that_is_too_long_is_refused(self):
        too_long = json.dumps({"data": "x" * receiving.MAX_BODY}).encode()
        self.assertEqual(self.post(too_long).status_code, 413)
        with mute_logger(RECEIVING):
            # Longer than a signed delivery of this kind may be.
            self.assertEqual(self.post(too_long[: receiving.MAX_BODY]).status_code, 401)
        self.assertFalse(self.events())

    def test_only_post_is_answered(self):
        self.assertEqual(self.url_open("/trackflow/hooks/webhook/shop").status_code, 405)


@tagged("post_install", "-at_install")
class TestConnectorEvents(WebhookCase):
    def receive(self, bodies):
        for event_id, body in bodies:
            self.env["trackflow.connector.event"].create(
                {
                    "connector_id": self.connector.id,
                    "event_id": event_id,
                    "received_at": datetime.now(),
                    "payload": json.dumps({**body, "webhook_id": event_id}),
                }
            )
        self.run_job()

    def test_an_event_names_its_type_and_opens_its_lead(self):
        visitor = self.journey()
        self.receive(self.story(visitor).items())
        deal = self.lead(trackflow_deal_ref="webhook/shop/17")
        self.assertEqual(
            sorted(self.events().mapped("event_type")), ["deal.created", "deal.won", "lead.created"]
        )
        for event in self.events().with_user(self.manager):
            self.assertEqual(event.action_open_lead()["res_id"], deal.id)
        deal.unlink()
        with self.assertRaises(UserError):
            self.events()[0].action_open_lead()
        self.events().payload = "[]"
        self.assertEqual(self.events()[0].event_type, "deal", "what it told")

    def test_the_order_of_arrival_leaves_no_trace(self):
        visitor = self.journey()
        for number, order in enumerate(((0, 1, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1))):
            ref = f"{number}"
            told = list(self.story(visitor, lead=ref, deal=ref).items())
            for place in order:
                self.receive([told[place]])
            record = self.lead(trackflow_deal_ref=f"webhook/shop/{ref}")
            with self.subTest(order=order):
                self.assertEqual(record.won_status, "won")
                self.assertEqual(record.trackflow_lead_ref, f"webhook/shop/{ref}")
                self.assertEqual(record.email_from, "anna@example.com")
                self.assertEqual(self.credits(record), [83.34, 83.33, 83.33])
                self.assertEqual(record.trackflow_touch_count, 3)

    def test_a_lead_may_have_several_deals(self):
        visitor = self.journey()
        told = self.story(visitor, lead="1", deal="1")
        told.update(self.story(visitor, lead="1", deal="2", value="10.00"))
        self.receive(told.items())
        first = self.lead(trackflow_deal_ref="webhook/shop/1")
        second = self.lead(trackflow_deal_ref="webhook/shop/2")
        self.assertEqual(second.trackflow_origin_id, first)
        self.assertEqual(self.credits(first), [83.34, 83.33, 83.33])
        self.assertEqual(self.credits(second), [3.34, 3.33, 3.33])

    def test_another_currency_is_converted(self):
        dollar = self.env.ref("base.USD")
        dollar.active = True
        dollar.rate_ids.unlink()
        self.env["res.currency.rate"].create(
            {"currency_id": dollar.id, "name": "2020-01-01", "rate": 2.0}
        )
        body = self.body("deal.created", 1, id="9", lead_id="9", value="10.00", currency="USD")
        self.receive([("evt", body)])
        record = self.lead(trackflow_deal_ref="webhook/shop/9")
        self.assertEqual(record.expected_revenue, 5.0)
        self.assertEqual(self.credits(record), [5.0])

    def test_an_event_that_cannot_be_understood_is_set_aside(self):
        good = self.body("lead.created", 0, id="1", name="Good")
        self.receive(
            [
                ("a", self.body("lead.created", 0)),
                ("b", self.body("deal.won", 0, id="2", lead_id="2", value="1", currency="XXQ")),
                ("c", good),
            ]
        )
        states = {event.event_id: event for event in self.events()}
        self.assertEqual(states["a"].state, "failed")
        self.assertIn("data.id", states["a"].error_message)
        self.assertEqual(states["b"].state, "failed")
        self.assertIn("XXQ", states["b"].error_message)
        self.assertEqual(states["c"].state, "done")
        self.assertEqual(self.lead(trackflow_lead_ref="webhook/shop/1").name, "Good")
        self.assertFalse(self.lead(trackflow_deal_ref="webhook/shop/2"))
        states["b"].with_user(self.manager).action_retry()
        self.assertEqual(states["b"].state, "queued")
        self.run_job()
        self.assertEqual((states["b"].state, states["b"].attempts), ("failed", 2))

    @mute_logger("odoo.addons.trackflow.guard")
    def test_a_failure_of_ours_sets_only_its_event_aside(self):
        create = type(self.env["crm.lead"]).create

        def fail(leads, vals_list):
            if vals_list[0].get("name") == "Bad":
                raise RuntimeError("broken")
            return create(leads, vals_list)

        with patch.object(self.env.registry["crm.lead"], "create", fail):
            self.receive(
                [
                    ("a", self.body("lead.created", 0, id="1", name="Bad")),
                    ("b", self.body("lead.created", 0, id="2", name="Good")),
                ]
            )
        self.assertEqual(self.events().sorted("id").mapped("state"), ["failed", "done"])

    def test_lost_and_reopened(self):
        shared = {"id": "5", "lead_id": "5", "currency": "EUR", "value": "30.00"}
        self.receive([("a", self.body("deal.created", 9, **shared))])
        record = self.lead(trackflow_deal_ref="webhook/shop/5")
        self.receive([("b", self.body("deal.lost", 8, **shared))])
        self.assertEqual((record.won_status, record.active), ("lost", False))
        self.assertEqual(record.trackflow_attribution_ids.deal_status, "lost")
        self.receive([("c", self.body("deal.updated", 7, **shared))])
        self.assertEqual((record.won_status, record.active), ("pending", True))
        self.receive([("d", self.body("deal.won", 6, **shared))])
        self.assertEqual(record.won_status, "won")
        self.receive([("e", self.body("deal.lost", 5, **shared))])
        self.assertEqual(record.won_status, "lost")
        self.receive([("f", self.body("deal.won", 8.5, **{**shared, "value": "99.00"}))])
        self.assertEqual(record.won_status, "lost")
        self.assertEqual(self.credits(record), [30.0])

    def test_what_is_told_of_a_merged_lead_reaches_the_winner(self):
        anna, ben = self.journey(1), self.journey(1)
        told = self.story(anna, lead="1", deal="1")
        told.update(self.story(ben, lead="2", deal="2", value="40.00"))
        self.receive((k, v) for k, v in told.items() if "won" not in k)
        both = self.lead(trackflow_deal_ref="webhook/shop/1") | self.lead(
            trackflow_deal_ref="webhook/shop/2"
        )
        winner = both.merge_opportunity()
        value = winner.expected_revenue
        self.assertEqual(len(self.credits(winner)), 2)
        self.receive((k, v) for k, v in told.items() if "won" in k)
        self.assertEqual(winner.won_status, "won")
        self.assertEqual(winner.expected_revenue, value)
        self.assertEqual(
            self.lead(trackflow_deal_ref="webhook/shop/1")
            | self.lead(trackflow_deal_ref="webhook/shop/2"),
            winner,
        )
        carol = new_visitor_id()
        self.click(carol, 3)
        again = {**told["evt_lead_2"], "data": {**told["evt_lead_2"]["data"]}}
        again["data"]["visitor_token"] = self.token(carol)
        self.receive([("later", again)])
        self.assertEqual(len(winner.trackflow_visitor_ids), 3)
        self.assertEqual(len(self.credits(winner)), 3)

    # -- the connector's own record --------------------------------------------------------

    def test_the_secret_is_write_only(self):
        self.assertFalse(self.connector.secret)
        self.assertTrue(self.connector.has_secret)
        self.assertNotIn(self.secret, self.connector.secret_encrypted)
        self.assertEqual(self.connector._secrets(), (self.secret,))
        self.assertFalse(self.connector.copy({"instance": "other"}).has_secret)
        manager = self.connector.with_user(self.manager)
        self.assertTrue(manager.has_secret)
        with self.assertRaises(AccessError):
            manager.read(["secret_encrypted"])
        self.env["ir.config_parameter"].set_param("database.secret", "another installation")
        with self.assertRaises(ConfigError):
            self.connector._secrets()

    def test_a_secret_is_renewed_by_administrators(self):
        first, second, third = self.secret, new_secret(), new_secret()
        admin, manager = (self.connector.with_user(user) for user in (self.admin, self.manager))
        with Form(admin) as form:
            form.secret = second
            self.assertGreater(form.former_secret_until, fields.Datetime.now())
        self.assertEqual(self.connector._secrets(), (second, first))
        admin.secret = second
        self.assertEqual(self.connector._secrets(), (second, first), "that is the same secret")
        for call in (manager.action_end_former_secret, manager.action_remove_secret):
            with self.assertRaises(AccessError):
                call()
        self.assertTrue(manager.has_former_secret)
        for field in ("former_secret_encrypted", "former_secret_until"):
            with self.assertRaises(AccessError):
                manager.read([field])
        self.assertNotIn(first, self.connector.former_secret_encrypted)
        admin.write({"secret": third, "former_secret_until": False})
        self.assertEqual(self.connector._secrets(), (third,), "there was no time between")
        admin.secret = first
        admin.action_end_former_secret()
        self.assertEqual(self.connector._secrets(), (first,))
        admin.secret = second
        self.connector.former_secret_until = fields.Datetime.now() - timedelta(seconds=1)
        self.assertFalse(self.connector.has_former_secret)
        self.env["trackflow.connector"]._gc_former_secrets()
        self.assertFalse(self.connector.former_secret_encrypted)
        admin.secret = third
        admin.action_remove_secret()
        self.assertEqual(self.connector._secrets(), ())
        self.assertFalse(self.connector.has_secret)
        admin.secret = first
        self.assertEqual(self.connector._secrets(), (first,), "what was removed stays so")

    def test_an_optional_secret_can_be_removed(self):
        admin, secret = self.connector.with_user(self.admin), new_secret()
        url = "https://crm.example/hook"
        admin.settings = {"write_back_url": url, "write_back_secret": secret}
        self.assertEqual(self.connector._configuration().write_back_secret, secret)
        with self.assertRaisesRegex(ValidationError, "Write-back Secret is missing"):
            admin.settings = {"write_back_url": url, "write_back_secret": None}
        admin.settings = {"write_back_secret": None}
        self.assertFalse(self.connector._configuration().write_back_secret)
        self.assertFalse(self.connector.option_values)
        with self.assertRaises(AccessError):
            self.connector.with_user(self.manager).settings = {"write_back_secret": None}

    def test_an_instance_is_a_slug(self):
        for instance in ("Shop", "a b", "", "-x", "a/b", "x" * 70):
            with self.assertRaises(ValidationError):
                self.connector.instance = instance
        self.assertTrue(self.connector.webhook_url.endswith("/trackflow/hooks/webhook/shop"))
