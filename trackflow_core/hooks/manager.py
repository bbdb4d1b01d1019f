"""Finding plugins, checking them, and calling their hooks in order and in isolation."""

from __future__ import annotations

import inspect
import logging
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from time import perf_counter
from types import MappingProxyType
from typing import Any, TypeVar

import pluggy

from trackflow_core.attribution import Attribution, Rule
from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.hooks import builtins, specs
from trackflow_core.model import (
    Agent,
    Click,
    ClickEvent,
    Context,
    Conversion,
    Lead,
    LeadSummary,
    Link,
    Message,
    Source,
)
from trackflow_core.ports import Connector, TableEngine
from trackflow_core.tracking.links import Choice, Request
from trackflow_core.tracking.urls import safe_destination

_log = logging.getLogger("trackflow.plugins")
BUILTIN = "trackflow-core"
DISABLE = "TRACKFLOW_DISABLE_PLUGINS"
TRACE = "TRACKFLOW_TRACE_PLUGINS"

_HOOKS = frozenset(name for name in vars(specs) if name.startswith("trackflow_"))
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}\Z")
_COMMAND = re.compile(r"[a-z][a-z0-9-]{0,63}( [a-z][a-z0-9-]{0,63})?\Z")
_COUNTRY = re.compile(r"[A-Z]{2}")
_SLOW_SECONDS = 1.0
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Plugin:
    """An installed plugin: its entry point's name, its distribution, and the hooks it implements.

    `summary` is what its distribution says of itself in one sentence. `problem` says in words why it
    is not in use; it is empty for a loaded plugin.
    """

    name: str
    distribution: str
    version: str
    hooks: tuple[str, ...]
    problem: str = ""
    summary: str = ""


