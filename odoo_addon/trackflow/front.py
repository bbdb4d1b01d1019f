"""Answers short links, the tracker and CRMs' webhooks around Odoo's dispatch, where odoo.conf loads
the addon server-wide.

A redirect or a webhook then costs one INSERT: what it depends on stays in memory until the database
says that something has changed. What is not an anonymous visitor's ordinary click, or a call of a
connector that is ready, goes on to Odoo, whose controllers use the same functions; so does
everything for a second after a change, until Odoo's own caches have heard of it too.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import wraps
from io import BytesIO
from queue import LifoQueue
from threading import Lock
from typing import Any

import psycopg2
from odoo import SUPERUSER_ID, api, http
from odoo.modules.registry import Registry
from odoo.sql_db import connection_info_for
from odoo.tools import SQL, config
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.wrappers import Request, Response

from trackflow_core import tracker
from trackflow_core.errors import TrackFlowError
from trackflow_core.tracking import collect, consent, identity
from trackflow_core.tracking.urls import raw_query

from . import collecting, receiving, redirects
from .privacy import Hit, Rules
from .receiving import Receiver
from .store.clicks import queueing

_logger = logging.getLogger(__name__)

CHANNEL = "trackflow_front"

_LINKS = "/r/"
_SCRIPT = "/trackflow/t.js"
_COLLECT = "/trackflow/collect"
_HOOKS = "/trackflow/hooks/"
_CONSENT_COOKIE = "website_cookies_bar"
_SETTLING_SECONDS = 1.0
_MOST_HOSTS = 1000
_MOST_LINKS = 100_000
_CONNECTIONS = 4


@dataclass(frozen=True, slots=True)
class Site:
    """What holds for the anonymous visitors of one host.

    `user_id` is the user that Odoo has for them. `asks_consent` says that a cookie bar does.
    Pages of `domains` may tell what happens on them.
    """

    user_id: int
    rules: Rules
    keys: tuple[str, ...]
    asks_consent: bool
    place: redirects.Place
    domains: frozenset[str]


class Front:
    """Odoo's WSGI application with redirects, tracker and webhooks answered before it."""

    def __init__(self, odoo) -> None:
        self._odoo = odoo
        self._memories: dict[str, Memory] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._odoo, name)

    def __call__(self, environ, start_response):
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        response = None
        if method == "GET" and path.startswith(_LINKS):
            response = self._serve(environ, _redirect)
        elif method == "GET" and path == _SCRIPT:
            response = self._serve(environ, _script)
        elif method in ("POST", "OPTIONS") and path == _COLLECT:
            response = self._serve(environ, _collect)
        elif method == "POST" and path.startswith(_HOOKS):
            response = self._serve(environ, _receive)
        return (response or self._odoo)(environ, start_response)

    def _serve(self, environ, handle: "Handler") -> Response | None:
        """The answer to somebody who is not signed in; None where Odoo is to answer."""
        request = _request(environ)
        database = _database_of(request)
        if database is None:
            return None
        memory = self._memories.get(database) or self._remember(database)
        try:
            return handle(memory, request)
        except psycopg2.Error:
            _logger.warning("Odoo answers %s by itself:", request.path, exc_info=True)
            if 0 < (request.content_length or 0) <= receiving.MAX_BODY:
                # Of what was read here Odoo would find nothing.
                environ["wsgi.input"] = BytesIO(request.get_data())
            return None

    def _remember(self, database: str) -> "Memory":
        # Two threads may come here at once: the first one's memory is kept.
        return self._memories.setdefault(database, Memory(database))


