"""Finding plugins, checking them, and calling their hooks in order and in isolation."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, TypeVar

import pluggy

from trackflow_core.attribution import Attribution, Rule
from trackflow_core.errors import ConfigError
from trackflow_core.hooks import builtins, specs
from trackflow_core.model import Context
from trackflow_core.ports import Connector

_log = logging.getLogger("trackflow.plugins")
_Named = TypeVar("_Named", Rule, Connector)
BUILTIN = "trackflow-core"


@dataclass(frozen=True, slots=True)
class Plugin:
    """An installed plugin: its entry point's name, its distribution, and the hooks it implements."""

    name: str
    distribution: str
    version: str
    hooks: tuple[str, ...]


class Hooks:
    """The loaded plugins, with one typed method for each thing that the engine asks of them."""

    def __init__(self, plugins: Mapping[str, object] | None = None) -> None:
        """Register the built-ins, then `plugins` by name.

        Raises ConfigError when a plugin implements an unknown hook, takes arguments that the hook
        does not have, or is asynchronous; and when two register the same name.
        """
        self._manager = pluggy.PluginManager(specs.PROJECT)
        self._manager.add_hookspecs(specs)
        self._manager.register(builtins, BUILTIN)
        for name, plugin in (plugins or {}).items():
            self._register(name, plugin)
        if os.environ.get("TRACKFLOW_TRACE_PLUGINS"):
            self._manager.trace.root.setwriter(lambda line: _log.warning(line.rstrip()))
            self._manager.enable_tracing()
        self.rules: Mapping[str, Rule] = self._collect(
            "trackflow_register_attribution_models", "attribution rule", Rule
        )
        self.connectors: Mapping[str, Connector] = self._collect(
            "trackflow_register_connectors", "connector", Connector
        )

    def after_deal_attributed(self, attribution: Attribution, ctx: Context) -> None:
        """Tell every plugin that `attribution` is committed."""
        self._notify("trackflow_after_deal_attributed", attribution=attribution, ctx=ctx)

    def implemented_by(self, name: str) -> tuple[str, ...]:
        """The hooks that the plugin `name` implements, sorted."""
        plugin = self._manager.get_plugin(name)
        callers = self._manager.get_hookcallers(plugin) if plugin is not None else None
        return tuple(sorted(caller.name for caller in callers or ()))

    def _register(self, name: str, plugin: object) -> None:
        if inspect.isclass(plugin):
            raise ConfigError(f"The plugin {name!r} is a class; register an instance: add '()'.")
        try:
            self._manager.register(plugin, name)
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            raise ConfigError(f"The plugin {name!r} cannot be used: {error}") from error
        except ValueError as error:
            raise ConfigError(f"The plugin {name!r} is registered twice.") from error
        for caller in self._manager.get_hookcallers(plugin) or ():
            for implementation in caller.get_hookimpls():
                if inspect.iscoroutinefunction(implementation.function):
                    raise ConfigError(
                        f"The plugin {name!r} implements {caller.name} as a coroutine; "
                        "hooks are plain functions: remove 'async'."
                    )

    def _collect(self, hook: str, noun: str, kind: type[Any]) -> Mapping[str, Any]:
        found: dict[str, Any] = {}
        owners: dict[str, str] = {}
        for name, call in self._callers(hook):
            for item in call():
                if not isinstance(item, kind):
                    raise ConfigError(
                        f"The plugin {name!r} returned {item!r} from {hook}, not a {kind.__name__}."
                    )
                if item.name in found:
                    raise ConfigError(
                        f"The {noun} {item.name!r} is brought by both {owners[item.name]!r} and "
                        f"{name!r}: rename or disable one."
                    )
                found[item.name], owners[item.name] = item, name
        return MappingProxyType(found)

    def _callers(self, hook: str) -> Iterable[tuple[str, Callable[..., Any]]]:
        """Each plugin's own implementation of `hook`, in the order of registration."""
        implementations: Sequence[pluggy.HookImpl] = getattr(
            self._manager.hook, hook
        ).get_hookimpls()
        everyone = self._manager.get_plugins()
        for name, plugin in self._manager.list_name_plugin():
            if any(implementation.plugin is plugin for implementation in implementations):
                caller = self._manager.subset_hook_caller(hook, everyone - {plugin})
                yield name, lambda caller=caller, **kwargs: (caller(**kwargs) or [None])[0]

    def _notify(self, hook: str, **arguments: object) -> None:
        for name, call in self._callers(hook):
            try:
                call(**arguments)
            except Exception:
                _log.exception("The plugin %r failed in %s; the others go on.", name, hook)


def installed() -> Sequence[EntryPoint]:
    """The entry points of all installed plugins, by name, without importing them."""
    found: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=specs.PROJECT), key=lambda point: point.name):
        if point.name in found and found[point.name].value != point.value:
            raise ConfigError(
                f"Two installed plugins are named {point.name!r} "
                f"({found[point.name].value} and {point.value}): uninstall one."
            )
        found[point.name] = point
    return tuple(found.values())


@lru_cache(maxsize=64)
def load(enabled: frozenset[str] | None = None) -> Hooks:
    """The installed plugins, or of them those named in `enabled`, imported and checked.

    The result depends on the arguments alone, so one process may serve databases that enable
    different plugins. Names in the environment variable `TRACKFLOW_DISABLE_PLUGINS` (separated by
    commas) are left out. A plugin that cannot be imported is logged and left out.

    Raises ConfigError when a plugin is written wrongly; see `Hooks`.
    """
    disabled = set(filter(None, os.environ.get("TRACKFLOW_DISABLE_PLUGINS", "").split(",")))
    plugins: dict[str, object] = {}
    for point in installed():
        if point.name in disabled or (enabled is not None and point.name not in enabled):
            continue
        try:
            plugins[point.name] = point.load()
        except ImportError as error:
            _log.error(
                "The plugin %r of %s cannot be imported and is left out: %s",
                point.name,
                point.dist.name if point.dist else point.value,
                error,
            )
    return Hooks(plugins)


def describe(hooks: Hooks, names: Collection[str] | None = None) -> Sequence[Plugin]:
    """What is installed, for people: one `Plugin` for each entry point."""
    return tuple(
        Plugin(
            name=point.name,
            distribution=point.dist.name if point.dist else "",
            version=point.dist.version if point.dist else "",
            hooks=hooks.implemented_by(point.name),
        )
        for point in installed()
        if names is None or point.name in names
    )
