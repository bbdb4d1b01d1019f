from odoo.addons.trackflow.tests.common import TrackflowCase
from odoo.fields import Command
from odoo.tests import tagged

from ..hooks import post_init_hook, uninstall_hook


@tagged("post_install", "-at_install")
class TestOrders(TrackflowCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.customer = cls.env["res.partner"].create({"name": "Anna"})
        cls.product = cls.env["product.product"].create({"name": "Chair", "type": "service"})

    def order(self, lead, price, **vals):
        return self.env["sale.order"].create(
            {
                "partner_id": self.customer.id,
                "opportunity_id": lead.id,
                "order_line": [
                    Command.create({"product_id": self.product.id, "price_unit": price})
                ],
                **vals,
            }
        )

    def won(self):
        lead = self.opportunity(self.journey(2), partner_id=self.customer.id)
        lead.action_set_won()
        self.assertEqual(self.credits(lead), [50.0, 50.0])
        return lead

    def test_a_won_deal_earns_what_its_orders_brought(self):
        lead = self.won()
        first, second = self.order(lead, 30.01), self.order(lead, 10)
        self.assertEqual(self.credits(lead), [50.0, 50.0], "a quotation brings nothing yet")
        (first | second).action_confirm()
        self.assertEqual(self.credits(lead), [20.01, 20.0])
        conversion = self.env["trackflow.conversion"].search(
            [("lead_id", "=", lead.id), ("kind", "=", "won")]
        )
        self.assertEqual(conversion.value, 40.01)
        second._action_cancel()
        self.assertEqual(self.credits(lead), [15.01, 15.0])
        first._action_cancel()
        self.assertEqual(self.credits(lead), [50.0, 50.0])

    def test_an_open_deal_is_worth_what_is_expected(self):
        lead = self.opportunity(self.journey(1))
        self.order(lead, 30).action_confirm()
        self.assertEqual(self.credits(lead), [100.0])
        lead.action_set_won()
        self.assertEqual(self.credits(lead), [30.0])

    def test_the_currency_of_an_order_needs_a_rate(self):
        currency = self.env["res.currency"].create({"name": "XAA", "symbol": "a"})
        pricelist = self.env["product.pricelist"].create(
            {"name": "Abroad", "currency_id": currency.id}
        )
        order = self.order(self.won(), 30, pricelist_id=pricelist.id)
        self.env.flush_all()
        health = self.env["trackflow.health"]
        self.assertNotIn("XAA", health._currencies_without_rate(), "it is not confirmed")
        order.action_confirm()
        self.env.flush_all()
        self.assertIn("XAA", health._currencies_without_rate())

    def test_an_order_that_changes_changes_the_credits(self):
        lead, other = self.won(), self.won()
        order = self.order(lead, 30)
        order.action_confirm()
        order.order_line.price_unit = 60
        self.assertEqual(self.credits(lead), [30.0, 30.0])
        order.order_line = [Command.create({"product_id": self.product.id, "price_unit": 4})]
        self.assertEqual(self.credits(lead), [32.0, 32.0])
        order.opportunity_id = other
        self.assertEqual(self.credits(lead), [50.0, 50.0])
        self.assertEqual(self.credits(other), [32.0, 32.0])

    def test_money_is_in_the_companys_currency(self):
        currency = self.env["res.currency"].create(
            {
                "name": "TFX",
                "symbol": "T",
                "rate_ids": [Command.create({"name": "2020-01-01", "rate": 2.0})],
            }
        )
        pricelist = self.env["product.pricelist"].create(
            {"name": "Abroad", "currency_id": currency.id}
        )
        lead = self.won()
        self.order(lead, 60, pricelist_id=pricelist.id).action_confirm()
        self.assertEqual(self.credits(lead), [15.0, 15.0])

    def test_a_deal_that_goes_to_another_company_is_in_its_currency(self):
        currency = self.env["res.currency"].create(
            {
                "name": "TFX",
                "symbol": "T",
                "rate_ids": [Command.create({"name": "2020-01-01", "rate": 2.0})],
            }
        )
        other = self.env["res.company"].create({"name": "Abroad", "currency_id": currency.id})
        lead = self.won()
        self.order(lead, 60).action_confirm()
        self.assertEqual(self.credits(lead), [30.0, 30.0])
        lead.write({"company_id": other.id, "team_id": False, "user_id": False})
        self.assertEqual(lead.trackflow_attribution_ids.currency_id, currency)
        self.assertEqual(self.credits(lead), [60.0, 60.0])

    def test_a_deal_without_a_company_is_in_that_of_its_salesperson(self):
        currency = self.env["res.currency"].create(
            {
                "name": "TFX",
                "symbol": "T",
                "rate_ids": [Command.create({"name": "2020-01-01", "rate": 2.0})],
            }
        )
        other = self.env["res.company"].create({"name": "Abroad", "currency_id": currency.id})
        self.salesman.write({"company_ids": [Command.link(other.id)], "company_id": other.id})
        lead = self.won()
        lead.write({"user_id": self.salesman.id, "team_id": False})
        lead.company_id = False
        self.order(lead, 60).action_confirm()
        self.assertEqual(lead.trackflow_attribution_ids.currency_id, currency)
        self.assertEqual(self.credits(lead), [60.0, 60.0])

    def test_a_salesperson_without_rights_on_others_orders_may_confirm(self):
        lead = self.won()
        order = self.order(lead, 30, user_id=self.salesman.id)
        order.with_user(self.salesman).action_confirm()
        self.assertEqual(self.credits(lead), [15.0, 15.0])

    def test_orders_from_before_are_counted(self):
        lead = self.won()
        self.order(lead, 30).action_confirm()
        self.env.flush_all()
        self.env.cr.execute(
            "UPDATE crm_lead SET trackflow_won_revenue = NULL WHERE id = %s", [lead.id]
        )
        self.env.invalidate_all()
        post_init_hook(self.env)
        self.assertEqual(self.credits(lead), [15.0, 15.0])

    def test_without_the_addon_a_won_deal_is_worth_what_was_expected(self):
        lead = self.won()
        self.order(lead, 30).action_confirm()
        self.assertEqual(self.credits(lead), [15.0, 15.0])
        uninstall_hook(self.env)
        self.drain()
        self.assertEqual(self.credits(lead), [50.0, 50.0])