class Memory:
    """What this process knows of one database, and its own connections to it."""

    def __init__(self, database: str) -> None:
        self._database = database
        _, self._dsn = connection_info_for(database)
        # Connections that no request is using; None for one that was not made yet.
        self._idle: LifoQueue[Any] = LifoQueue(_CONNECTIONS)
        for _ in range(_CONNECTIONS):
            self._idle.put(None)
        self._listener: Any = None
        self._lock = Lock()
        self._settled_at = 0.0
        self._forget()

    def site(self, host: str) -> Site | None:
        """What holds at `host`; None where Odoo is to answer."""
        if not self._is_settled():
            return None
        if host not in self._sites:
            if len(self._sites) >= _MOST_HOSTS:
                # Anything may stand in the header Host.
                self._sites.clear()
            with self._environment() as env:
                known = "trackflow.front" in env
                self._sites[host] = env["trackflow.front"]._site(host) if known else None
        return self._sites.get(host)

    def receiver(self, connector: str, instance: str, now: datetime) -> Receiver | None:
        """A connector that takes calls; None where Odoo is to answer."""
        if not self._is_settled():
            return None
        key, receivers = (connector, instance), self._receivers
        if key not in receivers or receivers[key].is_over(now):
            with self._environment() as env:
                if "trackflow.connector" not in env:
                    return None
                try:
                    receivers[key] = env["trackflow.connector"]._receiver(connector, instance)
                except TrackFlowError:
                    # Odoo finds the same and says why.
                    return None
        return receivers[key]

    def take_in_soon(self) -> None:
        """Call the job that takes in what connectors were told."""
        with self._environment() as env:
            env["trackflow.connector"]._take_in_soon()

    def link(self, code: str, host: str, user_id: int) -> redirects.Found | None:
        """The link of a code; None where there is none, or where Odoo is to answer."""
        name = host.partition(":")[0].lower()
        key = (code, name, user_id)
        links = self._links
        if key not in links:
            statement = redirects.select(code, name, user_id)
            if statement is None:
                return None
            with self._environment() as env:
                env.cr.execute(statement)
                found = env.cr.dictfetchall()
            if not found:
                # Whoever guesses codes must not fill the memory.
                return None
            if len(links) >= _MOST_LINKS:
                links.clear()
            links[key] = redirects.Found.of(code, found[0])
        return links[key]

    def execute(self, statement: SQL) -> list[tuple[Any, ...]]:
        """Append to a queue, and give what it returns; it is durable by then."""
        try:
            return self._execute(statement)
        except psycopg2.OperationalError:
            # A connection that the database has closed; an event's id keeps it from being queued
            # twice.
            return self._execute(statement)

    def close(self) -> None:
        """End the connections."""
        idle = [self._idle.get() for _ in range(_CONNECTIONS)]
        for connection in filter(None, (self._listener, *idle)):
            connection.close()
        for _ in idle:
            self._idle.put(None)

    def _execute(self, statement: SQL) -> list[tuple[Any, ...]]:
        connection = self._idle.get()
        try:
            connection = connection or self._connect()
            with connection.cursor() as cursor:
                # One statement is its own transaction here.
                cursor.execute(statement.code, statement.params)
                return cursor.fetchall() if cursor.description else []
        except psycopg2.Error:
            if connection is not None:
                connection.close()
                connection = None
            raise
        finally:
            self._idle.put(connection)

    def _connect(self) -> Any:
        connection = psycopg2.connect(**self._dsn)
        connection.autocommit = True
        return connection

    @contextmanager
    def _environment(self) -> Iterator[api.Environment]:
        registry = Registry(self._database)
        with registry.cursor() as cr:
            registry.check_signaling(cr)
            yield api.Environment(cr, SUPERUSER_ID, {})

    def _is_settled(self) -> bool:
        with self._lock:
            if self._is_told():
                self._forget()
                self._settled_at = time.monotonic() + _SETTLING_SECONDS
            return time.monotonic() >= self._settled_at

    def _is_told(self) -> bool:
        """Whether something may have changed since this was last asked."""
        if self._listener is None or self._listener.closed:
            self._listener = self._connect()
            with self._listener.cursor() as cursor:
                cursor.execute(f"LISTEN {CHANNEL}")
            return True
        self._listener.poll()
        told = bool(self._listener.notifies)
        self._listener.notifies.clear()
        return told

    def _forget(self) -> None:
        # New ones: a request that still reads the old ones must not put anything into these.
        self._sites: dict[str, Site | None] = {}
        self._links: dict[tuple[str, str, int], redirects.Found] = {}
        self._receivers: dict[tuple[str, str], Receiver] = {}


def _request(environ) -> Request:
    # A copy, for Odoo does the same with its own.
    environ = dict(environ)
    if config["proxy_mode"] and environ.get("HTTP_X_FORWARDED_HOST"):
        ProxyFix(lambda _environ, _start: [])(environ, lambda _status, _headers: None)
    return Request(environ)


def _database_of(request: Request) -> str | None:
    """The database of an anonymous request, where odoo.conf names one and no other."""
    names = config["db_name"]
    if len(names) != 1 or "X-Odoo-Database" in request.headers:
        return None
    if not http.db_filter(names, host=request.host):
        return None
    session_id = request.cookies.get("session_id")
    if session_id and http.root.session_store.is_valid_key(session_id):
        session = http.root.session_store.get(session_id)
        if session.get("uid") or session.get("db") not in (None, names[0]):
            return None
    return names[0]


