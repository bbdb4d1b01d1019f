from odoo.tests import HttpCase, new_test_user, tagged

from .common import TrackflowCase


@tagged("post_install", "-at_install")
class TestTours(HttpCase, TrackflowCase):
    """The marketer's and the salesperson's way through the screens, in a real browser."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.seller = new_test_user(
            cls.env,
            login="tf_seller",
            groups="sales_team.group_sale_salesman,trackflow.group_trackflow_campaign_manager",
            name="Tour Seller",
        )

    def test_marketer_and_salesperson(self):
        visitor = self.journey(3)
        self.drain()
        self.opportunity(visitor, user=self.seller, user_id=self.seller.id, name="Tour Deal")
        self.env.flush_all()
        self.start_tour("/odoo", "trackflow_marketer", login="tf_seller")
        link = self.env["link.tracker"].search([("title", "=", "Tour Poster")])
        self.assertEqual(link.campaign_id, self.campaign)
        self.assertEqual(len(link.code), self.env.company.trackflow_code_length)
