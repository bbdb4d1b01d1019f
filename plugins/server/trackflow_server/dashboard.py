"""The dashboard: what marketing earned, on pages rendered here, behind a login."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from trackflow_core.api import shapes
from trackflow_core.api.limits import Limiter
from trackflow_core.api.messages import Problem
from trackflow_core.api.storage import Conflict, Query, TrackedLink, WebhookEndpoint
from trackflow_core.attribution import Model
from trackflow_core.config import Settings
from trackflow_core.engine import Engine
from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.hooks import Hooks
from trackflow_core.model import Link
from trackflow_core.outbox import LINK_CREATED, WEBHOOK, of_record, trial
from trackflow_core.tracking import qr
from trackflow_core.tracking.sessions import always
from trackflow_core.tracking.urls import safe_destination
from trackflow_server import connector_pages, keys, pages
from trackflow_server.client import Client, Networks
from trackflow_server.config import PASSWORD, ServerConfig
from trackflow_server.store import Database, SqlStore
from trackflow_server.store.catalog import SqlCatalog
from trackflow_server.store.outbox import SqlOutbox
from trackflow_server.store.reports import Reports

COOKIE = "trackflow_login"
_CONNECTOR = "/connectors/{connector}/{instance}"
_LOGIN_SECONDS = 12 * 3600
_ATTEMPTS = 30
_CHART_DAYS = 30
_LISTED = 200
_MAX_FORM = 64 * 1024
_EVER = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class _Page:
    """What one page may read, in one transaction."""

    request: Request
    store: SqlStore
    catalog: SqlCatalog
    reports: Reports
    engine: Engine


Show = Callable[[_Page], tuple[str, Mapping[str, Any]]]


class NotFound(Exception):
    """There is no such record."""


class Dashboard:
    """The pages over one database."""

    def __init__(
        self, config: ServerConfig, hooks: Hooks, settings: Settings, database: Database
    ) -> None:
        self._config = config
        self._hooks = hooks
        self._settings = settings
        self._database = database
        self._proxies = Networks(config.trusted_proxies)
        self._limiter = Limiter(config.limit_storage)
        # A changed password ends every login.
        purpose = f"dashboard {config.password}"
        self._signer = URLSafeTimedSerializer(
            [keys.derive(secret, purpose) for secret in config.secrets]
        )
        self.routes: list[BaseRoute] = [
            Route("/", self._page(_overview)),
            Route("/campaigns", self._page(_campaigns)),
            Route("/links", self._page(_links)),
            Route("/links", self._make_link, methods=["POST"]),
            Route("/links/{code}", self._page(_link)),
            Route("/links/{code}/qr.{form}", self._qr),
            Route("/visitors", self._page(_visitors)),
            Route("/visitors/{visitor_id}", self._page(_visitor)),
            Route("/deals", self._page(_deals)),
            Route("/deals/{ref:path}", self._page(self._deal)),
            Route("/models", self._page(self._models)),
            Route("/connectors", self._page(self._connectors)),
            Route(_CONNECTOR, self._page(self._connector)),
            Route(f"{_CONNECTOR}/events/{{place:int}}", self._page(_connector_event)),
            Route(f"{_CONNECTOR}/{{action}}", self._act_on_connector, methods=["POST"]),
            Route("/webhooks", self._page(_webhooks)),
            Route("/webhooks/{id}", self._page(_webhook)),
            Route("/webhooks/{id}/{action}", self._act_on_webhook, methods=["POST"]),
            Route("/login", self._login, methods=["GET", "POST"]),
            Route("/logout", self._logout, methods=["POST"]),
            Mount("/static", StaticFiles(packages=[("trackflow_server", "static")])),
        ]

    # -- logging in ----------------------------------------------------------------------------

    def _is_known(self, request: Request) -> bool:
        if not self._config.password:
            return False
        try:
            self._signer.loads(request.cookies.get(COOKIE, ""), max_age=_LOGIN_SECONDS)
        except BadSignature:
            return False
        return True

    async def _login(self, request: Request) -> Response:
        if not self._config.password:
            message = (
                f"Set the variable {PASSWORD} and start the server again to use the dashboard."
            )
            return _html("login.html", 403, problem=message, closed=True)
        if request.method == "GET":
            return _html("login.html", 200, problem="", closed=False)
        try:
            self._limiter.spend(f"login {self._address(request)}", _ATTEMPTS)
        except Problem:
            problem = "There were too many attempts. Try again in an hour."
            return _html("login.html", 429, problem=problem, closed=True)
        given = (await _form(request)).get("password", "")
        if not hmac.compare_digest(given.encode(), self._config.password.encode()):
            return _html("login.html", 403, problem="The password is wrong.", closed=False)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            COOKIE,
            str(self._signer.dumps("admin")),
            max_age=_LOGIN_SECONDS,
            httponly=True,
            secure=Client(request.scope).is_https(self._proxies),
            samesite="lax",
        )
        return answer

    async def _logout(self, request: Request) -> Response:
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(COOKIE)
        return answer

    def _address(self, request: Request) -> str:
        return Client(request.scope).address(self._proxies)

    # -- pages -----------------------------------------------------------------------------------

    def _page(self, show: Show) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            if not self._is_known(request):
                return RedirectResponse("/login", 303)
            return await run_in_threadpool(self._render, request, show)

        return answer

    def _render(self, request: Request, show: Show) -> Response:
        try:
            with self._database.reading() as store:
                name, values = show(self._opened(request, store))
        except NotFound:
            return HTMLResponse(
                pages.render(
                    "message.html", title="There is nothing here", message="Check the address."
                ),
                404,
            )
        return _html(name, 200, path=request.url.path, **values)

    def _opened(self, request: Request, store: SqlStore) -> _Page:
        return _Page(
            request,
            store,
            SqlCatalog(store, self._config.public_url, self._config.secrets),
            Reports(store),
            Engine(store, self._hooks, self._settings),
        )

    def _rules(self) -> list[Model]:
        lookback = self._settings.model.lookback
        return [Model(rule, lookback=lookback) for rule in self._hooks.rules.values()]

    def _deal(self, page: _Page) -> tuple[str, Mapping[str, Any]]:
        ref = page.request.path_params["ref"]
        receipt = page.reports.receipt(ref)
        deals = page.store.deals({ref})
        if receipt is None or not deals:
            raise NotFound
        compared = []
        for model in self._rules():
            [attribution] = page.engine.attributions(deals, model)
            compared.append((model, [credit.value for credit in attribution.credits]))
        same = [item for item in compared if len(item[1]) == len(receipt["credits"])]
        facts = connector_pages.told_of_deal(page.store, ref, deals[0].lead_ref)
        return "deal.html", {
            "deal": deals[0],
            "receipt": receipt,
            "compared": same,
            "facts": facts,
        }

    def _connectors(self, page: _Page) -> tuple[str, Mapping[str, Any]]:
        return "connectors.html", connector_pages.overview(page.store, self._hooks)

    def _connector(self, page: _Page) -> tuple[str, Mapping[str, Any]]:
        found = connector_pages.one(page.store, self._hooks, _namespace(page.request))
        if found is None:
            raise NotFound
        return "connector.html", {**found, "words": connector_pages.WORDS}

    def _models(self, page: _Page) -> tuple[str, Mapping[str, Any]]:
        models = self._rules()
        deals = page.store.deals()
        rows = page.engine.compare(deals, models).campaigns if deals else ()
        return "models.html", {"models": models, "rows": rows}

    async def _qr(self, request: Request) -> Response:
        if not self._is_known(request):
            return RedirectResponse("/login", 303)
        form = request.path_params["form"]
        url = f"{self._config.public_url}/r/{request.path_params['code']}"
        if form == "svg":
            return Response(qr.svg(url), media_type="image/svg+xml")
        if form == "png":
            return Response(qr.png(url), media_type="image/png")
        return Response("", 404)

    async def _make_link(self, request: Request) -> Response:
        if not self._is_known(request):
            return RedirectResponse("/login", 303)
        if not _is_own_form(request):
            return Response("The form was sent from another site.", 403)
        form = {name: value.strip() for name, value in (await _form(request)).items()}
        problem, code = await run_in_threadpool(self._save_link, form)
        if problem:
            return await run_in_threadpool(
                self._render, request, lambda page: _links(page, problem, form)
            )
        return RedirectResponse(f"/links/{code}", 303)

    async def _act_on_connector(self, request: Request) -> Response:
        """The buttons of a connector's page."""
        if not self._is_known(request):
            return RedirectResponse("/login", 303)
        if not _is_own_form(request):
            return Response("The form was sent from another site.", 403)
        namespace, action = _namespace(request), request.path_params["action"]
        number = (await _form(request)).get("number", "")

        def do() -> bool:
            with self._database.transaction() as store:
                return connector_pages.act(store, namespace, action, number)

        if not await run_in_threadpool(do):
            return Response("", 404)
        return RedirectResponse(f"/connectors/{namespace}", 303)

    async def _act_on_webhook(self, request: Request) -> Response:
        """The buttons of an endpoint's page."""
        if not self._is_known(request):
            return RedirectResponse("/login", 303)
        if not _is_own_form(request):
            return Response("The form was sent from another site.", 403)
        number, action = request.path_params["id"], request.path_params["action"]
        message = (await _form(request)).get("message", "")
        if not await run_in_threadpool(self._do_with_webhook, number, action, message):
            return Response("", 404)
        return RedirectResponse(f"/webhooks/{number}", 303)

    def _do_with_webhook(self, number: str, action: str, message: str) -> bool:
        """Whether there is such an endpoint and such an action."""
        with self._database.transaction() as store:
            catalog = SqlCatalog(store, self._config.public_url, self._config.secrets)
            found = catalog.read(WebhookEndpoint, [number]).get(number)
            outbox, target = SqlOutbox(lambda: store), f"{WEBHOOK}/{number}"
            if found is None:
                return False
            if action == "test":
                outbox.post([trial(target)])
            elif action == "enable":
                catalog.update([replace(found, enabled=True, problem="")])
            elif action == "retry" and message:
                outbox.retry(message)
            elif action == "retry":
                outbox.replay(target, _EVER, datetime.now(timezone.utc), dead_only=True)
            else:
                return False
        return True

    def _save_link(self, form: Mapping[str, str]) -> tuple[str, str]:
        """What is wrong with a form, or the code of the link that was made of it."""
        try:
            link = Link(
                code="",
                destination=safe_destination(form.get("destination", "")),
                source=form.get("source", ""),
                medium=form.get("medium", ""),
                campaign=form.get("campaign", ""),
            )
            with self._database.transaction() as store:
                catalog = SqlCatalog(store, self._config.public_url, self._config.secrets)
                [made] = catalog.create([TrackedLink(link, form.get("title", ""))])
                outbox = SqlOutbox(lambda: store)
                told = partial(shapes.link_told, made)
                outbox.post(of_record(outbox.subscriptions(), LINK_CREATED, made.id, told))
        except (InvalidEvent, ConfigError, Conflict) as error:
            return str(error), ""
        return "", made.id


