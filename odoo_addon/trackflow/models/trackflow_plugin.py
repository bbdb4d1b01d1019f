from odoo import api, fields, models, tools
from odoo.exceptions import UserError

from trackflow_core import hooks
from trackflow_core.errors import ConfigError
from trackflow_core.hooks import manager

from ..engine import OWN_PLUGINS, plugin_hooks, usable_hooks


class TrackflowPlugin(models.Model):
    """The switch of one installed plugin in this database."""

    _name = "trackflow.plugin"
    _description = "TrackFlow Plugin"
    _order = "name"

    name = fields.Char(required=True, readonly=True)
    summary = fields.Char("What It Does", readonly=True)
    distribution = fields.Char(readonly=True)
    version = fields.Char(readonly=True)
    hooks = fields.Char(readonly=True, help="What the plugin takes part in.")
    installed = fields.Boolean(readonly=True, default=True)
    active = fields.Boolean("Switched On", default=False)

    _name_uniq = models.UniqueIndex("(name)", "A plugin has one switch.")

    @api.model_create_multi
    def create(self, vals_list):
        self.env.registry.clear_cache()
        return super().create(vals_list)

    def write(self, vals):
        if vals.get("active") is False:
            self._check_not_used()
        result = super().write(vals)
        self.env.registry.clear_cache()
        if vals.get("active"):
            self._check_usable()
        if "active" in vals:
            self._tell_hooks()
        return result

    def unlink(self):
        self.env.registry.clear_cache()
        return super().unlink()

    def _check_not_used(self):
        """Refuse to switch off what attribution models count on."""
        enabled = self._enabled_names()
        rules = (
            usable_hooks(enabled).rules.keys()
            - usable_hooks(enabled - set(self.mapped("name"))).rules.keys()
        )
        models_in_use = (
            self.env["trackflow.attribution.model"].sudo().with_context(active_test=True)
        )
        used = models_in_use.search([("rule", "in", list(rules))])
        if used:
            raise UserError(
                self.env._(
                    "The attribution models %s use this plugin's rules: archive them first.",
                    ", ".join(used.mapped("name")),
                )
            )

    def _check_usable(self):
        """Refuse to switch on what cannot be loaded."""
        try:
            hooks.load(self._enabled_names())
        except ConfigError as error:
            raise UserError(str(error)) from error

    def _tell_hooks(self):
        """Say of these plugins what they take part in."""
        loaded = plugin_hooks(self.env)
        for plugin in self:
            plugin.hooks = ", ".join(loaded.implemented_by(plugin.name))

    @api.model
    def action_open(self):
        """The list of plugins as they are installed now."""
        self.sudo()._synchronise()
        return self.env["ir.actions.act_window"]._for_xml_id("trackflow.trackflow_plugin_action")

    @api.model
    def _synchronise(self):
        """Make one row for each installed plugin; new ones but our own are switched off."""
        known = {plugin.name: plugin for plugin in self.with_context(active_test=False).search([])}
        # Describing a plugin means importing it: what is switched off stays unread.
        loaded = plugin_hooks(self.env)
        found = {plugin.name: plugin for plugin in manager.describe(loaded)}
        for name, plugin in found.items():
            vals = {
                "summary": plugin.summary,
                "distribution": plugin.distribution,
                "version": plugin.version,
                "hooks": ", ".join(plugin.hooks),
                "installed": True,
            }
            if name in known:
                known[name].write(vals)
            else:
                self.create({**vals, "name": name, "active": name in OWN_PLUGINS})
        self.browse(plugin.id for name, plugin in known.items() if name not in found).write(
            {"installed": False}
        )

    @api.model
    @tools.ormcache()
    def _enabled_names(self):
        self.flush_model(["active", "name"])
        rows = self.env.execute_query(tools.SQL("SELECT name, active FROM trackflow_plugin"))
        switched_on = {name for name, active in rows if active}
        return (OWN_PLUGINS - {name for name, _active in rows}) | switched_on