class Hooks:
    """The loaded plugins, with one typed method for each thing that the engine asks of them."""

    def __init__(
        self,
        plugins: Mapping[str, object] | None = None,
        left_out: Mapping[str, str] | None = None,
    ) -> None:
        """Register the built-ins, then `plugins` by name.

        `left_out` are installed plugins that are not in use, with the reason of each.

        Raises ConfigError when a plugin implements no hook, an unknown one, takes arguments that
        the hook does not have, or is asynchronous; and when two register the same name.
        """
        self.left_out: Mapping[str, str] = MappingProxyType(dict(left_out or {}))
        # A manager for each plugin: what one does can neither stop nor reorder the others.
        self._managers = {BUILTIN: _manager_of(BUILTIN, builtins)}
        for name, plugin in (plugins or {}).items():
            if name in self._managers:
                raise ConfigError(
                    f"The plugin name {name!r} is TrackFlow's own: rename the plugin."
                )
            self._managers[name] = _manager_of(name, plugin)
        # Most installations have none for most hooks, and clicks are many.
        self._implementers: Mapping[str, tuple[str, ...]] = {
            hook: tuple(name for name in self._managers if hook in self.implemented_by(name))
            for hook in _HOOKS
        }
        self.rules: Mapping[str, Rule] = self._collect(
            "trackflow_register_attribution_models", "attribution rule", Rule
        )
        self.connectors: Mapping[str, Connector] = self._collect(
            "trackflow_register_connectors", "connector", Connector
        )
        self.api_routes: Mapping[str, specs.ApiRoute] = self._collect(
            "trackflow_register_api_routes", "route", specs.ApiRoute
        )
        self.table_engines: Mapping[str, TableEngine] = self._collect(
            "trackflow_register_table_engines", "table engine", TableEngine
        )
        self.commands: Mapping[str, specs.Command] = self._collect(
            "trackflow_register_cli_commands", "command", specs.Command
        )

    def is_bot(self, agent: Agent, click: Click, ctx: Context) -> Agent:
        """`agent`, or what the first plugin with an opinion makes of it."""
        hook = "trackflow_is_bot"
        return self._decide(hook, agent, agent=agent, click=click, ctx=ctx)

    def classify_touch(self, source: Source, click: Click, ctx: Context) -> Source:
        """`source`, or what the first plugin with an opinion makes of it."""
        hook = "trackflow_classify_touch"
        return self._decide(hook, source, source=source, click=click, ctx=ctx)

    def geolocate(self, address: str, ctx: Context) -> str:
        """The country of `address` in two letters, by the first plugin that knows; else ""."""
        return self._decide("trackflow_geolocate", "", _check_country, address=address, ctx=ctx)

    def resolve_visitor(
        self, visitor_ids: frozenset[str], lead: Lead, ctx: Context
    ) -> frozenset[str]:
        """`visitor_ids`, or what the first plugin with an opinion makes of them."""
        hook = "trackflow_resolve_visitor"
        return self._decide(hook, visitor_ids, visitor_ids=visitor_ids, lead=lead, ctx=ctx)

    def choose_destination(
        self, choice: Choice, link: Link, request: Request, ctx: Context
    ) -> Choice:
        """`choice`, or what the first plugin with an opinion makes of it."""
        hook = "trackflow_choose_destination"
        arguments = {"choice": choice, "link": link, "request": request, "ctx": ctx}
        return self._decide(hook, choice, _check_choice, **arguments)

    def listens(self, hook: str) -> bool:
        """Whether any plugin implements this hook."""
        return bool(self._implementers[hook])

    def after_click_recorded(self, event: ClickEvent, ctx: Context) -> None:
        """Tell every plugin that `event` is committed."""
        self._notify("trackflow_after_click_recorded", event=event, ctx=ctx)

    def after_lead_attributed(self, lead: Lead, summary: LeadSummary, ctx: Context) -> None:
        """Tell every plugin that the lead's `summary` is committed."""
        self._notify("trackflow_after_lead_attributed", lead=lead, summary=summary, ctx=ctx)

    def after_conversion_recorded(self, conversion: Conversion, ctx: Context) -> None:
        """Tell every plugin that `conversion` is committed."""
        self._notify("trackflow_after_conversion_recorded", conversion=conversion, ctx=ctx)

    def after_deal_attributed(self, attribution: Attribution, ctx: Context) -> None:
        """Tell every plugin that `attribution` is committed."""
        self._notify("trackflow_after_deal_attributed", attribution=attribution, ctx=ctx)

    def on_writeback_error(self, message: Message, reason: str, final: bool, ctx: Context) -> None:
        """Tell every plugin that a write-back failed."""
        hook = "trackflow_on_writeback_error"
        self._notify(hook, message=message, reason=reason, final=final, ctx=ctx)

    def implemented_by(self, name: str) -> tuple[str, ...]:
        """The hooks that the plugin `name` implements, sorted; none when it is not loaded."""
        manager = self._managers.get(name)
        return _hooks_of(manager) if manager else ()

    def _collect(self, hook: str, noun: str, kind: type[Any]) -> Mapping[str, Any]:
        found: dict[str, Any] = {}
        owners: dict[str, str] = {}
        for name, call in self._calls(hook):
            for item in _items(name, hook, call):
                _check_item(name, hook, item, kind)
                if item.name in found:
                    raise ConfigError(
                        f"The {noun} {item.name!r} is brought by both {owners[item.name]!r} and "
                        f"{name!r}: rename or disable one."
                    )
                found[item.name], owners[item.name] = item, name
        return MappingProxyType(found)

    def _calls(self, hook: str) -> Iterable[tuple[str, Callable[..., Any]]]:
        """Each plugin's `hook`, in the order of registration."""
        for name, manager in self._managers.items():
            yield name, getattr(manager.hook, hook)

    def _decide(
        self,
        hook: str,
        ours: _Answer,
        check: Callable[[_Answer], None] = lambda answer: None,
        **arguments: object,
    ) -> _Answer:
        """The first plugin's answer of the kind of `ours` that passes `check`; else `ours`."""
        for name in self._implementers[hook]:
            try:
                answer = self._call(name, hook, arguments)
            except Exception:
                _log.exception("The plugin %r failed in %s; it is left out.", name, hook)
                continue
            if isinstance(answer, type(ours)):
                try:
                    check(answer)
                except InvalidEvent as error:
                    _log.error(
                        "What the plugin %r returned from %s is left out: %s", name, hook, error
                    )
                    continue
                return answer
            if answer is not None:
                _log.error(
                    "The plugin %r returned %r from %s, not %s or None; it is left out.",
                    name,
                    answer,
                    hook,
                    type(ours).__name__,
                )
        return ours

    def _notify(self, hook: str, **arguments: object) -> None:
        for name in self._implementers[hook]:
            try:
                self._call(name, hook, arguments)
            except Exception:
                _log.exception("The plugin %r failed in %s; the others go on.", name, hook)

    def _call(self, name: str, hook: str, arguments: Mapping[str, object]) -> Any:
        """What the plugin `name` answers; one that keeps visitors or jobs waiting is named."""
        began = perf_counter()
        try:
            return getattr(self._managers[name].hook, hook)(**arguments)
        finally:
            seconds = perf_counter() - began
            if seconds > _SLOW_SECONDS:
                _log.warning("The plugin %r took %.1f seconds in %s.", name, seconds, hook)


