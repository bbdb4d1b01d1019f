"""The tracker's script, what it tells, and the pixel in mails."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from trackflow_core import tracker
from trackflow_core.errors import InvalidEvent
from trackflow_core.model import Click
from trackflow_core.tracking import collect, consent, identity
from trackflow_server import facts, metrics
from trackflow_server.client import Client
from trackflow_server.spool import SpoolWriter
from trackflow_server.visits import Visits


class Tracker:
    """The pages `t.js`, `collect` and `pixel.gif`."""

    def __init__(self, own_hosts: Collection[str], spool: SpoolWriter, visits: Visits) -> None:
        self._domains = frozenset(own_hosts)
        self._spool = spool
        self._visits = visits
        self.routes = (
            Route("/trackflow/t.js", self._script),
            Route("/trackflow/collect", self._collect, methods=["POST", "OPTIONS"]),
            Route("/trackflow/pixel.gif", self._pixel),
        )

    async def _script(self, request: Request) -> Response:
        headers = {
            "Cache-Control": "public, max-age=3600",
            "ETag": tracker.etag(),
            "X-Content-Type-Options": "nosniff",
        }
        if request.headers.get("if-none-match") == tracker.etag():
            return Response(status_code=304, headers=headers)
        return Response(tracker.script(), media_type="text/javascript", headers=headers)

    async def _collect(self, request: Request) -> Response:
        origin = request.headers.get("origin", "")
        if not collect.may_call(origin, request.headers.get("host", ""), self._domains):
            return _answer({"error": "This site may not tell anything here."}, "", 403)
        if request.method == "OPTIONS":
            return _answer({}, origin)
        body = await _read(request)
        if body is None:
            return _answer({"error": "The body is too long."}, origin, 413)
        now = datetime.now(timezone.utc)
        client = Client(request.scope)
        visits = self._visits
        try:
            told = collect.read(body)
            tier = visits.tier(client, told.consent)
            arrived = identity.read_crossing(told.page, visits.keys, now, self._domains)
            visitor_id, cookie = visits.identify(client, tier, arrived)
            seen = collect.Observed(
                now=now,
                visitor_id=visitor_id,
                tier=tier,
                ip=visits.address(client),
                user_agent=client.header("user-agent"),
                internal=visits.is_internal(client),
            )
        except InvalidEvent as error:
            return _answer({"error": str(error)}, origin, 400)
        events, problems = collect.clicks(told, seen)
        await self._keep(events)
        answer = collect.answer(told, visitor_id, visits.keys, now, self._domains, problems)
        response = _answer(answer, origin)
        if cookie:
            response.headers.append("Set-Cookie", cookie)
        return response

    async def _pixel(self, request: Request) -> Response:
        client = Client(request.scope)
        seen = collect.Observed(
            datetime.now(timezone.utc),
            tier=self._visits.tier(client),
            user_agent=client.header("user-agent"),
            internal=self._visits.is_internal(client),
        )
        await self._keep([collect.opened(secrets.token_hex(16), str(request.url), seen)])
        headers = {"Cache-Control": "no-store"}
        return Response(tracker.PIXEL, media_type="image/gif", headers=headers)

    async def _keep(self, events: Sequence[Click]) -> None:
        for event in events:
            kept = consent.limit(event)
            if kept is not None:
                recorded = await self._spool.append(facts.of_click(kept))
                metrics.clicks["recorded" if recorded else "lost"] += 1


async def _read(request: Request) -> bytes | None:
    """The body; None when it is longer than anybody needs."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > collect.MAX_BODY:
            return None
    return body


def _answer(data: Mapping[str, Any], origin: str, status: int = 200) -> Response:
    headers = {"Cache-Control": "no-store", "Vary": "Origin"}
    if origin:
        headers |= {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Credentials": "true",
            "Access-Control-Allow-Headers": "Content-Type",
        }
    return JSONResponse(data, status, headers)
