import json
import threading
from datetime import datetime, timezone
from unittest.mock import patch

from odoo import modules
from odoo.addons.trackflow import request_log
from odoo.addons.trackflow.catalog import OdooCatalog
from odoo.addons.trackflow.controllers.api import Host
from odoo.addons.trackflow.engine import build_engine, plugin_hooks
from odoo.addons.trackflow.store.values import naive
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import HttpCase, new_test_user, tagged

from trackflow_core.api import keys
from trackflow_core.api.app import Api, ApiSettings
from trackflow_core.api.messages import Request
from trackflow_core.api.storage import LoggedRequest
from trackflow_core.testing import ApiContract

from .common import TrackflowCase

ALL = (
    "trackflow.group_trackflow_manager,sales_team.group_sale_salesman_all_leads,"
    "base.group_partner_manager"
)


class ApiCase(ApiContract, HttpCase):
    """Real requests to Odoo, with keys of a user who is no administrator."""

    allow_inherited_tests_method = True

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env["res.company"].search([]).trackflow_attribution_model_id = cls.env.ref(
            "trackflow.attribution_model_linear"
        )
        cls.user = new_test_user(cls.env, login="tf_integrator", groups=ALL)
        cls.currency = cls.env.company.currency_id.name

    @property
    def host_url(self):
        return self.base_url()

    def new_key(self, scopes=keys.SCOPES, user=None, **options):
        issued = keys.issue("Test", scopes, datetime.now(timezone.utc), **options)
        OdooCatalog(self.env(user=user or self.user)).create([issued.key])
        self.env.flush_all()
        return issued.token

    def revoke(self, token):
        self._key(token).action_revoke()
        self.env.flush_all()

    def _key(self, token):
        return self.env["trackflow.api.key"].search([("key_prefix", "=", token.split("_")[1])])

    def visit(self, clicks):
        engine = build_engine(self.env)
        engine.record_events(list(clicks))
        engine.process_clicks()
        self.env.flush_all()

    def send(self, method, path, body=None, *, token=None, headers=None):
        token = self.token if token is None else token
        with self.allow_requests():
            cookie = {"Cookie": f"test_request_key={self.http_request_key}"}
            reply = super().send(
                method, path, body, token=token, headers={**(headers or {}), **cookie}
            )
            # The log is written once the answer is on its way.
            self._wait_remaining_requests()
        self.env.invalidate_all()
        return reply


@tagged("post_install", "-at_install")
class TestApi(ApiCase):
    """The API behaves in Odoo as in every host."""


@tagged("post_install", "-at_install")
class TestApiInOdoo(ApiCase):
    """What is Odoo's own: rights, the log, the screens' buttons."""

    def test_a_key_may_do_what_its_user_may_do(self):
        seller = new_test_user(
            self.env, login="tf_api_seller", groups="sales_team.group_sale_salesman"
        )
        token = self.new_key(user=seller)
        self.refused(self.send("GET", "/visitors", token=token), 403)
        body = {"destination": "https://shop.example/seller"}
        self.refused(self.send("POST", "/links", body, token=token), 403)
        self.assertEqual(self.send("GET", "/leads", token=token).status, 200)
        others = self.env["crm.lead"].create(
            {"name": "Not the seller's", "type": "opportunity", "user_id": self.user.id}
        )
        path = f"/deals/crm.lead/{others.id}"
        self.refused(self.send("GET", path, token=token), 404)
        self.assertEqual(self.send("GET", path).status, 200)

    def test_a_user_who_left_leaves_no_key_behind(self):
        token = self.new_key()
        self.user.active = False
        self.refused(self.send("GET", "/links", token=token), 401)

    def test_requests_are_logged_and_counted(self):
        token = self.token
        self.send("PUT", "/leads/L-1", {"name": "Anna Ash", "email": "anna@mail.example"})
        key = self._key(token)
        [entry] = self.env["trackflow.api.request.log"].search([("key_id", "=", key.id)])
        self.assertEqual(
            (entry.method, entry.endpoint, entry.response_code),
            ("PUT", "/trackflow/api/v1/leads/L-1", 201),
        )
        self.assertNotIn("Anna", entry.request_data + entry.response_data)
        self.assertEqual(entry.ip_address, "127.0.0.0")
        self.assertEqual(key.usage_count, 1)
        self.assertTrue(key.last_used)

    def test_a_repeated_request_keeps_its_answer_for_the_database_only(self):
        self.send(
            "POST",
            "/campaigns",
            {"name": self.name()},
            headers={"Idempotency-Key": self.name()},
        )
        answer = self.env["trackflow.api.answer"].search([], order="id desc", limit=1)
        self.assertEqual(answer.status, 201)
        manager = answer.with_user(self.user)
        with self.assertRaises(AccessError):
            manager.read(["body"])


