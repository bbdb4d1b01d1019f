from unittest.mock import patch

from odoo.addons.trackflow.hooks import post_init_hook, uninstall_hook
from odoo.tests import tagged

from .common import CRAWLER, TrackflowCase


@tagged("post_install", "-at_install")
class TestTakeover(TrackflowCase):
    """A company's own past, made into a first report."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        link = cls.links[0]
        cls.leads = cls.env["crm.lead"].create(
            [
                {
                    "name": f"Deal {number}",
                    "type": "opportunity",
                    "expected_revenue": 100,
                    "source_id": link.source_id.id,
                    "medium_id": link.medium_id.id,
                    "campaign_id": link.campaign_id.id,
                }
                for number in range(3)
            ]
        )
        cls.plain = cls.env["crm.lead"].create(
            {"name": "Typed in", "type": "opportunity", "expected_revenue": 50}
        )
        cls.env.flush_all()
        # As Odoo alone leaves a click.
        cls.env.cr.execute(
            """
            INSERT INTO link_tracker_click (link_id, ip, create_date, trackflow_counts)
            VALUES (%s, '203.0.113.7', '2025-01-01', TRUE) RETURNING id
            """,
            [link.id],
        )
        cls.old_click = cls.env["link.tracker.click"].browse(cls.env.cr.fetchone()[0])

    def setUp(self):
        super().setUp()
        self.takeover = self.env["trackflow.takeover"]

    def run_job(self, batch=1000, seconds_left=lambda calls: float("inf")):
        calls = []

        def commit(cron, processed=0, **kwargs):
            calls.append(processed)
            return seconds_left(len(calls))

        with patch.object(self.env.registry["ir.cron"], "_commit_progress", commit):
            self.takeover._cron_take_over(batch)
        self.drain()
        self.env.invalidate_all()

    def step(self, name):
        return self.takeover.search([("step", "=", name)])

    def touches(self):
        return self.env["trackflow.touch"].search([("touch_key", "=like", "takeover-%")])

    def credit(self, lead):
        return [(one.channel, one.value) for one in lead.trackflow_attribution_ids]

    def test_leads_and_clicks_from_before_give_a_first_report(self):
        post_init_hook(self.env)
        self.run_job()
        for lead in self.leads:
            self.assertEqual(self.credit(lead), [("Paid Search", 100.0)])
            self.assertEqual(lead.trackflow_attribution_ids.campaign_id, self.campaign)
            self.assertEqual(lead.trackflow_source, "google")
        self.assertEqual(self.credit(self.plain), [("Unattributed", 50.0)])
        click = self.old_click
        self.assertEqual(
            (click.trackflow_channel, click.trackflow_source), ("Paid Search", "google")
        )
        self.assertEqual(click.campaign_id, self.campaign)
        self.assertEqual(click.trackflow_occurred_at, click.create_date)
        self.assertEqual(click.trackflow_link_code, self.links[0].code)
        self.assertTrue(self.env.ref("trackflow.ir_cron_take_over").active)

    def test_it_goes_on_where_it_was_interrupted(self):
        self.takeover._begin(["leads"])
        step = self.step("leads")
        (self.takeover.search([]) - step).state = "done"
        total = step.total
        self.assertGreaterEqual(total, 3)
        self.run_job(batch=1, seconds_left=lambda calls: 0 if calls == 2 else 1)
        self.assertEqual((step.state, step.done), ("running", 1))
        self.assertEqual(round(step.progress), round(100 / total))
        self.run_job(batch=1)
        self.assertEqual((step.state, step.done, step.progress), ("done", total, 100))

    def test_twice_is_as_good_as_once(self):
        self.takeover._begin()
        self.run_job()
        touches, credits = self.touches(), [self.credit(lead) for lead in self.leads]
        self.takeover.with_user(self.manager).action_begin()
        self.run_job()
        self.assertEqual(self.touches(), touches)
        self.assertEqual([self.credit(lead) for lead in self.leads], credits)

    def test_who_came_with_a_visitor_has_touches_already(self):
        lead = self.opportunity(self.journey(1))
        self.takeover._begin()
        self.run_job()
        self.assertEqual(len(lead.trackflow_attribution_ids), 1)
        self.assertEqual(lead.trackflow_attribution_ids.touch_kind, "click")

    def test_an_older_trackflows_fields_are_taken_over(self):
        self.env.cr.execute(
            """
            ALTER TABLE crm_lead ADD custom_trackflow_source varchar,
                ADD custom_trackflow_medium varchar, ADD custom_trackflow_campaign varchar,
                ADD x_trackflow_first_touch_source varchar,
                ADD x_trackflow_first_touch_date timestamp
            """
        )
        self.env.cr.execute(
            """
            UPDATE crm_lead
               SET custom_trackflow_source = 'newsletter', custom_trackflow_medium = 'email',
                   custom_trackflow_campaign = 'Q4-Email', x_trackflow_first_touch_source = 'bing',
                   x_trackflow_first_touch_date = create_date - interval '3 days'
             WHERE id = %s
            """,
            [self.plain.id],
        )
        self.takeover._begin(["older"])
        self.run_job()
        self.assertEqual(
            [(one.channel, one.source) for one in self.plain.trackflow_attribution_ids],
            [("Organic Search", "bing"), ("Email", "newsletter")],
        )
        self.assertEqual(self.plain.trackflow_attribution_ids.mapped("value"), [25.0, 25.0])
        self.assertEqual(self.plain.trackflow_campaign, "Q4-Email")

    def test_uninstalling_leaves_links_and_the_clicks_of_people(self):
        link = self.links[1]
        self.click(None, 1, link)
        self.click(None, 1, link, user_agent=CRAWLER)
        self.drain()
        self.env["ir.config_parameter"].set_param("trackflow.session_zone", "Asia/Tokyo")
        codes = self.links.mapped("code")
        uninstall_hook(self.env)
        self.env.invalidate_all()
        self.assertEqual(len(link.link_click_ids), 1)
        self.assertEqual(link.count, 1)
        self.assertEqual(self.links[0].count, 1)
        self.assertEqual(self.links.mapped("code"), codes)
        self.assertFalse(self.env["ir.config_parameter"].get_param("trackflow.session_zone"))
