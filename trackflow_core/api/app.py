"""From a request to its answer: key, limit, scope, body, handler, log entry.

Works in the host's transaction. A refused request leaves nothing behind in it, so that the host may
commit whatever the answer is.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from itertools import chain
from typing import Any
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError

from trackflow_core.api import keys, openapi
from trackflow_core.api.calls import Call, Host
from trackflow_core.api.limits import MEMORY, Limiter, client_address
from trackflow_core.api.masking import masked
from trackflow_core.api.messages import (
    Fault,
    Problem,
    Request,
    Response,
    invalid,
    json_response,
)
from trackflow_core.api.routes import BASE, answered, routes
from trackflow_core.api.storage import ApiKey, Conflict, Idempotency, LoggedRequest
from trackflow_core.errors import ConfigError, InvalidEvent, RetriableError
from trackflow_core.hooks import ApiRoute, Hooks
from trackflow_core.model import Context
from trackflow_core.tracking import networks
from trackflow_core.tracking.consent import anonymise

_log = logging.getLogger(__name__)
_PARAMETER = re.compile(r"\{(\w+)\}")
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,200}\Z")
_JSON = ("application/json", "application/merge-patch+json")
_SECRET_FIELDS = ("secret",)


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """How a host's API works.

    `hourly_limit` is in requests of one key, `public_hourly_limit` of one address without a key,
    0 for no limit; `limit_storage` is where they are counted ("memory://" or "redis://…").
    `trusted_proxies` are networks (CIDR) whose `X-Forwarded-For` is believed. `max_body` is in
    bytes, `max_depth` in levels of JSON, `max_log` in characters of each logged body.
    """

    hourly_limit: int = 1000
    public_hourly_limit: int = 1000
    limit_storage: str = MEMORY
    trusted_proxies: tuple[str, ...] = ()
    max_body: int = 1024 * 1024
    max_depth: int = 12
    max_log: int = 2000


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer, and what the host gives to `Catalog.log` after it was sent."""

    response: Response
    entry: LoggedRequest = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Place:
    """A path of the API with its routes by method."""

    pattern: re.Pattern[str]
    routes: Mapping[str, ApiRoute]


