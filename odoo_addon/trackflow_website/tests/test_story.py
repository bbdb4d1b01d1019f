from unittest.mock import patch

from odoo.addons.trackflow.tests.common import BROWSER, TourCase
from odoo.tests import RecordCapturer, tagged
from odoo.tests.common import ChromeBrowser

# The website's own contact form sends a mail; Odoo's form builder makes it create leads like this.
_FORM = (
    ('data-model_name="mail.mail"', 'data-model_name="crm.lead"'),
    ('name="name" required', 'name="contact_name" required'),
    ('name="company"', 'name="partner_name"'),
    ('name="subject"', 'name="name"'),
    ('name="email_to"', 'name="email_cc"'),
)


@tagged("post_install", "-at_install")
class TestStory(TourCase):
    """From a click on a public link to a lead and its Marketing tab, in a real browser."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env["website"].search([]).write({"cookies_bar": False})
        page = cls.env.ref("website.contactus")
        arch = page.arch_db
        for old, new in _FORM:
            arch = arch.replace(old, new)
        page.arch_db = arch
        cls.links[0].url = "/contactus"

    def as_a_person(self):
        """Headless Chromium calls itself a robot, whose clicks do not count."""
        navigate = ChromeBrowser.navigate_to

        def navigate_to(browser, *args, **kwargs):
            browser._websocket_request(
                "Network.setUserAgentOverride", params={"userAgent": BROWSER}
            )
            return navigate(browser, *args, **kwargs)

        return patch.object(ChromeBrowser, "navigate_to", navigate_to)

    def test_from_click_to_marketing_tab(self):
        link = self.links[0]
        with self.as_a_person(), RecordCapturer(self.env["crm.lead"]) as captured:
            self.start_tour(f"/r/{link.code}", "trackflow_visitor_story")
        lead = captured.records
        self.assertEqual(len(lead), 1)
        self.assertEqual(lead.contact_name, "Story Visitor")
        self.assertTrue(lead.trackflow_visitor_id)
        self.assertEqual(lead.trackflow_touch_count, 1)
        self.assertEqual(lead.trackflow_source, "google")
        self.assertEqual(lead.trackflow_medium, "cpc")
        self.assertEqual(lead.trackflow_campaign, self.campaign.name)
        self.assertEqual(lead.campaign_id, self.campaign)
        self.assertEqual(lead.source_id, link.source_id)
        self.assertEqual(lead.medium_id, link.medium_id)

        lead.write({"user_id": self.salesman.id, "type": "opportunity", "expected_revenue": 100})
        self.assertEqual(self.credits(lead), [100.0])
        self.start_tour(
            f"/odoo/crm.lead/{lead.id}", "trackflow_salesperson_story", login="tf_salesman"
        )

    def agrees_and_asks(self, path):
        """The lead of a visitor who comes to `path`, agrees to cookies there and sends the form."""
        self.env["website"].search([]).cookies_bar = True
        with self.as_a_person(), RecordCapturer(self.env["crm.lead"]) as captured:
            self.start_tour(path, "trackflow_visitor_agrees")
        self.assertEqual(captured.records.trackflow_touch_count, 1)
        return captured.records

    def test_who_agrees_on_the_page_of_an_ad_came_from_the_ad(self):
        lead = self.agrees_and_asks("/contactus?utm_source=newsletter&utm_medium=email")
        self.assertEqual(lead.trackflow_source, "newsletter")
        self.assertEqual(lead.trackflow_medium, "email")

    def test_who_agrees_behind_a_link_came_by_its_campaign(self):
        lead = self.agrees_and_asks(f"/r/{self.links[0].code}")
        self.assertEqual(lead.trackflow_source, "google")
        self.assertEqual(lead.campaign_id, self.campaign)
