"""The plugin system: write a function, decorate it with `hookimpl`, name it in an entry point.

    from trackflow_core.hooks import hookimpl

    @hookimpl
    def trackflow_register_attribution_models():
        return [Rule(...)]

Every hook is described in `trackflow_core.hooks.specs`. A distribution announces its plugin module
under the entry-point group `trackflow`.
"""

from trackflow_core.hooks.manager import Hooks, Plugin, describe, installed, load
from trackflow_core.hooks.specs import ApiCall, ApiRoute, Command, hookimpl

__all__ = [
    "ApiCall",
    "ApiRoute",
    "Command",
    "Hooks",
    "Plugin",
    "describe",
    "hookimpl",
    "installed",
    "load",
]