def _is_own_form(request: Request) -> bool:
    """Browsers tell where a form was sent from; a login alone is no wish."""
    origin = urlsplit(request.headers.get("origin", "")).netloc
    return origin == request.headers.get("host", "")


async def _form(request: Request) -> Mapping[str, str]:
    """The fields of a form; raises HTTPException 413 for more than any of ours has."""
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _MAX_FORM:
            raise HTTPException(413, "The form is too long.")
    return dict(parse_qsl(body.decode("utf-8", "replace")))


def _html(name: str, status: int, **values: Any) -> Response:
    headers = {
        "cache-control": "no-store",
        "content-security-policy": "default-src 'self'; frame-ancestors 'none'",
        "referrer-policy": "same-origin",
        "x-content-type-options": "nosniff",
    }
    return HTMLResponse(pages.render(name, **values), status, headers)


def _overview(page: _Page) -> tuple[str, Mapping[str, Any]]:
    now = datetime.now(timezone.utc)
    since = now - timedelta(days=_CHART_DAYS - 1)
    since = since.replace(hour=0, minute=0, second=0, microsecond=0)
    stats = page.catalog.stats(Query(since=since))
    return "overview.html", {
        "stats": stats,
        "days": _days(stats.days, since),
        "totals": page.reports.totals(),
        "channels": page.reports.earned("channel"),
        "deals": page.reports.deals(8),
    }


