from datetime import timedelta

from odoo import fields
from odoo.exceptions import AccessError
from odoo.tests import tagged

from trackflow_core.tracking.identity import new_visitor_id

from .common import CRAWLER, TrackflowCase


@tagged("post_install", "-at_install")
class TestMarketingData(TrackflowCase):
    def data(self, lead, user=None):
        self.env.flush_all()
        return lead.with_user(user or self.salesman).trackflow_marketing_data()

    def kinds(self, data):
        return [entry["kind"] for entry in data["timeline"]]

    def test_journey_is_told_newest_first(self):
        lead = self.opportunity(self.journey(3), user_id=self.salesman.id)
        data = self.data(lead)
        self.assertEqual(self.kinds(data), ["deal", "visit", "visit", "visit"])
        self.assertEqual(data["timeline"][0]["milestones"], ["lead", "deal"])
        self.assertEqual(data["timeline"][-1]["milestones"], ["first_touch"])
        self.assertEqual(data["timeline"][-1]["channel"], "Paid Search")
        self.assertEqual(
            data["timeline"][-1]["campaign"], {"id": self.campaign.id, "name": "TrackFlow Spring"}
        )
        moments = [entry["at"] for entry in data["timeline"]]
        self.assertEqual(moments, sorted(moments, reverse=True))

    def test_sentence_tells_first_touch_and_returns(self):
        lead = self.opportunity(self.journey(3), user_id=self.salesman.id)
        sentence = self.data(lead)["sentence"]
        self.assertIn("First came 30 days ago through Paid Search", sentence)
        self.assertIn("TrackFlow Spring", sentence)
        self.assertIn("returned 2 times", sentence)

    def test_a_click_after_the_lead_is_no_first_touch(self):
        visitor = new_visitor_id()
        lead = self.opportunity(visitor, user_id=self.salesman.id, type="lead")
        lead.trackflow_lead_date = fields.Datetime.now() - timedelta(days=3)
        self.click(visitor, 1)
        self.click(visitor, 0.01)
        self.drain()
        data = self.data(lead)
        self.assertEqual(self.kinds(data), ["visit", "visit", "lead"])
        self.assertEqual([entry["milestones"] for entry in data["timeline"][:2]], [[], []])
        self.assertFalse(lead.trackflow_first_touch_date)
        self.assertIn("Got in touch 3 days ago, then came yesterday", data["sentence"])
        self.assertIn("returned once", data["sentence"])
        # The deal that it becomes credits what came before that.
        lead.convert_opportunity(lead.partner_id)
        first = self.data(lead)["timeline"][-2]
        self.assertEqual(first["milestones"], ["first_touch"])

    def test_clicks_of_one_visit_fold_into_one_entry(self):
        visitor = new_visitor_id()
        self.click(visitor, 5.001, self.links[0])
        self.click(visitor, 5, self.links[1])
        data = self.data(self.opportunity(visitor, user_id=self.salesman.id))
        [visit] = [entry for entry in data["timeline"] if entry["kind"] == "visit"]
        self.assertEqual(len(visit["steps"]), 2)
        self.assertTrue(visit["session"])

    def test_every_active_model_sums_to_the_deal(self):
        lead = self.opportunity(self.journey(3), user_id=self.salesman.id)
        data = self.data(lead)
        active = self.env["trackflow.attribution.model"].search_count([])
        self.assertEqual(len(data["models"]), active)
        self.assertEqual(data["value"], 100.0)
        for model in data["models"]:
            self.assertAlmostEqual(sum(credit["value"] for credit in model["credits"]), 100.0)
            self.assertIn(model["digest"], model["receipt"])
        linear = data["models"][0]
        self.assertTrue(linear["is_default"])
        self.assertEqual([credit["value"] for credit in linear["credits"]], [33.34, 33.33, 33.33])
        self.assertEqual([model["is_default"] for model in data["models"]].count(True), 1)

    def test_the_tab_shows_what_the_ledger_holds(self):
        lead = self.opportunity(self.journey(3), user_id=self.salesman.id)
        shown = self.data(lead)["models"][0]
        held = lead.trackflow_attribution_ids.sorted("sequence")
        self.assertEqual([credit["value"] for credit in shown["credits"]], held.mapped("value"))
        self.assertEqual({shown["digest"]}, set(held.mapped("digest")))

    def test_model_chosen_for_the_deal_comes_first(self):
        lead = self.opportunity(self.journey(3), user_id=self.salesman.id)
        last = self.env.ref("trackflow.attribution_model_last_touch")
        lead.trackflow_attribution_model_id = last
        data = self.data(lead)
        self.assertEqual(data["models"][0]["id"], last.id)
        self.assertTrue(data["models"][0]["is_default"])
        self.assertEqual([c["value"] for c in data["models"][0]["credits"]], [0.0, 0.0, 100.0])

    def test_lead_without_a_journey_says_what_will_come(self):
        lead = self.opportunity(user_id=self.salesman.id)
        data = self.data(lead)
        self.assertFalse(data["sentence"])
        self.assertIn("tracked link", data["empty_reason"])
        self.assertEqual(data["visitors"], [])
        [credit] = data["models"][0]["credits"]
        self.assertEqual((credit["channel"], credit["value"]), ("Unattributed", 100.0))

    def test_lead_of_another_system_says_what_its_sender_can_pass(self):
        lead = self.opportunity(user_id=self.salesman.id)
        lead.trackflow_lead_ref = "webhook/shop/1"
        reason = self.data(lead)["empty_reason"]
        self.assertIn("visitor_token", reason)
        self.assertIn("visitor_cookie", reason)

    def test_clicks_that_do_not_count_are_only_numbered(self):
        visitor = self.journey(2)
        self.click(visitor, 3, user_agent=CRAWLER)
        data = self.data(self.opportunity(visitor, user_id=self.salesman.id))
        self.assertEqual(self.kinds(data).count("visit"), 2)
        self.assertEqual(data["unattributed_clicks"], 1)

    def test_plain_lead_has_no_credits(self):
        lead = self.opportunity(self.journey(1), user_id=self.salesman.id, type="lead")
        data = self.data(lead)
        self.assertEqual(data["models"], [])
        self.assertEqual(self.kinds(data), ["lead", "visit"])

    def test_won_deal_ends_the_timeline(self):
        lead = self.opportunity(self.journey(1), user_id=self.salesman.id)
        yesterday = fields.Datetime.now() - timedelta(days=1)
        lead.write({"trackflow_lead_date": yesterday, "trackflow_deal_date": yesterday})
        lead.action_set_won()
        data = self.data(lead)
        self.assertEqual(data["timeline"][0]["kind"], "won")
        self.assertIn("won today", data["sentence"])

    def test_only_readers_of_the_lead_may_ask(self):
        lead = self.opportunity(self.journey(1), user=self.colleague, user_id=self.colleague.id)
        with self.assertRaises(AccessError):
            self.data(lead)
        with self.assertRaises(AccessError):
            self.data(lead, self.employee)

    def test_visitors_are_linked_for_those_who_may_open_them(self):
        lead = self.opportunity(self.journey(1), user_id=self.salesman.id)
        [visitor] = self.data(lead)["visitors"]
        self.assertFalse(visitor["id"])
        self.assertTrue(visitor["name"])
        self.salesman.group_ids += self.env.ref("trackflow.group_trackflow_campaign_manager")
        [visitor] = self.data(lead)["visitors"]
        self.assertEqual(visitor["id"], lead.trackflow_visitor_id.id)

    def test_first_channel_of_a_board_is_read_at_once(self):
        leads = self.env["crm.lead"]
        for number in range(3):
            visitor = new_visitor_id()
            self.click(visitor, 2, self.links[number])
            leads |= self.opportunity(visitor, user_id=self.salesman.id)
        self.env.flush_all()
        leads.invalidate_recordset()
        leads.fetch(["trackflow_first_touch_date"])
        with self.assertQueryCount(1):
            channels = leads.mapped("trackflow_first_channel")
        self.assertEqual(channels, ["Paid Search", "Email", "Organic Social"])
