from unittest.mock import patch

from odoo.addons.trackflow.engine import build_engine, plugin_hooks, settings
from odoo.exceptions import AccessError, UserError
from odoo.modules.neutralize import get_neutralization_queries
from odoo.tests import tagged, users
from odoo.tools import mute_logger

from trackflow_core import hooks
from trackflow_core.errors import ConfigError

from .common import TrackflowCase

CLOSED_TO_SALES = (
    "trackflow.event",
    "trackflow.visitor",
    "trackflow.session",
)
MANAGERS_ONLY = (
    "trackflow.click.queue",
    "trackflow.connector",
    "trackflow.connector.event",
    "trackflow.failure",
    "trackflow.merged.ref",
    "trackflow.merged.visitor",
    "trackflow.outbox.message",
    "trackflow.plugin",
    "trackflow.touch",
    "trackflow.webhook.endpoint",
    "trackflow.webhook.event",
)
COMPUTED = (
    "trackflow.conversion",
    "trackflow.deal.attribution",
    "trackflow.event",
    "trackflow.session",
    "trackflow.visitor",
)


@tagged("post_install", "-at_install")
class TestAccess(TrackflowCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.own = cls.env["crm.lead"].create(
            {"name": "Own", "type": "opportunity", "user_id": cls.salesman.id}
        )
        cls.other = cls.env["crm.lead"].create(
            {"name": "Other", "type": "opportunity", "user_id": cls.colleague.id}
        )

    @users("tf_salesman")
    def test_sales_sees_the_attribution_of_its_leads(self):
        found = self.env["trackflow.deal.attribution"].search([])
        self.assertIn(self.own, found.lead_id)
        self.assertNotIn(self.other, found.lead_id)
        lead = self.own.with_env(self.env)
        self.assertTrue(lead.trackflow_attribution_ids)
        self.assertTrue(self.env["trackflow.attribution.model"].search([]))
        with self.assertRaises(AccessError):
            self.env["trackflow.attribution.model"].create({"name": "Mine", "rule": "linear"})

    @users("tf_salesman")
    def test_sales_sees_no_visitors(self):
        for model in (*CLOSED_TO_SALES, *MANAGERS_ONLY):
            with self.subTest(model=model), self.assertRaises(AccessError):
                self.env[model].search([])
        with self.assertRaises(AccessError):
            self.own.with_env(self.env).read(["trackflow_visitor_ids"])
        with self.assertRaises(AccessError):
            self.env["link.tracker.click"].search([]).read(["trackflow_visitor_id"])

    @users("tf_marketer")
    def test_marketing_sees_every_attribution_and_visitor(self):
        found = self.env["trackflow.deal.attribution"].search([])
        self.assertLessEqual(self.own | self.other, found.lead_id.with_env(self.own.env))
        for model in CLOSED_TO_SALES:
            self.env[model].search([])
        for model in MANAGERS_ONLY:
            with self.subTest(model=model), self.assertRaises(AccessError):
                self.env[model].search([])
        with self.assertRaises(AccessError):
            self.env.ref("trackflow.attribution_model_linear").with_env(self.env).lookback_days = 3

    @users("tf_manager")
    def test_a_manager_decides_on_models_connectors_and_plugins(self):
        for model in (*CLOSED_TO_SALES, *MANAGERS_ONLY):
            self.env[model].search([])
        model = self.env["trackflow.attribution.model"].create({"name": "Own", "rule": "linear"})
        model.lookback_days = 30
        model.unlink()
        with self.assertRaises(AccessError):
            self.env["trackflow.connector"].create(
                {"name": "X", "connector": "webhook", "instance": "x", "secret": "y"}
            )

    @users("tf_manager")
    def test_nobody_writes_what_is_computed(self):
        for model in COMPUTED:
            with self.subTest(model=model), self.assertRaises(AccessError):
                self.env[model].create({})

    @users("tf_employee")
    def test_others_see_nothing(self):
        for model in (*CLOSED_TO_SALES, *MANAGERS_ONLY, *COMPUTED, "trackflow.attribution.model"):
            with self.subTest(model=model), self.assertRaises(AccessError):
                self.env[model].search([])

    def test_attribution_belongs_to_its_company(self):
        company = self.env["res.company"].create({"name": "Other"})
        self.other.write({"user_id": False, "team_id": False, "company_id": company.id})
        everything = self.env["trackflow.deal.attribution"].with_user(self.marketer)
        self.assertNotIn(self.other, everything.search([]).lead_id.with_env(self.env))

    @users("admin")
    def test_what_only_the_engine_keeps_is_offered_to_nobody(self):
        for model in ("crm.lead", "link.tracker", "link.tracker.click", "res.partner"):
            described = self.env[model].fields_get(attributes=["string"])
            # A field without a label of its own is no one's to group by or to export.
            unnamed = [name for name, field in described.items() if _is_unnamed(name, field)]
            self.assertFalse(unnamed, model)
        with self.assertRaises(AccessError):
            self.env["crm.lead"].search([("trackflow_stale", "=", True)])


def _is_unnamed(name, field):
    return name.startswith("trackflow_") and field["string"].startswith("Trackflow ")


@tagged("post_install", "-at_install")
class TestPlugins(TrackflowCase):
    def setUp(self):
        super().setUp()
        self.env["trackflow.plugin"]._synchronise()
        self.plugins = self.env["trackflow.plugin"].with_context(active_test=False)

    def plugin(self, name):
        return self.plugins.search([("name", "=", name)])

    def test_our_own_are_on_and_others_are_off(self):
        self.assertTrue(self.plugin("webhook").active)
        self.assertTrue(self.plugin("odoo").active)
        self.assertFalse(self.plugin("paid_touch").active)
        self.assertEqual(self.plugin("webhook").distribution, "trackflow-webhook")
        self.assertIn("Webhooks of any system", self.plugin("webhook").summary)
        self.assertNotIn("last_paid_touch", plugin_hooks(self.env).rules)

    def test_a_plugin_is_switched_on_for_this_database(self):
        before = set(plugin_hooks(self.env).rules)
        plugin = self.plugin("paid_touch").with_user(self.manager)
        self.assertFalse(plugin.hooks)
        # As the list's toggle does, which shows what it gets back.
        [shown] = plugin.web_save({"active": True}, {"hooks": {}})
        self.assertEqual(shown["hooks"], "trackflow_register_attribution_models")
        brought = set(plugin_hooks(self.env).rules) - before
        self.assertTrue(brought)
        rule = brought.pop()
        selection = self.env["trackflow.attribution.model"]._selection_rule()
        self.assertIn(rule, dict(selection))
        model = self.env["trackflow.attribution.model"].create({"name": "Paid", "rule": rule})
        lead = self.opportunity(self.journey(), trackflow_attribution_model_id=model.id)
        self.assertEqual(round(sum(self.credits(lead)), 2), 100.0)
        with self.assertRaises(UserError):
            self.plugin("paid_touch").active = False
        model.active = False
        self.plugin("paid_touch").active = False
        self.assertFalse(self.plugin("paid_touch").hooks)
        self.assertEqual(set(plugin_hooks(self.env).rules), before)
        with mute_logger("odoo.addons.trackflow.store.deals"):
            lead.expected_revenue = 3
            self.env.cr.flush()
        self.assertEqual(self.credits(lead), [1, 1, 1])

    def test_a_plugin_that_was_uninstalled_stays_listed(self):
        self.plugins.create({"name": "gone", "active": True})
        self.assertIn("gone", self.plugins._enabled_names())
        self.plugins._synchronise()
        self.assertFalse(self.plugin("gone").installed)

    @mute_logger("odoo.addons.trackflow.engine")
    def test_a_broken_plugin_stops_nobody_else(self):
        self.plugin("paid_touch").active = True
        load = hooks.load

        def refuse(enabled):
            if "paid_touch" in enabled:
                raise ConfigError("The plugin 'paid_touch' cannot be used.")
            return load(enabled)

        with patch.object(hooks, "load", refuse):
            self.assertEqual(self.credits(self.opportunity(self.journey())), [33.34, 33.33, 33.33])
            with self.assertRaises(UserError):
                self.plugin("paid_touch").active = True

    def test_plugins_hear_of_deals_after_the_commit(self):
        heard = []
        engine = build_engine(self.env)
        lead = self.opportunity(self.journey())
        self.env.cr.postcommit.clear()
        with self.patch_announcement(engine, heard):
            engine.recompute([lead._trackflow_ref()])
            self.assertFalse(heard)
            self.env.cr.postcommit.run()
        self.assertEqual([attribution.deal.value for attribution in heard], [10_000])

    def patch_announcement(self, engine, heard):
        return patch.object(
            type(engine._hooks),
            "after_deal_attributed",
            lambda hooks, attribution, ctx: heard.append(attribution),
        )


@tagged("post_install", "-at_install")
class TestSettings(TrackflowCase):
    def test_the_form_writes_the_companys_settings(self):
        self.env["res.config.settings"].create(
            {
                "trackflow_window_days": 30,
                "trackflow_code_length": 9,
                "trackflow_cookie_days": 90,
                "trackflow_attribution_model_id": self.env.ref(
                    "trackflow.attribution_model_last_touch"
                ).id,
            }
        ).execute()
        company = self.env.company
        self.assertEqual(company.trackflow_window_days, 30)
        self.assertEqual(company.trackflow_code_length, 9)
        self.assertEqual(company.trackflow_cookie_days, 90)
        self.assertEqual(self.credits(self.opportunity(self.journey())), [0, 100.0])

    def test_the_engine_knows_its_host(self):
        found = settings(self.env)
        self.assertEqual(found.context.host, "odoo")
        self.assertEqual(found.context.tenant, self.env.cr.dbname)
        self.assertNotIn(self.env["ir.config_parameter"].get_param("database.secret"), found.keys)

    def test_the_engines_settings_follow_what_they_are_made_of(self):
        before = settings(self.env)
        self.assertIs(settings(self.env), before)
        self.env["trackflow.domain"].create({"name": "go.example.com"})
        self.assertIn("go.example.com", settings(self.env).own_hosts)
        self.env["ir.config_parameter"].set_param("trackflow.session_zone", "Europe/Paris")
        self.assertEqual(settings(self.env).zone, "Europe/Paris")
        self.env["ir.config_parameter"].set_param("web.base.url", "https://crm.example")
        self.assertIn("crm.example", settings(self.env).own_hosts)
        self.env["ir.config_parameter"].set_param("database.secret", "another")
        self.assertNotEqual(settings(self.env).keys, before.keys)
        self.assertFalse(before.account_journeys)
        self.env.company.trackflow_account_journeys = True
        self.assertTrue(settings(self.env).account_journeys)

    def test_a_new_company_has_a_model(self):
        company = self.env["res.company"].create({"name": "New"})
        self.assertEqual(
            company.trackflow_attribution_model_id,
            self.env.ref("trackflow.attribution_model_linear"),
        )

    def test_a_copy_of_the_database_forgets_the_secrets(self):
        connector = self.env["trackflow.connector"].create(
            {
                "name": "Shop",
                "connector": "odoo",
                "instance": "shop",
                "secret": "whsec_x",
                "settings": {
                    "url": "https://crm.example",
                    "database": "x",
                    "user": "admin",
                    "api_key": "y",
                },
            }
        )
        endpoint = self.env["trackflow.webhook.endpoint"].create(
            {
                "url": "https://receiver.example/hook",
                "event_ids": self.env["trackflow.webhook.event"].search([], limit=1).ids,
            }
        )
        self.env.flush_all()
        for query in get_neutralization_queries(["trackflow"]):
            self.env.cr.execute(query)
        self.env.invalidate_all()
        self.assertFalse(connector.has_secret)
        self.assertFalse(connector.option_secrets_encrypted)
        self.assertFalse(connector.polling or connector.write_back, "it is left alone")
        self.assertFalse(endpoint.active or endpoint.secret_count, "it is told nothing")