def _days(counts: Mapping[str, int], since: datetime) -> list[tuple[str, int]]:
    days = [(since + timedelta(days=number)).date().isoformat() for number in range(_CHART_DAYS)]
    return [(day, counts.get(day, 0)) for day in days]


def _campaigns(page: _Page) -> tuple[str, Mapping[str, Any]]:
    clicks = page.reports.campaign_clicks()
    earned = page.reports.earned("campaign")
    names = {*clicks, *(row["name"] for row in earned)}
    rows = [
        {
            "name": name,
            "clicks": clicks[name]["clicks"] if name in clicks else 0,
            "visitors": clicks[name]["visitors"] if name in clicks else 0,
            "earned": [row for row in earned if row["name"] == name],
        }
        for name in names
    ]
    rows.sort(key=lambda row: (-sum(item["value"] for item in row["earned"]), row["name"]))
    return "campaigns.html", {"rows": rows}


def _links(
    page: _Page, problem: str = "", form: Mapping[str, str] | None = None
) -> tuple[str, Mapping[str, Any]]:
    search = page.request.query_params.get("search", "")
    found = page.catalog.page(TrackedLink, Query(limit=_LISTED, search=search))
    return "links.html", {
        "links": found.items,
        "more": bool(found.next),
        "search": search,
        "problem": problem,
        "form": form or {},
    }


