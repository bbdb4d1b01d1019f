from unittest.mock import patch

from odoo.exceptions import UserError
from odoo.tests import TransactionCase, tagged

from trackflow_core import hooks
from trackflow_core.errors import ConfigError

load = hooks.load


def load_but_broken(enabled=None):
    """As after an upgrade that took away a hook which the plugin `broken` implements."""
    if "broken" in enabled:
        raise ConfigError("The plugin 'broken' implements the unknown hook trackflow_was.")
    return load(enabled)


@tagged("post_install", "-at_install")
class TestPlugins(TransactionCase):
    """The switches of plugins in a database."""

    def setUp(self):
        super().setUp()
        self.plugins = self.env["trackflow.plugin"].with_context(active_test=False)
        self.plugins._synchronise()
        self.broken = self.plugins.create({"name": "broken", "active": True})
        self.startPatcher(patch("trackflow_core.hooks.load", load_but_broken))

    def test_the_list_opens_so_that_a_broken_plugin_can_be_switched_off(self):
        with self.assertLogs("odoo.addons.trackflow.engine", "ERROR") as logs:
            self.assertEqual(self.plugins.action_open()["res_model"], "trackflow.plugin")
        self.assertIn("'broken'", logs.output[0])
        self.broken.active = False
        self.assertNotIn("broken", self.plugins._enabled_names())

    def test_of_two_broken_plugins_one_after_the_other_is_switched_off(self):
        other = self.plugins.search([("name", "=", "data_driven")])
        with self.assertLogs("odoo.addons.trackflow.engine", "ERROR"):
            other.active = False
        self.broken.active = False
        self.assertFalse({"broken", "data_driven"} & self.plugins._enabled_names())

    def test_a_broken_plugin_is_not_switched_on(self):
        self.broken.active = False
        with self.assertRaisesRegex(UserError, "'broken'"):
            self.broken.active = True
