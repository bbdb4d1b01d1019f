"""Who may do what: the permission matrix of the specification, operation by operation."""

from odoo.exceptions import AccessError
from odoo.fields import Command
from odoo.tests import Form, new_test_user, tagged

from .common import TrackflowCase

OPERATIONS = {"C": "create", "R": "read", "U": "write", "D": "unlink"}
ROLES = {
    "public": "base.group_public",
    "portal": "base.group_portal",
    "employee": "base.group_user",
    "salesperson": "sales_team.group_sale_salesman",
    "campaign manager": "trackflow.group_trackflow_campaign_manager",
    "trackflow manager": "trackflow.group_trackflow_manager",
    "system manager": "base.group_system",
}
# For each model what salesperson, campaign manager and TrackFlow Manager may do. Nobody else may do
# anything, but system managers may what TrackFlow Managers may.
#
# Three deviations from the specification's table, which lets managers do everything: what is
# computed from facts (credits, conversions, history) is changed by nobody, or nobody could check
# it; facts are recorded by visitors, not typed in; what a machine keeps is only looked at.
MATRIX = {
    # Campaigns and links
    "trackflow.campaign.cost": ("R", "CRUD", "CRUD"),
    "trackflow.link.variant": ("", "CRUD", "CRUD"),
    "trackflow.link.rule": ("", "CRUD", "CRUD"),
    "trackflow.link.template": ("", "CRUD", "CRUD"),
    "trackflow.link.template.variable": ("", "CRUD", "CRUD"),
    "trackflow.domain": ("", "R", "CRUD"),
    "trackflow.domain.header": ("", "R", "CRUD"),
    # Analytics
    "trackflow.visitor": ("", "R", "RD"),
    "trackflow.session": ("", "R", "R"),
    "trackflow.event": ("", "R", "R"),
    "trackflow.conversion": ("R", "R", "R"),
    "trackflow.deal.attribution": ("R", "R", "R"),
    "trackflow.attribution.model": ("R", "R", "CRUD"),
    "trackflow.attribution.fit": ("R", "R", "R"),
    "trackflow.attribution.fit.weight": ("R", "R", "R"),
    "trackflow.channel.rule": ("R", "R", "CRUD"),
    # CRM data
    "trackflow.deal.link": ("CRUD", "R", "CRUD"),
    "trackflow.deal.stage.change": ("RU", "R", "RU"),
    "trackflow.lead.status.change": ("R", "R", "R"),
    # Comparisons and reports
    "trackflow.model.credit": ("R", "R", "R"),
    "trackflow.model.credit.due": ("", "", "R"),
    "trackflow.report.campaign": ("", "R", "R"),
    "trackflow.report.funnel": ("", "R", "R"),
    "trackflow.report.journey": ("", "R", "R"),
    "trackflow.report.lead": ("R", "R", "R"),
    "trackflow.report.model": ("R", "R", "R"),
    # Settings
    "trackflow.internal.ip.range": ("", "", "CRUD"),
    "trackflow.connector": ("", "", "CRUD"),
    "trackflow.connector.event": ("", "", "R"),
    "trackflow.webhook.endpoint": ("", "", "CRUD"),
    "trackflow.webhook.event": ("", "", "R"),
    "trackflow.outbox.message": ("", "", "R"),
    "trackflow.plugin": ("", "", "RU"),
    "trackflow.api.key": ("", "", "CRUD"),
    "trackflow.api.permission": ("", "", "CRUD"),
    "trackflow.api.ip.whitelist": ("", "", "CRUD"),
    # What a machine keeps
    "trackflow.click.queue": ("", "", "R"),
    "trackflow.api.answer": ("", "", "R"),
    "trackflow.api.request.log": ("", "", "R"),
    "trackflow.failure": ("", "", "RD"),
    "trackflow.touch": ("", "", "R"),
    "trackflow.merged.ref": ("", "", "R"),
    "trackflow.merged.visitor": ("", "", "R"),
    "trackflow.recompute.run": ("", "", "R"),
    "trackflow.retention.run": ("", "", "R"),
    "trackflow.takeover": ("", "", "RU"),
    # Assistants, which keep nothing for long
    "trackflow.comparison": ("", "CRUD", "CRUD"),
    "trackflow.health": ("", "", "CRUD"),
    "trackflow.health.line": ("", "", "CRUD"),
    "trackflow.sheet.import": ("", "CRUD", "CRUD"),
    "trackflow.sheet.import.line": ("", "CRUD", "CRUD"),
    "trackflow.visitor.merge": ("", "", "CRUD"),
}
# What only system managers may do: it signs in to another CRM as its administrator.
SYSTEM = {"trackflow.connector.provision": "CRUD"}
# Odoo's own models, where Odoo itself lets employees do something.
ODOOS = {
    "utm.campaign": ("CRU", "CRU", "CRUD", "CRUD"),
    "link.tracker": ("R", "R", "CRUD", "CRUD"),
    "link.tracker.code": ("R", "R", "CRUD", "CRUD"),
    "link.tracker.click": ("R", "R", "R", "R"),
    "crm.lead": ("", "CRU", "R", "CRUD"),
}


