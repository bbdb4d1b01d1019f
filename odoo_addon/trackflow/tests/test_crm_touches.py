from datetime import datetime, timedelta, timezone
from unittest.mock import patch

from odoo import fields
from odoo.exceptions import AccessError, ValidationError
from odoo.tests import Form, tagged
from odoo.tools import mute_logger
from psycopg2 import IntegrityError
from psycopg2.errors import SerializationFailure

from trackflow_core.engine import Engine
from trackflow_core.tracking import engagement

from ..engine import build_engine
from .common import TrackflowCase


@tagged("post_install", "-at_install")
class TestChannelRules(TrackflowCase):
    def test_rules_multiply_what_the_model_gives(self):
        linear = self.env.ref("trackflow.attribution_model_linear")
        custom = linear.copy({"name": "Paid search twice"})
        custom.channel_rule_ids = [(0, 0, {"channel": "paid*", "weight": 2})]
        lead = self.opportunity(self.journey(3), user_id=self.salesman.id)
        lead.trackflow_attribution_model_id = custom
        self.assertEqual(self.credits(lead), [50.0, 25.0, 25.0])
        custom.channel_rule_ids.weight = 0
        custom.action_recompute()
        self.assertEqual(self.credits(lead), [0.0, 50.0, 50.0])
        self.assertEqual(custom.channel_rule_ids.match_conditions, "Channel: paid*")

    def test_a_model_is_named_and_described(self):
        model = self.env.ref("trackflow.attribution_model_linear")
        with Form(model.with_user(self.manager)) as form:
            form.name = "Even"
            form.description = "Who took part?"
        self.assertEqual((model.name, model.description), ("Even", "Who took part?"))

    def test_highest_priority_counts(self):
        model = self.env["trackflow.attribution.model"].create(
            {
                "name": "Two rules",
                "rule": "linear",
                "channel_rule_ids": [
                    (0, 0, {"source": "google", "weight": 8, "priority": 1}),
                    (0, 0, {"medium": "CPC", "weight": 3, "priority": 5}),
                ],
            }
        )
        rules = model._core_model(90).channel_rules
        self.assertEqual([rule.weight for rule in rules], [3, 8])
        copied = model.copy()
        self.assertEqual(len(copied.channel_rule_ids), 2)

    def test_only_managers_change_them(self):
        model = self.env.ref("trackflow.attribution_model_linear")
        vals = {"attribution_model_id": model.id, "channel": "Email"}
        rule = self.env["trackflow.channel.rule"].with_user(self.manager).create(vals)
        for user in (self.salesman, self.marketer):
            self.assertTrue(rule.with_user(user).match_conditions)
            with self.assertRaises(AccessError):
                rule.with_user(user).weight = 3
        with self.assertRaises(AccessError):
            self.env["trackflow.channel.rule"].with_user(self.employee).search([])

    def test_negative_weight_is_refused(self):
        model = self.env.ref("trackflow.attribution_model_linear")
        with self.assertRaises(IntegrityError), mute_logger("odoo.sql_db"):
            model.channel_rule_ids = [(0, 0, {"weight": -1})]
            self.env.flush_all()


