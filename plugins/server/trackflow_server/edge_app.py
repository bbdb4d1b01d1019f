"""The ASGI application of an edge's worker: what visitors ask, and how it is."""

from __future__ import annotations

import logging
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from trackflow_core import __version__, hooks
from trackflow_core.errors import TrackFlowError
from trackflow_server import metrics, spool
from trackflow_server.config import ServerConfig
from trackflow_server.edge import EdgeState
from trackflow_server.front import Front
from trackflow_server.store import Database
from trackflow_server.visits import Visits

_log = logging.getLogger("trackflow.edge")


class EdgeApplication(Front):
    """Redirects and the tracker over a copy of the upstream's links."""

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        database = Database(config.store)
        with database.reading() as store:
            state = EdgeState(store, config.upstream_key)
            visits = Visits(config, state.visitor_keys)
            hosts = state.own_hosts()
        super().__init__(
            config,
            hooks.load(),
            database,
            visits,
            [
                Route("/trackflow/health", self._health),
                Route("/metrics", self._metrics),
            ],
            own_hosts={*config.own_hosts, *hosts},
        )

    def links_changed(self) -> None:
        with self.database.reading() as store:
            self.visits.keys = EdgeState(store, self._config.upstream_key).visitor_keys

    async def _health(self, _request: Request) -> Response:
        """200 while redirects are answered and kept, whether or not the upstream answers."""
        try:
            told = await run_in_threadpool(self._look)
        except TrackFlowError as error:
            _log.warning("The health check failed: %s", error)
            return JSONResponse({"status": "failing", "version": __version__}, 503)
        return JSONResponse(told, 503 if told["status"] == "failing" else 200)

    def _look(self) -> dict[str, Any]:
        with self.database.reading() as store:
            state = EdgeState(store, "").told()
        room = spool.room(self._config)
        metrics.REJECTED.set(room["set_aside"])
        problem, status = self._problem(room["room_bytes"], str(state["upstream_problem"]))
        return {
            "status": status,
            "version": __version__,
            "problem": problem,
            **state,
            **room,
            "lost": metrics.clicks["lost"],
        }

    def _problem(self, left: int, upstream: str) -> tuple[str, str]:
        """The worst that is wrong, and how bad that is."""
        if self.writer.problem:
            return self.writer.problem, "failing"
        if shortage := spool.shortage(self._config, left):
            return shortage, "degraded"
        if upstream:
            return upstream, "degraded"
        return "", "ok"

    async def _metrics(self, _request: Request) -> Response:
        await run_in_threadpool(self._look)
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