def _check_country(country: str) -> None:
    if country and not _COUNTRY.fullmatch(country):
        raise InvalidEvent(f"{country!r} is no country code: return two letters such as 'DE'.")


def _check_choice(choice: Choice) -> None:
    safe_destination(choice.destination or "")


def _manager_of(name: str, plugin: object) -> pluggy.PluginManager:
    """A manager that holds one plugin, checked."""
    if inspect.isclass(plugin):
        raise ConfigError(f"The plugin {name!r} is a class; register an instance: add '()'.")
    _check_marked(name, plugin)
    manager = pluggy.PluginManager(specs.PROJECT)
    try:
        manager.register(plugin, name)
        for caller in manager.get_hookcallers(plugin) or ():
            _check_spelling(name, caller)
        manager.add_hookspecs(specs)
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"The plugin {name!r} cannot be used: {reason}") from error
    if not _hooks_of(manager):
        raise ConfigError(
            f"The plugin {name!r} implements no hook: decorate a function with 'hookimpl'."
        )
    for hook in _hooks_of(manager):
        for implementation in getattr(manager.hook, hook).get_hookimpls():
            _check_callable(name, hook, implementation)
    if os.environ.get(TRACE):
        manager.trace.root.setwriter(lambda line: _log.warning("%s: %s", name, line.rstrip()))
        manager.enable_tracing()
    return manager


def _hooks_of(manager: pluggy.PluginManager) -> tuple[str, ...]:
    return tuple(hook for hook in sorted(_HOOKS) if getattr(manager.hook, hook).get_hookimpls())


def _check_marked(name: str, plugin: object) -> None:
    for hook in sorted(_HOOKS):
        function = getattr(plugin, hook, None)
        if inspect.isroutine(function) and not hasattr(function, f"{specs.PROJECT}_impl"):
            raise ConfigError(
                f"The plugin {name!r} has a function {hook} that is never called: "
                "decorate it with 'hookimpl'."
            )


def _check_spelling(name: str, caller: pluggy.HookCaller) -> None:
    for implementation in caller.get_hookimpls():
        if caller.name not in _HOOKS:
            if implementation.optionalhook:
                continue
            near = get_close_matches(caller.name, _HOOKS, 1, cutoff=0.8)
            remedy = f"did you mean {near[0]}?" if near else "update trackflow-core, or remove it."
            raise ConfigError(
                f"The plugin {name!r} implements the unknown hook {caller.name}: {remedy}"
            )
        known = tuple(inspect.signature(getattr(specs, caller.name)).parameters)
        unknown = [argument for argument in implementation.argnames if argument not in known]
        if unknown:
            raise ConfigError(
                f"The plugin {name!r} takes {', '.join(unknown)} in {caller.name}, which has "
                f"{', '.join(known) or 'no arguments'}: remove or rename it."
            )


def _check_callable(name: str, hook: str, implementation: pluggy.HookImpl) -> None:
    function = implementation.function
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigError(
            f"The plugin {name!r} implements {hook} as a coroutine; "
            "hooks are plain functions: remove 'async'."
        )
    if implementation.wrapper or implementation.hookwrapper:
        raise ConfigError(
            f"The plugin {name!r} wraps {hook}; plugins are called one by one: "
            "remove 'wrapper' and implement the hook itself."
        )
    if inspect.isgeneratorfunction(function) and "_register_" not in hook:
        raise ConfigError(
            f"The plugin {name!r} implements {hook} as a generator, which would never run: "
            "remove 'yield'."
        )


