"""Odoo's own lint, over our addons. Its pylint part is `make check`."""

from unittest import TestResult, TestSuite
from unittest.mock import patch

from odoo.addons.test_lint.tests import (
    test_docstring,
    test_dunderinit,
    test_i18n,
    test_index,
    test_jstranslate,
    test_l10n,
    test_manifests,
    test_naming,
    test_onchange_domains,
    test_orm_import,
    test_override_signatures,
    test_pofile,
    test_routes,
    test_test_holes,
)
from odoo.modules import Manifest
from odoo.tests import TransactionCase, tagged
from odoo.tools import html2plaintext

_CHECKS = (
    test_docstring.TestDocstring("test_docstring"),
    test_dunderinit.TestDunderinit("test_dunderinit"),
    test_i18n.TestI18n("test_user_content_as_prop_is_translatable"),
    test_index.TestIndex("test_enforce_index_on_one2many_inverse"),
    test_jstranslate.TestJsTranslations("test_js_translations"),
    test_l10n.L10nLinter("test_l10n_test_tags"),
    test_manifests.ManifestLinter("test_manifests"),
    test_naming.TestNaming("test_parameter_rpc_compatible"),
    test_onchange_domains.TestOnchangeDomains("test_forbid_domains_in_onchanges"),
    test_orm_import.TestDunderinit("test_addons_orm_import"),
    test_override_signatures.TestLintOverrideSignatures("test_lint_override_signature"),
    test_pofile.PotLinter("test_pot_duplicate_entries"),
    test_routes.RoutesLinter("test_routes_definition"),
    test_test_holes.TestTestHoles("test_check_tests"),
)
# An index of several columns begins with each of these.
_INDEXED = {
    "link.tracker.click.trackflow_visitor_id",
    "trackflow.conversion.visitor_id",
    "trackflow.event.visitor_id",
    "trackflow.session.visitor_id",
}


@tagged("post_install", "-at_install")
class TestOdooLint(TransactionCase):
    def test_nothing_is_found(self):
        ours = [
            manifest
            for manifest in Manifest.all_addon_manifests()
            if manifest.name.startswith("trackflow")
        ]
        self.assertTrue(ours)
        result = TestResult()
        with (
            patch.object(Manifest, "all_addon_manifests", staticmethod(lambda: ours)),
            patch.object(
                test_index,
                "BTREE_INDEX_IGNORE_FIELDS",
                test_index.BTREE_INDEX_IGNORE_FIELDS | _INDEXED,
            ),
        ):
            TestSuite(_CHECKS).run(result)
        self.assertEqual(result.testsRun, len(_CHECKS))
        self.assertFalse([found for _check, found in (*result.failures, *result.errors)])

    def test_each_addon_has_an_icon_and_a_page_in_the_list_of_apps(self):
        for addon in self.env["ir.module.module"].search([("name", "=like", "trackflow%")]):
            with self.subTest(addon=addon.name):
                self.assertEqual(addon.icon, f"/{addon.name}/static/description/icon.png")
                self.assertIn(f"<h1>{addon.shortdesc}</h1>", addon.description_html)
                self.assertIn(addon.summary, html2plaintext(addon.description_html))
