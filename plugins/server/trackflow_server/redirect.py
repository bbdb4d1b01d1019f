"""`/r/{code}`: find the link, keep the click, answer. All that can wait is left to the job."""

from __future__ import annotations

import itertools
import logging
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import datetime, timezone
from typing import Any

from trackflow_core.hooks import Hooks
from trackflow_core.model import Click, Context
from trackflow_core.tracking import agents, consent, links
from trackflow_core.tracking.urls import build_destination, header_safe, raw_query
from trackflow_server import facts, metrics
from trackflow_server.client import Client, Scope
from trackflow_server.spool import SpoolWriter
from trackflow_server.targets import Target, Targets
from trackflow_server.visits import Visits

_log = logging.getLogger("trackflow.redirect")
PREFIX = "/r/"
_CONTEXT = Context(host="server")
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]


class Redirects:
    """The ASGI application of everything below `/r/`.

    `pages` are the bodies of the answers that are no redirects, by status.
    """

    def __init__(
        self,
        targets: Targets,
        spool: SpoolWriter,
        hooks: Hooks,
        visits: Visits,
        pages: MutableMapping[int, bytes],
    ) -> None:
        self._targets = targets
        self._spool = spool
        self._hooks = hooks
        self._pages = pages
        self._chooses = hooks.listens("trackflow_choose_destination")
        self._visits = visits
        # Unique for ever without asking the system for randomness at each click.
        self._run = secrets.token_hex(8)
        self._number = itertools.count(1)

    async def __call__(self, scope: Scope, send: Send) -> None:
        method = scope["method"]
        if method not in ("GET", "HEAD"):
            await _answer(send, 405, [(b"allow", b"GET, HEAD")])
            return
        code = scope["path"][len(PREFIX) :]
        target = self._targets.known(code) or await self._targets.find(code)
        if target is None:
            metrics.answers["unknown"] += 1
            await self._page(send, 404, method)
            return
        now = datetime.now(timezone.utc)
        client = Client(scope)
        query = raw_query(scope["query_string"])
        location, in_use = self._locate(target, client, query, now)
        if not location:
            metrics.answers["gone"] += 1
            await self._page(send, 410, method)
            return
        headers: Headers = [
            (b"location", location.encode("ascii")),
            (b"cache-control", b"no-store"),
        ]
        if in_use and method == "GET":
            await self._record(target, client, location, now, headers)
        metrics.answers["redirected"] += 1
        await _answer(send, 302, headers)

    def _locate(
        self, target: Target, client: Client, query: str, now: datetime
    ) -> tuple[str, bool]:
        """Where this click goes ("" for nowhere), and whether the link itself is in use."""
        if target.always and not query and not self._chooses:
            return target.always, True
        link = target.link
        destination, in_use = link.destination, True
        if not target.always or self._chooses:
            request = self._asked(target, client, query)
            choice = links.choose(link, request, now)
            in_use = choice.reason in links.IN_USE
            if in_use and self._chooses:
                choice = self._hooks.choose_destination(choice, link, request, _CONTEXT)
            if choice.destination is None or not in_use:
                return header_safe(choice.destination or ""), in_use
            destination = choice.destination
        return header_safe(build_destination(destination, target.utm, query)), in_use

    def _asked(self, target: Target, client: Client, query: str) -> links.Request:
        rules = target.link.rules
        device = country = ""
        if any(rule.device for rule in rules):
            device = agents.classify(client.header("user-agent")).device
        if any(rule.countries for rule in rules):
            address = client.address(self._visits.proxies)
            country = self._hooks.geolocate(address, _CONTEXT)
        return links.Request(
            device=device,
            languages=client.header("accept-language"),
            country=country,
            query=query,
            visitor_id=self._visits.known(client),
            draw=secrets.randbits(32),
        )

    async def _record(
        self, target: Target, client: Client, location: str, now: datetime, headers: Headers
    ) -> None:
        """Put the click into the spool and the visitor"s cookie into `headers`."""
        tier = self._visits.tier(client)
        visitor_id, cookie = self._visits.identify(client, tier)
        if cookie:
            headers.append((b"set-cookie", cookie.encode("ascii")))
        kept = consent.limit(
            Click(
                event_id=f"{self._run}{next(self._number):016x}",
                occurred_at=now,
                link_code=target.link.code,
                destination=location,
                visitor_id=visitor_id,
                ip=self._visits.address(client),
                user_agent=client.header("user-agent"),
                referrer=client.header("referer"),
                internal=self._visits.is_internal(client),
                prefetch=client.is_prefetch,
                tier=tier,
            )
        )
        if kept is None:
            return
        if await self._spool.append(facts.of_click(kept)):
            metrics.clicks["recorded"] += 1
        else:
            metrics.clicks["lost"] += 1

    async def _page(self, send: Send, status: int, method: str) -> None:
        headers: Headers = [
            (b"content-type", b"text/html; charset=utf-8"),
            (b"cache-control", b"no-store"),
        ]
        await _answer(send, status, headers, b"" if method == "HEAD" else self._pages[status])


async def _answer(send: Send, status: int, headers: Headers, body: bytes = b"") -> None:
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
