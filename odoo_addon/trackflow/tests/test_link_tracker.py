from unittest.mock import patch

from lxml import etree
from odoo.exceptions import AccessError, ValidationError
from odoo.tests import new_test_user, tagged, users

from .common import TrackflowCase


@tagged("post_install", "-at_install")
class TestLinkTracker(TrackflowCase):
    @users("tf_marketer")
    def test_a_marketer_makes_links_and_campaigns(self):
        campaign = self.env["utm.campaign"].create(
            {
                "title": "Summer",
                "trackflow_budget": 500.0,
                "trackflow_start_date": "2026-06-01",
                "trackflow_end_date": "2026-08-31",
                "trackflow_description": "For whoever travels",
                "trackflow_expected_roi": 0.5,
            }
        )
        shown = campaign.read(["trackflow_description", "trackflow_expected_roi"])[0]
        self.assertEqual(shown["trackflow_description"], "For whoever travels")
        self.assertEqual(shown["trackflow_expected_roi"], 0.5)
        link = self.env["link.tracker"].create(
            {"url": "https://shop.example/summer", "campaign_id": campaign.id}
        )
        self.assertEqual(campaign.trackflow_link_ids, link)
        self.assertEqual(campaign.trackflow_link_count, 1)
        self.assertTrue(link.short_url.endswith(f"/r/{link.code}"))
        self.assertTrue(link.trackflow_qr_png)
        self.assertEqual((link.count, link.trackflow_conversions), (0, 0))

    def test_codes_are_long_unique_and_not_the_systems(self):
        length = self.env.company.trackflow_code_length
        codes = self.env["link.tracker.code"]._get_random_code_strings(200)
        self.assertEqual(len(set(codes)), 200)
        self.assertEqual({len(code) for code in codes}, {length})
        self.env.company.trackflow_code_length = 12
        link = self._make_link("elsewhere", "cpc")
        self.assertEqual(len(link.code), 12)

    def test_a_code_that_is_taken_is_drawn_again(self):
        taken = self.links[0].code
        drawn = iter([taken, "fresh11", "fresh11", "fresh22"])
        path = "odoo.addons.trackflow.models.link_tracker_code.new_code"
        with patch(path, lambda length: next(drawn)):
            codes = self.env["link.tracker.code"]._get_random_code_strings(2)
        self.assertEqual(sorted(codes), ["fresh11", "fresh22"])

    def test_saving_a_link_asks_nobody(self):
        path = "odoo.addons.mail.tools.link_preview.get_link_preview_from_url"
        with patch(path, side_effect=AssertionError("the network was called")):
            link = self.env["link.tracker"].create({"url": "https://slow.example/page"})
        self.assertEqual(link.title, "https://slow.example/page")

    def test_a_link_is_called_what_a_person_named_it(self):
        link = self.links[0]
        self.assertEqual(link.display_name, link.short_url)
        link.title = "Poster"
        self.assertEqual(link.display_name, "Poster")
        link.title = "https://shop.example/earlier"
        self.assertEqual(link.display_name, link.short_url)
        link.title = False
        self.assertEqual(link.display_name, link.short_url)

    def test_only_the_web_is_a_destination(self):
        bad = (
            "javascript:alert(1)",
            "JavaScript:alert(1)",
            " javascript:alert(1)",
            "data:text/html,x",
            "mailto:a@example.com",
            "ftp://files.example/x",
            "https://",
            "https://a.example/\r\nSet-Cookie: x",
            "https://a.example:port/",
        )
        for url in bad:
            with self.subTest(url=url):
                with self.assertRaises(ValidationError):
                    self.env["link.tracker"].create({"url": url})
                with self.assertRaises(ValidationError):
                    self.env["link.tracker"].search_or_create([{"url": url}])
                with self.assertRaises(ValidationError):
                    self.links[0].url = url
                with self.assertRaises(ValidationError):
                    self.links[0].trackflow_fallback_url = url
        for url in ("example.com", "example.com:8080/x", "localhost:8069/x?a=javascript:1"):
            with self.subTest(url=url):
                self.assertTrue(self.env["link.tracker"].create({"url": url}))

    def test_no_link_leads_to_a_short_url(self):
        domain = self.env["trackflow.domain"].create({"name": "go.example.com"})
        link, other = self.links[:2]
        link.trackflow_domain_id = domain
        self.assertEqual(link.short_url, f"https://go.example.com/r/{link.code}")
        own = f"{link.get_base_url()}/r/{other.code}"
        writes = {
            "link": lambda url: self.env["link.tracker"].create({"url": url}),
            "found": lambda url: self.env["link.tracker"].search_or_create([{"url": url}]),
            "written": lambda url: link.write({"url": url}),
            "fallback": lambda url: link.write({"trackflow_fallback_url": url}),
            "variant": lambda url: self.env["trackflow.link.variant"].create(
                {"link_id": link.id, "name": "B", "url": url}
            ),
            "rule": lambda url: self.env["trackflow.link.rule"].create(
                {"link_id": link.id, "device": "mobile", "url": url}
            ),
        }
        for url in (f"https://go.example.com/r/{link.code}", "HTTP://Go.Example.COM/r/x", own):
            for name, write in writes.items():
                with self.subTest(name, url=url), self.assertRaises(ValidationError) as refused:
                    write(url)
                self.assertIn(f"{url} is a short URL", str(refused.exception))
        with self.assertRaises(ValidationError) as refused:
            link.trackflow_fallback_url = f"/r/{link.code}"
        self.assertTrue(str(refused.exception).startswith("Fallback URL: "))
        link.url = "https://go.example.com/"

    def test_mailings_take_pasted_short_urls(self):
        self.env["trackflow.domain"].create({"name": "go.example.com"})
        pasted = "http://go.example.com/r/anything"
        mixin = self.env["mail.render.mixin"]
        body = mixin._shorten_links(f'<p><a href="{pasted}">Here</a></p>', {})
        self.assertIn("/r/", body)
        self.assertNotIn(pasted, body)
        self.assertNotIn(pasted, mixin._shorten_links_text(f"Look: {pasted}", {}))

    def test_a_path_on_this_site_is_a_destination(self):
        made = self.env["link.tracker"].create({"url": "/"})
        self.assertEqual(made.url, made.get_base_url() + "/")
        self.assertEqual(self.env["link.tracker"].search_or_create([{"url": "/"}]), made)
        self.links[0].url = "/contactus"
        for url in ("//evil.example", "/\\evil.example"):
            with self.assertRaises(ValidationError):
                self.links[0].url = url

    def test_what_redirects_and_what_is_shown_agree(self):
        link = self.links[0]
        link.url = "https://shop.example/a?b=2&a=%20x+y&flag#part"
        self.assertEqual(
            link.redirected_url,
            "https://shop.example/a?b=2&a=%20x+y&flag&utm_campaign=TrackFlow+Spring"
            f"&utm_source=google&utm_medium={link.medium_id.name}#part",
        )

    def test_results_of_a_campaign(self):
        self.campaign.trackflow_budget = 50.0
        lead = self.opportunity(self.journey())
        self.drain()
        self.assertEqual(self.campaign.trackflow_clicks, 3)
        self.assertEqual(self.campaign.trackflow_visitors, 1)
        self.assertEqual(self.campaign.trackflow_conversions, 1)
        self.assertEqual(self.campaign.trackflow_revenue, 0)
        self.assertEqual(self.campaign.trackflow_roi, -1)
        lead.action_set_won()
        self.env.invalidate_all()
        self.assertEqual(self.campaign.trackflow_conversions, 2)
        self.assertEqual(self.campaign.trackflow_revenue, 100.0)
        self.assertEqual(self.campaign.trackflow_roi, 1)
        self.assertEqual(self.links[2].trackflow_conversions, 2)
        self.assertEqual(self.links[0].trackflow_conversions, 0)
        visitor = lead.trackflow_visitor_id
        self.assertEqual((visitor.conversion_count, visitor.has_converted), (2, True))
        self.assertIn(visitor, visitor.search([("has_converted", "=", True)]))
        self.assertNotIn(visitor, visitor.search([("has_converted", "=", False)]))

    def test_a_salespersons_revenue_is_the_sum_of_the_list_behind_it(self):
        for salesperson in (self.salesman, self.colleague, self.env["res.users"]):
            lead = self.opportunity(self.journey())
            lead.user_id = salesperson
            lead.action_set_won()
        self.env.flush_all()
        self.env.invalidate_all()
        own = self.campaign.with_user(self.salesman)
        action = self.env["ir.actions.actions"]._for_xml_id(
            "trackflow.trackflow_deal_attribution_action_campaign"
        )
        listed = own.env[action["res_model"]].search(
            [("campaign_id", "=", own.id), ("deal_status", "=", "won")]
        )
        self.assertEqual(own.trackflow_own_revenue, sum(listed.mapped("value")))
        self.assertEqual(own.trackflow_own_revenue, 200.0)
        self.assertEqual(own.trackflow_revenue, 300.0)

    def test_the_button_counts_what_its_reader_may_see(self):
        everything, own = "trackflow_revenue", "trackflow_own_revenue"
        all_leads = new_test_user(
            self.env, login="tf_all_leads", groups="sales_team.group_sale_salesman_all_leads"
        )
        for user, shown in (
            (self.salesman, own),
            (all_leads, everything),
            (self.marketer, everything),
        ):
            view = self.env["utm.campaign"].with_user(user).get_view(view_type="form")
            names = etree.fromstring(view["arch"]).xpath(
                "//div[@name='button_box']//field[contains(@name, '_revenue')]/@name"
            )
            self.assertEqual(names, [shown], user.login)

    def test_another_companys_revenue_is_not_shown(self):
        company = self.env["res.company"].create({"name": "Other"})
        lead = self.opportunity(self.journey())
        lead.write({"user_id": False, "team_id": False, "company_id": company.id})
        lead.action_set_won()
        self.env.invalidate_all()
        own = self.campaign.with_context(allowed_company_ids=self.env.company.ids)
        self.assertEqual(own.trackflow_revenue, 0)
        both = self.campaign.with_context(allowed_company_ids=[self.env.company.id, company.id])
        self.assertEqual(both.trackflow_revenue, 100.0)

    @users("tf_employee")
    def test_an_employee_sees_links_but_no_money(self):
        link = self.links[0].with_env(self.env)
        self.assertTrue(link.read(["short_url", "count", "trackflow_unique_visitors"]))
        with self.assertRaises(AccessError):
            link.write({"url": "https://elsewhere.example"})
        with self.assertRaises(AccessError):
            self.campaign.with_env(self.env).read(["trackflow_revenue"])
