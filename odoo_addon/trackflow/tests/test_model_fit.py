from datetime import timedelta
from unittest.mock import patch

from odoo import fields
from odoo.addons.trackflow.engine import plugin_hooks
from odoo.exceptions import AccessError, UserError
from odoo.tests import Form, tagged, users

from trackflow_core.attribution import Fit
from trackflow_core.tracking.identity import new_visitor_id

from .common import TrackflowCase


@tagged("post_install", "-at_install")
class TestModelFit(TrackflowCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        plugins = cls.env["trackflow.plugin"].with_context(active_test=False)
        plugins._synchronise()
        plugins.search([("name", "=", "data_driven")]).active = True
        cls.model = cls.env["trackflow.attribution.model"].create(
            {"name": "Learned", "rule": "markov", "prior_conversions": 0}
        )

    def run_job(self):
        told = []

        def commit(_cron, processed=0, *, remaining=None, **_options):
            self.env.flush_all()
            told.append(self.model.fit_progress)
            return 60

        # The job commits; here the test's transaction stays open.
        with patch.object(self.env.registry["ir.cron"], "_commit_progress", commit):
            self.env["trackflow.attribution.model"]._cron_fit()
        return told

    def world(self):
        """Deals by google then mail, and visitors by mail who never asked."""
        for number in range(3):
            visitor = new_visitor_id()
            self.click(visitor, 20 + number, self.links[0])
            self.click(visitor, 10 + number, self.links[1])
            self.opportunity(visitor, expected_revenue=100.0)
        for _number in range(2):
            self.click(new_visitor_id(), 5, self.links[1])
        self.drain()

    def test_a_model_that_learns_belongs_to_a_company(self):
        self.assertTrue(self.model.learns)
        self.assertEqual(self.model.company_id, self.env.company)
        linear = self.env.ref("trackflow.attribution_model_linear")
        self.assertFalse(linear.learns)
        self.assertFalse(linear.company_id)

    def test_the_job_fits_what_was_asked_for(self):
        self.world()
        self.model.action_fit()
        self.assertEqual(self.model.fit_state, "waiting")
        told = self.run_job()
        self.assertEqual((self.model.fit_state, self.model.fit_progress), ("done", 100.0))
        self.assertEqual(told, sorted(told))
        self.assertGreater(len(told), 10)
        fit = self.model.fit_id
        self.assertEqual((fit.version, fit.enough), (1, True))
        # Three deals met google and mail, which two others met in vain: 3 of 5 and 3 of 3 paths.
        paths = self.model._paths(self.env.company, self.model._core_model(90))
        own = {
            path.channels: (path.journeys, path.conversions)
            for path in paths
            if set(path.channels) <= {"Paid Search", "Email"}
        }
        self.assertEqual(own[("Email",)][1], 0)
        self.assertGreaterEqual(own[("Email",)][0], 2)
        self.assertEqual(fit.conversions, sum(path.conversions for path in paths))
        self.assertEqual(fit.journeys, sum(path.journeys for path in paths))
        kept = Fit.from_json(fit.data)
        self.assertEqual(kept, self.model._core_model(90).fit)
        self.assertEqual(len(fit.weight_ids), len(kept.weights))
        self.assertEqual(max(fit.weight_ids.mapped("weight")), 1.0)

    def test_a_deal_is_split_by_the_fit_and_says_so(self):
        self.world()
        deal = self.env["crm.lead"].search([("name", "=", "Deal")], limit=1)
        deal.trackflow_attribution_model_id = self.model
        self.drain()
        before = deal.trackflow_attribution_ids.mapped("digest")
        self.assertEqual(sum(self.credits(deal)), 100.0)
        self.model.action_fit()
        self.run_job()
        told = self.model.action_recompute()["params"]
        self.assertEqual((told["type"], told["message"]), ("success", "Deals split anew: 1."))
        unused = self.model.copy().action_recompute()["params"]
        self.assertEqual(unused["type"], "info")
        self.assertIn("No deal has been split", unused["message"])
        self.assertEqual(sum(self.credits(deal)), 100.0)
        self.assertNotEqual(deal.trackflow_attribution_ids.mapped("digest"), before)
        data = deal.trackflow_marketing_data()
        receipt = next(model for model in data["models"] if model["id"] == self.model.id)
        self.assertIn("Fit 1 of", receipt["receipt"])
        self.assertEqual(set(deal.trackflow_attribution_ids.mapped("fit_version")), {1})
        self.assertEqual(receipt["digest"], deal.trackflow_attribution_ids[0].digest)

    def test_the_receipt_is_that_of_the_ledger(self):
        self.world()
        deal = self.env["crm.lead"].search([("name", "=", "Deal")], limit=1)
        deal.trackflow_attribution_model_id = self.model
        self.drain()
        for frozen in (0, 1, 2):
            # Whatever was learned since, the receipt explains the credits that stand.
            self.click(new_visitor_id(), 4, self.links[frozen])
            self.drain()
            self.model.action_fit()
            self.run_job()
            receipt = self.receipt(deal)
            self.assertEqual(receipt["digest"], deal.trackflow_attribution_ids[0].digest)
            words = f"Fit {frozen} of" if frozen else "Not fitted yet."
            self.assertIn(words, receipt["receipt"])
            self.model.action_recompute()

    def receipt(self, deal):
        models = deal.with_user(self.manager).trackflow_marketing_data()["models"]
        return next(model for model in models if model["id"] == self.model.id)

    def test_fitting_again_is_a_new_version(self):
        self.world()
        for version in (1, 2):
            self.model.action_fit()
            self.run_job()
            self.assertEqual(self.model.fit_id.version, version)
        self.assertEqual(sorted(self.model.fit_ids.mapped("version")), [1, 2])
        self.model.rule = "markov_value"
        self.assertFalse(self.model.fit_id, "a fit belongs to its rule")
        self.assertIsNone(self.model._core_model(90).fit)

    def test_a_fit_comes_of_age(self):
        self.run_job()
        self.assertEqual(self.model.fit_id.version, 1, "a new model is fitted by the schedule")
        self.run_job()
        self.assertEqual(self.model.fit_id.version, 1)
        self.model.fit_id.fitted_at = fields.Datetime.now() - timedelta(days=31)
        self.run_job()
        self.assertEqual(self.model.fit_id.version, 2)
        self.model.fit_every = False
        self.model.fit_id.fitted_at = fields.Datetime.now() - timedelta(days=99)
        self.run_job()
        self.assertEqual(self.model.fit_id.version, 2)

    def test_what_fails_says_why_and_waits_for_a_person(self):
        self.model.action_fit()
        with (
            patch.object(type(self.model), "_paths", side_effect=OverflowError("Too many.")),
            self.assertLogs("odoo.addons.trackflow", "WARNING"),
        ):
            self.run_job()
        self.assertEqual((self.model.fit_state, self.model.fit_error), ("failed", "Too many."))
        self.run_job()
        self.assertEqual(self.model.fit_state, "failed")
        self.model.action_fit()
        self.run_job()
        self.assertEqual(self.model.fit_state, "done")

    def test_not_enough_data_is_said(self):
        self.world()
        self.model.prior_conversions = 10_000
        self.model.action_fit()
        self.run_job()
        self.assertFalse(self.model.fit_enough)
        self.assertIn("Not enough data", self.model.fit_note)

    @users("tf_marketer")
    def test_only_managers_fit(self):
        with self.assertRaises(AccessError):
            self.model.with_env(self.env).action_fit()
        self.assertTrue(self.model.with_env(self.env).fit_every)
        with self.assertRaises(AccessError):
            self.env["trackflow.attribution.fit"].create({})

    @users("tf_manager")
    def test_a_manager_fits_by_the_form(self):
        with Form(self.env["trackflow.attribution.model"]) as form:
            form.name = "By hand"
            form.rule = "markov"
            form.chain_order = 2
        model = form.record
        model.action_fit()
        self.assertEqual(model.fit_state, "waiting")

    def test_a_rule_describes_its_model_until_somebody_does(self):
        rules = plugin_hooks(self.env).rules
        with Form(self.env["trackflow.attribution.model"].with_user(self.manager)) as form:
            form.name = "Chosen"
            form.rule = "linear"
            form.rule = "shapley"
            self.assertEqual(form.description, rules["shapley"].description)
            form.description = "What my board asked for"
            form.rule = "linear"
        self.assertEqual(form.record.description, "What my board asked for")

    def test_the_demo_has_a_model_that_learned(self):
        self.world()
        self.model.active = False
        plugins = self.env["trackflow.plugin"].search([("name", "=", "data_driven")])
        plugins.active = False
        self.env["trackflow.demo"]._learn()
        self.assertTrue(plugins.active)
        learned = self.env["trackflow.attribution.model"].search([("rule", "=", "markov")])
        self.assertEqual(learned.fit_id.conversions, 3)
        self.assertIn("Not enough data", learned.fit_note)

    def test_the_rules_come_by_the_hook(self):
        self.assertIn("markov", plugin_hooks(self.env).rules)


@tagged("post_install", "-at_install")
class TestComparison(TrackflowCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.autumn = cls.env["utm.campaign"].create({"title": "TrackFlow Autumn"})
        find = cls.env["utm.mixin"]._find_or_create_record
        cls.other = cls.env["link.tracker"].create(
            {
                "url": "https://shop.example/autumn",
                "campaign_id": cls.autumn.id,
                "source_id": find("utm.source", "google").id,
                "medium_id": find("utm.medium", "cpc").id,
            }
        )
        cls.rules = cls.env["trackflow.attribution.model"].browse()
        for name in ("first_touch", "last_touch", "linear"):
            cls.rules |= cls.env.ref(f"trackflow.attribution_model_{name}")

    def world(self):
        """Six deals of 100: spring finds, autumn closes."""
        for number in range(6):
            visitor = new_visitor_id()
            self.click(visitor, 20 + number, self.links[0])
            self.click(visitor, 10 + number, self.other)
            self.opportunity(visitor)
        self.drain()
        for campaign in (self.campaign, self.autumn):
            self.env["trackflow.campaign.cost"].create(
                {"campaign_id": campaign.id, "amount": 50.0, "date": fields.Date.today()}
            )

    def comparison(self, user=None):
        comparison = (
            self.env["trackflow.comparison"]
            .with_user(user or self.marketer)
            .create({"model_ids": self.rules.ids})
        )
        comparison.action_compare()
        return comparison

    def test_each_campaign_under_each_model(self):
        self.world()
        comparison = self.comparison()
        found = comparison._comparison()
        rows = {row.campaign: row for row in found.campaigns}
        first, last, linear = (str(model.id) for model in self.rules)
        spring, autumn = rows[self.campaign.name], rows[self.autumn.name]
        self.assertEqual(spring.values, {first: 60000, last: 0, linear: 30000})
        self.assertEqual(autumn.values, {first: 0, last: 60000, linear: 30000})
        self.assertEqual(spring.intervals[linear], (30000, 30000))
        self.assertEqual(comparison.campaign_ids, self.campaign | self.autumn)
        self.assertIn("TrackFlow Spring", comparison.table)

    def test_decisions_that_depend_on_the_model(self):
        self.world()
        text = " ".join(str(self.comparison().decisions).split())
        self.assertIn("Whose budget should grow depends on the model", text)
        self.assertIn("under Last Touch", text)

    def test_moving_budget(self):
        self.world()
        comparison = self.comparison()
        self.assertFalse(comparison.simulation)
        with Form(comparison) as form:
            form.source_id, form.target_id, form.percent = self.campaign, self.autumn, 10.0
            self.assertIn("First Touch</td>", form.simulation)
        text = " ".join(str(comparison.simulation).split())
        # A tenth of 600 less under first touch, a tenth more under last, nothing under linear.
        self.assertIn("5.00", text)
        self.assertRegex(text, r"First Touch</td> <td class=\"[^\"]*text-danger\">[^<]*60.00")
        self.assertRegex(text, r"Last Touch</td> <td class=\"[^\"]*text-success\"> ?\+ ?[^<]*60.00")
        self.assertRegex(text, r"Linear</td> <td class=\"[^\"]*nowrap \">[^<]*0.00")
        self.assertIn("The models disagree", text)
        self.assertIn("in proportion to cost", text)
        comparison.elasticity = 0.5
        self.assertIn("twice the cost brings 1.41 times", str(comparison.simulation))
        comparison.percent = 0
        self.assertIn("at most 100", str(comparison.simulation))

    def test_few_deals_have_no_interval(self):
        self.opportunity(self.journey())
        self.drain()
        self.assertIn("too few deals to say", self.comparison().table)

    def test_without_costs_and_without_deals(self):
        comparison = self.comparison()
        comparison.write({"date_from": "1990-01-01", "date_to": "1990-12-31"})
        comparison.action_compare()
        self.assertEqual(comparison.deal_count, 0)
        self.assertIn("No deal was created in this period", comparison.table)
        self.assertIn("Enter what at least two", comparison.decisions)

    def test_the_menu_opens_a_comparison_of_all_models(self):
        action = self.env["trackflow.comparison"].with_user(self.marketer).action_open()
        comparison = self.env["trackflow.comparison"].browse(action["res_id"])
        self.assertTrue(comparison.data)
        self.assertGreaterEqual(len(comparison.model_ids), 5)

    def test_it_needs_a_model(self):
        comparison = self.comparison()
        comparison.model_ids = False
        with self.assertRaises(UserError):
            comparison.action_compare()

    @users("tf_salesman")
    def test_salespeople_may_not_compare(self):
        with self.assertRaises(AccessError):
            self.env["trackflow.comparison"].create({})