@tagged("post_install", "-at_install")
class TestRoles(TrackflowCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.users = {
            role: new_test_user(cls.env, login=f"role {role}", groups=group)
            for role, group in ROLES.items()
        }

    def test_the_matrix_has_every_model(self):
        ours = {
            name
            for name, model in self.env.items()
            if model._original_module == "trackflow" and not model._abstract
        }
        self.assertEqual(ours - set(ODOOS), set(MATRIX) | set(SYSTEM))

    def allowed(self, model, role):
        """What this role is let do; which records it sees is up to rules of their own."""
        records = self.env[model].with_user(self.users[role])
        found = ""
        for letter, operation in OPERATIONS.items():
            try:
                records.check_access(operation)
                if operation == "read":
                    records.search([], limit=1)
            except AccessError:
                continue
            found += letter
        return found

    def test_every_role_may_do_what_the_matrix_says_and_nothing_else(self):
        for model, (sales, marketer, manager) in MATRIX.items():
            expected = {
                "public": "",
                "portal": "",
                "employee": "",
                "salesperson": sales,
                "campaign manager": marketer,
                "trackflow manager": manager,
                "system manager": manager,
            }
            for role, letters in expected.items():
                with self.subTest(model=model, role=role):
                    self.assertEqual(self.allowed(model, role), letters)

    def test_what_is_left_to_system_managers(self):
        for model, letters in SYSTEM.items():
            for role in ROLES:
                with self.subTest(model=model, role=role):
                    expected = letters if role == "system manager" else ""
                    self.assertEqual(self.allowed(model, role), expected)

    def test_on_odoos_own_models_managers_get_what_is_missing(self):
        for model, (employee, sales, marketer, manager) in ODOOS.items():
            expected = {
                "public": "",
                "portal": "",
                "employee": employee,
                "salesperson": sales,
                "campaign manager": marketer,
                "trackflow manager": manager,
            }
            for role, letters in expected.items():
                with self.subTest(model=model, role=role):
                    self.assertEqual(self.allowed(model, role), letters)

    def test_the_matrix_names_every_model(self):
        ours = {
            name
            for name, model in self.env.registry.items()
            if model._original_module == "trackflow"
            and not model._abstract
            and not model._transient
        }
        unnamed = sorted(ours - set(MATRIX))
        self.assertFalse(unnamed, "add to MATRIX in this file who may do what with these models")

    def test_what_is_denied_is_denied_in_deed(self):
        for role in ("public", "portal", "employee", "salesperson", "campaign manager"):
            visitors = self.env["trackflow.visitor"].with_user(self.users[role])
            with self.subTest(role=role), self.assertRaises(AccessError):
                visitors.create({"visitor_key": "f" * 32})
        models = self.env["trackflow.attribution.model"]
        linear = self.env.ref("trackflow.attribution_model_linear")
        for role in ("salesperson", "campaign manager"):
            with self.subTest(role=role), self.assertRaises(AccessError):
                linear.with_user(self.users[role]).write({"lookback_days": 3})
            with self.subTest(role=role), self.assertRaises(AccessError):
                models.with_user(self.users[role]).browse(linear.id).unlink()

    def test_a_marketer_opens_leads_of_all_salespeople_but_changes_none(self):
        lead = self.opportunity(self.journey())
        form = Form(lead.with_user(self.marketer))
        self.assertEqual(form.name, "Deal")
        with self.assertRaises(AccessError):
            lead.with_user(self.marketer).write({"name": "Other"})

    def test_a_manager_works_on_leads(self):
        lead = self.opportunity(self.journey())
        with Form(lead.with_user(self.manager)) as form:
            form.name = "Better name"
        self.assertEqual(lead.name, "Better name")
        lead.with_user(self.manager).unlink()
        self.assertFalse(lead.exists())

    def test_leads_of_another_company_stay_closed(self):
        lead = self.opportunity()
        lead.write(
            {
                "user_id": False,
                "team_id": False,
                "company_id": self.env["res.company"].create({"name": "Other"}).id,
            }
        )
        for user in (self.marketer, self.manager):
            with self.assertRaises(AccessError):
                lead.with_user(user).read(["name"])

    def test_clicks_of_another_company_stay_closed(self):
        company = self.env["res.company"].create({"name": "Other"})
        theirs = self.env["utm.campaign"].create(
            {"title": "Theirs", "trackflow_company_id": company.id}
        )
        link = self.env["link.tracker"].create(
            {"url": "https://other.example/", "title": "Theirs", "campaign_id": theirs.id}
        )
        click = self.env["link.tracker.click"].create({"link_id": link.id})
        shared = self.env["link.tracker.click"].create({"link_id": self.links[0].id})
        for user in (self.marketer, self.manager):
            clicks = self.env["link.tracker.click"].with_user(user)
            self.assertEqual(clicks.search([("id", "in", [click.id, shared.id])]), shared)
            with self.assertRaises(AccessError):
                click.with_user(user).read(["trackflow_occurred_at"])
            user.company_ids |= company
            inside = clicks.with_context(allowed_company_ids=company.ids)
            self.assertEqual(inside.search([("id", "=", click.id)]), click)

    def test_parts_of_another_companys_records_stay_closed(self):
        company = self.env["res.company"].create({"name": "Other"})
        theirs = self.env["utm.campaign"].create(
            {"title": "Theirs", "trackflow_company_id": company.id}
        )
        link = self.env["link.tracker"].create(
            {
                "url": "https://other.example/",
                "campaign_id": theirs.id,
                "trackflow_variant_ids": [
                    Command.create({"name": "A", "url": "https://other.example/a"})
                ],
                "trackflow_rule_ids": [
                    Command.create({"device": "mobile", "url": "https://other.example/b"})
                ],
            }
        )
        domain = self.env["trackflow.domain"].create(
            {
                "name": "go.other.example",
                "company_id": company.id,
                "header_ids": [Command.create({"name": "X-Robots-Tag", "value": "noindex"})],
            }
        )
        template = self.env["trackflow.link.template"].create(
            {
                "name": "Theirs",
                "company_id": company.id,
                "url_template": "https://other.example/{page}",
                "variable_ids": [Command.create({"name": "page"})],
            }
        )
        for records in (
            link.link_code_ids,
            link.trackflow_rule_ids,
            link.trackflow_variant_ids,
            domain.header_ids,
            template.variable_ids,
        ):
            with self.subTest(model=records._name):
                self.assertTrue(records)
                for operation in ("read", "write"):
                    self.assertFalse(
                        records.with_user(self.manager)._filtered_access(operation), operation
                    )
