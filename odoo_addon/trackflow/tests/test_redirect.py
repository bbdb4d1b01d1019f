from datetime import datetime, timedelta, timezone
from unittest.mock import patch

import psycopg2
from odoo import fields
from odoo.addons.trackflow.keys import visitor_keys
from odoo.addons.trackflow.store import OdooStore
from odoo.tests import HttpCase, new_test_user, tagged
from odoo.tools import mute_logger

from trackflow_core.tracking.identity import COOKIE_NAME, read_cookie, sign_cookie

from .common import BROWSER


@tagged("post_install", "-at_install")
class TestRedirect(HttpCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.campaign = cls.env["utm.campaign"].create({"title": "Spring Sale"})
        cls.link = cls.env["link.tracker"].create(
            {
                "url": "https://shop.example/offer?b=2&a=%20x+y&empty=&flag#part",
                "campaign_id": cls.campaign.id,
                "medium_id": cls.env["utm.medium"].create({"name": "cpc"}).id,
                "source_id": cls.env["utm.source"].create({"name": "google"}).id,
            }
        )
        if "website" in cls.env:
            cls.env["website"].search([]).write({"cookies_bar": False})

    def setUp(self):
        super().setUp()
        self.opener.headers["User-Agent"] = BROWSER

    def click(self, code=None, query="", method="GET", **headers):
        return self.url_open(
            f"/r/{code or self.link.code}{query}",
            allow_redirects=False,
            method=method,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )

    def queued(self):
        self.env.invalidate_all()
        return self.env["trackflow.click.queue"].search([("link_code", "=", self.link.code)])

    def test_it_leads_to_the_untouched_destination(self):
        answer = self.click(query="?gclid=A%2Fb&x=1&a=other")
        self.assertEqual(answer.status_code, 302)
        self.assertEqual(answer.headers["Cache-Control"], "no-store")
        self.assertEqual(
            answer.headers["Location"],
            "https://shop.example/offer?b=2&a=%20x+y&empty=&flag"
            "&utm_campaign=Spring+Sale&utm_source=google&utm_medium=cpc&gclid=A%2Fb&x=1#part",
        )

    def test_it_writes_one_row_and_nothing_else(self):
        self.click(Referer="https://www.google.com/")
        click = self.queued()
        self.assertEqual(len(click), 1)
        self.assertEqual(click.user_agent, BROWSER)
        self.assertEqual(click.referrer, "https://www.google.com/")
        self.assertEqual(click.status, "queued")
        self.assertEqual(click.ip, "127.0.0.0")
        self.assertFalse(click.internal)
        self.assertFalse(self.link.link_click_ids)
        self.assertEqual(self.link.count, 0)

    def test_the_visitor_keeps_one_signed_cookie(self):
        answer = self.click()
        cookie = answer.headers["Set-Cookie"]
        for attribute in ("HttpOnly", "SameSite=Lax", "Max-Age=31536000", "Path=/"):
            self.assertIn(attribute, cookie)
        self.assertNotIn("Secure", cookie)
        value = answer.cookies[COOKIE_NAME]
        visitor = read_cookie(value, visitor_keys(self.env))
        self.opener.cookies.set(COOKIE_NAME, value)
        self.click()
        self.assertEqual(set(self.queued().mapped("visitor_key")), {visitor})
        self.assertEqual(len(self.queued()), 2)

    def test_the_settings_say_how_long_a_visitor_is_known(self):
        self.env["res.company"].search([]).trackflow_cookie_days = 30
        self.assertIn("Max-Age=2592000", self.click().headers["Set-Cookie"])

    def test_no_session_is_made(self):
        self.assertNotIn("session_id", self.click().headers.get("Set-Cookie", ""))

    def test_a_forged_or_broken_cookie_is_replaced(self):
        forged = sign_cookie("f" * 32, ("somebody else's key",))
        for value in (forged, "x" * 5000, "%00%ff", "a.b", '"', "ü".encode().decode("latin-1")):
            with self.subTest(value=value[:10]):
                jar = self.opener.cookies
                for cookie in [cookie for cookie in jar if cookie.name == COOKIE_NAME]:
                    jar.clear(cookie.domain, cookie.path, cookie.name)
                jar.set(COOKIE_NAME, value)
                answer = self.click()
                self.assertEqual(answer.status_code, 302)
                self.assertTrue(read_cookie(answer.cookies[COOKIE_NAME], visitor_keys(self.env)))
        self.assertNotIn("f" * 32, self.queued().mapped("visitor_key"))

    def test_where_optional_cookies_are_refused_there_is_none(self):
        with patch.object(
            self.env.registry["ir.http"],
            "_is_allowed_cookie",
            classmethod(lambda cls, cookie_type: False),
        ):
            answer = self.click()
        self.assertEqual(answer.status_code, 302)
        self.assertNotIn(COOKIE_NAME, answer.cookies)
        self.assertFalse(self.queued().visitor_key)

    def test_a_browser_that_objects_is_only_counted(self):
        for header in ("Sec-GPC", "DNT"):
            answer = self.click(**{header: "1"}, Referer="https://blog.example/a?b=c")
            self.assertEqual(answer.status_code, 302)
            self.assertNotIn(COOKIE_NAME, answer.cookies)
        for click in self.queued():
            self.assertFalse(click.visitor_key)
            self.assertFalse(click.ip)
            self.assertEqual(click.referrer, "https://blog.example/")
            self.assertEqual(click.tier, "aggregate")

    def test_only_a_get_is_counted(self):
        for method in ("HEAD", "OPTIONS"):
            with self.subTest(method=method):
                answer = self.click(method=method)
                self.assertEqual(answer.status_code, 302)
                self.assertNotIn("Set-Cookie", answer.headers)
                self.assertFalse(self.queued())

    def test_staff_are_internal_and_get_no_cookie(self):
        new_test_user(self.env, login="seller", groups="sales_team.group_sale_salesman")
        self.authenticate("seller", "seller")
        answer = self.click()
        self.assertEqual(answer.status_code, 302)
        self.assertNotIn(COOKIE_NAME, answer.cookies)
        self.assertTrue(self.queued().internal)

    def test_a_portal_user_is_a_visitor(self):
        new_test_user(self.env, login="buyer", groups="base.group_portal")
        self.authenticate("buyer", "buyer")
        self.assertIn(COOKIE_NAME, self.click().cookies)
        self.assertFalse(self.queued().internal)

    def test_prefetching_is_marked(self):
        self.click(Sec_Purpose="prefetch;prerender")
        self.assertTrue(self.queued().prefetch)

    def test_an_unknown_code_gives_a_page(self):
        for code in ("nobody", "%00", "%ff%fe", "a" * 5000, "'%22--"):
            with self.subTest(code=code[:10]):
                answer = self.click(code)
                self.assertIn(answer.status_code, (404, 414))

    def test_a_link_lasts_to_the_end_of_the_companys_day(self):
        today = fields.Date.today()
        # Where it is already tomorrow, or still yesterday, whatever the clock says here.
        ahead = datetime.now(timezone.utc).hour >= 12
        zones = ["Pacific/Kiritimati", "Etc/GMT+12"]
        here, elsewhere = zones if ahead else reversed(zones)
        self.env.company.partner_id.tz = here
        self.link.trackflow_expiry_date = today if ahead else today - timedelta(days=1)
        self.assertEqual(self.click().status_code, 410 if ahead else 302)
        # A campaign of another company has that company's days.
        other = self.env["res.company"].create({"name": "Elsewhere"})
        other.partner_id.tz = elsewhere
        self.campaign.trackflow_company_id = other
        self.assertEqual(self.click().status_code, 302 if ahead else 410)
        self.assertEqual(self.link.trackflow_status, "active" if ahead else "expired")

    def test_an_expired_link_says_so_or_leads_elsewhere(self):
        self.link.trackflow_expiry_date = fields.Date.today() - timedelta(days=2)
        answer = self.click()
        self.assertEqual(answer.status_code, 410)
        self.assertTrue(answer.text.startswith("<!DOCTYPE html>"))
        self.assertIn("no longer valid", answer.text)
        self.link.trackflow_fallback_url = "https://shop.example/"
        answer = self.click()
        self.assertEqual(answer.status_code, 302)
        self.assertEqual(answer.headers["Location"], "https://shop.example/")
        self.assertFalse(self.queued())

    def test_a_link_is_valid_to_the_end_of_its_last_day(self):
        self.link.trackflow_expiry_date = fields.Date.today()
        self.assertEqual(self.click().status_code, 302)

    def test_bad_input_never_fails(self):
        for query in (
            "?" + "x" * 8192,
            "?a=%00&b=%ff%fe&c=%",
            "?utm_source=%0d%0aSet-Cookie:x=y",
            "?=&&==&a",
            "?url=javascript:alert(1)",
            "?utm_campaign=%ff",
        ):
            with self.subTest(query=query[:20]):
                answer = self.click(query=query, Referer="\x7f" + "r" * 3000)
                self.assertEqual(answer.status_code, 302)
                self.assertTrue(answer.headers["Location"].startswith("https://shop.example/"))
                self.assertNotIn("\r", answer.headers["Location"])
        self.assertEqual(len(self.queued()), 6)

    def test_a_visitor_is_sent_on_when_the_queue_fails(self):
        def fail(*args, **kwargs):
            raise psycopg2.OperationalError("disk full")

        with (
            patch.object(OdooStore, "append_clicks", fail),
            mute_logger("odoo.addons.trackflow.controllers.redirect"),
            patch.object(type(self.env.cr), "rollback", lambda cr: None),
        ):
            self.assertEqual(self.click().status_code, 302)

    def test_the_way_to_foreign_sites_can_be_kept_clean(self):
        self.env["ir.config_parameter"].set_param("link_tracker.no_external_tracking", "1")
        self.assertNotIn("utm_", self.click().headers["Location"])

    def test_a_link_on_this_site(self):
        self.link.url = "/contactus?x=1"
        location = self.click().headers["Location"]
        self.assertTrue(location.startswith(f"{self.base_url()}/contactus?x=1&utm_campaign="))

    def test_qr_codes_can_be_had_by_staff(self):
        path = f"/trackflow/link/{self.link.id}/qr."
        self.assertNotEqual(self.url_open(path + "png").headers["Content-Type"], "image/png")
        new_test_user(self.env, login="marketer", groups="base.group_user")
        self.authenticate("marketer", "marketer")
        self.assertTrue(self.url_open(path + "png").content.startswith(b"\x89PNG"))
        self.assertIn(b"<svg", self.url_open(path + "svg").content)
        self.assertEqual(self.url_open("/trackflow/link/99999999/qr.png").status_code, 404)