def _items(name: str, hook: str, call: Callable[..., Sequence[Any]]) -> Sequence[Any]:
    """What one plugin registers through `hook`."""
    try:
        # pluggy leaves a None out of the results.
        return [item for items in call() for item in items]
    except Exception as error:
        raise ConfigError(
            f"The plugin {name!r} failed in {hook}, which returns a list: "
            f"{type(error).__name__}: {error}"
        ) from error


def _check_item(name: str, hook: str, item: Any, kind: type[Any]) -> None:
    if inspect.isclass(item) or not isinstance(item, kind):
        raise ConfigError(
            f"The plugin {name!r} returned {item!r} from {hook}, not a {kind.__name__} object."
        )
    if kind is specs.Command:
        if not isinstance(item.name, str) or not _COMMAND.match(item.name):
            raise ConfigError(
                f"The plugin {name!r} returned the command {item.name!r} from {hook}: use one "
                "word, or a group and a word, of lower-case letters, digits and '-'."
            )
    elif not isinstance(item.name, str) or not _NAME.match(item.name):
        raise ConfigError(
            f"The plugin {name!r} returned the name {item.name!r} from {hook}: use lower-case "
            "letters, digits, '_' and '-', beginning with a letter."
        )


def installed() -> Sequence[EntryPoint]:
    """The entry points of all installed plugins, by name, without importing them."""
    found: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=specs.PROJECT), key=lambda point: point.name):
        known = found.setdefault(point.name, point)
        # One distribution may be found twice on the path.
        if known.value != point.value:
            raise ConfigError(
                f"Two installed plugins are named {point.name!r}: {known.value} of "
                f"{_distribution(known)} and {point.value} of {_distribution(point)}. "
                "Uninstall one."
            )
    return tuple(found.values())


def load(enabled: frozenset[str] | None = None) -> Hooks:
    """The installed plugins, or of them those named in `enabled`, imported and checked.

    Equal arguments give the same object, so one process may serve databases that enable different
    plugins. Names in the environment variable `TRACKFLOW_DISABLE_PLUGINS` (separated by commas)
    are left out. A plugin that cannot be imported is logged and left out.

    Raises ConfigError when a plugin is written wrongly; see `Hooks`.
    """
    names = (name.strip() for name in os.environ.get(DISABLE, "").split(","))
    return _load(enabled, frozenset(filter(None, names)), bool(os.environ.get(TRACE)))


@lru_cache(maxsize=64)
def _load(enabled: frozenset[str] | None, disabled: frozenset[str], _trace: bool) -> Hooks:
    points = {point.name: point for point in installed()}
    for name in sorted((disabled | (enabled or frozenset())) - points.keys()):
        _log.warning("The plugin %r is not installed.", name)
    plugins: dict[str, object] = {}
    left_out: dict[str, str] = {}
    for name, point in points.items():
        if name in disabled:
            left_out[name] = f"disabled by {DISABLE}"
        elif enabled is not None and name not in enabled:
            left_out[name] = "not enabled here"
        else:
            try:
                plugins[name] = point.load()
            # A script without a guard ends by sys.exit().
            except (Exception, SystemExit) as error:
                left_out[name] = f"cannot be imported: {type(error).__name__}: {error}"
                _log.error(
                    "The plugin %r of %s is left out; it %s",
                    name,
                    _distribution(point),
                    left_out[name],
                )
    return Hooks(plugins, left_out)


def describe(hooks: Hooks, names: Collection[str] | None = None) -> Sequence[Plugin]:
    """What is installed, for people: one `Plugin` for each entry point, in use or not."""
    return tuple(
        Plugin(
            name=point.name,
            distribution=point.dist.name if point.dist else "",
            version=point.dist.version if point.dist else "",
            hooks=hooks.implemented_by(point.name),
            problem=hooks.left_out.get(point.name, ""),
            summary=point.dist.metadata["Summary"] or "" if point.dist else "",
        )
        for point in installed()
        if names is None or point.name in names
    )


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "an unknown distribution"
