"""Every hook there is. The name says the family:

`trackflow_register_*` runs once at load, `trackflow_after_*` after a commit, each plugin on its
own; the others ask for a decision, and the first plugin that gives one is heard. Arguments are
frozen; an implementation may take fewer of them, never more. Hooks are plain functions, not
coroutines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pluggy

from trackflow_core.attribution import Attribution, Rule
from trackflow_core.config import Settings
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
from trackflow_core.ports import Connector, Store, TableEngine
from trackflow_core.tracking.links import Choice, Request

if TYPE_CHECKING:
    import typer
    from pydantic import BaseModel

PROJECT = "trackflow"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand of `trackflow`.

    `name` is one word, or two where it joins a group ("connector add"). `run` is a function with
    Typer's annotations, or a `typer.Typer` with subcommands of its own.
    """

    name: str
    run: Callable[..., Any] | typer.Typer


@dataclass(frozen=True, slots=True)
class ApiCall:
    """A request to the API whose key and values have been checked.

    `params` are the parts of the path, `query` and `body` are of the route's own classes (None
    where it has none). `store` works in the request's transaction; `settings` are what the host's
    engine works by.
    """

    params: Mapping[str, str]
    query: Any
    body: Any
    store: Store
    ctx: Context
    settings: Settings = field(default_factory=Settings, kw_only=True)


@dataclass(frozen=True, slots=True)
class ApiRoute:
    """A route of the REST API, beneath `/trackflow/api/v1`.

    `name` is unique and becomes the operation's id. `path` begins with "/"; a part in braces is a
    parameter, and one called `{ref}` may hold slashes. `scope` is what a key must have, such as
    "receipts:read". `query`, `body` and `answer` are pydantic models, from which requests are
    checked and openapi.json is made; without `answer` the route answers 204. `handle` returns an
    object of `answer`; LookupError becomes 404, InvalidEvent 422.
    """

    name: str
    method: str
    path: str
    scope: str
    summary: str
    handle: Callable[[Any], object]
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    answer: type[BaseModel] | None = None
    status: int = 200


@hookspec
def trackflow_register_attribution_models() -> Iterable[Rule]:  # type: ignore[empty-body]
    """Rules that models may use, beside the built-in ones.

    Called once when plugins are loaded. Return `Rule` objects. Two rules of one name, whoever
    brings them, are a `ConfigError` that names both plugins.
    """


@hookspec
def trackflow_register_connectors() -> Iterable[Connector]:  # type: ignore[empty-body]
    """Connectors that hosts may offer.

    Called once when plugins are loaded. Return objects that satisfy `ports.Connector`, and
    `ports.WebhookConnector` where the CRM calls us. Two connectors of one name are a
    `ConfigError` that names both plugins.
    """


@hookspec
def trackflow_register_api_routes() -> Iterable[ApiRoute]:  # type: ignore[empty-body]
    """Routes of the REST API, beneath `/trackflow/api/v1`.

    Called once when plugins are loaded. Return `ApiRoute` objects. Two routes of one name, whoever
    brings them, are a `ConfigError` that names both plugins; a host's API does not start with two
    routes of one method and path.
    """


@hookspec
def trackflow_register_table_engines() -> Iterable[TableEngine]:  # type: ignore[empty-body]
    """Engines that `trackflow attribute` may work with, beside the core's own.

    Called once when plugins are loaded, in every host: import what an engine needs when it works.
    Return objects that satisfy `ports.TableEngine`. Two engines of one name, whoever brings them,
    are a `ConfigError` that names both plugins.
    """


@hookspec
def trackflow_register_cli_commands() -> Iterable[Command]:  # type: ignore[empty-body]
    """Subcommands of `trackflow`.

    Called once when plugins are loaded, in every host: import what a command needs inside of it.
    Return `Command` objects. Two commands of one name, whoever brings them, are a `ConfigError`
    that names both plugins; a command that TrackFlow itself has stays TrackFlow's.
    """


