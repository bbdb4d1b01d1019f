import json
from unittest.mock import patch

from lxml import html
from odoo.addons.trackflow.keys import visitor_keys
from odoo.addons.trackflow.tests.common import BROWSER, TrackflowCase
from odoo.addons.trackflow_website.models.ir_qweb import IrQweb
from odoo.addons.trackflow_website.models.link_tracker import LinkTracker
from odoo.exceptions import ValidationError
from odoo.tests import HttpCase, new_test_user, tagged
from odoo.tools import mute_logger

from trackflow_core.engine import Engine
from trackflow_core.tracking.identity import COOKIE_NAME, new_visitor_id, sign_cookie

CONSENT = "website_cookies_bar"


def environment_of_odoo(ir_qweb, values):
    return super(IrQweb, ir_qweb)._prepare_frontend_environment(values)


@tagged("post_install", "-at_install")
class TestWebsite(TrackflowCase, HttpCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.website = cls.env["website"].search([], limit=1)
        cls.env["website"].search([]).write({"cookies_bar": False})

    def setUp(self):
        super().setUp()
        self.opener.headers["User-Agent"] = BROWSER

    def click_link(self, link, query=""):
        return self.url_open(f"/r/{link.code}{query}", allow_redirects=False)

    def send_form(self, **fields):
        """Send the contact form; returns the lead."""
        answer = self.url_open(
            "/website/form/crm.lead",
            data={
                "name": "A question",
                "contact_name": "Anna",
                "email_from": "anna@example.com",
                "description": "What does it cost?",
                **fields,
            },
        )
        self.env.invalidate_all()
        return self.env["crm.lead"].browse(answer.json()["id"])

    def cookie(self, visitor):
        self.opener.cookies.set(COOKIE_NAME, sign_cookie(visitor, visitor_keys(self.env)))

    def test_a_form_is_joined_to_the_visitors_clicks(self):
        self.click_link(self.links[0])
        self.click_link(self.links[1])
        lead = self.send_form()
        self.assertEqual(lead.trackflow_touch_count, 2)
        self.assertEqual(lead.trackflow_first_touch_source, "google")
        self.assertEqual(lead.trackflow_last_touch_source, "weeklymail")
        self.assertEqual(lead.trackflow_medium.lower(), "email")
        self.assertEqual(lead.campaign_id, self.campaign)
        lead.write({"type": "opportunity", "expected_revenue": 10.01})
        self.assertEqual(self.credits(lead), [5.01, 5.0])

    def test_without_a_cookie_nobody_is_bound(self):
        lead = self.send_form()
        self.assertTrue(lead)
        self.assertFalse(lead.trackflow_visitor_ids)

    def test_a_forged_cookie_binds_nobody(self):
        self.opener.cookies.set(COOKIE_NAME, sign_cookie(new_visitor_id(), ("another key",)))
        self.assertFalse(self.send_form().trackflow_visitor_ids)

    def test_staff_are_never_bound(self):
        visitor = self.journey()
        self.cookie(visitor)
        new_test_user(
            self.env,
            login="form_seller",
            groups="base.group_user,sales_team.group_sale_salesman",
        )
        self.authenticate("form_seller", "form_seller")
        csrf = {"csrf_token": self._csrf_token()}
        lead = self.send_form(**csrf)
        self.assertFalse(lead.trackflow_visitor_ids)
        lead = self.send_form(trackflow_visitor_token=self.token(visitor), **csrf)
        self.assertFalse(lead.trackflow_visitor_ids)

    def _csrf_token(self):
        page = self.url_open("/contactus").text
        return page.split('csrf_token: "')[1].split('"')[0]

    def test_a_form_may_bring_a_token(self):
        lead = self.send_form(trackflow_visitor_token=self.token(self.journey()))
        self.assertEqual(lead.trackflow_touch_count, 3)
        self.assertNotIn("trackflow", lead.description)

    def test_a_bad_token_does_not_lose_the_lead(self):
        lead = self.send_form(trackflow_visitor_token="forged")
        self.assertEqual(lead.contact_name, "Anna")
        self.assertFalse(lead.trackflow_visitor_ids)

    def test_the_cookie_bar_decides(self):
        self.website.cookies_bar = True
        self.assertNotIn(COOKIE_NAME, self.click_link(self.links[0]).cookies)
        self.opener.cookies.set(CONSENT, json.dumps({"required": True, "optional": False}))
        self.assertNotIn(COOKIE_NAME, self.click_link(self.links[0]).cookies)
        self.cookie(self.journey())
        self.assertFalse(self.send_form().trackflow_visitor_ids)
        self.opener.cookies.set(CONSENT, json.dumps({"required": True, "optional": True}))
        self.assertIn(COOKIE_NAME, self.click_link(self.links[0]).cookies)
        self.assertTrue(self.send_form().trackflow_visitor_ids)

    def test_a_broken_consent_cookie_agrees_to_nothing(self):
        self.website.cookies_bar = True
        for value in ("{", "x", "%7B", "[1"):
            self.opener.cookies.set(CONSENT, value)
            answer = self.click_link(self.links[0], "?utm_source=x")
            self.assertEqual(answer.status_code, 302, value)
            self.assertNotIn(COOKIE_NAME, answer.cookies)

    def test_a_browser_that_objects_binds_nobody(self):
        self.cookie(self.journey())
        self.opener.headers["Sec-GPC"] = "1"
        self.assertFalse(self.send_form().trackflow_visitor_ids)

    def test_the_websites_company_decides(self):
        company = self.env["res.company"].create(
            {"name": "Strict", "trackflow_consent_required": True}
        )
        self.assertIn(COOKIE_NAME, self.click_link(self.links[0]).cookies)
        self.opener.cookies.clear()
        self.website.company_id = company
        self.assertNotIn(COOKIE_NAME, self.click_link(self.links[0]).cookies)

    def test_who_takes_consent_back_becomes_a_mere_count(self):
        visitor = self.journey()
        self.cookie(visitor)
        lead = self.send_form()
        self.assertEqual(lead.trackflow_touch_count, 3)
        self.website.cookies_bar = True
        self.opener.cookies.set(CONSENT, json.dumps({"required": True, "optional": False}))
        answer = self.url_open("/contactus")
        self.assertNotIn(COOKIE_NAME, answer.cookies)
        self.assertIn(f"{COOKIE_NAME}=;", answer.headers["Set-Cookie"])
        self.env.invalidate_all()
        self.assertFalse(lead.trackflow_visitor_ids)
        self.assertEqual(lead.trackflow_touch_count, 0)
        clicks = self.env["link.tracker.click"].search([("link_id", "in", self.links.ids)])
        self.assertEqual(len(clicks), 3)
        self.assertEqual(set(clicks.mapped("trackflow_tier")), {"aggregate"})
        self.assertFalse(clicks.mapped("trackflow_visitor_id"))

    def test_consent_is_taken_back_whoever_else_is_at_work(self):
        visitor = self.journey()
        self.drain()
        self.cookie(visitor)
        self.website.cookies_bar = True
        self.opener.cookies.set(CONSENT, json.dumps({"required": True, "optional": False}))
        withdraw, conflicts = Engine.withdraw, ["DO $$ BEGIN RAISE serialization_failure; END $$"]

        def busy(engine, key):
            withdraw(engine, key)
            if conflicts:
                self.env.cr.execute(conflicts.pop())

        with patch.object(Engine, "withdraw", busy), mute_logger("odoo.sql_db"):
            self.url_open("/contactus")
        self.env.invalidate_all()
        self.assertFalse(self.env["trackflow.visitor"].search([("visitor_key", "=", visitor)]))

    def test_who_has_not_answered_takes_nothing_back(self):
        visitor = self.journey()
        self.cookie(visitor)
        self.website.cookies_bar = True
        self.url_open("/contactus")
        self.drain()
        found = self.env["trackflow.visitor"].search([("visitor_key", "=", visitor)])
        self.assertTrue(found.click_ids)

    def test_the_cookie_bar_tells_what_consent_is_for(self):
        self.website.cookies_bar = True
        self.assertNotIn("o_trackflow_consent", self.url_open("/contactus").text)
        self.env["res.config.settings"].with_company(self.website.company_id).create(
            {
                "trackflow_consent_text": "Which <page> led you here?",
                "trackflow_privacy_url": "/privacy",
                "trackflow_cookie_policy_url": "https://law.example/cookies",
            }
        ).execute()
        page = self.url_open("/contactus").text
        self.assertIn("Which &lt;page&gt; led you here?", page)
        self.assertIn('href="/privacy"', page)
        self.assertIn('href="https://law.example/cookies"', page)
        for url in ("javascript:alert(1)", "privacy"):
            with self.assertRaises(ValidationError):
                self.website.company_id.trackflow_privacy_url = url

    def test_the_cookie_bar_links_to_a_page_once(self):
        self.website.cookies_bar = True
        self.website.company_id.trackflow_cookie_policy_url = "/cookie-policy"
        self.website.company_id.trackflow_privacy_url = "/privacy"
        self.browser_js(
            "/contactus",
            "const links = [...document.querySelectorAll('#website_cookies_bar a[href^=\\'/\\']')]"
            ".map((link) => link.getAttribute('href')).join();"
            "if (links === '/cookie-policy,/privacy') console.log('test successful');"
            "else console.error(links);",
            ready="!!document.querySelector('#website_cookies_bar .modal.show .o_trackflow_consent')",
        )

    def test_the_editor_edits_the_whole_cookie_bar(self):
        self.website.cookies_bar = True
        self.website.company_id.trackflow_consent_text = "What it is for"
        self.browser_js(
            "/contactus",
            "console.log('test successful')",
            ready="document.querySelector('#website_cookies_bar .modal.show .o_trackflow_consent')"
            ".innerText.includes('What it is for')",
        )
        self.authenticate("admin", "admin")
        page = html.fromstring(self.url_open("/contactus").content)
        self.assertEqual(page.get_element_by_id(CONSENT).get("data-oe-model"), "ir.ui.view")

    def test_pages_are_shown_before_our_code_is_loaded(self):
        self.website.cookies_bar = True
        self.website.company_id.trackflow_consent_text = "What it is for"
        with (
            patch.object(IrQweb, "_prepare_frontend_environment", environment_of_odoo),
            patch.object(LinkTracker, "_trackflow_own_hosts", side_effect=AttributeError),
        ):
            page = self.url_open("/contactus?nocache")
        self.assertEqual(page.status_code, 200)
        self.assertNotIn("trackflow", page.text)
        self.assertIn("/trackflow/t.js", self.url_open("/contactus?nocache").text)

    def test_no_link_leads_to_a_short_url_of_a_website(self):
        Links = self.env["link.tracker"]
        Links.create({"url": "https://other.example/r/x"})
        self.website.domain = "https://other.example"
        with self.assertRaises(ValidationError):
            Links.create({"url": "https://other.example/r/y"})

    def test_websites_are_not_looked_up_for_each_link(self):
        Website = type(self.env["website"])
        with patch.object(Website, "search", autospec=True, side_effect=Website.search) as search:
            self.env["link.tracker"].create(
                [{"url": f"https://shop.example/{number}"} for number in range(20)]
            )
        self.assertLessEqual(search.call_count, 1)

    def test_the_websites_visitor_leads_to_the_journey(self):
        self.cookie(self.journey())
        lead = self.send_form()
        person = self.env["website.visitor"].create(
            {"access_token": "f" * 32, "website_id": self.website.id, "lead_ids": lead.ids}
        )
        person = person.with_user(self.marketer).sudo()
        self.assertEqual(person.trackflow_visitor_ids, lead.trackflow_visitor_ids)
        self.assertEqual(person.trackflow_visitor_count, 1)
        self.assertEqual(person.action_trackflow_visitors()["res_id"], lead.trackflow_visitor_id.id)
