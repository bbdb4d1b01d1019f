"""What is answered in front of Odoo's dispatch is what Odoo's controllers answer."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from functools import partial
from unittest.mock import patch

import psycopg2
from odoo import SUPERUSER_ID, api, http
from odoo.addons.trackflow import front
from odoo.tests import TransactionCase, tagged
from odoo.tools import SQL, mute_logger

from trackflow_core.errors import InvalidEvent
from trackflow_core.ports import IncomingRequest
from trackflow_core.tracking.consent import Consent
from trackflow_webhook import new_secret, sign

from . import test_redirect, test_webhook

# The front's own connections would not see what a test has not committed.


class _TestMemory(front.Memory):
    """Remembers nothing and works in the test's transaction."""

    def __init__(self, database):
        super().__init__(database)
        self.kept = 0

    def _is_settled(self):
        self._forget()
        return True

    def _execute(self, statement):
        with self._environment() as env:
            env.cr.execute(statement)
            returned = env.cr.fetchall() if env.cr.description else []
        self.kept += 1
        return returned


@contextmanager
def in_front(database):
    """Odoo with the front before it; gives the memory."""
    memory = _TestMemory(database)
    # The test's server holds the application itself, so its method gives way.
    before = front.Front(partial(http.Application.__call__, http.root))
    before._memories[database] = memory
    with patch.object(http.Application, "__call__", lambda _self, *args: before(*args)):
        yield memory


@tagged("post_install", "-at_install")
class TestFront(test_redirect.TestRedirect):
    """Everything that is promised of redirects holds in front of the dispatch."""

    def setUp(self):
        super().setUp()
        self.memory = self.enterContext(in_front(self.env.cr.dbname))

    def test_an_ordinary_click_never_reaches_odoo(self):
        with patch.object(http.Request, "_serve_db", side_effect=AssertionError("in Odoo")):
            answer = self.click()
        self.assertEqual(answer.status_code, 302)
        self.assertEqual(answer.headers["X-Content-Type-Options"], "nosniff")
        self.assertEqual(self.memory.kept, 1)
        self.assertEqual(len(self.queued()), 1)

    def test_where_optional_cookies_are_refused_there_is_none(self):
        with patch.object(front, "_consent", lambda _told: Consent.DENIED), self._asking():
            answer = self.click()
        self.assertEqual(answer.status_code, 302)
        self.assertFalse(answer.cookies)
        self.assertFalse(self.queued().visitor_key)

    def test_a_visitor_is_sent_on_when_the_queue_fails(self):
        with (
            patch.object(_TestMemory, "_execute", side_effect=psycopg2.OperationalError("full")),
            mute_logger("odoo.addons.trackflow.front"),
        ):
            self.assertEqual(self.click().status_code, 302)
        self.assertEqual(len(self.queued()), 1, "Odoo's controller was left to record it")

    def _asking(self):
        return patch.object(
            self.env.registry["trackflow.front"], "_asks_consent", lambda self, host: True
        )


@tagged("post_install", "-at_install")
class TestWebhookInFront(test_webhook.TestWebhook):
    """Everything that is promised of webhooks holds in front of the dispatch."""

    def setUp(self):
        super().setUp()
        self.memory = self.enterContext(in_front(self.env.cr.dbname))

    def test_a_call_of_a_connector_never_reaches_odoo(self):
        body = self.body("lead.created", 0, id="1", name="Asks")
        with patch.object(http.Request, "_serve_db", side_effect=AssertionError("in Odoo")):
            accepted = self.post(body)
            with mute_logger(test_webhook.RECEIVING):
                refused = self.post(body, secret=new_secret())
        self.assertEqual([accepted.status_code, refused.status_code], [202, 401])
        self.assertEqual(self.memory.kept, 1)
        self.assertFalse(accepted.cookies)

    def test_odoo_takes_a_call_that_could_not_be_kept(self):
        body = self.body("lead.created", 0, id="1", name="Asks")
        with (
            patch.object(_TestMemory, "_execute", side_effect=psycopg2.OperationalError("full")),
            mute_logger("odoo.addons.trackflow.front"),
        ):
            self.assertEqual(self.post(body).status_code, 202)
        self.assertEqual(self.events().mapped("event_id"), ["evt_1"])


@tagged("post_install", "-at_install")
class TestConsentCookie(TransactionCase):
    def test_only_a_yes_is_one(self):
        for told, agreed in (
            ('{"required": true, "optional": true}', True),
            ('{"required": true, "optional": false}', False),
            ("{}", False),
            (None, False),
            ("true", False),
            ("no JSON", False),
        ):
            with self.subTest(told=told):
                expected = Consent.GRANTED if agreed else Consent.DENIED
                self.assertIs(front._consent(told), expected)


