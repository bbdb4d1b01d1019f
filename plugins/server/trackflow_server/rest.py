"""The REST API of the core as an ASGI application: some threads for reads, one for all changes."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from trackflow_core.api.app import Answered, Api, ApiSettings
from trackflow_core.api.calls import Workspace
from trackflow_core.api.messages import Request, Response
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
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
# A little over the API's own limit, which says in its own words what is too much.
_MAX_BODY = 1024 * 1024 + 1
_LOG_SECONDS = 0.1
_READS = ("GET", "HEAD")
_NO_CONTENT = 204
# How many changes are committed at once.
_TOGETHER = 64
# How many reads run at a time: they share one Python, and more of them only get in each other's way.
_READERS = 2


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A request that waits for its answer."""

    asked: Request
    answered: asyncio.Future[Answered]

    def tell(self, answered: Answered) -> None:
        """Called in the event loop."""
        # Whoever has left waits for nothing.
        if not self.answered.done():
            self.answered.set_result(answered)


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
        self._reads: deque[_Waiting] = deque()
        self._reading = 0
        self._changes: list[_Waiting] = []
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
        self._readers = ThreadPoolExecutor(_READERS, "trackflow-api-read")
        self._writer = ThreadPoolExecutor(1, "trackflow-api-write")

    def catalog(self, store: SqlStore) -> SqlCatalog:
        return SqlCatalog(store, self._config.public_url, self._config.secrets)

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request; its log entry is kept soon after."""
        headers = _headers(scope)
        body = await _body(scope, headers, receive)
        if body is None:
            return
        asked = Request(
            scope["method"],
            scope["path"][len(BASE) :],
            scope["query_string"].decode("latin-1"),
            headers,
            body,
            str(scope["client"][0]) if scope.get("client") else "",
            self._config.public_url,
        )
        waiting = _Waiting(asked, asyncio.get_running_loop().create_future())
        if asked.method in _READS:
            self._reads.append(waiting)
            self._read_soon()
        else:
            self._change_soon(waiting)
        answered = await waiting.answered
        self._keep_soon(answered.entry)
        await _send(send, asked, answered.response)

    def _read_soon(self) -> None:
        """Let another thread take what waits, unless all of them do so already."""
        if self._reads and self._reading < _READERS:
            self._reading += 1
            loop = asyncio.get_running_loop()
            working = loop.run_in_executor(self._readers, self._read_waiting, loop)
            working.add_done_callback(self._read_on)

    def _read_on(self, _done: asyncio.Future[None]) -> None:
        self._reading -= 1
        # One that came while the thread found nothing more.
        self._read_soon()

    def _read_waiting(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer as long as something waits: to wake a thread costs as much as a small answer."""
        with suppress(IndexError):
            while True:
                waiting = self._reads.popleft()
                loop.call_soon_threadsafe(waiting.tell, self._read(waiting.asked))

    def _read(self, asked: Request) -> Answered:
        now = datetime.now(timezone.utc)
        try:
            with self._database.reading() as store:
                return self._api.handle(asked, _Host(self, store), now)
        except Exception as error:
            return self._api.failed(asked, error, now)

    def _change_soon(self, waiting: _Waiting) -> None:
        """Answer together with the others of the moment, since each commit waits for the disk."""
        self._changes.append(waiting)
        if self._changing is None or self._changing.done():
            self._changing = asyncio.create_task(self._change_waiting())

    async def _change_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        while self._changes:
            changes, self._changes = self._changes[:_TOGETHER], self._changes[_TOGETHER:]
            asked = [waiting.asked for waiting in changes]
            told = await loop.run_in_executor(self._writer, self._change, asked)
            for waiting, answered in zip(changes, told, strict=True):
                waiting.tell(answered)

    def _change(self, asked: Sequence[Request]) -> Sequence[Answered]:
        now = datetime.now(timezone.utc)
        try:
            with self._database.transaction() as store:
                host = _Host(self, store)
                return [self._change_one(one, host, now) for one in asked]
        except Exception as error:
            if len(asked) > 1:
                # The database failed: what one may have brought about must not take the others.
                return [answered for one in asked for answered in self._change([one])]
            return [self._api.failed(asked[0], error, now)]

    def _change_one(self, asked: Request, host: _Host, now: datetime) -> Answered:
        try:
            return self._api.handle(asked, host, now)
        except SQLAlchemyError:
            # Nobody knows what is left of the transaction.
            raise
        except Exception as error:
            # What it wrote was taken back with it.
            return self._api.failed(asked, error, now)

    def _keep_soon(self, entry: LoggedRequest) -> None:
        """Keep an entry together with those of the moment, since each write waits for the disk."""
        self._entries.append(entry)
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.create_task(self._keep_waiting())

    async def _keep_waiting(self) -> None:
        while self._entries:
            await asyncio.sleep(_LOG_SECONDS)
            entries, self._entries = self._entries, []
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._writer, self._keep, entries)

    def _keep(self, entries: Sequence[LoggedRequest]) -> None:
        try:
            with self._database.transaction() as store:
                self.catalog(store).log(entries)
        except (TrackFlowError, DBAPIError) as error:
            _log.warning("%d requests to the API are not in its log: %s", len(entries), error)

    async def settle(self) -> None:
        """Answer and keep what waits, before the end."""
        if self._changing is not None:
            await self._changing
        if self._keeping is not None:
            await self._keeping
        self._readers.shutdown(wait=False)
        self._writer.shutdown(wait=False)


def _headers(scope: Mapping[str, Any]) -> dict[str, str]:
    """The headers by their names; one that came several times is one list."""
    headers: dict[str, str] = {}
    for raw, content in scope["headers"]:
        name, value = raw.decode("latin-1").lower(), content.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


async def _body(
    scope: Mapping[str, Any], headers: Mapping[str, str], receive: Receive
) -> bytes | None:
    """The body, cut where it is too long; None where the client left before its end."""
    announced = "content-length" in headers or "transfer-encoding" in headers
    # HTTP/2 needs neither header for a body.
    if not announced and scope["http_version"].startswith("1"):
        return b""
    body = b""
    more = True
    while more and len(body) < _MAX_BODY:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body[:_MAX_BODY]


async def _send(send: Send, asked: Request, response: Response) -> None:
    body = b"" if asked.method == "HEAD" else response.body
    headers = [
        (name.encode("latin-1"), value.encode("latin-1"))
        for name, value in response.headers.items()
    ]
    if response.status != _NO_CONTENT:
        headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
