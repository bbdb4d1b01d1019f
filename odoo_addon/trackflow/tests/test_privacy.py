from odoo.addons.trackflow.engine import settings
from odoo.exceptions import ValidationError
from odoo.tests import HttpCase, new_test_user, tagged
from odoo.tools import mute_logger
from psycopg2 import IntegrityError

from trackflow_core.tracking.identity import COOKIE_NAME

from .common import BROWSER, TrackflowCase


@tagged("post_install", "-at_install")
class TestPrivacy(TrackflowCase, HttpCase):
    """Every setting of what is recorded of whom, and what the redirect makes of it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.company = cls.env.ref("base.public_user").company_id
        if "website" in cls.env:
            cls.env["website"].search([]).write(
                {"cookies_bar": False, "company_id": cls.company.id}
            )
        cls.ranges = cls.env["trackflow.internal.ip.range"]

    def setUp(self):
        super().setUp()
        self.opener.headers["User-Agent"] = BROWSER

    def visit(self, **headers):
        """One click; returns the answer and the row that it left in the queue."""
        queue = self.env["trackflow.click.queue"]
        last = queue.search([], limit=1).id or 0
        answer = self.url_open(
            f"/r/{self.links[0].code}",
            allow_redirects=False,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )
        self.assertEqual(answer.status_code, 302)
        self.env.invalidate_all()
        return answer, queue.search([("id", ">", last)])

    def configure(self, **values):
        self.env["res.config.settings"].with_company(self.company).create(
            {f"trackflow_{name}": value for name, value in values.items()}
        ).execute()

    def test_by_default_visitors_are_recognised_and_addresses_cut(self):
        answer, click = self.visit()
        self.assertIn(COOKIE_NAME, answer.cookies)
        self.assertTrue(click.visitor_key)
        self.assertEqual((click.ip, click.tier), ("127.0.0.0", "full"))

    def test_recording_can_be_switched_off(self):
        self.configure(tracking_enabled=False)
        answer, click = self.visit()
        self.assertNotIn(COOKIE_NAME, answer.cookies)
        self.assertFalse(click)

    def test_consent_may_be_required_where_nothing_asks(self):
        self.configure(consent_required=True)
        answer, click = self.visit(Referer="https://blog.example/a?b=c")
        self.assertNotIn(COOKIE_NAME, answer.cookies)
        self.assertFalse(click.visitor_key)
        self.assertEqual(click.tier, "aggregate")
        self.assertEqual(click.referrer, "https://blog.example/")

    def test_without_consent_nothing_may_be_kept(self):
        self.configure(without_consent="none")
        _answer, click = self.visit(Sec_GPC="1")
        self.assertFalse(click)
        self.configure(consent_required=True)
        _answer, click = self.visit()
        self.assertFalse(click)

    def test_browser_signals_are_heeded_or_not(self):
        for name in ("Sec_GPC", "DNT"):
            answer, click = self.visit(**{name: "1"})
            self.assertNotIn(COOKIE_NAME, answer.cookies)
            self.assertEqual(click.tier, "aggregate")
        self.configure(respect_signals=False)
        answer, click = self.visit(Sec_GPC="1", DNT="1")
        self.assertIn(COOKIE_NAME, answer.cookies)
        self.assertEqual(click.tier, "full")

    def test_as_much_of_an_address_is_kept_as_the_company_says(self):
        for policy, expected in (("off", "127.0.0.1"), ("full", ""), ("short", "127.0.0.0")):
            self.configure(ip_policy=policy)
            _answer, click = self.visit()
            self.assertEqual(click.ip or "", expected, policy)

    def test_mailings_clicks_keep_as_much_of_the_address(self):
        clicks = self.env["link.tracker.click"]
        link = self.links[0]
        self.configure(ip_policy="full")
        click = clicks.add_click(link.code, ip="203.0.113.7", country_code="BE")
        self.assertFalse(click.ip)

    def test_own_networks_are_left_out(self):
        for text in ("127.0.0.0/8", "::1", "2001:db8::/32"):
            self.ranges.create({"ip_range": text, "company_id": self.company.id})
        answer, click = self.visit()
        self.assertNotIn(COOKIE_NAME, answer.cookies)
        self.assertTrue(click.internal)
        self.assertFalse(click.visitor_key)
        self.configure(exclude_internal=False)
        self.assertFalse(self.visit()[1].internal)
        self.configure(exclude_internal=True)
        self.assertTrue(self.visit()[1].internal)
        self.company.trackflow_internal_range_ids.unlink()
        self.assertFalse(self.visit()[1].internal)

    def test_another_companys_networks_are_not_ours(self):
        other = self.env["res.company"].create({"name": "Other"})
        self.ranges.create({"ip_range": "127.0.0.1", "company_id": other.id})
        self.assertFalse(self.visit()[1].internal)

    def test_what_is_no_network_is_refused(self):
        for text in ("office", "192.0.2.1/24", "2001:db8::/129", "0.0.0.0/0", "::/0"):
            with self.subTest(text=text), self.assertRaises(ValidationError):
                self.ranges.create({"ip_range": text})
        with self.assertRaisesRegex(ValidationError, "“10.1.2.3/16” is no network: write it"):
            self.ranges.create({"ip_range": "10.1.2.3/16"})
        self.ranges.create({"ip_range": "192.0.2.0/24"})
        with (
            self.assertRaises(IntegrityError),
            mute_logger("odoo.sql_db"),
            self.env.cr.savepoint(),
        ):
            self.ranges.create({"ip_range": "192.0.2.0/24"})

    def test_staff_stay_internal_wherever_they_are(self):
        self.configure(exclude_internal=False)
        new_test_user(self.env, login="at_home", groups="base.group_user")
        self.authenticate("at_home", "at_home")
        answer, click = self.visit()
        self.assertTrue(click.internal)
        self.assertNotIn(COOKIE_NAME, answer.cookies)

    def test_somebody_who_becomes_staff_is_staff_at_once(self):
        users = self.env["res.users"]
        buyer = new_test_user(self.env, login="tf_buyer", groups="base.group_portal")
        self.assertFalse(users._trackflow_is_staff(buyer.id))
        buyer.group_ids = self.env.ref("base.group_user")
        self.assertTrue(users._trackflow_is_staff(buyer.id))

    def test_visits_end_at_midnight_of_the_zone(self):
        self.assertEqual(settings(self.env).zone, "UTC")
        self.configure(session_zone="Asia/Tokyo")
        self.assertEqual(settings(self.env).zone, "Asia/Tokyo")

    def test_the_cookie_lasts_as_long_as_the_company_says(self):
        self.configure(cookie_days=30)
        self.assertIn("Max-Age=2592000", self.visit()[0].headers["Set-Cookie"])
