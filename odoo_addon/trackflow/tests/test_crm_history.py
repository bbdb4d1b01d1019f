from datetime import timedelta

from odoo import fields
from odoo.exceptions import AccessError
from odoo.tests import tagged

from .common import TrackflowCase


@tagged("post_install", "-at_install")
class TestCrmHistory(TrackflowCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        stages = cls.env["crm.stage"].search([("is_won", "=", False), ("team_ids", "=", False)])
        cls.first, cls.second = stages[:2]
        cls.won = cls.env["crm.stage"].search([("is_won", "=", True)], limit=1)

    def test_a_moved_deal_tells_who_and_how_long(self):
        lead = self.opportunity(user_id=self.salesman.id, stage_id=self.first.id)
        self.assertFalse(lead.trackflow_stage_change_ids)
        lead.date_last_stage_update = fields.Datetime.now() - timedelta(days=3)
        lead.with_user(self.salesman).write({"stage_id": self.second.id})
        change = lead.trackflow_stage_change_ids
        self.assertEqual((change.from_stage_id, change.to_stage_id), (self.first, self.second))
        self.assertEqual(change.changed_by, self.salesman)
        self.assertAlmostEqual(change.days_in_stage, 3, places=2)

    def test_many_deals_are_kept_by_one_insert(self):
        leads = self.env["crm.lead"].concat(
            *(self.opportunity(stage_id=self.first.id) for _ in range(5))
        )
        leads.write({"stage_id": self.second.id})
        changes = self.env["trackflow.deal.stage.change"].search([("lead_id", "in", leads.ids)])
        self.assertEqual(changes.lead_id, leads)
        self.env.flush_all()
        before = {
            lead.id: {**lead._trackflow_standing(), "stage": False, "changed_by": self.env.uid}
            for lead in leads
        }
        with self.assertQueryCount(1):
            leads._trackflow_keep_changes(before)
            self.env.flush_all()

    def test_status_of_a_lead_is_kept_until_it_is_won(self):
        lead = self.opportunity(self.journey(1), user_id=self.salesman.id, type="lead")
        lead.trackflow_lead_date = fields.Datetime.now() - timedelta(days=2)
        for move in (
            lambda: lead.convert_opportunity(self.env["res.partner"]),
            lead.action_set_won,
            lambda: lead.write({"stage_id": self.first.id}),
            lead.action_set_lost,
        ):
            move()
            self.env.cr.flush()
        changes = lead.trackflow_status_change_ids.sorted("id")
        self.assertEqual(
            [(change.from_status, change.to_status) for change in changes],
            [
                ("lead", "opportunity"),
                ("opportunity", "won"),
                ("won", "opportunity"),
                ("opportunity", "lost"),
            ],
        )
        self.assertAlmostEqual(changes[0].days_in_status, 2, places=2)
        self.assertEqual(changes[0].source_campaign, lead.trackflow_campaign)
        self.assertEqual(changes[0].source_medium, "cpc")
        self.assertIn(self.won, lead.trackflow_stage_change_ids.to_stage_id)

    def test_a_transaction_moves_a_deal_once(self):
        lead = self.opportunity(user_id=self.salesman.id, stage_id=self.first.id)
        lead.with_user(self.salesman).stage_id = self.second
        lead.with_user(self.manager).sudo().stage_id = self.won
        change = lead.trackflow_stage_change_ids
        self.assertEqual((change.from_stage_id, change.to_stage_id), (self.first, self.won))
        self.assertEqual(change.changed_by, self.manager)
        lead.stage_id = self.second
        lead.stage_id = self.won
        self.env.cr.flush()
        self.assertEqual(lead.trackflow_stage_change_ids, change)

    def test_writing_the_same_stage_is_no_change(self):
        lead = self.opportunity(stage_id=self.first.id)
        lead.write({"stage_id": self.first.id})
        self.assertFalse(lead.trackflow_stage_change_ids)

    def test_sales_remarks_on_its_own_and_changes_nothing_else(self):
        own = self.opportunity(user_id=self.salesman.id, stage_id=self.first.id)
        other = self.opportunity(
            user=self.colleague, user_id=self.colleague.id, stage_id=self.first.id
        )
        (own | other).write({"stage_id": self.second.id})
        model = self.env["trackflow.deal.stage.change"].with_user(self.salesman)
        change = model.search([("lead_id", "in", (own | other).ids)])
        self.assertEqual(change.lead_id, own.with_user(self.salesman))
        change.notes = "They asked for an offer"
        with self.assertRaises(AccessError):
            change.change_date = fields.Datetime.now()
        with self.assertRaises(AccessError):
            change.unlink()
        with self.assertRaises(AccessError):
            model.create({"lead_id": own.id, "change_date": fields.Datetime.now()})
        with self.assertRaises(AccessError):
            model.with_user(self.employee).search([])

    def test_another_company_sees_nothing(self):
        company = self.env["res.company"].create({"name": "TrackFlow Elsewhere"})
        lead = self.opportunity(user_id=False, stage_id=self.first.id)
        lead.write({"stage_id": self.second.id})
        lead.write({"user_id": False, "team_id": False, "company_id": company.id})
        self.env.flush_all()
        for model in ("trackflow.deal.stage.change", "trackflow.deal.link"):
            found = self.env[model].with_user(self.manager).search([("lead_id", "=", lead.id)])
            self.assertFalse(found)

    def test_deals_of_the_demo_came_through_the_stages_before_theirs(self):
        lead = self.opportunity(stage_id=self.second.id)
        lead.trackflow_deal_date = began = fields.Datetime.now() - timedelta(days=30)
        self.env["trackflow.demo"]._back_date_stages(lead)
        changes = lead.trackflow_stage_change_ids.sorted("change_date")
        self.assertEqual(changes[-1].to_stage_id, self.second)
        self.assertEqual(changes[1:].from_stage_id, changes[:-1].to_stage_id)
        self.assertEqual(changes[-1].change_date, lead.date_last_stage_update)
        spent = timedelta(days=sum(changes.mapped("days_in_stage")))
        self.assertAlmostEqual(began + spent, changes[-1].change_date, delta=timedelta(seconds=2))
        self.assertLess(changes[-1].change_date, fields.Datetime.now() - timedelta(days=3))
