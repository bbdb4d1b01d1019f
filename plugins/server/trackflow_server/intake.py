"""Incoming webhooks: verified, safe on disk, answered; what they mean is found out afterwards."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timezone

from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from trackflow_core.api.messages import Problem
from trackflow_core.connectors import UNCHECKED, UNCHECKED_SECONDS, Receiving
from trackflow_core.errors import ConfigError, RetriableError, TrackFlowError
from trackflow_core.hooks import Hooks
from trackflow_core.ports import IncomingRequest
from trackflow_server import facts, metrics
from trackflow_server.client import Client, Networks
from trackflow_server.config import ServerConfig
from trackflow_server.connections import Connections
from trackflow_server.spool import Fact
from trackflow_server.store import Database
from trackflow_server.store.connectors import Received

_log = logging.getLogger("trackflow.intake")
_MAX_BODY = 1024 * 1024
_CHECK_SECONDS = 1.0


class Intake:
    """The endpoint of all connectors of one database."""

    def __init__(
        self,
        config: ServerConfig,
        hooks: Hooks,
        database: Database,
        append: Callable[[Fact], Awaitable[bool]],
    ) -> None:
        self._connections = Connections(config, hooks)
        self._database = database
        self._append = append
        self._proxies = Networks(config.trusted_proxies)
        # Those that cannot be used until their settings are mended are here with their faults.
        self._receivers: Mapping[str, Receiving | ConfigError] = {}
        self._seen = -1
        self.route = Route(
            "/trackflow/hooks/{connector}/{instance}", self._answer, methods=["POST"]
        )

    # -- connections in memory ---------------------------------------------------------------

    async def watch(self) -> None:
        """Take over connectors that were added or changed; runs until it is cancelled."""
        while True:
            try:
                await asyncio.to_thread(self._look)
            except (TrackFlowError, SQLAlchemyError) as error:
                _log.warning("The connectors may be out of date: %s", error)
            await asyncio.sleep(_CHECK_SECONDS)

    def _look(self) -> None:
        with self._database.reading() as store:
            revision = store.connectors_revision()
            if revision == self._seen:
                return
            found: dict[str, Receiving | ConfigError] = {}
            for configured in store.connectors():
                if not configured.enabled:
                    continue
                try:
                    connection = self._connections.open(store, configured)
                except ConfigError as error:
                    _log.warning("%s takes no webhooks: %s", configured.namespace, error)
                    found[configured.namespace] = error
                    continue
                if isinstance(connection, Receiving):
                    found[configured.namespace] = connection
        self._receivers, self._seen = found, revision

    # -- answering ---------------------------------------------------------------------------

    async def _answer(self, request: Request) -> Response:
        """202 for what is authentic and safe; why something is refused is told to the log alone."""
        connector = request.path_params["connector"]
        namespace = f"{connector}/{request.path_params['instance']}"
        receiver = self._receivers.get(namespace)
        if receiver is None:
            _log.warning("A webhook to %.200r is refused: there is no such connector.", namespace)
            return _refused("unknown")
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > _MAX_BODY:
                metrics.WEBHOOKS.labels(connector, "refused").inc()
                return _problem(413, f"The body is too long: send at most {_MAX_BODY} bytes.")
        now = datetime.now(timezone.utc)
        try:
            if isinstance(receiver, ConfigError):
                raise receiver
            delivery = receiver.verify(self._incoming(request, body), now)
        except (ConfigError, RetriableError) as error:
            # Nothing is wrong with the request: the sender should try again.
            _log.warning("A webhook to %s cannot be checked: %s", namespace, error)
            return _later(UNCHECKED)
        except TrackFlowError as error:
            _log.warning("A webhook to %s is refused: %s", namespace, error)
            return _refused(connector)
        told = Received(namespace, delivery.event_id, now, delivery.payload)
        if not await self._append(facts.of_received(told)):
            return _later("It could not be kept. Send it again later.")
        metrics.WEBHOOKS.labels(connector, "accepted").inc()
        return JSONResponse({"status": "accepted"}, 202)

    def _incoming(self, request: Request, body: bytes) -> IncomingRequest:
        headers: dict[str, str] = {}
        for name, value in request.headers.items():
            # Of a header that came twice nobody knows which one a proxy has set.
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return IncomingRequest(body, headers, Client(request.scope).is_behind(self._proxies))


def _refused(connector: str) -> Response:
    metrics.WEBHOOKS.labels(connector, "refused").inc()
    return _problem(401, "The request could not be authenticated.")


def _later(detail: str) -> Response:
    response = _problem(503, detail)
    response.headers["retry-after"] = str(UNCHECKED_SECONDS)
    return response


def _problem(status: int, detail: str) -> Response:
    told = Problem(status, detail).response()
    return Response(told.body, told.status, told.headers)