@tagged("post_install", "-at_install")
class TestAccountJourneys(TrackflowCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.account = cls.env["res.partner"].create({"name": "Acme", "is_company": True})
        cls.anna, cls.ben = cls.env["res.partner"].create(
            [{"name": name, "parent_id": cls.account.id} for name in ("Anna", "Ben")]
        )

    def pair(self):
        anna = self.opportunity(self.journey(2), partner_id=self.anna.id)
        ben = self.opportunity(self.journey(1), partner_id=self.ben.id)
        return anna, ben

    def test_colleagues_share_their_journeys_where_the_company_says_so(self):
        anna, ben = self.pair()
        self.assertEqual((len(self.credits(anna)), len(self.credits(ben))), (2, 1))
        self.env.company.trackflow_account_journeys = True
        self.drain()
        self.assertEqual((len(self.credits(anna)), len(self.credits(ben))), (3, 3))
        self.assertEqual(anna.trackflow_touch_count, 2)
        self.env.company.trackflow_account_journeys = False
        self.drain()
        self.assertEqual((len(self.credits(anna)), len(self.credits(ben))), (2, 1))

    def test_who_leaves_the_account_takes_the_touches_along(self):
        self.env.company.trackflow_account_journeys = True
        anna, ben = self.pair()
        self.assertEqual((len(self.credits(anna)), len(self.credits(ben))), (3, 3))
        ben.partner_id = self.env["res.partner"].create({"name": "Ben elsewhere"})
        self.drain()
        self.assertEqual((len(self.credits(anna)), len(self.credits(ben))), (2, 1))

    def test_a_contact_who_changes_its_company_changes_the_account(self):
        self.env.company.trackflow_account_journeys = True
        anna, ben = self.pair()
        self.ben.parent_id = False
        self.drain()
        self.assertEqual((len(self.credits(anna)), len(self.credits(ben))), (2, 1))

    def test_merged_contacts_are_one_account(self):
        self.env.company.trackflow_account_journeys = True
        left, stays = self.env["res.partner"].create([{"name": "Eve"}, {"name": "Eve Smith"}])
        first = self.opportunity(self.journey(2), partner_id=left.id)
        second = self.opportunity(self.journey(1), partner_id=stays.id)
        self.merge(left | stays, stays)
        self.assertEqual((len(self.credits(first)), len(self.credits(second))), (3, 3))

    def test_a_contact_merged_into_one_of_another_company_leaves_the_account(self):
        self.env.company.trackflow_account_journeys = True
        anna, ben = self.pair()
        elsewhere = self.env["res.partner"].create({"name": "Other", "is_company": True})
        eve = self.env["res.partner"].create({"name": "Eve", "parent_id": elsewhere.id})
        self.merge(self.ben | eve, eve)
        self.assertEqual((len(self.credits(anna)), len(self.credits(ben))), (2, 1))

    def merge(self, partners, stays):
        self.env.flush_all()
        self.env["base.partner.merge.automatic.wizard"]._merge(partners.ids, stays)
        self.drain()

    def test_the_tab_shows_the_journey_of_the_account(self):
        self.env.company.trackflow_account_journeys = True
        anna, _ben = self.pair()
        data = anna.trackflow_marketing_data()
        self.assertEqual(len(data["models"][0]["credits"]), 3)
        self.assertTrue(data["account_journey"])
        shown = [credit["value"] for credit in data["models"][0]["credits"]]
        self.assertEqual(shown, self.credits(anna))


@tagged("post_install", "-at_install")
class TestDealLinks(TrackflowCase):
    def associate(self, lead, user=None, **vals):
        return (
            self.env["trackflow.deal.link"]
            .with_user(user or self.salesman)
            .create(
                {
                    "lead_id": lead.id,
                    "link_id": self.links[2].id,
                    "reason": "She told me so",
                    "occurred_at": fields.Datetime.now() - timedelta(days=1),
                    **vals,
                }
            )
            .with_env(self.env)
        )

    def test_an_association_shares_in_the_deal(self):
        lead = self.opportunity(self.journey(1), user_id=self.salesman.id)
        link = self.associate(lead, association_type="referral")
        self.assertEqual(self.credits(lead), [50.0, 50.0])
        credit = lead.trackflow_attribution_ids.sorted("sequence")[-1]
        self.assertEqual((credit.touch_kind, credit.channel), ("referral", "Organic Social"))
        self.assertEqual((credit.link_id, credit.campaign_id), (self.links[2], self.campaign))
        self.assertEqual(link.attribution_weight, 0.5)
        self.assertEqual(link.attributed_value, 50.0)
        self.assertEqual(link.user_id, self.salesman)

    def test_it_can_be_changed_and_taken_back(self):
        lead = self.opportunity(self.journey(1), user_id=self.salesman.id)
        link = self.associate(lead)
        link.occurred_at = fields.Datetime.now() - timedelta(days=300)
        self.assertEqual(self.credits(lead), [100.0])
        link.occurred_at = fields.Datetime.now() - timedelta(days=5)
        self.assertEqual(self.credits(lead), [50.0, 50.0])
        link.with_user(self.salesman).unlink()
        self.assertEqual(self.credits(lead), [100.0])
        self.assertEqual(lead.trackflow_touch_count, 1)

    def test_it_makes_a_lead_influenced_and_fills_odoos_own_fields(self):
        lead = self.opportunity(user_id=self.salesman.id)
        self.assertFalse(lead.trackflow_marketing_influenced)
        self.associate(lead)
        lead.invalidate_recordset()
        self.assertTrue(lead.trackflow_marketing_influenced)
        self.assertEqual(lead.campaign_id, self.campaign)
        self.assertEqual(lead.trackflow_first_channel, "Organic Social")

    def test_a_merged_deal_keeps_it(self):
        first = self.opportunity(user_id=self.salesman.id)
        second = self.opportunity(user_id=self.salesman.id)
        link = self.associate(second)
        merged = (first | second).merge_opportunity(auto_unlink=False)
        self.assertEqual(link.lead_id, merged)

    def test_it_goes_with_its_deal(self):
        leads = self.opportunity() | self.opportunity()
        self.associate(leads[0], self.env.user)
        kept = self.associate(leads[1], self.env.user)
        leads[0].unlink()
        touches = self.env["trackflow.touch"].search([("link_id", "=", self.links[2].id)])
        self.assertEqual(touches.mapped("lead_ref"), [leads[1]._trackflow_ref()])
        self.assertEqual(kept.attributed_value, 100.0)

    def test_sales_associates_with_its_own_deals_only(self):
        lead = self.opportunity(user=self.colleague, user_id=self.colleague.id)
        with self.assertRaises(AccessError):
            self.associate(lead)
        link = self.associate(lead, user=self.colleague)
        for user in (self.salesman, self.employee):
            with self.assertRaises(AccessError):
                link.with_user(user).read(["reason"])
        self.assertTrue(link.with_user(self.marketer).reason)


@tagged("post_install", "-at_install")
class TestHumanTouches(TrackflowCase):
    def call(self, lead):
        activity = lead.activity_schedule("mail.mail_activity_data_call", user_id=self.salesman.id)
        activity.action_feedback("We spoke")

    def test_calls_and_meetings_share_in_deals_where_the_company_says_so(self):
        lead = self.opportunity(self.journey(1), user_id=self.salesman.id)
        self.call(lead)
        self.assertFalse(self.touches(lead))
        self.env.company.trackflow_human_touches = True
        lead.trackflow_deal_date = fields.Datetime.now() + timedelta(hours=1)
        self.call(lead)
        self.assertEqual(self.touches(lead).mapped("kind"), ["call"])
        self.assertEqual(self.credits(lead), [50.0, 50.0])
        event = self.env["calendar.event"].create(
            {
                "name": "Demo",
                "opportunity_id": lead.id,
                "start": fields.Datetime.now() - timedelta(hours=2),
                "stop": fields.Datetime.now() - timedelta(hours=1),
            }
        )
        self.assertEqual(sorted(self.touches(lead).mapped("kind")), ["call", "meeting"])
        self.assertEqual(self.credits(lead), [33.34, 33.33, 33.33])
        event.start = fields.Datetime.now() + timedelta(days=3)
        self.assertEqual(self.credits(lead), [50.0, 50.0])
        event.unlink()
        self.assertEqual(self.touches(lead).mapped("kind"), ["call"])

    def test_a_meeting_that_is_moved_is_the_other_deals_alone(self):
        self.env.company.trackflow_human_touches = True
        left, found = self.opportunity(self.journey(1)), self.opportunity(self.journey(1))
        event = self.env["calendar.event"].create(
            {
                "name": "Demo",
                "opportunity_id": left.id,
                "start": fields.Datetime.now() - timedelta(hours=2),
                "stop": fields.Datetime.now() - timedelta(hours=1),
            }
        )
        self.assertEqual((len(self.credits(left)), len(self.credits(found))), (2, 1))
        event.opportunity_id = found
        self.assertEqual((len(self.credits(left)), len(self.credits(found))), (1, 2))

    def test_a_meeting_moved_to_a_company_that_counts_none_is_a_touch_no_more(self):
        self.env.company.trackflow_human_touches = True
        left = self.opportunity(self.journey(1))
        elsewhere = self.env["res.company"].create({"name": "Elsewhere"})
        found = self.opportunity(
            self.journey(1), self.env.user, company_id=elsewhere.id, user_id=False
        )
        event = self.env["calendar.event"].create(
            {
                "name": "Demo",
                "opportunity_id": left.id,
                "start": fields.Datetime.now() - timedelta(hours=2),
                "stop": fields.Datetime.now() - timedelta(hours=1),
            }
        )
        event.opportunity_id = found
        self.assertFalse(self.touches(left | found))
        self.assertEqual((len(self.credits(left)), len(self.credits(found))), (1, 1))

    def test_a_call_that_meets_a_conflict_is_told_once_more(self):
        self.env.company.trackflow_human_touches = True
        lead = self.opportunity(user_id=self.salesman.id)
        with (
            patch.object(Engine, "record_touch", side_effect=SerializationFailure),
            self.assertRaises(SerializationFailure),
        ):
            self.call(lead)

    def touches(self, leads):
        refs = [f"crm.lead/{lead.id}" for lead in leads]
        return self.env["trackflow.touch"].search([("lead_ref", "in", refs)])


@tagged("post_install", "-at_install")
class TestEngagement(TrackflowCase):
    def score(self):
        self.env.flush_all()
        visitors = self.env["trackflow.visitor"]
        while visitors._score_engagement(100):
            pass
        visitors._forget_partners()

    def test_scores_are_the_cores_formula(self):
        visitor = self.journey(3)
        self.drain()
        partner = self.env["res.partner"].create({"name": "Anna"})
        lead = self.opportunity(visitor, partner_id=partner.id, user_id=self.salesman.id)
        self.env["trackflow.deal.link"].create(
            {
                "lead_id": lead.id,
                "link_id": self.links[0].id,
                "association_type": "event",
                "reason": "Met at the fair",
                "occurred_at": fields.Datetime.now() - timedelta(days=7),
            }
        )
        self.score()
        record = lead.trackflow_visitor_id
        store = build_engine(self.env)._store
        touches = store.touches([f"crm.lead/{lead.id}"])[f"crm.lead/{lead.id}"]
        expected = engagement.Formula().score(touches, datetime.now(timezone.utc))
        self.assertGreater(expected, 6)
        self.assertAlmostEqual(record.engagement_score, expected, places=1)
        self.assertAlmostEqual(partner.trackflow_engagement_score, expected, places=1)
        self.assertEqual(partner.trackflow_visitor_id, record)
        self.assertEqual(partner.trackflow_last_campaign, "TrackFlow Spring")

    def test_weights_and_half_life_are_settings(self):
        visitor = self.journey(1)
        self.drain()
        self.score()
        record = self.env["trackflow.visitor"].search([("visitor_key", "=", visitor)])
        before = record.engagement_score
        self.assertGreater(before, 0)
        settings = self.env["res.config.settings"]
        settings.create({"trackflow_engagement_click": 4}).execute()
        self.score()
        self.assertAlmostEqual(record.engagement_score, 4 * before, places=1)
        settings.create({"trackflow_engagement_click": 0}).execute()
        self.score()
        self.assertEqual(record.engagement_score, 0)
        scored = record.engagement_date
        settings.create({}).execute()
        self.assertEqual(record.engagement_date, scored)
        with self.assertRaises(ValidationError):
            settings.create({"trackflow_engagement_half_life": 0})
        self.env["ir.config_parameter"].set_param("trackflow.engagement_half_life", "often")
        with self.assertLogs("odoo.addons.trackflow.models", "ERROR"):
            formula = self.env["trackflow.visitor"]._engagement_formula()
        self.assertEqual(formula, engagement.Formula())

    def test_a_returning_visitor_is_scored_anew(self):
        visitor = self.journey(1)
        self.drain()
        self.score()
        record = self.env["trackflow.visitor"].search([("visitor_key", "=", visitor)])
        before = record.engagement_score
        self.env.cr.execute(
            "UPDATE trackflow_visitor SET engagement_date = engagement_date - INTERVAL '2 hours'"
        )
        self.click(visitor, 0.01)
        self.drain()
        self.score()
        self.assertAlmostEqual(record.engagement_score, before + 1, places=1)
        with self.assertQueryCount(2):
            self.env["trackflow.visitor"]._score_engagement(100)

    def test_an_erased_visitor_leaves_nothing_with_the_contact(self):
        visitor = self.journey(1)
        self.drain()
        partner = self.env["res.partner"].create({"name": "Anna"})
        self.opportunity(visitor, partner_id=partner.id)
        self.score()
        self.assertTrue(partner.trackflow_last_campaign)
        build_engine(self.env).forget(visitor)
        self.score()
        self.assertFalse(partner.trackflow_last_campaign)
        self.assertEqual(partner.trackflow_engagement_score, 0)

    def test_contacts_of_employees_show_no_marketing(self):
        partner = self.env["res.partner"].create({"name": "Anna"})
        with self.assertRaises(AccessError):
            partner.with_user(self.employee).read(["trackflow_last_campaign"])
        partner.with_user(self.salesman).read(["trackflow_last_campaign"])
