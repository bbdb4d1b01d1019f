"""The ASGI application of one worker: what visitors, machines and CRMs ask."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timezone
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from trackflow_core import __version__, hooks
from trackflow_core.engine import Engine
from trackflow_core.errors import RetriableError, TrackFlowError
from trackflow_core.model import Lead
from trackflow_core.ports import IncomingRequest, WebhookConnector
from trackflow_server import config as configuration
from trackflow_server import logs, metrics, spool
from trackflow_server.config import ServerConfig
from trackflow_server.dashboard import Dashboard
from trackflow_server.edge_app import EdgeApplication
from trackflow_server.front import Front
from trackflow_server.rest import Rest
from trackflow_server.store import Database
from trackflow_server.store.outbox import DEAD, WAITING, SqlOutbox
from trackflow_server.visits import Visits

_log = logging.getLogger("trackflow.server")
_MAX_BODY = 1024 * 1024


class Application(Front):
    """A server over one configuration, with everything."""

    def __init__(self, config: ServerConfig) -> None:
        self.config = config
        self.hooks = hooks.load()
        self.settings = config.settings(self.hooks.rules)
        database = Database(config.store, self.hooks.rules)
        super().__init__(
            config,
            self.hooks,
            database,
            Visits(config, config.visitor_keys),
            [
                Route("/trackflow/health", self._health),
                Route("/metrics", self._metrics),
                Rest(config, self.hooks, self.settings, database).route,
                *Dashboard(config, self.hooks, self.settings, database).routes,
                Route("/trackflow/hooks/{connector}/{instance}", self._webhook, methods=["POST"]),
            ],
            own_hosts=config.own_hosts,
        )

    # -- what machines ask -------------------------------------------------------------------

    async def _health(self, _request: Request) -> Response:
        """200 while the store answers; 503, with redirects still answered, while it does not."""
        try:
            state = await run_in_threadpool(self._look)
        except TrackFlowError as error:
            _log.warning("The health check failed: %s", error)
            return JSONResponse({"status": "failing", "version": __version__}, 503)
        problem = self.writer.problem
        told = {"version": __version__, **state, "problem": problem}
        return JSONResponse(
            {"status": "failing" if problem else "ok", **told}, 503 if problem else 200
        )

    def _look(self) -> dict[str, Any]:
        with self.database.reading() as store:
            queued, rejected = store.queue_lengths()
            unsent = SqlOutbox(lambda: store).unsent()
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


def create() -> Front:
    """The application that a worker serves, configured by the environment it was given."""
    config = configuration.load()
    logs.configure(config)
    return EdgeApplication(config) if config.upstream else Application(config)
