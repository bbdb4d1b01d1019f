"""What every server answers visitors with, full or edge: redirects first, then the tracker."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.routing import BaseRoute

from trackflow_core.hooks import Hooks
from trackflow_core.model import Link
from trackflow_server import pages
from trackflow_server.config import ServerConfig
from trackflow_server.redirect import PREFIX, Redirects
from trackflow_server.spool import SpoolWriter
from trackflow_server.store import Database
from trackflow_server.targets import Targets
from trackflow_server.tracker import Tracker
from trackflow_server.visits import Visits

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class Front:
    """The ASGI application of one worker; `routes` are those behind the visitors' own."""

    def __init__(
        self,
        config: ServerConfig,
        hooks: Hooks,
        database: Database,
        visits: Visits,
        routes: Sequence[BaseRoute],
        own_hosts: Collection[str],
    ) -> None:
        self.database = database
        self.visits = visits
        self.targets = Targets(self._load_links, self._links_revision, self.links_changed)
        self.writer = SpoolWriter(config.spool_path, config.spool_megabytes)
        self._redirects = Redirects(
            self.targets,
            self.writer,
            hooks,
            visits,
            {404: pages.unknown_link(), 410: pages.link_out_of_use()},
        )
        tracker = Tracker(own_hosts, self.writer, visits)
        self._pages = Starlette(routes=[*tracker.routes, *routes], lifespan=self._lifespan)

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            await self._redirects(scope, send)
        else:
            await self._pages(scope, receive, send)  # type: ignore[arg-type]

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        self.writer.start()
        # What is loaded by now stays: the garbage collector need not look at it again.
        gc.freeze()
        watching = asyncio.create_task(self.watch())
        try:
            yield
        finally:
            watching.cancel()
            await self.settle()
            await self.writer.stop()
            self.database.close()

    async def watch(self) -> None:
        """Keep what is in memory up to date; runs until it is cancelled."""
        await self.targets.watch()

    async def settle(self) -> None:
        """Finish what goes on behind answers, before the end."""

    def links_changed(self) -> None:
        """Called, beside the event loop, when the store's links have changed."""

    def _load_links(self, codes: Collection[str]) -> Mapping[str, Link]:
        with self.database.reading() as store:
            return store.links(codes)

    def _links_revision(self) -> int:
        with self.database.reading() as store:
            return store.links_revision()