@tagged("post_install", "-at_install")
class TestApiQueries(TrackflowCase):
    """What a request costs in the database; Odoo's own `/json/2` runs 4, 5 and 11 queries."""

    def ask(self, method, path, body, queries):
        received = Request(
            method=method,
            path=path,
            headers={
                "authorization": f"Bearer {self.token}",
                "content-type": "application/json",
            },
            body=json.dumps(body).encode() if body else b"",
            peer="192.0.2.1",
            base_url="https://odoo.example",
        )
        self.env.flush_all()
        self.env.invalidate_all()
        before = self.env.cr.sql_log_count
        host = Host(self.env(su=True))
        api = Api(plugin_hooks(self.env), ApiSettings(hourly_limit=0))
        answered = api.handle(received, host, datetime.now(timezone.utc))
        self.env.flush_all()
        self.assertLessEqual(self.env.cr.sql_log_count - before, queries, f"{method} {path}")
        self.assertLess(answered.response.status, 300, answered.response.body)
        return json.loads(answered.response.body)

    def test_links_are_read_changed_and_made_with_few_queries(self):
        issued = keys.issue("Test", keys.SCOPES, datetime.now(timezone.utc))
        OdooCatalog(self.env(user=self.manager)).create([issued.key])
        self.token = issued.token
        link = {"destination": "https://shop.example/few", "title": "Offer"}
        words = {"source": "google", "medium": "cpc", "content": "blue"}
        made = self.ask("POST", "/links", {**link, **words}, 1000)
        path = f"/links/{made['code']}"
        self.ask("PATCH", path, {"title": "Good"}, 1000)
        # By now what belongs to the process is cached. Two queries are those of Odoo's website,
        # which has a say in the short URL.
        self.ask("POST", "/links", {**link, "title": "Other"}, 11)
        changed = self.ask("PATCH", path, {"title": "Better"}, 6)
        self.assertEqual(changed, {**made, "title": "Better"})
        self.assertEqual(self.ask("GET", path, None, 5), changed)


@tagged("post_install", "-at_install")
class TestApiRequestLog(TrackflowCase):
    def test_requests_of_many_keys_are_written_together(self):
        now = datetime.now(timezone.utc).replace(microsecond=0)
        issued = [keys.issue(name, keys.SCOPES, now).key for name in ("One", "Other")]
        OdooCatalog(self.env).create(issued)
        known = self.env["trackflow.api.key"].search(
            [("key_prefix", "in", [key.id for key in issued])]
        )
        before = self.env["trackflow.api.request.log"].search_count([])
        entries = [
            LoggedRequest(now, "GET", f"/{number}", 200, 1, key, "192.0.2.0", kept=number < 4)
            for number, key in enumerate(
                (issued[0].id, issued[1].id, issued[0].id, "", issued[0].id)
            )
        ]
        with self.assertQueryCount(1):
            self.env["trackflow.api.request.log"]._log(entries)
        logged = self.env["trackflow.api.request.log"].search([], order="id")[before:]
        self.assertEqual(logged.mapped("endpoint"), ["/0", "/1", "/2", "/3"])
        self.assertEqual(
            {key.name: (key.usage_count, key.last_used) for key in known},
            {"One": (3, naive(now)), "Other": (1, naive(now))},
        )


