"""What a handler of a route gets, and what a host gives for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from trackflow_core.api.messages import Problem, Request
from trackflow_core.api.storage import ApiKey, Catalog
from trackflow_core.attribution import Model
from trackflow_core.digest import digest_of
from trackflow_core.engine import Engine
from trackflow_core.hooks import ApiCall
from trackflow_core.ports import Outbox, Store


@dataclass(frozen=True, slots=True)
class Workspace:
    """What one key may work with, in one transaction of the host.

    `models` gives the attribution models that the host offers, by name. `outbox` is where webhooks
    wait, None in a host that sends none.
    """

    catalog: Catalog
    store: Store
    engine: Engine
    models: Callable[[], Mapping[str, Model]]
    outbox: Outbox | None = None


class Host(Protocol):
    """A host during one request: everything it gives works in the same transaction."""

    def keyring(self) -> Catalog:
        """Keys, remembered answers and the request log, with every right."""

    def open(self, key: ApiKey) -> Workspace:
        """The work of `key`'s owner, with that person's rights where the host has persons."""


@dataclass(frozen=True, slots=True)
class Call(ApiCall):
    """An `ApiCall` to one of the core's own routes."""

    request: Request
    key: ApiKey
    workspace: Workspace
    now: datetime

    @property
    def catalog(self) -> Catalog:
        """The records that people make."""
        return self.workspace.catalog

    @property
    def engine(self) -> Engine:
        """The verbs."""
        return self.workspace.engine

    def check_unchanged(self, etag: str) -> None:
        """Raises Problem 412 when the header `If-Match` names another state."""
        wanted = self.request.headers.get("if-match", "")
        tags = {tag.strip() for tag in wanted.split(",")} - {""}
        if tags and not tags & {"*", etag}:
            raise Problem(
                412,
                "The record was changed after it was read.",
                f"Read it again and repeat the change with If-Match: {etag}.",
                headers={"etag": etag},
            )


def etag_of(state: Mapping[str, Any]) -> str:
    """The entity tag of what can be changed of a record."""
    return f'"{digest_of(state)[:32]}"'
