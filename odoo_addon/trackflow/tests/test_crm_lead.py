import itertools
from datetime import timedelta
from unittest.mock import patch

from odoo import fields
from odoo.exceptions import AccessError
from odoo.tests import tagged
from odoo.tools import mute_logger
from psycopg2.errors import SerializationFailure

from trackflow_core.engine import Engine
from trackflow_core.tracking.identity import issue_token, new_visitor_id

from .common import TrackflowCase


@tagged("post_install", "-at_install")
class TestCrmLead(TrackflowCase):
    # -- who the lead is -------------------------------------------------------------------

    def test_a_visit_without_a_link_earns_its_campaign(self):
        visitor = new_visitor_id()
        self.click(
            visitor,
            3,
            kind="page_view",
            link_code="",
            destination=f"https://shop.example/?utm_campaign={self.campaign.name}&utm_source=fair",
        )
        lead = self.opportunity(visitor)
        credit = lead.trackflow_attribution_ids
        self.assertEqual((credit.touch_kind, credit.source), ("visit", "fair"))
        self.assertEqual(credit.campaign_id, self.campaign)
        self.assertEqual(credit.visitor_id.visitor_key, visitor)
        self.assertFalse(credit.link_id)
        known = credit.visitor_id
        lead.action_set_won()
        won = self.env["trackflow.conversion"].search(
            [("lead_id", "=", lead.id), ("kind", "=", "won")]
        )
        self.assertEqual(won.campaign_id, self.campaign)
        self.assertEqual(won.visitor_id, known)

    def test_a_lead_with_a_token_is_bound_to_its_visitor(self):
        visitor = self.journey()
        lead = self.opportunity(visitor, type="lead")
        self.assertEqual(lead.trackflow_visitor_id.visitor_key, visitor)
        self.assertEqual(lead.trackflow_visitor_ids, lead.trackflow_visitor_id)
        self.assertEqual(lead.trackflow_touch_count, 3)
        self.assertTrue(lead.trackflow_marketing_influenced)
        self.assertEqual(lead.trackflow_first_touch_source, "google")
        self.assertEqual(lead.trackflow_last_touch_source, "friendface")
        self.assertEqual(lead.trackflow_source, "friendface")
        self.assertEqual(lead.trackflow_medium, "social")
        self.assertEqual(lead.trackflow_campaign, self.campaign.name)
        self.assertLess(lead.trackflow_first_touch_date, lead.trackflow_last_touch_date)
        self.assertFalse(lead.trackflow_attribution_ids)

    def test_odoos_own_utm_fields_are_filled_when_empty(self):
        lead = self.opportunity(self.journey())
        self.assertEqual(lead.campaign_id, self.campaign)
        self.assertEqual(lead.source_id, self.links[2].source_id)
        self.assertEqual(lead.medium_id, self.links[2].medium_id)
        own = self.env["utm.source"].create({"name": "fair"})
        lead = self.opportunity(self.journey(), source_id=own.id)
        self.assertEqual(lead.source_id, own)

    def test_what_is_told_from_elsewhere_stays_until_touches_are_seen_here(self):
        lead = self.opportunity("", type="lead")
        told = {"trackflow_touch_count": 9, "trackflow_source": "fair"}
        lead.write({**told, "trackflow_attributed_elsewhere": True})
        lead.write({"type": "opportunity", "expected_revenue": 5})
        lead.action_set_won()
        self.assertEqual((lead.trackflow_touch_count, lead.trackflow_source), (9, "fair"))
        lead.trackflow_visitor_token = self.token(self.journey())
        self.assertEqual((lead.trackflow_touch_count, lead.trackflow_source), (3, "friendface"))
        self.assertFalse(lead.trackflow_attributed_elsewhere)

    def test_a_token_may_come_later(self):
        visitor = self.journey()
        lead = self.opportunity()
        self.assertEqual(self.credits(lead), [100.0])
        lead.with_user(self.salesman).write({"trackflow_visitor_token": self.token(visitor)})
        self.assertEqual(self.credits(lead), [33.34, 33.33, 33.33])
        self.assertEqual(lead.trackflow_touch_count, 3)

    @mute_logger("odoo.addons.trackflow.models.crm_lead")
    def test_a_forged_or_stale_token_binds_nobody(self):
        visitor = self.journey()
        now = fields.Datetime.now().astimezone()
        forged = issue_token(visitor, ("another key",), now)
        for token in (forged, "nonsense", "x" * 4000, "\0"):
            lead = self.opportunity(trackflow_visitor_token=token)
            self.assertFalse(lead.trackflow_visitor_ids)
            self.assertEqual(self.credits(lead), [100.0])

    def test_staff_who_type_in_a_lead_are_never_bound(self):
        self.click(new_visitor_id(), 1, internal=True)
        self.drain()
        lead = self.opportunity(user=self.salesman)
        self.assertFalse(lead.trackflow_visitor_ids)

    def test_a_copy_has_no_journey(self):
        lead = self.opportunity(self.journey())
        copy = lead.copy()
        self.assertFalse(copy.trackflow_visitor_ids)
        self.assertFalse(copy.trackflow_visitor_id)
        self.assertEqual(self.credits(copy), [100.0])
        self.assertFalse(copy.trackflow_touch_count)

    def test_clicks_after_the_lead_are_not_in_its_summary(self):
        visitor = self.journey(1)
        lead = self.opportunity(
            visitor, trackflow_lead_date=fields.Datetime.now() - timedelta(days=5)
        )
        self.click(visitor, 1, self.links[1])
        self.drain()
        self.assertEqual(lead.trackflow_touch_count, 1)
        self.assertTrue(lead.trackflow_first_touch_date)
        self.assertEqual(lead.trackflow_last_touch_date, lead.trackflow_first_touch_date)
        self.assertEqual(self.credits(lead), [50.0, 50.0])

    # -- what the deal is worth ------------------------------------------------------------

    def test_three_touches_share_a_hundred(self):
        lead = self.opportunity(self.journey())
        credits = lead.trackflow_attribution_ids.sorted("sequence")
        self.assertEqual(credits.mapped("value"), [33.34, 33.33, 33.33])
        self.assertEqual(credits.mapped("position"), ["first", "middle", "last"])
        # Its credits are listed one by one, not folded into the one deal.
        [(listed, _kind), *_others] = lead.action_trackflow_credits()["views"]
        self.assertNotIn("default_group_by", credits.get_view(listed, "list")["arch"])
        self.assertEqual(credits.mapped("channel"), ["Paid Search", "Email", "Organic Social"])
        self.assertEqual(credits.link_id, self.links)
        self.assertEqual(credits.campaign_id, self.campaign)
        self.assertEqual(credits.visitor_id, lead.trackflow_visitor_id)
        self.assertEqual(set(credits.mapped("deal_value")), {100.0})
        self.assertEqual(set(credits.mapped("deal_status")), {"open"})
        self.assertEqual(
            credits.attribution_model_id, self.env.ref("trackflow.attribution_model_linear")
        )
        self.assertAlmostEqual(credits[0].days_to_conversion, 30, 2)
        self.assertEqual(len(set(credits.mapped("digest"))), 1)

    def test_every_model_sums_to_the_deal(self):
        lead = self.opportunity(self.journey())
        for model in self.env["trackflow.attribution.model"].search([]):
            lead.trackflow_attribution_model_id = model
            self.assertEqual(round(sum(self.credits(lead)), 2), 100.0, model.name)
            self.assertEqual(lead.trackflow_attribution_ids.attribution_model_id, model)
        lead.trackflow_attribution_model_id = False
        self.assertEqual(self.credits(lead), [33.34, 33.33, 33.33])

    def test_without_touches_the_deal_is_unattributed(self):
        lead = self.opportunity()
        self.assertEqual(lead.trackflow_attribution_ids.channel, "Unattributed")
        self.assertEqual(self.credits(lead), [100.0])

    def test_credits_follow_the_expected_revenue(self):
        lead = self.opportunity(self.journey())
        lead.with_user(self.salesman).expected_revenue = 250.0
        self.assertEqual(self.credits(lead), [83.34, 83.33, 83.33])
        lead.expected_revenue = -1.0
        self.assertEqual(self.credits(lead), [-0.34, -0.33, -0.33])
        lead.expected_revenue = 0
        self.assertEqual(self.credits(lead), [0, 0, 0])

    def test_credits_follow_the_currency(self):
        yen = self.env.ref("base.JPY")
        yen.active = True
        company = self.env["res.company"].create({"name": "Kyoto", "currency_id": yen.id})
        self.assertTrue(company.trackflow_attribution_model_id)
        lead = self.opportunity(self.journey())
        lead.write({"user_id": False, "team_id": False, "company_id": company.id})
        self.assertEqual(lead.trackflow_attribution_ids.currency_id, yen)
        self.assertEqual(lead.trackflow_attribution_ids.company_id, company)
        self.assertEqual(self.credits(lead), [34, 33, 33])

    def test_converting_a_lead_makes_its_credits(self):
        lead = self.opportunity(self.journey(), type="lead")
        self.assertFalse(lead.trackflow_attribution_ids)
        self.assertFalse(lead.trackflow_deal_date)
        lead.with_user(self.salesman).convert_opportunity(False)
        self.assertEqual(self.credits(lead), [33.34, 33.33, 33.33])
        self.assertTrue(lead.trackflow_deal_date)
        lead.type = "lead"
        self.assertFalse(lead.trackflow_attribution_ids)
        self.assertFalse(lead.trackflow_deal_date)

    def test_the_companys_window_bounds_the_journey(self):
        visitor = self.journey()
        self.env.company.trackflow_window_days = 25
        self.assertEqual(self.credits(self.opportunity(visitor)), [50.0, 50.0])
        model = self.env.ref("trackflow.attribution_model_linear")
        model.lookback_days = 15
        self.assertEqual(self.credits(self.opportunity(visitor)), [100.0])

    def test_a_changed_model_is_applied_when_asked(self):
        lead = self.opportunity(self.journey())
        model = self.env.ref("trackflow.attribution_model_linear")
        model.rule = "last_touch"
        self.assertEqual(self.credits(lead), [33.34, 33.33, 33.33])
        with self.assertRaises(AccessError):
            model.with_user(self.salesman).action_recompute()
        model.with_user(self.manager).action_recompute()
        self.assertEqual(self.credits(lead), [0, 0, 100.0])

    # -- won, lost, reopened, merged -------------------------------------------------------

    def test_won_lost_and_reopened(self):
        lead = self.opportunity(self.journey())
        own = lead.with_user(self.salesman)
        conversions = self.env["trackflow.conversion"]

        def won():
            return conversions.search([("lead_id", "=", lead.id), ("kind", "=", "won")])

        own.action_set_won()
        self.assertEqual(set(lead.trackflow_attribution_ids.mapped("deal_status")), {"won"})
        self.assertEqual(won().value, 100.0)
        self.assertEqual(won().link_id, self.links[2])
        self.assertEqual(won().occurred_at, lead.trackflow_closed_date)
        own.stage_id = own._stage_find(domain=[("is_won", "=", False)])
        self.assertFalse(won())
        own.action_set_lost()
        self.assertEqual(set(lead.trackflow_attribution_ids.mapped("deal_status")), {"lost"})
        self.assertFalse(won())
        own.action_restore()
        self.assertEqual(set(lead.trackflow_attribution_ids.mapped("deal_status")), {"open"})
        self.assertFalse(lead.trackflow_closed_date)
        self.assertEqual(self.credits(lead), [33.34, 33.33, 33.33])
        self.assertEqual(self.links[2].trackflow_conversions, 1)

    def test_an_opportunity_that_is_created_won(self):
        stage = self.env["crm.stage"].search([("is_won", "=", True)], limit=1)
        lead = self.opportunity(self.journey(), stage_id=stage.id)
        self.assertEqual(set(lead.trackflow_attribution_ids.mapped("deal_status")), {"won"})

    def test_a_model_that_counts_from_winning(self):
        visitor = self.journey(1)
        model = self.env.ref("trackflow.attribution_model_linear")
        model.anchor = "won"
        lead = self.opportunity(
            visitor,
            trackflow_lead_date=fields.Datetime.now() - timedelta(days=5),
            trackflow_deal_date=fields.Datetime.now() - timedelta(days=5),
        )
        self.click(visitor, 1, self.links[1])
        self.drain()
        self.assertEqual(self.credits(lead), [100.0])
        lead.action_set_won()
        self.assertEqual(self.credits(lead), [50.0, 50.0])

    def test_merging_joins_the_journeys(self):
        first = self.opportunity(self.journey(1), expected_revenue=90.0)
        second = self.opportunity(self.journey(2), expected_revenue=60.0)
        touches = first.trackflow_touch_count + second.trackflow_touch_count
        merged = (first | second).with_user(self.salesman).merge_opportunity().with_env(self.env)
        self.assertEqual(len((first | second).exists()), 1)
        self.assertEqual(len(merged.trackflow_visitor_ids), 2)
        self.assertEqual(merged.trackflow_touch_count, touches)
        self.assertEqual(len(self.credits(merged)), 3)
        self.assertEqual(round(sum(self.credits(merged)), 2), merged.expected_revenue)

    def test_leads_that_only_the_crm_knows_are_merged_by_it_alone(self):
        leads = self.opportunity(expected_revenue=90.0) | self.opportunity(expected_revenue=60.0)
        earlier = fields.Datetime.now() - timedelta(days=9)
        leads[1].trackflow_lead_date = earlier
        with patch.object(Engine, "merge_leads") as told:
            merged = leads.merge_opportunity()
        told.assert_not_called()
        self.assertEqual(merged.trackflow_lead_date, earlier)
        self.assertEqual(self.credits(merged), [merged.expected_revenue])

    # -- the host comes first --------------------------------------------------------------

    @mute_logger("odoo.addons.trackflow.guard")
    def test_a_failure_of_ours_never_loses_a_lead(self):
        visitor = self.journey()

        def fail(*args, **kwargs):
            self.env.cr.execute(
                "INSERT INTO trackflow_failure (operation, cause) VALUES ('half', 'done')"
            )
            raise RuntimeError("a plugin broke")

        with patch.object(Engine, "apply", fail):
            lead = self.opportunity(visitor)
            self.opportunity(visitor)
        self.assertTrue(lead.exists())
        self.assertEqual(lead.expected_revenue, 100.0)
        failure = self.env["trackflow.failure"].search([("cause", "ilike", "a plugin broke")])
        self.assertEqual(failure.count, 2)
        self.assertEqual(failure.operation, "creating leads")
        self.assertFalse(failure.search([("operation", "=", "half")]))
        with patch.object(Engine, "recompute", fail):
            lead.with_user(self.salesman).expected_revenue = 7
            self.env.cr.flush()
        self.assertEqual(lead.expected_revenue, 7)
        self.assertTrue(
            self.env["trackflow.failure"].search([("operation", "=", "changing deals")])
        )

    @mute_logger("odoo.sql_db", "odoo.addons.trackflow.guard")
    def test_a_database_error_of_ours_never_loses_a_lead(self):
        def fail(*args, **kwargs):
            self.env.cr.execute("SELECT 1 / 0")

        with patch.object(Engine, "apply", fail):
            lead = self.opportunity(email_from="a@example.com")
        self.env.flush_all()
        self.assertEqual(lead.email_normalized, "a@example.com")

    def test_a_conflict_leaves_the_lead_to_the_job(self):
        visitor = self.journey()

        def conflict(*args, **kwargs):
            raise SerializationFailure

        with patch.object(Engine, "apply", conflict), patch.object(Engine, "recompute", conflict):
            lead = self.opportunity(visitor)
            lead.expected_revenue = 200
            self.env.cr.flush()
        self.assertTrue(lead.trackflow_stale)
        self.assertFalse(lead.trackflow_attribution_ids)
        self.assertFalse(self.env["trackflow.failure"].search([]))
        self.drain()
        self.assertFalse(lead.trackflow_stale)
        self.assertEqual(lead.trackflow_visitor_id.visitor_key, visitor)
        self.assertEqual(self.credits(lead), [66.67, 66.67, 66.66])

    def test_a_conflict_while_merging_is_the_hosts_to_repeat(self):
        leads = self.opportunity(self.journey(1)) | self.opportunity(self.journey(2))
        with (
            patch.object(Engine, "merge_leads", side_effect=SerializationFailure),
            self.assertRaises(SerializationFailure),
        ):
            leads.merge_opportunity()
        self.assertEqual(leads.merge_opportunity().trackflow_touch_count, 3)

    def test_errors_of_the_host_stay_the_hosts(self):
        with self.assertRaises(Exception) as caught, mute_logger("odoo.sql_db"):
            self.opportunity(probability=500)
            self.env.flush_all()
        self.assertIn("probability", str(caught.exception))
        self.assertFalse(self.env["trackflow.failure"].search([]))

    # -- cost ------------------------------------------------------------------------------

    def _count_queries(self, work):
        self.env.cr.flush()
        self.env.invalidate_all()
        before = self.env.cr.sql_log_count
        work()
        self.env.cr.flush()
        return self.env.cr.sql_log_count - before

    def _count_ours(self, leads, work):
        """How many queries TrackFlow adds to `work`, which may be done any number of times."""
        leads = leads.with_context(tracking_disable=True)
        work(leads)
        ours = self._count_queries(lambda: work(leads))
        with patch.object(self.env.registry["crm.lead"], "_trackflow_unsettled", lambda *_: {}):
            return ours - self._count_queries(lambda: work(leads))

    def test_a_list_of_leads_costs_as_many_queries_as_two(self):
        leads = self.env["crm.lead"].create(
            [{"name": f"Deal {n}", "user_id": self.salesman.id} for n in range(80)]
        )
        names = [
            "name",
            "trackflow_campaign",
            "trackflow_credit_count",
            "trackflow_first_channel",
            "trackflow_source",
            "trackflow_touch_count",
        ]
        leads = leads.with_user(self.salesman)
        leads.read(names)
        few, many = (
            self._count_queries(lambda some=some: some.read(names)) for some in (leads[:2], leads)
        )
        self.assertEqual(few, many)

    def test_a_batch_costs_as_many_queries_as_one(self):
        model = self.env["crm.lead"]
        tokens = [self.token(self.journey()) for _number in range(100)]
        self.drain()

        def create(number, ours):
            model.with_context(trackflow_from_engine=not ours).create(
                [
                    {
                        "name": f"Deal {place}",
                        "type": "opportunity",
                        "expected_revenue": 100,
                        **({"trackflow_visitor_token": tokens[place]} if ours else {}),
                    }
                    for place in range(number)
                ]
            )

        create(1, ours=True)
        ours = [
            self._count_queries(lambda number=number: create(number, True))
            - self._count_queries(lambda number=number: create(number, False))
            for number in (1, 10, 100)
        ]
        self.assertLessEqual(max(ours), 12)
        self.assertLessEqual(max(ours) - min(ours), 1, ours)

    def test_a_changed_batch_costs_as_many_queries_as_one(self):
        leads = self.env["crm.lead"].concat(
            *(self.opportunity(self.journey()) for _number in range(10))
        )
        values = itertools.count(1)

        def write(some):
            some.write({"expected_revenue": next(values)})

        costs = [self._count_ours(leads[:number], write) for number in (1, 10)]
        self.assertLessEqual(max(costs), 12)
        self.assertLessEqual(max(costs) - min(costs), 1, costs)

    def test_changes_one_by_one_cost_as_many_queries_as_one(self):
        leads = self.env["crm.lead"].create(
            [{"name": f"Deal {n}", "type": "opportunity", "user_id": False} for n in range(100)]
        )
        values = itertools.count(1)

        def write(some):
            for lead in some:
                lead.expected_revenue = next(values)

        costs = [self._count_ours(leads[:number], write) for number in (1, 100)]
        self.assertLessEqual(max(costs), 12)
        self.assertLessEqual(max(costs) - min(costs), 1, costs)
        write(leads)
        self.assertEqual(self.credits(leads[99]), [leads[99].expected_revenue])

    def test_what_no_credit_follows_from_costs_nothing(self):
        leads = self.env["crm.lead"].create(
            [{"name": f"Lead {n}", "type": "lead", "user_id": False} for n in range(100)]
        )
        users = itertools.cycle((self.salesman, self.colleague))

        def write(some):
            some.write({"user_id": next(users).id, "expected_revenue": 0, "probability": 7})

        for number in (1, 100):
            self.assertEqual(self._count_ours(leads[:number], write), 0)

    # -- when ------------------------------------------------------------------------------

    def test_a_deal_is_split_once_for_all_that_a_transaction_writes(self):
        lead = self.opportunity(self.journey(), user=self.salesman)
        own = lead.with_user(self.salesman)
        with patch.object(
            Engine, "recompute", autospec=True, side_effect=Engine.recompute
        ) as split:
            own.expected_revenue = 50
            own.expected_revenue = 60
            own.action_set_won()
            self.env.cr.flush()
        split.assert_called_once()
        self.assertEqual(self.credits(lead), [20, 20, 20])
        self.assertEqual(set(lead.trackflow_attribution_ids.mapped("deal_status")), {"won"})
        with patch.object(Engine, "recompute", autospec=True) as split:
            own.expected_revenue = 70
            own.expected_revenue = 60
            self.env.cr.flush()
        split.assert_not_called()

    def test_who_saves_a_form_reads_what_follows(self):
        lead = self.opportunity(self.journey(), user=self.salesman).with_user(self.salesman)
        shown = {"trackflow_attribution_ids": {"fields": {"value": {}}}}
        for value in (90, 120):
            [saved] = lead.web_save({"expected_revenue": value}, shown)
            told = [credit["value"] for credit in saved["trackflow_attribution_ids"]]
            self.assertEqual(told, [value / 3] * 3)

    def test_a_deal_that_is_gone_is_not_split(self):
        leads = self.opportunity(self.journey()) | self.opportunity(self.journey())
        leads.write({"expected_revenue": 70})
        leads[0].unlink()
        self.env.cr.flush()
        self.assertEqual(self.credits(leads[1]), [23.34, 23.33, 23.33])
        self.assertFalse(self.env["trackflow.failure"].search([]))
