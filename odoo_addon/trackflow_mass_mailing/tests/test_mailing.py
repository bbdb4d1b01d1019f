import re
from datetime import timedelta
from unittest.mock import patch

from lxml import etree
from odoo.addons.mail.tests.common import MockEmail
from odoo.addons.trackflow.store.values import aware
from odoo.addons.trackflow.tests.common import BROWSER, TrackflowCase
from odoo.addons.trackflow.tests.test_roles import ROLES
from odoo.exceptions import AccessError
from odoo.tests import Form, HttpCase, new_test_user, tagged
from odoo.tools import email_normalize
from psycopg2.errors import SerializationFailure

from trackflow_core.engine import Engine

from ..hooks import UNSIGNED_UP_TO
from ..models import trackflow_click_queue

LINK = re.compile(r"/r/(?P<code>[^/]+)/m/(?P<trace>\d+)\?proof=(?P<proof>[^\"'\s]+)")


@tagged("post_install", "-at_install")
class TestMailing(TrackflowCase, MockEmail, HttpCase):
    """From a mailing to the touches of its recipients, and what scanners leave behind."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if "website" in cls.env:
            cls.env["website"].search([]).write({"cookies_bar": False})
        cls.env["ir.config_parameter"].set_param(UNSIGNED_UP_TO, "0")
        cls.env.cr.execute("DELETE FROM trackflow_click_queue")
        cls.lead = cls.env["crm.lead"].create(
            {"name": "Anna's deal", "type": "opportunity", "email_from": "Anna@shop.example"}
        )
        cls.mailing = cls.env["mailing.mailing"].create(
            {
                "subject": "Spring",
                "mailing_model_id": cls.env["ir.model"]._get_id("crm.lead"),
                "campaign_id": cls.campaign.id,
                "body_html": "".join(
                    f'<a href="https://shop.example/{page}">{page}</a>' for page in "abc"
                ),
            }
        )

    def setUp(self):
        super().setUp()
        self.opener.headers["User-Agent"] = BROWSER

    def send(self, *leads):
        """Send the mailing to these leads; the links of each mail, by the recipient's address."""
        with self.mock_mail_gateway():
            self.mailing.action_send_mail([lead.id for lead in leads])
            self.env["mail.mail"].search([("mailing_id", "=", self.mailing.id)]).send()
        return {
            email_normalize(mail["email_to"][0]): [
                match.groupdict() for match in LINK.finditer(mail["body"])
            ]
            for mail in self._mails
        }

    def open(self, link, proof=None, form="{path}?proof={proof}"):
        path = f"/r/{link['code']}/m/{link['trace']}"
        proof = link["proof"] if proof is None else proof
        url = form.format(path=path, proof=proof) if proof else path
        answer = self.url_open(url, allow_redirects=False)
        self.assertEqual(answer.status_code, 302)
        self.assertTrue(answer.headers["Location"].startswith("https://shop.example/"))
        self.assertNotIn("proof", answer.headers["Location"])
        return answer.headers["Location"]

    def run_job(self, later=60):
        """The click job, so many seconds later."""
        self.env.cr.execute(
            "UPDATE trackflow_click_queue SET occurred_at = occurred_at - %s WHERE status = 'held'",
            [timedelta(seconds=later)],
        )
        with patch.object(
            self.env.registry["ir.cron"],
            "_commit_progress",
            lambda cron, processed=0, **kwargs: float("inf"),
        ):
            self.env["trackflow.click.queue"]._cron_process_clicks()
        self.env.invalidate_all()

    def clicks(self):
        return self.env["link.tracker.click"].search([("mass_mailing_id", "=", self.mailing.id)])

    def trace(self, link):
        return self.env["mailing.trace"].browse(int(link["trace"]))

    def test_a_recipients_click_becomes_a_touch_of_the_lead(self):
        link = self.send(self.lead)["anna@shop.example"][0]
        self.open(link)
        self.run_job()
        click = self.clicks()
        self.assertEqual(click.mailing_trace_id, self.trace(link))
        self.assertTrue(click.trackflow_mail_proven)
        self.assertEqual(self.lead.trackflow_visitor_ids, click.trackflow_visitor_id)
        self.assertEqual(self.lead.trackflow_attribution_ids.mapped("click_id"), click)
        self.assertEqual(self.trace(link).trace_status, "open")
        self.assertTrue(self.trace(link).links_click_datetime)

    def test_a_link_leads_on_with_what_else_was_asked(self):
        link = self.send(self.lead)["anna@shop.example"][0]
        self.assertIn("gclid=x%2Fy", self.open(link, form="{path}?proof={proof}&gclid=x%2Fy"))

    def test_mails_signed_in_the_path_prove_their_recipient(self):
        self.open(self.send(self.lead)["anna@shop.example"][0], form="{path}/{proof}")
        self.run_job()
        self.assertTrue(self.clicks().trackflow_mail_proven)

    def test_a_lead_that_comes_later_has_the_touch_too(self):
        self.open(self.send(self.lead)["anna@shop.example"][0])
        self.run_job()
        later = self.env["crm.lead"].create(
            {"name": "Another", "type": "lead", "email_from": "anna@shop.example"}
        )
        stranger = self.env["crm.lead"].create(
            {"name": "Ben", "type": "lead", "email_from": "ben@shop.example"}
        )
        self.assertEqual(later.trackflow_visitor_ids, self.clicks().trackflow_visitor_id)
        self.assertFalse(stranger.trackflow_visitor_ids)

    def test_a_number_without_its_proof_tells_nothing_of_the_recipient(self):
        link = self.send(self.lead)["anna@shop.example"][0]
        for proof in ("", "x", link["proof"][:-2], "f" * 600):
            self.open(link, proof)
        self.open({**link, "trace": 2**40}, link["proof"])
        self.run_job()
        self.assertFalse(self.clicks())
        self.assertFalse(self.lead.trackflow_visitor_ids)
        self.assertEqual(self.trace(link).trace_status, "sent")
        found = self.env["link.tracker.click"].search([("trackflow_link_code", "=", link["code"])])
        self.assertEqual(len(found), 5, "they count like clicks on any link")

    def test_one_recipients_proof_is_not_anothers(self):
        ben = self.env["crm.lead"].create({"name": "Ben", "email_from": "ben@shop.example"})
        sent = self.send(self.lead, ben)
        self.open(sent["ben@shop.example"][0], sent["anna@shop.example"][0]["proof"])
        self.run_job()
        self.assertFalse(self.clicks())

    def test_mails_from_before_keep_their_statistics(self):
        link = self.send(self.lead)["anna@shop.example"][0]
        self.env["ir.config_parameter"].set_param(UNSIGNED_UP_TO, link["trace"])
        self.open(link, "")
        self.run_job()
        self.assertEqual(self.clicks().mailing_trace_id, self.trace(link))
        self.assertEqual(self.trace(link).trace_status, "open")
        self.assertFalse(self.lead.trackflow_visitor_ids)

    def test_a_scanner_that_opens_every_link_is_no_person(self):
        links = self.send(self.lead)["anna@shop.example"]
        for link in links:
            self.opener.cookies.clear()
            self.open(link)
        self.run_job()
        self.assertEqual(len(self.clicks()), 3)
        self.assertEqual(set(self.clicks().mapped("trackflow_verdict")), {"bot"})
        self.assertIn("every link of one mail", self.clicks()[0].trackflow_reason)
        self.assertFalse(any(self.clicks().mapped("trackflow_counts")))
        self.assertEqual(sum(self.clicks().link_id.mapped("count")), 0)
        self.assertEqual(self.trace(links[0]).trace_status, "sent")
        self.assertFalse(self.lead.trackflow_visitor_ids)
        self.assertFalse(self.env["trackflow.session"].search([("entry_page", "=", "/a")]))

    def look_around(self, seconds_later):
        """A page view by the visitor of each mail's click, so many seconds after it."""
        self.env.cr.execute(
            """
            SELECT visitor_key, occurred_at FROM trackflow_click_queue
             WHERE status = 'held' AND mailing_trace_id IS NOT NULL
            """
        )
        for visitor, moment in self.env.cr.fetchall():
            self.click(
                visitor,
                0,
                link_code="",
                kind="page_view",
                destination="https://shop.example/a",
                occurred_at=aware(moment) + timedelta(seconds=seconds_later),
            )

    def test_a_scanner_that_runs_scripts_makes_no_visit(self):
        for link in self.send(self.lead)["anna@shop.example"]:
            self.opener.cookies.clear()
            self.open(link)
        self.look_around(1)
        self.run_job(later=0)
        self.assertFalse(self.env["trackflow.event"].search([]), "they wait with their clicks")
        self.run_job()
        views = self.env["trackflow.event"].search([])
        self.assertEqual(views.mapped("counts"), [False] * 3)
        self.assertFalse(self.env["trackflow.session"].search([]))

    def test_a_person_who_comes_by_mail_makes_a_visit(self):
        self.open(self.send(self.lead)["anna@shop.example"][0])
        self.look_around(1)
        self.run_job(later=0)
        self.run_job()
        self.assertTrue(self.env["trackflow.event"].search([]).counts)
        self.assertEqual(len(self.env["trackflow.session"].search([])), 1)

    def test_what_a_scanner_does_late_is_a_machines_too(self):
        for link in self.send(self.lead)["anna@shop.example"]:
            self.opener.cookies.clear()
            self.open(link)
        self.env.cr.execute(
            "UPDATE trackflow_click_queue SET occurred_at = occurred_at - '30s'::interval"
        )
        self.look_around(25)
        self.run_job(later=0)
        self.assertEqual(len(self.clicks()), 3)
        self.run_job()
        self.assertEqual(self.env["trackflow.event"].search([]).mapped("counts"), [False] * 3)

    def test_a_view_that_outlasts_its_click_is_let_go_too(self):
        self.open(self.send(self.lead)["anna@shop.example"][0])
        self.look_around(15)
        self.run_job(later=0)
        self.run_job(later=25)
        self.assertFalse(self.env["trackflow.event"].search([]))
        self.run_job()
        self.assertTrue(self.env["trackflow.event"].search([]).counts)

    def test_a_person_who_opens_two_links_is_one(self):
        for link in self.send(self.lead)["anna@shop.example"][:2]:
            self.open(link)
        self.run_job()
        self.assertEqual(self.clicks().mapped("trackflow_counts"), [True, True])
        self.assertEqual(len(self.lead.trackflow_visitor_ids), 1)

    def test_a_click_waits_for_its_neighbours(self):
        link = self.send(self.lead)["anna@shop.example"][0]
        self.open(link)
        self.run_job(later=0)
        self.assertFalse(self.clicks())
        self.run_job()
        self.assertEqual(len(self.clicks()), 1)
        self.run_job()
        self.assertEqual(len(self.clicks()), 1)

    def test_a_recipient_who_made_no_lead_is_found_and_forgotten(self):
        subscriber = self.env["mailing.contact"].create(
            {"name": "Carla", "email": "Carla@shop.example"}
        )
        self.mailing.write(
            {
                "mailing_model_id": self.env["ir.model"]._get_id("mailing.contact"),
                "mailing_domain": [("id", "=", subscriber.id)],
            }
        )
        self.open(self.send(subscriber)["carla@shop.example"][0])
        self.run_job()
        visitor = self.clicks().trackflow_visitor_id
        wizard = self.env["privacy.lookup.wizard"].create(
            {"name": "Carla", "email": "Carla@shop.example"}
        )
        wizard.action_lookup()
        line = wizard.line_ids.filtered(lambda line: line.res_model == "trackflow.visitor")
        self.assertEqual(line.res_id, visitor.id)
        line.action_unlink()
        self.assertFalse(visitor.exists())
        self.assertFalse(self.clicks())

    def test_in_a_rush_clicks_go_on_half_by_half(self):
        links = self.send(self.lead)["anna@shop.example"]
        for link in links[:2]:
            self.open(link)
        with patch.object(trackflow_click_queue, "_LIMIT", 2):
            for _turn in range(2):
                self.run_job()
        self.assertEqual(len(self.clicks()), 2)

    def test_recipients_are_bound_by_the_next_run_after_a_conflict(self):
        self.open(self.send(self.lead)["anna@shop.example"][0])
        with patch.object(Engine, "apply", side_effect=SerializationFailure):
            self.run_job()
        self.assertFalse(self.lead.trackflow_visitor_ids)
        self.run_job()
        self.assertTrue(self.lead.trackflow_visitor_ids)

    def test_clicks_in_mails_are_judged_by_the_next_run_after_a_conflict(self):
        self.open(self.send(self.lead)["anna@shop.example"][0])
        Queue = self.env.registry["trackflow.click.queue"]
        with patch.object(Queue, "_judge_visits", side_effect=SerializationFailure):
            self.run_job()
        self.assertFalse(self.clicks())
        self.run_job()
        self.assertTrue(self.clicks())

    def test_the_log_tells_what_became_of_each_mail(self):
        ben = self.env["crm.lead"].create({"name": "Ben", "email_from": "ben@shop.example"})
        sent = self.send(self.lead, ben)
        self.open(sent["anna@shop.example"][0])
        self.run_job()
        logs = self.env["trackflow.email.log"].with_user(self.marketer)
        anna, ben = (
            logs.search([("mailing_id", "=", self.mailing.id), ("recipient", "=", address)])
            for address in ("anna@shop.example", "ben@shop.example")
        )
        self.assertEqual((anna.status, ben.status), ("open", "sent"))
        self.assertEqual((anna.click_count, ben.click_count), (1, 0))
        self.assertEqual(anna.campaign_id, self.campaign.with_env(logs.env))
        self.assertEqual(anna.link_id.code, sent["anna@shop.example"][0]["code"])
        self.assertTrue(anna.sent_date)
        self.assertTrue(anna.opened_date)
        self.assertTrue(anna.clicked_date)
        self.assertTrue(anna.visitor_id)
        self.assertFalse(ben.opened_date or ben.clicked_date or ben.link_id)
        self.assertIn("anna@shop.example", anna.display_name)
        with self.assertRaises(AccessError):
            self.env["trackflow.email.log"].with_user(self.employee).search([])

    def test_the_log_is_read_by_marketers_and_changed_by_nobody(self):
        readers = ("campaign manager", "trackflow manager", "system manager")
        for role, group in ROLES.items():
            user = new_test_user(self.env, login=f"log {role}", groups=group)
            logs = self.env["trackflow.email.log"].with_user(user)
            for operation in ("create", "read", "write", "unlink"):
                with self.subTest(role=role, operation=operation):
                    allowed = operation == "read" and role in readers
                    self.assertEqual(logs.has_access(operation), allowed)

    def test_the_log_of_another_companys_campaign_stays_closed(self):
        self.send(self.lead)
        self.assertTrue(self.log_of_marketer())
        self.campaign.trackflow_company_id = self.env["res.company"].create({"name": "Other"})
        self.assertFalse(self.log_of_marketer())
        self.mailing.mailing_trace_ids.campaign_id = False
        self.assertTrue(self.log_of_marketer(), "it is nobody's campaign")

    def log_of_marketer(self):
        self.env.flush_all()
        logs = self.env["trackflow.email.log"].with_user(self.marketer)
        return logs.search([("mailing_id", "=", self.mailing.id)])

    def test_mailings_from_before_become_touches(self):
        self.click_before_trackflow()
        self.take_over()
        credit = self.lead.trackflow_attribution_ids
        self.assertEqual((credit.channel, credit.campaign_id), ("Email", self.campaign))

    def test_a_test_of_a_mailing_from_before_is_no_touch(self):
        self.click_before_trackflow().is_test_trace = True
        self.take_over()
        self.assertEqual(self.lead.trackflow_attribution_ids.channel, "Unattributed")

    def click_before_trackflow(self):
        trace = self.trace(self.send(self.lead)["anna@shop.example"][0])
        trace.links_click_datetime = self.lead.create_date - timedelta(days=1)
        return trace

    def take_over(self):
        takeover = self.env["trackflow.takeover"]
        takeover._begin(["mailings"])
        with patch.object(
            self.env.registry["ir.cron"],
            "_commit_progress",
            lambda cron, processed=0, **kwargs: float("inf"),
        ):
            takeover._cron_take_over(batch=1)
        self.drain()
        self.env.invalidate_all()

    def test_a_campaign_of_mailings_opens_with_them(self):
        view = self.env["utm.campaign"].get_view(view_type="form")
        pages = etree.fromstring(view["arch"]).xpath("//notebook/page/@name")
        self.assertEqual(pages[:2], ["mailings", "trackflow_recent"])

    def test_a_salesperson_opens_a_campaign_of_mailings(self):
        self.env["utm.campaign"].invalidate_model()
        form = Form(self.campaign.with_user(self.salesman))
        self.assertEqual(form.title, "TrackFlow Spring")
