from datetime import datetime, timedelta, timezone
from unittest.mock import patch

from odoo.exceptions import AccessError, UserError
from odoo.tests import tagged
from odoo.tools import SQL

from trackflow_core.model import Touch

from ..engine import build_engine
from ..models import trackflow_attribution_model
from .common import TrackflowCase

LEDGER = """
    SELECT lead_id, sequence, attribution_model_id, touch_key, touch_at, channel, weight, value,
           deal_value, deal_status, position, anchor, digest, click_id, link_id, campaign_id,
           visitor_id, days_to_conversion
      FROM trackflow_deal_attribution ORDER BY lead_id, sequence
"""
CONVERSIONS = """
    SELECT lead_id, kind, occurred_at, value, channel, click_id, visitor_id
      FROM trackflow_conversion ORDER BY lead_id, kind
"""


@tagged("post_install", "-at_install")
class TestRecompute(TrackflowCase):
    def setUp(self):
        super().setUp()
        self.runs = self.env["trackflow.recompute.run"]
        self.linear = self.env.ref("trackflow.attribution_model_linear")
        self.deals = self.env["crm.lead"]
        for touches in (0, 1, 2, 3):
            visitor = self.journey(touches) if touches else None
            self.deals |= self.opportunity(visitor, expected_revenue=100.01 + touches)
        self.deals[1].action_set_won()
        self.env.flush_all()

    def run_job(self, batch=2, stop_after=None):
        """One run of the job, which has time for so many batches."""
        calls = []

        def commit(cron, processed=0, **kwargs):
            calls.append(processed)
            # The first call only says how much there is.
            return 0 if stop_after and len(calls) > stop_after else 60

        with patch.object(self.env.registry["ir.cron"], "_commit_progress", commit):
            self.runs._cron_recompute(batch)
        self.env.invalidate_all()

    def kept(self):
        self.env.flush_all()
        return [self.env.execute_query(SQL(query)) for query in (LEDGER, CONVERSIONS)]

    def one_by_one(self):
        """What the engine leaves when it splits one deal after the other."""
        engine = build_engine(self.env)
        for deal in self.env["crm.lead"].search([("type", "=", "opportunity")], order="id"):
            engine.recompute([deal._trackflow_ref()])
        return self.kept()

    def kept_after(self, statement):
        self.env.cr.execute(statement)
        self.env.invalidate_all()
        return self.kept()

    def test_the_job_leaves_what_the_engine_leaves_one_by_one(self):
        expected = self.one_by_one()
        self.assertTrue(all(expected))
        self.kept_after("DELETE FROM trackflow_deal_attribution")
        self.runs.with_user(self.manager).action_start()
        self.run_job()
        self.assertEqual(self.kept(), expected)
        run = self.runs.search([], limit=1)
        self.assertEqual((run.state, run.progress), ("done", 100))
        self.assertEqual(run.done_count, run.deal_count)

    def test_the_job_compares_what_it_splits(self):
        credits, due = self.env["trackflow.model.credit"], self.env["trackflow.model.credit.due"]
        comparison = SQL(
            """
            SELECT lead_id, attribution_model_id, channel, campaign_id, touches, value::text
              FROM trackflow_model_credit ORDER BY 1, 2, 3, 4
            """
        )
        # Bytes that end a column or a line, or stand for nothing, where rows are copied.
        before = datetime.now(timezone.utc) - timedelta(days=1)
        odd = Touch("odd", before, "Odd\t\\N\n", kind="call")
        build_engine(self.env).record_touch(self.deals[3]._trackflow_ref(), odd)
        due._add_all()
        while credits._compare(2):
            pass
        self.assertTrue(credits.search([("channel", "=", odd.channel)]))
        expected = self.env.execute_query(comparison)
        ids = credits.search([], order="id").ids
        self.runs.action_start()
        self.run_job()
        self.assertEqual(credits.search([], order="id").ids, ids)
        self.env.cr.execute("DELETE FROM trackflow_model_credit")
        due._add_all()
        self.runs.action_start()
        # While somebody else compares, the deals stay due.
        with patch.object(
            self.env.registry["trackflow.model.credit"], "_claim", lambda self: False
        ):
            self.run_job()
            self.assertFalse(credits._compare(100))
        self.assertFalse(credits.search([]))
        self.assertLessEqual(set(self.deals.ids), set(due.search([]).lead_id.ids))
        self.runs.action_start()
        self.run_job()
        self.assertEqual(self.env.execute_query(comparison), expected)
        self.assertFalse(due.search([]))

    def test_an_interrupted_run_goes_on_where_it_stopped(self):
        self.runs.action_start()
        self.run_job(stop_after=1)
        run = self.runs.search([], limit=1)
        self.assertEqual((run.state, run.done_count), ("running", 2))
        self.assertGreater(run.progress, 0)
        self.runs.action_start()
        self.assertEqual(self.runs.search_count([("state", "=", "running")]), 1)
        self.run_job()
        self.assertEqual((run.state, run.done_count), ("done", run.deal_count))

    def test_a_batch_takes_as_many_queries_as_a_smaller_one(self):
        self.one_by_one()

        def queries(count):
            refs = [deal._trackflow_ref() for deal in self.deals[:count]]
            self.env.flush_all()
            self.env.invalidate_all()
            start = self.env.cr.sql_log_count
            build_engine(self.env).recompute(refs)
            return self.env.cr.sql_log_count - start

        queries(2)
        self.assertEqual(queries(2), queries(4))

    def test_what_is_right_already_is_left_and_the_rest_is_mended(self):
        self.runs.action_start()
        self.run_job(batch=100)
        credits = self.env["trackflow.model.credit"]
        comparison = SQL(
            """
            SELECT id, lead_id, attribution_model_id, channel, campaign_id, touches, value::text
              FROM trackflow_model_credit ORDER BY lead_id, attribution_model_id, channel, id
            """
        )

        def state():
            while credits._compare(2):
                pass
            ledger = SQL("SELECT id, lead_id FROM trackflow_deal_attribution ORDER BY id")
            return [self.env.execute_query(query) for query in (ledger, comparison)], self.kept()

        ids, right = state()
        build_engine(self.env).recompute()
        self.assertEqual(state(), (ids, right))
        for wrong in (
            "UPDATE trackflow_deal_attribution SET value = value + 1 WHERE lead_id = %s",
            "UPDATE trackflow_deal_attribution SET campaign_id = NULL WHERE lead_id = %s",
            "DELETE FROM trackflow_deal_attribution WHERE lead_id = %s AND sequence = 1",
            "UPDATE trackflow_model_credit SET touches = touches + 1 WHERE lead_id = %s",
            "INSERT INTO trackflow_model_credit (lead_id, channel, value) VALUES (%s, 'Odd', 1)",
            """
            INSERT INTO trackflow_model_credit (lead_id, attribution_model_id, channel,
                   campaign_id, touches, value, currency_id, company_id)
            SELECT lead_id, attribution_model_id, channel, campaign_id, touches, value,
                   currency_id, company_id FROM trackflow_model_credit WHERE lead_id = %s
            """,
        ):
            self.env.cr.execute(wrong, [self.deals[3].id])
            build_engine(self.env).recompute()
            mended, kept = state()
            self.assertEqual(kept, right, wrong)
            self.assertEqual([row[1:] for row in mended[1]], [row[1:] for row in ids[1]], wrong)
            untouched = [row for row in ids[0] if row[1] != self.deals[3].id]
            self.assertEqual([row for row in mended[0] if row in untouched], untouched, wrong)

    def test_the_comparison_forgets_what_is_deleted(self):
        credits = self.env["trackflow.model.credit"]
        model = self.env["trackflow.attribution.model"].create({"name": "Own", "rule": "linear"})
        company = self.env["res.company"].create({"name": "Short-lived"})
        currency = self.env["res.currency"].create({"name": "XTF", "symbol": "x"})
        while credits._compare(100):
            pass
        self.assertTrue(credits.search([("attribution_model_id", "=", model.id)]))
        [kept] = credits.search([("attribution_model_id", "=", self.linear.id)], limit=1)
        for record, column in ((model, None), (company, "company_id"), (currency, "currency_id")):
            if column:
                self.env.cr.execute(
                    SQL(
                        "UPDATE trackflow_model_credit SET %s = %s WHERE id = %s",
                        SQL.identifier(column),
                        record.id,
                        kept.id,
                    )
                )
            record.unlink()
            for name in ("attribution_model_id", "company_id", "currency_id"):
                found = self.env.execute_query(
                    SQL("SELECT DISTINCT %s FROM trackflow_model_credit", SQL.identifier(name))
                )
                ids = [row_id for (row_id,) in found if row_id]
                self.assertEqual(len(credits[name].browse(ids).exists()), len(ids), name)
            while credits._compare(100):
                pass

    def test_what_is_deleted_earns_nothing(self):
        self.env["trackflow.model.credit"]._compare(100)
        self.deals[2].unlink()
        self.assert_nothing_points_nowhere()
        with self.assertRaisesRegex(UserError, "archive it"):
            self.linear.unlink()
        credits = self.deals[3].trackflow_attribution_ids
        self.assertTrue(
            self.env["trackflow.conversion"].search([("link_id", "in", self.links.ids)])
        )
        self.assertEqual(credits.campaign_id, self.campaign)
        credits.click_id[0].unlink()
        self.assert_nothing_points_nowhere()
        self.env["link.tracker.click"].search([("link_id", "in", self.links.ids)]).unlink()
        self.links.unlink()
        self.campaign.unlink()
        self.assert_nothing_points_nowhere()
        self.assertEqual(sum(credits.mapped("value")), 103.01)

    def test_many_deals_of_a_model_are_left_to_the_job(self):
        self.deals.trackflow_attribution_model_id = self.linear
        with patch.object(trackflow_attribution_model, "AT_ONCE", 3):
            action = self.linear.with_user(self.manager).action_recompute()
        self.assertEqual(action["res_model"], "trackflow.recompute.run")
        run = self.runs.search([], limit=1)
        self.assertEqual((run.model_id, run.state), (self.linear, "running"))
        self.assertGreaterEqual(run.deal_count, 4)
        self.run_job(batch=100)
        self.assertEqual((run.state, run.done_count), ("done", run.deal_count))

    def test_only_managers_start_it(self):
        for user in (self.salesman, self.marketer, self.employee):
            with self.assertRaises(AccessError):
                self.runs.with_user(user).action_start()
            with self.assertRaises(AccessError):
                self.runs.with_user(user).search([])
        self.assertFalse(self.runs.search([]))