class Api:
    """The REST API of one host; kept for as long as its plugins and settings stay the same.

    Raises ConfigError when two routes have one name or one method and path, or when the settings
    cannot be used.
    """

    def __init__(
        self, hooks: Hooks, settings: ApiSettings | None = None, context: Context | None = None
    ) -> None:
        self._settings = settings or ApiSettings()
        self._context = context or Context()
        self._routes = (*routes(), *hooks.api_routes.values())
        self._places = _by_beginning(_places(self._routes))
        # Made once: that takes longer than anything else that is answered.
        self._description: tuple[str, Response | None] = ("", None)
        self._limiter = Limiter(self._settings.limit_storage)
        self._trusted = tuple(map(networks.parse, self._settings.trusted_proxies))

    def handle(self, request: Request, host: Host, now: datetime) -> Answered:
        """Answer one request; `now` is an aware datetime.

        What the host itself raises (a broken database, a transaction to be repeated) goes through;
        see `failed`.
        """
        started = time.perf_counter()
        address = client_address(request.peer, request.headers, self._trusted)
        key_id, limits = "", {}
        try:
            place, params = self._find(request)
            if request.path == "/openapi.json" and place is None:
                limits = dict(self._spend(f"address {address}", self._settings.public_hourly_limit))
                response = self._described(request)
            else:
                route = _route_of(place, request)
                key = self._authenticate(request, host, address, now)
                key_id = key.id
                hourly = key.hourly_limit or self._settings.hourly_limit
                limits = dict(self._spend(f"key {key.id}", hourly))
                keys.require(key, route.scope)
                response = self._answer(request, route, params, key, host, now)
        except Problem as problem:
            response = problem.response()
        headers = {"cache-control": "no-store", **limits, **response.headers}
        response = replace(response, headers=headers)
        return Answered(response, self._entry(request, response, key_id, address, now, started))

    def failed(self, request: Request, error: Exception, now: datetime) -> Answered:
        """The answer when the host could not do its part; `error` goes to the log only."""
        _log.error("The API failed in %s %s", request.method, request.path, exc_info=error)
        response = Problem(
            500,
            "TrackFlow failed to answer.",
            "Try again; if it fails again, look into TrackFlow's log.",
        ).response()
        address = client_address(request.peer, request.headers, self._trusted)
        entry = self._entry(request, response, "", address, now, time.perf_counter())
        return Answered(response, entry)

    # -- before the handler --------------------------------------------------------------------

    def _find(self, request: Request) -> tuple[_Place | None, Mapping[str, str]]:
        beginning = request.path.lstrip("/").partition("/")[0]
        for place in chain(self._places.get(beginning, ()), self._places.get("", ())):
            match = place.pattern.fullmatch(request.path)
            if match and not any("\0" in value for value in match.groupdict().values()):
                return place, match.groupdict()
        if request.path == "/openapi.json":
            return None, {}
        raise Problem(
            404,
            f"There is nothing at {BASE}{request.path:.200}.",
            f"See {BASE}/openapi.json for all that there is.",
        )

    def _described(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            raise _not_allowed(request, ["GET"])
        base_url, described = self._description
        if described is None or base_url != request.base_url:
            described = json_response(200, openapi.document(self._routes, request.base_url))
            self._description = request.base_url, described
        return described

    def _authenticate(self, request: Request, host: Host, address: str, now: datetime) -> ApiKey:
        try:
            header = request.headers.get("authorization", "")
            return keys.authenticate(host.keyring(), header, address, now)
        except Problem:
            # Whoever tries keys has no more attempts than the public.
            self._spend(f"address {address}", self._settings.public_hourly_limit)
            raise

    def _spend(self, who: str, hourly: int) -> Mapping[str, str]:
        # Databases of one process share its counters.
        return self._limiter.spend(f"{self._context.tenant} {who}", hourly) if hourly else {}

    # -- the handler -----------------------------------------------------------------------------

    def _answer(
        self,
        request: Request,
        route: ApiRoute,
        params: Mapping[str, str],
        key: ApiKey,
        host: Host,
        now: datetime,
    ) -> Response:
        query = _query(route, request.query)
        body = self._body(route, request)
        workspace = host.open(key)
        call = Call(
            params,
            query,
            body,
            workspace.store,
            self._context,
            request,
            key,
            workspace,
            now,
            settings=workspace.engine.settings,
        )
        try:
            with workspace.store.atomic():
                return self._once(call, route, host)
        except LookupError as error:
            detail = str(error.args[0]) if error.args else "There is no such record."
            raise Problem(404, detail, "Check the address.") from None
        except Conflict as error:
            remedy = "Choose another." if error.field else "Change first what the detail names."
            raise _refusal(409, error, remedy) from None
        except PermissionError as error:
            raise Problem(403, str(error), "Use a key of somebody who may do this.") from None
        except InvalidEvent as error:
            raise _refusal(422, error, "Send another value.") from None
        except ConfigError as error:
            raise Problem(422, str(error), "Send another value.") from None
        except RetriableError as error:
            wait = str(round(error.retry_after or 1))
            raise Problem(
                503, str(error), f"Try again in {wait} seconds.", headers={"retry-after": wait}
            ) from None

    def _once(self, call: Call, route: ApiRoute, host: Host) -> Response:
        """The handler's answer; of a POST with an Idempotency-Key, the one that it had before."""
        wanted = call.request.headers.get("idempotency-key", "")
        if route.method != "POST" or not wanted:
            return _response(route, route.handle(call))
        if not _IDEMPOTENCY_KEY.match(wanted):
            raise Problem(
                400,
                "The header Idempotency-Key is malformed.",
                "Send 1 to 200 visible ASCII characters.",
            )
        catalog = host.keyring()
        identity = f"{call.key.id}:{sha256(wanted.encode()).hexdigest()[:40]}"
        mark = sha256(call.request.path.encode() + b"\0" + call.request.body).hexdigest()
        held = catalog.read(Idempotency, [identity]).get(identity)
        if held is not None:
            return _repeated(held, mark)
        begun = Idempotency(identity, mark, call.now)
        try:
            with call.store.atomic():
                catalog.create([begun])
        except Conflict:
            raise Problem(
                409,
                "A request with this Idempotency-Key is being answered.",
                "Repeat it in a second.",
                headers={"retry-after": "1"},
            ) from None
        response = _response(route, route.handle(call))
        kept = replace(
            begun,
            status=response.status,
            headers=dict(response.headers),
            body=_without_secrets(response.body),
        )
        catalog.update([kept])
        return response

    def _body(self, route: ApiRoute, request: Request) -> BaseModel | None:
        if len(request.body) > self._settings.max_body:
            raise Problem(
                413,
                f"The body has {len(request.body)} bytes; at most {self._settings.max_body} are "
                "read.",
                "Send less at a time.",
            )
        if route.body is None:
            return None
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in _JSON:
            raise Problem(
                415,
                f"The body's type is {kind[:80]!r}.",
                "Send JSON with the header Content-Type: application/json.",
            )
        self._check_json(request.body)
        try:
            return route.body.model_validate_json(request.body)
        except ValidationError as error:
            raise invalid(error) from None

    def _check_json(self, body: bytes) -> None:
        try:
            document = json.loads(body, parse_constant=_refuse)
        except RecursionError:
            raise self._too_deep() from None
        except ValueError as error:
            raise Problem(
                400, f"The body is not JSON: {error}.", "Send one JSON object, encoded as UTF-8."
            ) from None
        level = _containers([document])
        for _ in range(self._settings.max_depth):
            if not level:
                return
            level = [inner for value in level for inner in _containers(_inside(value))]
        raise self._too_deep()

    def _too_deep(self) -> Problem:
        return Problem(
            400,
            f"The body is nested deeper than {self._settings.max_depth} levels.",
            "Flatten it.",
        )

    def _entry(
        self,
        request: Request,
        response: Response,
        key_id: str,
        address: str,
        now: datetime,
        started: float,
    ) -> LoggedRequest:
        limit = self._settings.max_log
        is_json = "json" in response.headers.get("content-type", "")
        keep = is_json and request.path != "/openapi.json"
        return LoggedRequest(
            requested_at=now,
            method=request.method[:16],
            path=f"{BASE}{request.path}".replace("\0", "")[:500],
            status=response.status,
            duration=round((time.perf_counter() - started) * 1000),
            key_id=key_id,
            address=_anonymised(address),
            request=masked(request.body[: self._settings.max_body], request.path, limit),
            response=masked(response.body, request.path, limit) if keep else "",
            kept=not response.told_nothing,
        )


@lru_cache(maxsize=1024)
def _anonymised(address: str) -> str:
    # Programs that ask often come from few addresses.
    return anonymise(address)


def _places(all_routes: Sequence[ApiRoute]) -> Sequence[_Place]:
    by_path: dict[str, dict[str, ApiRoute]] = {}
    names: set[str] = set()
    for route in all_routes:
        methods = by_path.setdefault(_PARAMETER.sub("{}", route.path), {})
        if route.name in names or route.method in methods:
            taken = methods.get(route.method, route).name
            raise ConfigError(
                f"The API has two routes {route.name!r} and {taken!r} for {route.method} "
                f"{route.path}: rename or disable one."
            )
        names.add(route.name)
        methods[route.method] = route
    # What is fixed goes before what is a parameter: /links/bulk before /links/{code}.
    paths = sorted(by_path, key=lambda path: (path.count("{}"), -len(path)))
    return [
        _Place(_pattern(next(iter(by_path[path].values())).path), by_path[path]) for path in paths
    ]


def _by_beginning(places: Iterable[_Place]) -> Mapping[str, Sequence[_Place]]:
    """The places by the first part of their paths, "" where that is a parameter, in their order."""
    found: dict[str, list[_Place]] = {}
    for place in places:
        path = next(iter(place.routes.values())).path
        first = path.lstrip("/").partition("/")[0]
        found.setdefault("" if "{" in first else first, []).append(place)
    return found


def _pattern(path: str) -> re.Pattern[str]:
    parts = []
    end = 0
    for match in _PARAMETER.finditer(path):
        parts.append(re.escape(path[end : match.start()]))
        parts.append(f"(?P<{match[1]}>{'.+' if match[1] == 'ref' else '[^/]+'})")
        end = match.end()
    return re.compile("".join(parts) + re.escape(path[end:]), re.DOTALL)


def _route_of(place: _Place | None, request: Request) -> ApiRoute:
    known = place.routes if place else {}
    method = "GET" if request.method == "HEAD" else request.method
    if method not in known:
        raise _not_allowed(request, known)
    return known[method]


def _refusal(status: int, error: InvalidEvent, remedy: str) -> Problem:
    faults = (Fault(error.field, str(error), remedy),) if error.field else ()
    return Problem(status, str(error), remedy, faults=faults)


def _not_allowed(request: Request, known: Iterable[str]) -> Problem:
    allowed = {*known} | ({"HEAD"} if "GET" in known else set())
    names = ", ".join(sorted(allowed))
    return Problem(
        405,
        f"{request.method[:16]} is not possible here.",
        f"Use one of {names}.",
        headers={"allow": names},
    )


def _query(route: ApiRoute, text: str) -> BaseModel | None:
    if not text and route.query is None:
        return None
    try:
        pairs = parse_qsl(
            text, keep_blank_values=True, errors="strict", max_num_fields=50, strict_parsing=False
        )
    except ValueError as error:
        raise Problem(400, f"The query cannot be read: {error}.", "Encode it as UTF-8.") from None
    values: dict[str, Any] = {}
    fields = route.query.model_fields if route.query else {}
    for name, value in pairs:
        if name not in fields:
            raise Problem(
                422,
                f"There is no parameter {name[:80]!r} here.",
                f"Use {', '.join(fields)}." if fields else "Leave it out.",
                faults=(Fault(name[:80], "is not known", "Leave it out."),),
            )
        if getattr(fields[name].annotation, "__origin__", None) is list:
            values.setdefault(name, []).append(value)
        elif name in values:
            raise Problem(
                422,
                f"The parameter {name!r} is given twice.",
                "Give it once.",
                faults=(Fault(name, "is given twice", "Give it once."),),
            )
        else:
            values[name] = value
    if route.query is None:
        return None
    try:
        return route.query.model_validate(values)
    except ValidationError as error:
        raise invalid(error) from None


def _response(route: ApiRoute, answer: object) -> Response:
    if isinstance(answer, Response):
        return answer
    if isinstance(answer, BaseModel):
        return answered(answer, route.status)
    return Response(204)


def _repeated(held: Idempotency, mark: str) -> Response:
    if held.fingerprint != mark:
        raise Problem(
            422,
            "This Idempotency-Key was used for another request.",
            "Use a new key for each request, and the same one only to repeat it.",
            faults=(Fault("Idempotency-Key", "was used for another request", "Use a new one."),),
        )
    headers = {**held.headers, "idempotency-replayed": "true"}
    return Response(held.status, headers, held.body.encode())


def _without_secrets(body: bytes) -> str:
    """What of an answer may be kept: secrets are shown once."""
    text = body.decode()
    if not any(f'"{name}"' in text for name in _SECRET_FIELDS):
        return text
    document = json.loads(text)
    hidden = {name: None for name in _SECRET_FIELDS if name in document}
    return json.dumps({**document, **hidden}, separators=(",", ":"), ensure_ascii=False)


def _inside(value: dict[str, Any] | list[Any]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _containers(values: Iterable[Any]) -> list[dict[str, Any] | list[Any]]:
    return [value for value in values if isinstance(value, (dict, list))]


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")
