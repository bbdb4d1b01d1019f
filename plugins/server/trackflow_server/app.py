"""The ASGI application of one worker: what visitors, machines and CRMs ask."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from trackflow_core import __version__, hooks
from trackflow_core.api.routes import BASE
from trackflow_core.errors import TrackFlowError
from trackflow_server import config as configuration
from trackflow_server import logs, metrics, spool
from trackflow_server.config import ServerConfig
from trackflow_server.dashboard import Dashboard
from trackflow_server.edge_app import EdgeApplication
from trackflow_server.front import Front, Receive, Send
from trackflow_server.intake import Intake
from trackflow_server.rest import Rest
from trackflow_server.store import Database
from trackflow_server.store.outbox import DEAD, WAITING, SqlOutbox
from trackflow_server.visits import Visits

_log = logging.getLogger("trackflow.server")


class Application(Front):
    """A server over one configuration, with everything."""

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self.hooks = hooks.load()
        self.settings = config.settings(self.hooks.rules)
        database = Database(config.store, self.hooks.rules)
        self._intake = Intake(config, self.hooks, database, lambda fact: self.writer.append(fact))
        self._rest = Rest(config, self.hooks, self.settings, database)
        super().__init__(
            config,
            self.hooks,
            database,
            Visits(config, config.visitor_keys),
            [
                Route("/trackflow/health", self._health),
                Route("/metrics", self._metrics),
                *Dashboard(config, self.hooks, self.settings, database).routes,
                self._intake.route,
            ],
            own_hosts=config.own_hosts,
        )

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(BASE):
            await self._rest(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def watch(self) -> None:
        await asyncio.gather(super().watch(), self._intake.watch())

    async def settle(self) -> None:
        await self._rest.settle()

    # -- what machines ask -------------------------------------------------------------------

    async def _health(self, _request: Request) -> Response:
        """200 while the store answers; 503, with redirects still answered, while it does not."""
        try:
            state = await run_in_threadpool(self._look)
        except TrackFlowError as error:
            _log.warning("The health check failed: %s", error)
            return JSONResponse({"status": "failing", "version": __version__}, 503)
        problem, status = self._problem(state["refusing"])
        told = {"status": status, "version": __version__, **state, "problem": problem}
        return JSONResponse(told, 503 if status == "failing" else 200)

    def _problem(self, refusing: int) -> tuple[str, str]:
        """The worst that is wrong, and how bad that is."""
        if self.writer.problem:
            return self.writer.problem, "failing"
        if refusing:
            # Everybody may read this, and an address may hold a secret.
            told = f"Receivers that take no messages: {refusing}. `trackflow doctor` names them."
            return told, "degraded"
        return "", "ok"

    def _look(self) -> dict[str, Any]:
        with self.database.reading() as store:
            queued, rejected = store.queue_lengths()
            outbox = SqlOutbox(lambda: store)
            unsent = outbox.unsent()
            refusing = len(outbox.refusals(datetime.now(timezone.utc)))
        spooled = spool.room(self.config)
        metrics.REJECTED.set(rejected)
        for state, number in unsent.items():
            metrics.OUTBOX.labels(state).set(number)
        return {
            **spooled,
            "queued": queued,
            "rejected": rejected,
            "outbox": unsent[WAITING],
            "given_up": unsent[DEAD],
            "refusing": refusing,
        }

    async def _metrics(self, _request: Request) -> Response:
        try:
            await run_in_threadpool(self._look)
        except TrackFlowError as error:
            _log.warning("The gauges of the store are out of date: %s", error)
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def create() -> Front:
    """The application that a worker serves, configured by the environment it was given."""
    config = configuration.load()
    logs.configure(config)
    return EdgeApplication(config) if config.upstream else Application(config)