@tagged("post_install", "-at_install")
class TestApiKeys(TrackflowCase):
    def test_a_key_is_issued_changed_and_revoked(self):
        key = (
            self.env["trackflow.api.key"]
            .with_user(self.manager)
            .create(
                {
                    "name": "Web shop",
                    "permission_ids": [(0, 0, {"permission_type": "links:read"})],
                    "ip_whitelist_ids": [
                        (0, 0, {"ip_address": "192.0.2.0/24", "description": "Office"})
                    ],
                }
            )
        )
        self.assertEqual((key.state, key.user_id), ("draft", self.manager))
        token = key.action_issue()["context"]["default_token"]
        self.assertTrue(token.startswith(f"tf_{key.key_prefix}_"))
        self.assertEqual(key.state, "active")
        self.assertTrue(key.created_at)
        with self.assertRaises(UserError):
            key.action_issue()
        changed = key.action_rotate()["context"]["default_token"]
        self.assertEqual(key.state, "rotating")
        self.assertNotEqual(changed, token)
        catalog, now = OdooCatalog(self.env), datetime.now(timezone.utc)
        for one in (token, changed):
            found = keys.authenticate(catalog, f"Bearer {one}", "192.0.2.9", now)
            self.assertEqual(found.id, key.key_prefix)
        key.action_revoke()
        self.assertEqual(key.state, "revoked")
        with self.assertRaises(UserError):
            key.action_rotate()
        secret = token.split("_")[2]
        self.assertNotIn(secret, str(key.sudo().read()))

    def test_a_key_that_may_do_nothing_is_not_issued(self):
        key = self.env["trackflow.api.key"].create({"name": "Web shop"})
        with self.assertRaisesRegex(UserError, "each thing that the key may do"):
            key.action_issue()
        self.assertEqual(key.state, "draft")

    def test_nobody_reads_a_hash(self):
        key = self.env["trackflow.api.key"].with_user(self.manager).create({"name": "Ours"})
        with self.assertRaises(AccessError):
            key.read(["key_hash"])

    def test_nobody_gets_the_rights_of_somebody_else(self):
        model = self.env["trackflow.api.key"].with_user(self.manager)
        with self.assertRaises(UserError):
            model.create({"name": "Theirs", "user_id": self.salesman.id})
        own = model.create({"name": "Ours"})
        with self.assertRaises(UserError):
            own.user_id = self.salesman
            self.env.flush_all()
        theirs = self.env["trackflow.api.key"].create({"name": "Admin's"})
        self.assertNotIn(theirs, model.search([]))

    def test_what_is_no_network_is_refused(self):
        key = self.env["trackflow.api.key"].with_user(self.manager).create({"name": "Ours"})
        with self.assertRaises(ValidationError):
            key.ip_whitelist_ids = [(0, 0, {"ip_address": "everywhere"})]

    def test_requests_of_a_moment_are_written_together_after_their_answers(self):
        written = []
        with (
            patch.object(modules.module, "current_test", False),
            patch.object(request_log, "_SECONDS", 0.2),
            patch.object(request_log, "_write", lambda *told: written.append(told)),
        ):
            for database, entry in (("one", 1), ("other", 2), ("one", 3)):
                request_log.keep(database, entry)
            self.assertFalse(written)
            self._wait_for_the_log()
            request_log.keep("one", 4)
            self._wait_for_the_log()
        self.assertEqual(sorted(written), [("one", [1, 3]), ("one", [4]), ("other", [2])])

    def _wait_for_the_log(self):
        timers = [each for each in threading.enumerate() if isinstance(each, threading.Timer)]
        self.assertTrue(timers)
        for each in timers:
            self.assertFalse(each.daemon, "It would be cut off when its process ends.")
            each.join(10)
