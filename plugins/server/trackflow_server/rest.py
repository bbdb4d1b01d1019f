"""The REST API of the core, mounted: one transaction and one thread for each request."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from functools import cached_property

import starlette.requests
import starlette.responses
from sqlalchemy.exc import DBAPIError
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.routing import Route

from trackflow_core.api.app import Answered, Api, ApiSettings
from trackflow_core.api.calls import Workspace
from trackflow_core.api.messages import Request
from trackflow_core.api.routes import BASE
from trackflow_core.api.storage import ApiKey, Catalog, LoggedRequest
from trackflow_core.attribution import Model
from trackflow_core.config import Settings
from trackflow_core.engine import Engine
from trackflow_core.errors import TrackFlowError
from trackflow_core.hooks import Hooks
from trackflow_server.config import ServerConfig
from trackflow_server.store import Database, SqlStore
from trackflow_server.store.catalog import SqlCatalog
from trackflow_server.store.outbox import SqlOutbox

_log = logging.getLogger("trackflow.api")
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
# A little over the API's own limit, which says in its own words what is too much.
_MAX_BODY = 1024 * 1024 + 1
_LOG_SECONDS = 0.1
_READS = ("GET", "HEAD")
# How many changes are committed at once.
_TOGETHER = 64


class _Host:
    """`api.calls.Host` during one request."""

    def __init__(self, rest: Rest, store: SqlStore) -> None:
        self._rest = rest
        self._store = store

    @cached_property
    def _catalog(self) -> SqlCatalog:
        return self._rest.catalog(self._store)

    def keyring(self) -> Catalog:
        return self._catalog

    def open(self, key: ApiKey) -> Workspace:
        outbox = SqlOutbox(lambda: self._store)
        engine = Engine(self._store, self._rest.hooks, self._rest.settings, outbox)
        return Workspace(self._catalog, self._store, engine, self._models, outbox)

    def _models(self) -> Mapping[str, Model]:
        lookback = self._rest.settings.model.lookback
        by_rule = {
            name: Model(rule, lookback=lookback) for name, rule in self._rest.hooks.rules.items()
        }
        return {**by_rule, **self._store.all_models()}


class Rest:
    """The API over one database."""

    def __init__(
        self, config: ServerConfig, hooks: Hooks, settings: Settings, database: Database
    ) -> None:
        self.hooks = hooks
        self.settings = settings
        self._config = config
        self._database = database
        self._entries: list[LoggedRequest] = []
        self._keeping: asyncio.Task[None] | None = None
        self._changes: list[tuple[Request, asyncio.Future[Answered]]] = []
        self._changing: asyncio.Task[None] | None = None
        self._api = Api(
            hooks,
            ApiSettings(
                hourly_limit=config.api_hourly_limit,
                public_hourly_limit=config.api_hourly_limit,
                limit_storage=config.limit_storage,
                trusted_proxies=config.trusted_proxies,
            ),
            settings.context,
        )
        self.route = Route(f"{BASE}{{path:path}}", self.answer, methods=_METHODS)

    def catalog(self, store: SqlStore) -> SqlCatalog:
        return SqlCatalog(store, self._config.public_url, self._config.secrets)

    async def answer(self, request: starlette.requests.Request) -> starlette.responses.Response:
        """Answer one request and keep its log entry when the answer is out."""
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > _MAX_BODY:
                break
        asked = Request(
            request.method,
            request.path_params["path"],
            request.url.query,
            dict(request.headers),
            body[:_MAX_BODY],
            request.client.host if request.client else "",
            self._config.public_url,
        )
        if request.method in _READS:
            answered = await run_in_threadpool(self._read, asked)
        else:
            answered = await self._change_soon(asked)
        response = answered.response
        return starlette.responses.Response(
            b"" if request.method == "HEAD" else response.body,
            response.status,
            dict(response.headers),
            background=BackgroundTask(self._keep_soon, answered.entry),
        )

    def _read(self, asked: Request) -> Answered:
        now = datetime.now(timezone.utc)
        try:
            with self._database.reading() as store:
                return self._api.handle(asked, _Host(self, store), now)
        except Exception as error:
            return self._api.failed(asked, error, now)

    async def _change_soon(self, asked: Request) -> Answered:
        """Answer together with the others of the moment, since each commit waits for the disk."""
        answered: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self._changes.append((asked, answered))
        if self._changing is None or self._changing.done():
            self._changing = asyncio.create_task(self._change_waiting())
        return await answered

    async def _change_waiting(self) -> None:
        while self._changes:
            changes, self._changes = self._changes[:_TOGETHER], self._changes[_TOGETHER:]
            told = await run_in_threadpool(self._change, [asked for asked, _ in changes])
            for (_, answered), told_one in zip(changes, told, strict=True):
                # Whoever has left waits for nothing.
                if not answered.done():
                    answered.set_result(told_one)

    def _change(self, asked: Sequence[Request]) -> Sequence[Answered]:
        now = datetime.now(timezone.utc)
        try:
            with self._database.transaction() as store:
                host = _Host(self, store)
                return [self._api.handle(one, host, now) for one in asked]
        except Exception as error:
            if len(asked) > 1:
                # One that fails must not take the others with it.
                return [answered for one in asked for answered in self._change([one])]
            return [self._api.failed(asked[0], error, now)]

    async def _keep_soon(self, entry: LoggedRequest) -> None:
        """Keep an entry together with those of the moment, since each write waits for the disk."""
        self._entries.append(entry)
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.create_task(self._keep_waiting())

    async def _keep_waiting(self) -> None:
        while self._entries:
            await asyncio.sleep(_LOG_SECONDS)
            entries, self._entries = self._entries, []
            await run_in_threadpool(self._keep, entries)

    def _keep(self, entries: Sequence[LoggedRequest]) -> None:
        try:
            with self._database.transaction() as store:
                self.catalog(store).log(entries)
        except (TrackFlowError, DBAPIError) as error:
            _log.warning("%d requests to the API are not in its log: %s", len(entries), error)

    async def settle(self) -> None:
        """Keep what waits, before the end."""
        if self._keeping is not None:
            await self._keeping
