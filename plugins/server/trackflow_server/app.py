"""The ASGI application of one worker: redirects first, all other pages by Starlette."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from trackflow_core import __version__, hooks
from trackflow_core.engine import Engine
from trackflow_core.errors import RetriableError, TrackFlowError
from trackflow_core.model import Lead, Link
from trackflow_core.ports import IncomingRequest, WebhookConnector
from trackflow_server import config as configuration
from trackflow_server import logs, metrics, pages
from trackflow_server.config import ServerConfig
from trackflow_server.dashboard import Dashboard
from trackflow_server.redirect import PREFIX, Redirects
from trackflow_server.rest import Rest
from trackflow_server.spool import SpoolReader, SpoolWriter
from trackflow_server.store import Database
from trackflow_server.store.outbox import DEAD, WAITING, SqlOutbox
from trackflow_server.targets import Targets
from trackflow_server.tracker import Tracker

_log = logging.getLogger("trackflow.server")
_MAX_BODY = 1024 * 1024
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class Application:
    """One server over one configuration."""

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self.hooks = hooks.load()
        self.settings = config.settings(self.hooks.rules)
        self.database = Database(config.store, self.hooks.rules)
        self.targets = Targets(self._load_links, self._links_revision)
        self._writer = SpoolWriter(config.spool_path)
        self._redirects = Redirects(
            config,
            self.targets,
            self._writer,
            self.hooks,
            {404: pages.unknown_link(), 410: pages.link_out_of_use()},
        )
        self._pages = Starlette(
            routes=[
                Route("/trackflow/health", self._health),
                Route("/metrics", self._metrics),
                Rest(config, self.hooks, self.settings, self.database).route,
                *Dashboard(config, self.hooks, self.settings, self.database).routes,
                *Tracker(config, self._writer).routes,
                Route("/trackflow/hooks/{connector}/{instance}", self._webhook, methods=["POST"]),
            ],
            lifespan=self._lifespan,
        )

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(PREFIX):
            await self._redirects(scope, send)
        else:
            await self._pages(scope, receive, send)  # type: ignore[arg-type]

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        self._writer.start()
        # What is loaded by now stays: the garbage collector need not look at it again.
        gc.freeze()
        watching = asyncio.create_task(self.targets.watch())
        try:
            yield
        finally:
            watching.cancel()
            await self._writer.stop()
            self.database.close()

    def _load_links(self, codes: Collection[str]) -> Mapping[str, Link]:
        with self.database.reading() as store:
            return store.links(codes)

    def _links_revision(self) -> int:
        with self.database.reading() as store:
            return store.links_revision()

    # -- what machines ask -------------------------------------------------------------------

    async def _health(self, _request: Request) -> Response:
        """200 while the store answers; 503, with redirects still answered, while it does not."""
        try:
            state = await run_in_threadpool(self._look)
        except TrackFlowError as error:
            _log.warning("The health check failed: %s", error)
            return JSONResponse({"status": "failing", "version": __version__}, 503)
        return JSONResponse({"status": "ok", "version": __version__, **state})

    def _look(self) -> dict[str, Any]:
        with self.database.reading() as store:
            queued, rejected = store.queue_lengths()
            unsent = SqlOutbox(lambda: store).unsent()
        reader = SpoolReader(self.config.spool_path)
        try:
            spooled = len(reader)
        finally:
            reader.close()
        metrics.SPOOLED.set(spooled)
        metrics.REJECTED.set(rejected)
        for state, number in unsent.items():
            metrics.OUTBOX.labels(state).set(number)
        return {
            "spooled": spooled,
            "queued": queued,
            "rejected": rejected,
            "outbox": unsent[WAITING],
            "given_up": unsent[DEAD],
        }

    async def _metrics(self, _request: Request) -> Response:
        try:
            await run_in_threadpool(self._look)
        except TrackFlowError as error:
            _log.warning("The gauges of the store are out of date: %s", error)
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    # -- incoming webhooks -------------------------------------------------------------------

    async def _webhook(self, request: Request) -> Response:
        """Check, map and apply a delivery; the sender learns nothing of a refusal."""
        connector, instance = request.path_params["connector"], request.path_params["instance"]
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > _MAX_BODY:
                return _problem(413, "The body is too long.", f"Send at most {_MAX_BODY} bytes.")
        incoming = IncomingRequest(body, dict(request.headers))
        try:
            await run_in_threadpool(self._apply_webhook, connector, instance, incoming)
        except RetriableError as error:
            _log.warning("A webhook to %s/%s must wait: %s", connector, instance, error)
            return _problem(503, "Service unavailable", "Send it again later.")
        except TrackFlowError as error:
            metrics.WEBHOOKS.labels(self._known(connector), "refused").inc()
            _log.warning("A webhook to %s/%s is refused: %s", connector, instance, error)
            return _problem(401, "Unauthorized", "The request could not be authenticated.")
        metrics.WEBHOOKS.labels(self._known(connector), "accepted").inc()
        return JSONResponse({"status": "accepted"}, 202)

    def _known(self, connector: str) -> str:
        """`connector`, unless somebody made it up: metrics must not grow at will."""
        return connector if connector in self.hooks.connectors else "unknown"

    def _apply_webhook(self, connector: str, instance: str, incoming: IncomingRequest) -> None:
        receiver = self.hooks.connectors.get(connector)
        secrets = self.config.webhook_secrets.get(f"{connector}/{instance}", ())
        if not isinstance(receiver, WebhookConnector) or not secrets:
            raise TrackFlowError("it is not configured: add it to 'webhooks'.")
        now = datetime.now(timezone.utc)
        delivery = receiver.verify(incoming, secrets, now)
        events = receiver.map_events(delivery.payload, f"{connector}/{instance}")
        with self.database.transaction() as store:
            Engine(store, self.hooks, self.settings, SqlOutbox(lambda: store)).apply(
                leads=[event for event in events if isinstance(event, Lead)],
                deals=[event for event in events if not isinstance(event, Lead)],
            )


def _problem(status: int, title: str, detail: str) -> Response:
    problem = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return Response(json.dumps(problem), status, media_type="application/problem+json")


def create() -> Application:
    """The application that a worker serves, configured by the environment it was given."""
    config = configuration.load()
    logs.configure(config)
    return Application(config)