@tagged("post_install", "-at_install")
class TestMemory(TransactionCase):
    """What a real memory knows is forgotten when another connection commits a change."""

    def setUp(self):
        super().setUp()
        self.memory = front.Memory(self.env.cr.dbname)
        self.addCleanup(self.memory.close)

    def test_a_change_is_heard_of(self):
        memory = self.memory
        self.assertIsNone(memory.site("shop.example"), "nothing is known at first")
        memory._settled_at = 0
        with patch.object(front.Memory, "_environment", self._environment):
            site = memory.site("shop.example")
        self.assertTrue(site.keys)
        self.assertIs(memory.site("shop.example"), site)
        with self._other() as connection:
            connection.cursor().execute("UPDATE res_partner SET tz = tz WHERE id = -1")
            self.assertIs(memory.site("shop.example"), site, "not committed yet")
            connection.commit()
        self._wait_until(lambda: not memory._is_settled())
        self.assertIsNone(memory.site("shop.example"), "Odoo answers until all have heard of it")
        self.assertEqual(memory._sites, {})

    def test_clicks_of_people_do_not_disturb_it(self):
        memory = self.memory
        memory.site("shop.example")
        memory._settled_at = 0
        with self._other() as connection:
            cursor = connection.cursor()
            cursor.execute("UPDATE link_tracker SET count = count WHERE id = -1")
            cursor.execute("DELETE FROM link_tracker_click WHERE id = -1")
            connection.commit()
        self.assertTrue(memory._is_settled())

    def test_a_changed_connector_is_heard_of_and_its_readings_are_not(self):
        memory = self.memory
        memory._is_settled()
        memory._settled_at = 0
        with self._other() as connection:
            cursor = connection.cursor()
            cursor.execute("UPDATE trackflow_connector SET poll_cursor = '' WHERE id = -1")
            connection.commit()
            self.assertTrue(memory._is_settled())
            cursor.execute("UPDATE trackflow_connector SET secret_encrypted = '' WHERE id = -1")
            connection.commit()
        self._wait_until(lambda: not memory._is_settled())
        self.assertFalse(memory._is_settled())

    def test_a_former_secret_ends_without_anybody_s_doing(self):
        former, present = new_secret(), new_secret()
        connector = self.env["trackflow.connector"].create(
            {"name": "Shop", "connector": "webhook", "instance": "shop", "secret": former}
        )
        connector.secret = present
        now = datetime.now(timezone.utc)
        later = now + timedelta(days=8)
        self.memory._is_settled()
        self.memory._settled_at = 0
        with patch.object(front.Memory, "_environment", self._environment):
            receiver = self.memory.receiver("webhook", "shop", now)
            self.assertIs(self.memory.receiver("webhook", "shop", now), receiver)
            connector.former_secret_until -= timedelta(days=14)
            self.env.flush_all()
            ended = self.memory.receiver("webhook", "shop", later)
            self.assertIsNone(self.memory.receiver("webhook", "nobody", now))
        self.assertTrue(receiver.verify(self._signed(former, now), now))
        self.assertTrue(ended.verify(self._signed(present, later), later))
        with self.assertRaises(InvalidEvent):
            ended.verify(self._signed(former, later), later)

    def _signed(self, secret, now):
        return IncomingRequest(b"{}", sign(b"{}", secret, "evt_1", now))

    def test_whoever_comes_while_all_connections_work_waits_for_one(self):
        statement = SQL("SELECT pg_backend_pid() FROM pg_sleep(0.02)")
        with ThreadPoolExecutor(3 * front._CONNECTIONS) as pool:
            answers = list(pool.map(self.memory.execute, [statement] * 6 * front._CONNECTIONS))
        self.assertEqual(len(answers), 6 * front._CONNECTIONS)
        self.assertLessEqual(len({pid for [(pid,)] in answers}), front._CONNECTIONS)

    def test_a_statement_that_fails_takes_no_connection_away(self):
        for _time in range(2 * front._CONNECTIONS):
            with self.assertRaises(psycopg2.errors.DivisionByZero):
                self.memory.execute(SQL("SELECT 1 / 0"))
        self.assertEqual(self.memory.execute(SQL("SELECT 1")), [(1,)])

    def test_a_lost_connection_is_made_anew(self):
        memory = self.memory
        memory._is_settled()
        memory._listener.close()
        memory._settled_at = 0
        self.assertFalse(memory._is_settled(), "something may have been missed")
        self.assertFalse(memory._listener.closed)

    def _wait_until(self, happened):
        deadline = time.monotonic() + 10
        while not happened() and time.monotonic() < deadline:
            time.sleep(0.01)

    @contextmanager
    def _environment(self, *_args):
        yield api.Environment(self.env.cr, SUPERUSER_ID, {})

    @contextmanager
    def _other(self):
        connection = psycopg2.connect(**self.memory._dsn)
        try:
            yield connection
        finally:
            connection.close()