def _link(page: _Page) -> tuple[str, Mapping[str, Any]]:
    code = page.request.path_params["code"]
    found = page.catalog.read(TrackedLink, [code]).get(code)
    if found is None:
        raise NotFound
    since = datetime.now(timezone.utc) - timedelta(days=_CHART_DAYS - 1)
    stats = page.catalog.stats(Query(link_code=code))
    return "link.html", {
        "link": found,
        "stats": stats,
        "days": _days(stats.days, since),
        "clicks": page.reports.clicks_of_link(code, 25),
    }


def _visitors(page: _Page) -> tuple[str, Mapping[str, Any]]:
    return "visitors.html", {"rows": page.reports.visitors(_LISTED)}


def _visitor(page: _Page) -> tuple[str, Mapping[str, Any]]:
    visitor_id = page.request.path_params["visitor_id"]
    events = sorted(
        page.store.recorded({always(visitor_id)}), key=lambda event: event.click.occurred_at
    )
    if not events:
        raise NotFound
    refs = page.store.leads_of_visitors({visitor_id})
    return "visitor.html", {
        "visitor_id": visitor_id,
        "events": events,
        "leads": page.store.leads(refs),
        "deals": page.store.deals_of_leads(refs),
    }


def _namespace(request: Request) -> str:
    return f"{request.path_params['connector']}/{request.path_params['instance']}"


def _connector_event(page: _Page) -> tuple[str, Mapping[str, Any]]:
    place = page.request.path_params["place"]
    found = connector_pages.event(page.store, _namespace(page.request), place)
    if found is None:
        raise NotFound
    return "connector_event.html", {**found, "words": connector_pages.WORDS}


def _webhooks(page: _Page) -> tuple[str, Mapping[str, Any]]:
    counts = SqlOutbox(lambda: page.store).counts()
    found = page.catalog.page(WebhookEndpoint, Query(limit=_LISTED))
    rows = [(endpoint, counts.get(f"{WEBHOOK}/{endpoint.id}", {})) for endpoint in found.items]
    return "webhooks.html", {"rows": rows}


def _webhook(page: _Page) -> tuple[str, Mapping[str, Any]]:
    number = page.request.path_params["id"]
    found = page.catalog.read(WebhookEndpoint, [number]).get(number)
    if found is None:
        raise NotFound
    outbox, target = SqlOutbox(lambda: page.store), f"{WEBHOOK}/{number}"
    return "webhook.html", {
        "endpoint": found,
        "counts": outbox.counts().get(target, {}),
        "messages": outbox.messages(target, _LISTED),
    }


def _deals(page: _Page) -> tuple[str, Mapping[str, Any]]:
    return "deals.html", {"rows": page.reports.deals(_LISTED)}
