from datetime import datetime, timedelta, timezone
from secrets import token_hex

from odoo import SUPERUSER_ID, api
from odoo.addons.trackflow.store import OdooStore
from odoo.sql_db import db_connect
from odoo.tests import TransactionCase, tagged

from trackflow_core.model import Click


@tagged("post_install", "-at_install")
class TestParallel(TransactionCase):
    """Two workers at the queue, each in a connection of its own; what they need is committed."""

    def setUp(self):
        super().setUp()
        self.mark = f"parallel-{token_hex(8)}"
        self.visitor = token_hex(16)
        self.addCleanup(self._clean)
        first = datetime.now(timezone.utc) - timedelta(days=4000)
        with self._worker() as store:
            for number in range(4):
                click = Click(
                    event_id=f"{self.mark}-{number}",
                    occurred_at=first + timedelta(seconds=number),
                    link_code="none",
                    destination="https://shop.example/",
                    visitor_id=self.visitor,
                )
                store.append_clicks([click])
            store.env.cr.commit()

    def _worker(self):
        return _Worker(self.env.cr.dbname)

    def _clean(self):
        with self._worker() as store:
            store.env.cr.execute(
                "DELETE FROM trackflow_click_queue WHERE event_id LIKE %s", [f"{self.mark}%"]
            )
            store.env.cr.commit()

    def _claim(self, store, limit):
        return [click.event_id[-1] for click in store.claim_clicks(limit, {self.visitor})]

    def test_two_workers_never_hold_the_same_click(self):
        with self._worker() as one, self._worker() as two:
            self.assertEqual(self._claim(one, 2), ["0", "1"])
            self.assertEqual(self._claim(two, 9), ["2", "3"])
            self.assertTrue(two.has_queued_clicks({self.visitor}))
            one.env.cr.rollback()
        with self._worker() as three:
            self.assertEqual(self._claim(three, 9), ["0", "1", "2", "3"])

    def test_a_worker_that_comes_too_late_goes_on(self):
        with self._worker() as late, self._worker() as quick:
            # From here on `late` sees the queue as it is now.
            self.assertTrue(late.has_queued_clicks({self.visitor}))
            for click in quick.claim_clicks(9, {self.visitor}):
                quick.reject_click(click, "settled meanwhile")
            quick.env.cr.commit()
            self.assertEqual(self._claim(late, 9), [])
            late.env.cr.execute("SELECT 1")
            self.assertEqual(late.env.cr.fetchone(), (1,))


class _Worker:
    """A store in a connection of its own, which nothing of the test's transaction reaches."""

    def __init__(self, dbname):
        self.dbname = dbname

    def __enter__(self):
        self.cr = db_connect(self.dbname).cursor()
        return OdooStore(api.Environment(self.cr, SUPERUSER_ID, {}))

    def __exit__(self, *_error):
        self.cr.rollback()
        self.cr.close()
