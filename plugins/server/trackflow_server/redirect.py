"""`/r/{code}`: find the link, keep the click, answer. All that can wait is left to the job."""

from __future__ import annotations

import itertools
import logging
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import datetime, timezone
from typing import Any
from urllib.parse import unquote, urlsplit

from trackflow_core.hooks import Hooks
from trackflow_core.model import CLICK, Context, Tier
from trackflow_core.tracking import agents, links
from trackflow_core.tracking.urls import (
    build_destination,
    header_safe,
    is_short_url,
    raw_query,
)
from trackflow_server import facts, metrics
from trackflow_server.client import Client, Scope
from trackflow_server.spool import Fact, SpoolWriter
from trackflow_server.targets import Target, Targets
from trackflow_server.visits import Visits

_log = logging.getLogger("trackflow.redirect")
PREFIX = "/r/"
_CONTEXT = Context(host="server")
_WHOLE = (Tier.FULL, Tier.SESSION)
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
        if PREFIX in location and await self._goes_round(target, location, client, now):
            _log.warning(
                "The link %s leads back to itself by %.200s: change where it leads to.",
                target.link.code,
                location,
            )
            location = ""
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
        destination = link.destination
        if not target.always or self._chooses:
            request = self._asked(target, client, query)
            choice = target.choice or links.choose(link, request, now)
            if choice.reason not in links.IN_USE:
                return header_safe(choice.destination or ""), False
            if self._chooses:
                choice = self._hooks.choose_destination(choice, link, request, _CONTEXT)
            if choice.destination is None:
                return "", True
            destination = choice.destination
        if target.always and not query and destination == link.destination:
            return target.always, True
        return header_safe(build_destination(destination, target.utm, query)), True

    async def _goes_round(
        self, target: Target, location: str, client: Client, now: datetime
    ) -> bool:
        """Whether a visitor who is sent from `target` to `location` would go round.

        Links to short URLs are refused where they are made, but only of the hosts known there.
        """
        own_urls = [f"http://{client.header('host')}{PREFIX}"]
        seen = {target.link.code}
        while is_short_url(location, own_urls):
            parts = urlsplit(location)
            code = unquote(parts.path)[len(PREFIX) :]
            if code in seen:
                return True
            seen.add(code)
            following = await self._targets.find(code)
            if following is None:
                return False
            location, _ = self._locate(following, client, parts.query, now)
        return False

    def _asked(self, target: Target, client: Client, query: str) -> links.Request:
        device = country = ""
        for rule in target.link.rules:
            if rule.device and not device:
                device = agents.classify(client.header("user-agent")).device
            if rule.countries and not country:
                address = client.address(self._visits.proxies)
                country = self._hooks.geolocate(address, _CONTEXT)
        return links.Request(
            device=device,
            languages=client.header("accept-language"),
            country=country,
            query=query,
            visitor_id=self._visits.known(client),
            draw=secrets.randbits(32) if target.link.variants else 0,
        )

    async def _record(
        self, target: Target, client: Client, location: str, now: datetime, headers: Headers
    ) -> None:
        """Put the click into the spool and the visitor"s cookie into `headers`."""
        tier = self._visits.tier(client)
        visitor_id, cookie = self._visits.identify(client, tier)
        if cookie:
            headers.append((b"set-cookie", cookie.encode("ascii")))
        # As `facts.of_click` has it, without building the click: this is done for every visitor.
        fact: Fact = {
            "event_id": f"{self._run}{next(self._number):016x}",
            "occurred_at": now.isoformat(),
            "link_code": target.link.code,
            "destination": location,
            "visitor_id": visitor_id,
            "ip": self._visits.address(client),
            "user_agent": client.header("user-agent"),
            "referrer": client.header("referer"),
            "internal": self._visits.is_internal(client),
            "prefetch": client.is_prefetch,
            "tier": tier.value,
            "kind": CLICK,
            "data": "",
        }
        kept = fact if tier in _WHOLE else facts.limited(fact)
        if kept is None:
            return
        if await self._spool.append(kept):
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
    headers.append((b"content-length", str(len(body)).encode() if body else b"0"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
