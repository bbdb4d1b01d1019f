from odoo.tests import TransactionCase, tagged


@tagged("post_install", "-at_install")
class TestButtons(TransactionCase):
    def test_every_button_calls_a_method_that_takes_records(self):
        # A button sends the records it stands beside, which an @api.model method cannot take.
        views = self.env["ir.ui.view"].browse(
            self.env["ir.model.data"]
            .search([("module", "=like", "trackflow%"), ("model", "=", "ir.ui.view")])
            .mapped("res_id")
        )
        buttons = set()
        for view in views.filtered(lambda view: view.type != "qweb"):
            self._collect(view._get_combined_arch(), self.env[view.model], buttons)
        self.assertIn(("trackflow.takeover", "action_begin"), buttons)
        for model, name in sorted(buttons):
            with self.subTest(model=model, button=name):
                method = getattr(self.env[model], name)
                self.assertFalse(getattr(method, "_api_model", False))

    def _collect(self, node, model, buttons):
        """Add the (model, method) of the object buttons under `node`, which shows `model`."""
        if node.tag in ("button", "a") and node.get("type") == "object":
            buttons.add((model._name, node.get("name")))
        if node.tag == "field" and len(node) and model._fields[node.get("name")].comodel_name:
            model = self.env[model._fields[node.get("name")].comodel_name]
        for child in node:
            self._collect(child, model, buttons)
