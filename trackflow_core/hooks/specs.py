"""Every hook there is. The name says the family:

`trackflow_register_*` runs once at load, `trackflow_after_*` after a commit, each plugin on its
own. Arguments are frozen; an implementation may take fewer of them, never more. Hooks are plain
functions, not coroutines.
"""

from __future__ import annotations

from collections.abc import Iterable

import pluggy

from trackflow_core.attribution import Attribution, Rule
from trackflow_core.model import Context
from trackflow_core.ports import Connector

PROJECT = "trackflow"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


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
def trackflow_after_deal_attributed(attribution: Attribution, ctx: Context) -> None:
    """A deal's credits were computed and the transaction that holds them has committed.

    Called once for each deal in each transaction that wrote its credits, also when a
    recomputation gave the same credits again (compare `attribution.digest`). The return value is
    ignored. An exception is logged with the plugin's name and stops nobody else.
    """
