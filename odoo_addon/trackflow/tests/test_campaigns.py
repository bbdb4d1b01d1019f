from datetime import timedelta

from lxml import etree
from odoo import fields
from odoo.exceptions import AccessError, UserError, ValidationError
from odoo.tests import tagged, users
from odoo.tools import mute_logger
from psycopg2 import IntegrityError

from .common import CRAWLER, TrackflowCase


@tagged("post_install", "-at_install")
class TestCampaignFigures(TrackflowCase):
    def won_deal(self, **vals):
        lead = self.opportunity(self.journey(), **vals)
        lead.action_set_won()
        self.env.flush_all()
        self.env.invalidate_all()
        return lead

    def test_every_figure_follows_from_the_ones_beside_it(self):
        self.campaign.trackflow_budget = 50.0
        self.won_deal()
        campaign = self.campaign
        self.assertEqual((campaign.trackflow_clicks, campaign.trackflow_visitors), (3, 1))
        self.assertEqual((campaign.trackflow_leads, campaign.trackflow_deals), (1, 1))
        self.assertEqual(campaign.trackflow_conversions, 2)
        self.assertEqual(campaign.trackflow_revenue, 100.0)
        self.assertEqual(campaign.trackflow_cost, 50.0)
        self.assertAlmostEqual(campaign.trackflow_conversion_rate, 2 / 3)
        self.assertAlmostEqual(campaign.trackflow_cost_per_click, 50 / 3, 2)
        self.assertEqual(campaign.trackflow_cost_per_acquisition, 25.0)
        self.assertEqual(campaign.trackflow_roi, 1.0)
        self.assertTrue(campaign.trackflow_last_click)

    def test_crawlers_and_staff_count_nowhere(self):
        self.click(None, 1, user_agent=CRAWLER)
        self.click(None, 1, internal=True)
        self.drain()
        self.assertEqual(self.campaign.trackflow_clicks, 0)
        self.assertEqual(self.campaign.trackflow_conversion_rate, 0)
        self.assertEqual(self.campaign.trackflow_roi, 0)

    def test_entered_costs_take_the_place_of_the_budget(self):
        self.campaign.trackflow_budget = 50.0
        self.won_deal()
        cost = self.env["trackflow.campaign.cost"]
        cost.create({"campaign_id": self.campaign.id, "amount": 20.0, "name": "Ads"})
        self.assertEqual(self.campaign.trackflow_cost, 20.0)
        self.assertEqual(self.campaign.trackflow_roi, 4.0)
        self.assertEqual(self.campaign.trackflow_budget_used, 40.0)

    def test_money_is_in_the_campaigns_currency(self):
        company = self.env.company
        foreign = self.env["res.currency"].create({"name": "TFX", "symbol": "T", "rounding": 0.01})
        today = fields.Date.today()
        self.env["res.currency.rate"].create(
            [
                {"currency_id": foreign.id, "name": today - timedelta(days=400), "rate": 2.0},
                {"currency_id": foreign.id, "name": today - timedelta(days=5), "rate": 4.0},
            ]
        )
        self.assertEqual(self.campaign.trackflow_currency_id, company.currency_id)
        self.won_deal()
        self.env["trackflow.campaign.cost"].create(
            {
                "campaign_id": self.campaign.id,
                "amount": 80.0,
                "currency_id": foreign.id,
                "date": today,
            }
        )
        rate = company.currency_id._get_rates(company, today)[company.currency_id.id]
        self.assertAlmostEqual(self.campaign.trackflow_cost, 80.0 / 4.0 * rate)
        self.campaign.trackflow_currency_id = foreign
        self.env.invalidate_all()
        self.assertAlmostEqual(self.campaign.trackflow_revenue, 100.0 * 4.0 / rate)
        self.assertEqual(self.campaign.trackflow_cost, 80.0)

    def test_a_list_asks_once(self):
        campaigns = self.env["utm.campaign"].create([{"title": f"Many {n}"} for n in range(80)])
        names = ["trackflow_clicks", "trackflow_revenue", "trackflow_roi", "trackflow_status"]
        counts = []
        for some in (campaigns[:2], campaigns):
            some.read(names)  # loads what is cached for good
            self.env.flush_all()
            self.env.invalidate_all()
            before = self.env.cr.sql_log_count
            some.read(names)
            counts.append(self.env.cr.sql_log_count - before)
        self.assertEqual(*counts)

    def test_the_status_follows_the_dates(self):
        today = fields.Date.today()
        day = timedelta(days=1)
        campaigns = {
            "running": {},
            "planned": {"trackflow_start_date": today + day},
            "ended": {"trackflow_end_date": today - day},
            "paused": {"trackflow_paused": True},
        }
        made = {
            status: self.env["utm.campaign"].create({"title": f"Is {status}", **vals})
            for status, vals in campaigns.items()
        }
        for status, campaign in made.items():
            self.assertEqual(campaign.trackflow_status, status)
            found = self.env["utm.campaign"].search([("trackflow_status", "=", status)])
            self.assertIn(campaign, found)
            for other in set(made) - {status}:
                self.assertNotIn(made[other], found)
            others = self.env["utm.campaign"].search([("trackflow_status", "!=", status)])
            self.assertNotIn(campaign, others)
        made["running"].action_trackflow_pause()
        self.assertEqual(made["running"].trackflow_status, "paused")
        made["running"].action_trackflow_resume()
        self.assertEqual(made["running"].trackflow_status, "running")

    def test_the_type_groups_campaigns(self):
        self.campaign.trackflow_type = "email"
        found = self.env["utm.campaign"]._read_group(
            [("id", "=", self.campaign.id)], ["trackflow_type"], ["__count"]
        )
        self.assertEqual(found, [("email", 1)])

    def test_what_is_wrong_is_said(self):
        self.assertFalse(self.campaign.trackflow_warning)
        self.env["trackflow.campaign.cost"].create(
            {"campaign_id": self.campaign.id, "amount": 20.0}
        )
        self.assertIn("nobody has clicked", self.campaign.trackflow_warning)
        self.click(None, 9)
        self.drain()
        self.env.invalidate_all()
        self.assertIn("more than 7 days", self.campaign.trackflow_warning)
        self.campaign.action_trackflow_pause()
        self.assertFalse(self.campaign.trackflow_warning)

    @mute_logger("odoo.sql_db")
    def test_dates_and_budget_make_sense(self):
        for vals in (
            {"trackflow_start_date": "2026-02-01", "trackflow_end_date": "2026-01-01"},
            {"trackflow_budget": -1},
        ):
            with self.assertRaises(IntegrityError), self.env.cr.savepoint():
                self.campaign.write(vals)
                self.env.flush_all()

    def test_a_budget_that_no_number_keeps_is_refused_in_words(self):
        self.campaign.trackflow_budget = 10**13 - 1
        with self.assertRaisesRegex(ValidationError, "below 10,000,000,000,000"):
            self.campaign.trackflow_budget = 10**13

    def test_a_new_link_takes_the_campaigns_source_and_medium(self):
        self.campaign.trackflow_source_id = self.links[0].source_id
        self.campaign.trackflow_medium_id = self.links[0].medium_id
        link = self.env["link.tracker"].create(
            {"url": "https://shop.example/new", "campaign_id": self.campaign.id}
        )
        self.assertEqual(link.source_id, self.links[0].source_id)
        self.assertEqual(link.medium_id, self.links[0].medium_id)
        other = self.env["link.tracker"].create(
            {
                "url": "https://shop.example/new",
                "campaign_id": self.campaign.id,
                "source_id": self.links[1].source_id.id,
                "medium_id": False,
            }
        )
        self.assertEqual(other.source_id, self.links[1].source_id)
        self.assertFalse(other.medium_id)

    def test_a_company_keeps_its_campaigns_and_costs(self):
        company = self.env["res.company"].create({"name": "Other"})
        foreign = self.env["utm.campaign"].create(
            {"title": "Theirs", "trackflow_company_id": company.id}
        )
        cost = self.env["trackflow.campaign.cost"].create(
            {"campaign_id": self.campaign.id, "amount": 9.0, "company_id": company.id}
        )
        model = self.env["utm.campaign"].with_user(self.marketer)
        self.assertNotIn(foreign, model.search([]))
        self.assertIn(self.campaign, model.search([]))
        with self.assertRaises(AccessError):
            cost.with_user(self.marketer).read(["amount"])
        own = self.campaign.with_context(allowed_company_ids=self.env.company.ids)
        self.assertEqual(own.trackflow_cost, 0)


