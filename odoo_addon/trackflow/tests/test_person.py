import json

from odoo.addons.trackflow.store import OdooStore
from odoo.exceptions import AccessError
from odoo.tests import HttpCase, new_test_user, tagged, users

from .common import TrackflowCase


@tagged("post_install", "-at_install")
class TestPerson(TrackflowCase, HttpCase):
    """What a person may ask for: a copy, the withdrawal of consent, to be forgotten."""

    def setUp(self):
        super().setUp()
        self.key = self.journey()
        self.lead = self.opportunity(
            self.key, email_from="Anna <anna@shop.example>", contact_name="Anna Smith"
        )
        self.visitor = self.lead.trackflow_visitor_id
        OdooStore(self.env).count_waiting_clicks()
        self.click(self.key, 0)

    def lookup(self):
        wizard = self.env["privacy.lookup.wizard"].create(
            {"name": "Anna Smith", "email": "anna@shop.example"}
        )
        wizard.action_lookup()
        return wizard

    def lines(self, wizard, model):
        return wizard.line_ids.filtered(lambda line: line.res_model == model)

    def test_a_copy_holds_everything(self):
        held = json.loads(self.visitor.with_user(self.manager)._trackflow_export())
        self.assertEqual([one["visitor_key"] for one in held["trackflow.visitor"]], [self.key])
        self.assertEqual(len(held["link.tracker.click"]), 3)
        self.assertEqual(len(held["trackflow.click.queue"]), 4)
        self.assertEqual(len(held["trackflow.session"]), 3)
        self.assertEqual(sum(one["value"] for one in held["trackflow.deal.attribution"]), 100.0)
        self.assertTrue(held["trackflow.conversion"])
        self.assertIn("Chrome", held["link.tracker.click"][0]["trackflow_user_agent"])

    def test_a_copy_can_be_downloaded_by_managers_only(self):
        path = self.visitor.with_user(self.manager).action_export()["url"]
        self.authenticate("tf_manager", "tf_manager")
        answer = self.url_open(path)
        self.assertEqual(answer.headers["Content-Type"], "application/json; charset=utf-8")
        self.assertIn("attachment", answer.headers["Content-Disposition"])
        self.assertIn(self.key, answer.text)
        for login in ("tf_marketer", "tf_salesman", "tf_employee"):
            self.authenticate(login, login)
            self.assertEqual(self.url_open(path).status_code, 403, login)

    @users("tf_marketer")
    def test_marketers_see_visitors_but_not_to_their_wishes(self):
        visitor = self.visitor.with_env(self.env)
        for wish in ("action_export", "action_withdraw", "action_forget"):
            with self.subTest(wish=wish), self.assertRaises(AccessError):
                getattr(visitor, wish)()

    @users("tf_manager")
    def test_withdrawn_consent_leaves_counts(self):
        clicks = self.visitor.click_ids
        self.visitor.with_env(self.env).action_withdraw()
        self.env.invalidate_all()
        self.assertFalse(self.visitor.exists())
        self.assertEqual(len(clicks.exists()), 3)
        self.assertEqual(set(clicks.mapped("trackflow_tier")), {"aggregate"})
        self.assert_nothing_points_nowhere()
        self.assertEqual(self.lead.trackflow_attribution_ids.mapped("channel"), ["Unattributed"])
        self.assertEqual(self.links[0].count, 1)

    @users("tf_manager")
    def test_who_is_forgotten_leaves_nothing(self):
        clicks = self.visitor.click_ids
        done = self.visitor.with_env(self.env).action_forget()
        self.assertEqual(done["params"]["next"]["target"], "main")
        self.env.invalidate_all()
        self.assertFalse(self.visitor.exists())
        self.assertFalse(clicks.exists())
        self.assert_nothing_points_nowhere()
        queue = self.env["trackflow.click.queue"]
        self.assertFalse(queue.search([("visitor_key", "=", self.key)]))
        self.assertEqual(self.lead.trackflow_attribution_ids.mapped("channel"), ["Unattributed"])
        self.assertEqual(self.credits(self.lead), [100.0])
        self.assertEqual(self.links[0].count, 0)

    def test_odoos_privacy_lookup_finds_the_visitor(self):
        wizard = self.lookup()
        self.assertEqual(self.lines(wizard, "trackflow.visitor").res_id, self.visitor.id)
        self.assertIn(self.lead.id, self.lines(wizard, "crm.lead").mapped("res_id"))

    def test_odoos_privacy_lookup_finds_what_other_systems_told(self):
        connector = self.env["trackflow.connector"].create(
            {"name": "Shop", "connector": "webhook", "instance": "shop", "secret": "whsec_x"}
        )
        told = self.env["trackflow.connector.event"].create(
            [
                {
                    "connector_id": connector.id,
                    "event_id": address,
                    "received_at": "2026-01-01",
                    "payload": json.dumps({"email": address}),
                }
                for address in ("Anna@shop.example", "ben@shop.example")
            ]
        )
        found = self.lines(self.lookup(), "trackflow.connector.event")
        self.assertEqual(found.mapped("res_id"), told[0].ids)

    def test_odoos_privacy_lookup_erases_the_visitor(self):
        line = self.lines(self.lookup(), "trackflow.visitor")
        line.action_unlink()
        self.env.invalidate_all()
        self.assertTrue(line.is_unlinked)
        self.assertFalse(self.visitor.exists())
        self.assertEqual(self.lead.trackflow_attribution_ids.mapped("channel"), ["Unattributed"])

    def test_odoos_privacy_lookup_gives_a_copy(self):
        wizard = self.lookup()
        new_test_user(self.env, login="tf_admin", groups="base.group_system")
        wizard.create_uid = self.env["res.users"].search([("login", "=", "tf_admin")])
        path = wizard.action_trackflow_export()["url"]
        self.authenticate("tf_admin", "tf_admin")
        self.assertIn(self.key, self.url_open(path).text)
        self.authenticate("tf_manager", "tf_manager")
        self.assertEqual(self.url_open(path).status_code, 403)
