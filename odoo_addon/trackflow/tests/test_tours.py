import json
from datetime import timedelta

from odoo import fields
from odoo.tests import new_test_user, tagged

from .common import TourCase

DESK, PHONE = "1366x768", "390x844"


@tagged("post_install", "-at_install")
class TestTours(TourCase):
    """Everybody's way through the screens, in a real browser."""

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
        self.env.cr.flush()
        self.start_tour("/odoo", "trackflow_marketer", login="tf_seller")
        link = self.env["link.tracker"].search([("title", "=", "Tour Poster")])
        self.assertEqual(link.campaign_id, self.campaign)
        self.assertEqual(len(link.code), self.env.company.trackflow_code_length)

    def won_deal(self):
        visitor = self.journey(3)
        self.drain()
        lead = self.opportunity(visitor, user=self.seller, user_id=self.seller.id, name="Tour Deal")
        self.links[2].title = "Tour Poster"
        return lead

    def test_salesperson(self):
        lead = self.won_deal()
        found = self.env["link.tracker"].name_search("Tour Poster")
        self.assertEqual([link_id for link_id, _name in found], self.links[2].ids)
        self.env["trackflow.deal.link"].with_user(self.seller).create(
            {
                "lead_id": lead.id,
                "link_id": self.links[2].id,
                "reason": "She told me",
                "occurred_at": fields.Datetime.now() - timedelta(days=1),
            }
        )
        self.env.cr.flush()
        action = self.env.ref("crm.crm_lead_opportunities")
        self.at_a_desk_and_on_a_phone(
            f"/odoo/action-{action.id}/{lead.id}", "trackflow_salesperson", "tf_seller"
        )

    def test_marketer_on_a_phone(self):
        self.won_deal()
        self.env.cr.flush()
        self.browser_size = PHONE
        self.start_tour(
            "/odoo/action-trackflow.utm_campaign_action",
            "trackflow_marketer_phone",
            login="tf_seller",
        )
        self.start_tour("/odoo/tracked-links", "trackflow_marketer_phone_link", login="tf_seller")
        link = self.env["link.tracker"].search([("title", "=", "Tour on the Way")])
        self.assertEqual(link.url, "https://shop.example/on-the-way")

    def test_administrator_adds_a_connector_and_retries_what_failed(self):
        admin = new_test_user(
            self.env,
            login="tf_tour_admin",
            groups="base.group_system,trackflow.group_trackflow_manager",
        )
        action = self.env.ref("trackflow.trackflow_connector_action")
        self.start_tour(f"/odoo/action-{action.id}", "trackflow_connectors_add", login=admin.login)
        connector = self.env["trackflow.connector"].search([("name", "=", "Tour Shop")])
        self.assertEqual(connector._configuration().tolerance, 600)
        self.assertEqual(connector._configuration().write_back_secret, "whsec_dG91ciBzZWNyZXQ=")
        deal = {"id": "1", "lead_id": "1", "value": "10.00", "currency": "XXQ"}
        told = {"type": "deal.created", "timestamp": "2026-03-01T12:00:00Z", "data": deal}
        event = self.env["trackflow.connector.event"].create(
            {
                "connector_id": connector.id,
                "event_id": "evt_1",
                "received_at": fields.Datetime.now(),
                "payload": json.dumps({**told, "webhook_id": "evt_1"}),
            }
        )
        event._process()
        self.env["res.currency"].create({"name": "XXQ", "symbol": "Q"})
        self.start_tour(
            f"/odoo/action-{action.id}", "trackflow_connectors_retry", login=admin.login
        )
        event.invalidate_recordset()
        event._process()
        self.assertEqual(event.state, "done")
        self.assertEqual(event.lead_id.trackflow_deal_ref, "webhook/tour/1")

    def test_a_reading_that_is_due_comes_soon(self):
        settings = {"url": "https://odoo.example", "database": "x", "user": "a", "api_key": "k"}
        connector = self.env["trackflow.connector"].create(
            {"name": "Branch", "connector": "odoo", "instance": "branch", "settings": settings}
        )
        connector.next_poll_at = fields.Datetime.now() - timedelta(minutes=5)
        self.start_tour(
            f"/odoo/action-trackflow.trackflow_connector_action/{connector.id}",
            "trackflow_connectors_due",
            login="admin",
        )

    def test_administrator(self):
        for size in (DESK, PHONE):
            with self.subTest(size=size):
                self.browser_size = size
                self.env["trackflow.internal.ip.range"].search([]).unlink()
                self.env["trackflow.api.key"].search([]).unlink()
                self.start_tour(
                    "/odoo/action-trackflow.res_config_settings_action",
                    "trackflow_administrator",
                    login="admin",
                )
                self.start_tour(
                    "/odoo/action-trackflow.trackflow_api_key_action",
                    "trackflow_administrator_key",
                    login="admin",
                )
                self.assertEqual(self.env["trackflow.api.key"].search([]).name, "Web shop")

    def at_a_desk_and_on_a_phone(self, url, tour, login):
        for size in (DESK, PHONE):
            with self.subTest(size=size):
                self.browser_size = size
                self.start_tour(url, tour, login=login)

    def test_manager(self):
        self.won_deal().action_set_won()
        self.env.flush_all()
        while self.env["trackflow.model.credit"]._compare(100):
            pass
        self.env.cr.flush()
        self.at_a_desk_and_on_a_phone(
            "/odoo/trackflow-dashboard", "trackflow_manager", "tf_manager"
        )

    def test_a_fit_shows_how_far_it_is(self):
        plugins = self.env["trackflow.plugin"].with_context(active_test=False)
        plugins._synchronise()
        plugins.search([("name", "=", "data_driven")]).active = True
        model = self.env["trackflow.attribution.model"].create(
            {"name": "Learned", "rule": "markov", "fit_state": "waiting"}
        )
        self.start_tour(
            f"/odoo/action-trackflow.trackflow_attribution_model_action/{model.id}",
            "trackflow_manager_fit",
            login="tf_manager",
        )
