from pathlib import Path

import polib
from odoo.modules import get_module_path
from odoo.tests import TransactionCase, tagged
from odoo.tools.translate import TranslationModuleReader

# The terms that a module's words are kept under; the rest of a row is where they stand.
_SOURCE = 4


@tagged("post_install", "-at_install")
class TestTranslationTemplates(TransactionCase):
    def test_every_template_holds_the_terms_of_its_addon(self):
        addons = self.env["ir.module.module"].search(
            [("name", "=like", "trackflow%"), ("state", "=", "installed")]
        )
        for addon in addons.mapped("name"):
            with self.subTest(addon=addon):
                exported = {
                    row[_SOURCE] for row in TranslationModuleReader(self.env.cr, modules=[addon])
                }
                path = Path(get_module_path(addon)) / "i18n" / f"{addon}.pot"
                kept = {entry.msgid for entry in polib.pofile(str(path))}
                how = f"make it anew: odoo i18n export {addon}, then translate what is new"
                self.assertFalse(sorted(exported - kept), how)
                self.assertFalse(sorted(kept - exported), how)
