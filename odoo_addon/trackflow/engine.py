"""TrackFlow's engine over this database. Built for each use, of parts that the registry caches."""

import logging

from trackflow_core import hooks
from trackflow_core.config import Settings
from trackflow_core.engine import Engine
from trackflow_core.errors import ConfigError

from .store import OdooStore
from .store.outbox import OdooOutbox

_logger = logging.getLogger(__name__)

# What the addon itself is made of; other plugins are switched on by a person.
OWN_PLUGINS = frozenset(("odoo", "webhook"))


def build_engine(env, store=None) -> Engine:
    """The engine over `store`, with the settings and plugins of this database."""
    return Engine(store or OdooStore(env), plugin_hooks(env), settings(env), OdooOutbox(env))


def plugin_hooks(env):
    """The hooks of the plugins that are switched on in this database."""
    return usable_hooks(env["trackflow.plugin"].sudo()._enabled_names())


def usable_hooks(names):
    """The hooks of the plugins `names`.

    A plugin that cannot be used, say after an upgrade, must not stop the others' leads and clicks:
    until it is mended, ours work alone.
    """
    try:
        return hooks.load(names)
    except ConfigError as error:
        _logger.error("Plugins are switched off until this is mended: %s", error)
        return hooks.load(OWN_PLUGINS)


def settings(env) -> Settings:
    """The core's settings as this database has them."""
    return env["res.company"]._trackflow_settings()