@hookspec(firstresult=True)
def trackflow_is_bot(agent: Agent, click: Click, ctx: Context) -> Agent | None:
    """Who is behind a click: a person, a bot, a preview.

    Called once for each click when it is classified, before it can become a touch. `agent` is what
    the core judged. Return it with another verdict and reason (`dataclasses.replace`), or None to
    leave it; the first plugin that returns one decides. An exception is logged with the plugin's
    name and counts as None.
    """


@hookspec(firstresult=True)
def trackflow_classify_touch(source: Source, click: Click, ctx: Context) -> Source | None:
    """Where a click came from: source, medium, campaign, channel, content and term.

    Called once for each click when it is classified. `source` is what the core found in the link,
    the URL and the referrer. Return it changed (`dataclasses.replace`), or None to leave it; the
    first plugin that returns one decides. An exception is logged with the plugin's name and counts
    as None.
    """


@hookspec(firstresult=True)
def trackflow_geolocate(address: str, ctx: Context) -> str | None:
    """In which country an IP address is.

    Called when a host wants to know, as a rule while it answers a click: be quick, never ask the
    network. `address` is in text form and may be anonymised. Return the country's two letters
    (ISO 3166-1, such as "DE"), or None when it is not known; the first plugin that returns some
    decides, and without one the country is unknown. An exception is logged with the plugin's name
    and counts as None.
    """


@hookspec(firstresult=True)
def trackflow_resolve_visitor(
    visitor_ids: frozenset[str], lead: Lead, ctx: Context
) -> frozenset[str] | None:
    """Which visitors a lead is bound to.

    Called each time that a lead is told of. `visitor_ids` are those that its token, its cookie or
    its mail proved. Return other ones, an empty set to bind none, or None to leave them; the first
    plugin that returns a set decides. What was bound before stays bound. An exception is logged
    with the plugin's name and counts as None.
    """


@hookspec(firstresult=True)
def trackflow_choose_destination(
    choice: Choice, link: Link, request: Request, ctx: Context
) -> Choice | None:
    """Where a click goes.

    Called while a click is answered, for a link that leads somewhere: be quick, never ask the
    network. `choice` is what the link's rules and variants say. Return it with another destination
    (`dataclasses.replace`), which must be an address with http or https, or None to leave it; the
    first plugin that returns one decides. An exception is logged with the plugin's name and counts
    as None.
    """


@hookspec
def trackflow_after_click_recorded(event: ClickEvent, ctx: Context) -> None:
    """A click, a page view or another event was classified, and its transaction has committed.

    Called once for each, bots' and colleagues' included (`event.counts` tells), in the order of
    time within a batch. The return value is ignored. An exception is logged with the plugin's name
    and stops nobody else.
    """


@hookspec
def trackflow_after_lead_attributed(lead: Lead, summary: LeadSummary, ctx: Context) -> None:
    """A lead's touches were summed up, and the transaction that holds the summary has committed.

    Called each time that a transaction refreshed the lead, also when nothing changed. `summary` has
    the first and the last touch before the lead and their number, zero for none. The return value
    is ignored. An exception is logged with the plugin's name and stops nobody else.
    """


@hookspec
def trackflow_after_conversion_recorded(conversion: Conversion, ctx: Context) -> None:
    """A lead that came in through a touch, or a deal won with one, was kept as a conversion, and
    the transaction has committed.

    Called each time that a transaction refreshed the lead or deal, also when nothing changed. The
    return value is ignored. An exception is logged with the plugin's name and stops nobody else.
    """


@hookspec
def trackflow_after_deal_attributed(attribution: Attribution, ctx: Context) -> None:
    """A deal's credits were computed and the transaction that holds them has committed.

    Called once for each time that a transaction computed a deal's credits, in that order, so that
    the last call for a deal tells what stands; also when a recomputation gave the same credits
    again (compare `attribution.digest`). The return value is ignored. An exception is logged with
    the plugin's name and stops nobody else.
    """


@hookspec
def trackflow_on_writeback_error(message: Message, reason: str, final: bool, ctx: Context) -> None:
    """Attribution could not be written back into a CRM.

    Called after each failed attempt. `reason` is in words; `final` says that TrackFlow will not try
    again by itself, otherwise it will. The return value is ignored. An exception is logged with the
    plugin's name and stops nobody else.
    """