@tagged("post_install", "-at_install")
class TestCostImport(TrackflowCase):
    def preview(self, text, **vals):
        sheet = self.env["trackflow.sheet.import"].create(
            {"target": "trackflow.campaign.cost", "text": text, **vals}
        )
        sheet.action_preview()
        return sheet

    @users("tf_marketer")
    def test_a_pasted_sheet(self):
        sheet = self.preview(
            "\ufeffCampaign\tDate\tAmount\tName\n"
            "TrackFlow Spring\t2026-03-01\t1,234.50\tSearch ads\n"
            "TrackFlow Spring\t2026-03-02\t1.234,50\tSearch ads\n"
            "\n"
            "TrackFlow Spring\t2026-03-03\t80\t\n"
        )
        self.assertEqual((sheet.good_count, sheet.bad_count), (3, 0))
        self.assertEqual(sheet.line_ids.mapped("row"), [2, 3, 5])
        self.assertEqual(sheet.import_batch(), {"done": 3, "total": 3})
        costs = self.campaign.with_env(self.env).trackflow_cost_ids
        self.assertEqual(sorted(costs.mapped("amount")), [80.0, 1234.5, 1234.5])
        self.assertEqual(self.campaign.with_env(self.env).trackflow_cost, 2549.0)
        self.assertEqual(
            self.env["trackflow.campaign.cost"].search(sheet.action_open_records()["domain"]),
            costs,
        )

    @users("tf_marketer")
    def test_the_same_sheet_twice_changes_nothing(self):
        text = "campaign;date;amount\nTrackFlow Spring;2026-03-01;%s\n"
        self.preview(text % 10).import_batch()
        self.preview(text % 10).import_batch()
        self.preview(text % 12).import_batch()
        costs = self.campaign.with_env(self.env).trackflow_cost_ids
        self.assertEqual(costs.mapped("amount"), [12.0])

    @users("tf_marketer")
    def test_an_amount_that_no_number_keeps_is_refused(self):
        text = "campaign;date;amount\nTrackFlow Spring;2026-03-01;%s\n"
        sheet = self.preview(text % "12345678901234567890")
        self.assertEqual(sheet.bad_count, 1)
        self.assertIn("“12345678901234567890” is too much", sheet.line_ids.error)
        self.preview(text % "999999999999.99").import_batch()
        cost = self.campaign.with_env(self.env).trackflow_cost_ids
        self.assertEqual(cost.amount, 999999999999.99)
        with self.assertRaises(IntegrityError), mute_logger("odoo.sql_db"):
            cost.amount = 1e19
            cost.flush_recordset()

    @users("tf_marketer")
    def test_a_row_with_a_problem_says_which(self):
        sheet = self.preview(
            "campaign,date,amount,currency\n"
            "Nobody,2026-03-01,5,\n"
            "TrackFlow Spring,31/31/2026,5,\n"
            'TrackFlow Spring,2026-03-01,"1,234",\n'
            "TrackFlow Spring,2026-03-01,five,\n"
            "TrackFlow Spring,2026-03-01,-5,\n"
            "TrackFlow Spring,2026-03-01,5,QQQ\n"
            ",,,\n"
            "TrackFlow Spring,2026-03-01,5,\n"
        )
        self.assertEqual((sheet.good_count, sheet.bad_count), (1, 6))
        errors = sheet.line_ids.mapped("error")
        for number, part in enumerate(
            ("no campaign", "not a date", "1,234", "five", "-5", "no active currency")
        ):
            self.assertIn(part, errors[number])
        self.assertEqual(sheet.import_batch(), {"done": 1, "total": 1})
        self.assertEqual(sheet.import_batch(), {"done": 1, "total": 1})

    @users("tf_marketer")
    def test_rows_with_a_problem_come_first_in_the_order_of_the_sheet(self):
        sheet = self.preview(
            "campaign,date,amount\n"
            "TrackFlow Spring,2026-03-01,5\n"
            "Nobody,2026-03-01,5\n"
            "TrackFlow Spring,2026-03-02,5\n"
            "TrackFlow Spring,2026-03-01,five\n"
        )
        arch = etree.fromstring(sheet.get_view(view_type="form")["arch"])
        orders = set(arch.xpath("//field[@name='line_ids']/*/@default_order"))
        self.assertEqual(len(orders), 1, "a list and cards have the same order")
        lines = sheet.line_ids.search([("import_id", "=", sheet.id)], order=orders.pop())
        self.assertEqual(lines.mapped("row"), [3, 5, 2, 4])

    @users("tf_marketer")
    def test_lists_and_cards_offer_the_sheet(self):
        for model in ("trackflow.campaign.cost", "link.tracker"):
            action = self.env.ref(f"trackflow.{model.replace('.', '_')}_import_action")
            for view_type in ("list", "kanban"):
                arch = self.env[model].get_view(view_type=view_type)["arch"]
                self.assertIn(f'name="{action.id}"', arch, f"{model}: {view_type}")

    @users("tf_marketer")
    def test_two_rows_of_one_cost_are_not_one_of_them(self):
        sheet = self.preview(
            "campaign,date,amount,name\n"
            "TrackFlow Spring,2026-03-01,5,Search ads\n"
            "TrackFlow Spring,2026-03-01,7,Search ads\n"
            "TrackFlow Spring,2026-03-01,9,Social ads\n"
        )
        self.assertEqual(sheet.line_ids.mapped(lambda line: bool(line.error)), [False, True, False])
        self.assertIn("row 2", sheet.line_ids[1].error)
        sheet.import_batch()
        self.assertEqual(self.campaign.with_env(self.env).trackflow_cost, 14.0)

    @users("tf_marketer")
    def test_what_a_row_lacks_is_named(self):
        sheet = self.preview("campaign,name\n,Search ads\n")
        self.assertEqual(
            sheet.line_ids.error, "campaign is missing; date is missing; amount is missing"
        )

    @users("tf_marketer")
    def test_a_campaign_is_found_however_its_name_is_written(self):
        sheet = self.preview("campaign,date,amount\nTRACKFLOW SPRING,2026-03-01,5\n")
        self.assertEqual(sheet.bad_count, 0)

    @users("tf_marketer")
    def test_what_is_no_sheet(self):
        for text in ("campaign,date,amount", "a,a\n1,2"):
            with self.assertRaises(UserError):
                self.preview(text)
        with self.assertRaises(UserError):
            self.preview("")

    @users("tf_salesman")
    def test_sales_imports_nothing(self):
        with self.assertRaises(AccessError):
            self.env["trackflow.sheet.import"].create({"text": "x"})

    def test_an_import_is_its_makers_own(self):
        sheet = self.env["trackflow.sheet.import"].with_user(self.marketer).create({"text": "x"})
        with self.assertRaises(AccessError):
            sheet.with_user(self.manager).read(["text"])