def _hit(site: Site, request: Request) -> Hit | None:
    """The request by the site's rules; None where Odoo has a cookie to take back."""
    answer = consent.Consent.UNKNOWN
    if site.asks_consent:
        answer = _consent(request.cookies.get(_CONSENT_COOKIE))
        if answer is consent.Consent.DENIED and identity.COOKIE_NAME in request.cookies:
            return None
    return Hit(request, site.rules, site.keys, answer)


def _consent(told: str | None) -> consent.Consent:
    """What the cookie bar's cookie says; without one nothing is agreed to."""
    try:
        answer = json.loads(told or "{}")
    except ValueError:
        return consent.Consent.DENIED
    agreed = isinstance(answer, dict) and answer.get("optional")
    return consent.Consent.GRANTED if agreed else consent.Consent.DENIED


Handler = Callable[[Memory, Request], Response | None]


def _of_visitor(answer: Callable[[Memory, Site, Hit], Response | None]) -> Handler:
    """Answer by the rules of the site that a visitor came to."""

    @wraps(answer)
    def handle(memory: Memory, request: Request) -> Response | None:
        site = memory.site(request.host)
        hit = site and _hit(site, request)
        return answer(memory, site, hit) if hit else None

    return handle


@_of_visitor
def _redirect(memory: Memory, site: Site, hit: Hit) -> Response | None:
    code = hit.http.path[len(_LINKS) :]
    found = memory.link(code, hit.http.host, site.user_id)
    if found is None:
        return None
    query = raw_query(hit.http.query_string)
    answer = redirects.answer(site.place, hit, found, query, datetime.now(timezone.utc))
    if answer.destination is None:
        # Odoo has a page that says why.
        return None
    if answer.click is not None:
        memory.execute(answer.statement())
    headers = [
        ("Location", answer.destination),
        ("Cache-Control", "no-store"),
        *map(tuple, found.row["headers"] or ()),
    ]
    return _to_visitor(hit, "", 302, headers, answer.visitor_id)


@_of_visitor
def _script(_memory: Memory, _site: Site, hit: Hit) -> Response:
    response = Response(tracker.script(), headers=collecting.SCRIPT_HEADERS)
    return response.make_conditional(hit.http.environ)


@_of_visitor
def _collect(memory: Memory, site: Site, hit: Hit) -> Response | None:
    length = hit.http.content_length
    if hit.http.method == "POST" and (length is None or length > collect.MAX_BODY):
        return None
    reply = collecting.reply(hit, site.domains, datetime.now(timezone.utc))
    if reply.events:
        country = site.place.country(hit.remote) or None
        memory.execute(queueing(reply.events, country, company_id=hit.rules.company_id))
    return _to_visitor(hit, json.dumps(reply.data), reply.status, reply.headers, reply.visitor_id)


def _receive(memory: Memory, request: Request) -> Response | None:
    if request.content_length is None or request.content_length > receiving.MAX_BODY:
        return None
    connector, _, instance = request.path[len(_HOOKS) :].partition("/")
    now = datetime.now(timezone.utc)
    receiver = memory.receiver(connector, instance, now)
    if receiver is None:
        return None
    reply = receiving.ACCEPTED
    try:
        delivery = receiver.verify(receiving.incoming(request), now)
    except TrackFlowError as error:
        reply = receiving.refused(connector, instance, error)
    else:
        if any(alone for (alone,) in memory.execute(receiving.keeping(receiver, delivery, now))):
            memory.take_in_soon()
    return _response(json.dumps(reply.data), reply.status, reply.headers)


def _to_visitor(hit: Hit, body: str, status: int, headers, visitor_id: str | None) -> Response:
    response = _response(body, status, headers)
    if visitor_id:
        response.set_cookie(**hit.cookie(visitor_id))
    return response


def _response(body: str, status: int, headers) -> Response:
    response = Response(body, status, content_type="text/html; charset=utf-8")
    response.headers.update([*headers, ("X-Content-Type-Options", "nosniff")])
    return response


def post_load() -> None:
    """Stand in front of Odoo in servers that load the addon for all of their databases."""
    if "trackflow" in config["server_wide_modules"]:
        http.root = Front(http.root)
