"""The API's parts by themselves: keys, limits, addresses, masking, its description."""

from __future__ import annotations

import json
import re
import threading
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from tests.api.host import MemoryHost
from trackflow_core.api import keys, openapi
from trackflow_core.api.app import Api, ApiSettings
from trackflow_core.api.limits import Limiter, client_address
from trackflow_core.api.masking import masked
from trackflow_core.api.messages import Problem, Request, invalid
from trackflow_core.api.routes import routes
from trackflow_core.api.schemas import IN_WORDS, Link, WebhookEndpoint, example_of
from trackflow_core.api.storage import ApiKey, LoggedRequest, Query
from trackflow_core.errors import ConfigError
from trackflow_core.hooks import ApiRoute, Hooks, hookimpl
from trackflow_core.model import Subscription
from trackflow_core.outbox import EVENTS
from trackflow_core.testing.facts import START, at
from trackflow_core.testing.outbox_memory import MemoryOutbox
from trackflow_core.tracking.networks import parse

BEARER = "Bearer {}"


def issued(host: MemoryHost, **options: Any) -> keys.Issued:
    made = keys.issue("Test", options.pop("scopes", keys.SCOPES), START, **options)
    host.catalog.create([made.key])
    return made


def ask(host: MemoryHost, token: str, path: str = "/links", **changes: Any) -> Any:
    request = Request("GET", path, headers={"authorization": f"Bearer {token}"}, peer="192.0.2.7")
    return Api(Hooks()).handle(replace(request, **changes), host, START)


# -- keys ----------------------------------------------------------------------------------------


def test_only_a_hash_is_kept_and_nothing_shows_the_secret() -> None:
    made = keys.issue("Shop", ["links:read"], START)
    secret = made.token.split("_")[2]
    assert made.token.startswith(f"tf_{made.key.id}_")
    assert len(secret) == 43
    assert secret not in repr(made) and made.key.hashed not in repr(made)
    assert len({keys.issue("x", keys.SCOPES, START).token for _ in range(50)}) == 50


def test_both_secrets_are_good_while_they_overlap() -> None:
    host = MemoryHost()
    old = issued(host)
    new = keys.rotate(old.key, START, timedelta(hours=1))
    host.catalog.update([new.key])
    for token in (old.token, new.token):
        assert keys.authenticate(host.catalog, BEARER.format(token), "", at(minutes=59))
    assert keys.authenticate(host.catalog, BEARER.format(new.token), "", at(minutes=60))
    with pytest.raises(Problem, match="not valid"):
        keys.authenticate(host.catalog, BEARER.format(old.token), "", at(minutes=60))


def test_revoking_ends_both_secrets_at_once() -> None:
    host = MemoryHost()
    old = issued(host)
    new = keys.rotate(old.key, START)
    host.catalog.update([keys.revoke(new.key, START)])
    for token in (old.token, new.token):
        with pytest.raises(Problem):
            keys.authenticate(host.catalog, BEARER.format(token), "", START)
    with pytest.raises(ConfigError, match="revoked"):
        keys.rotate(keys.revoke(new.key, START), START)


def test_every_secret_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []
    real = keys.hmac.compare_digest

    def counted(one: bytes, other: bytes) -> bool:
        compared.append("x")
        return real(one, other)

    host = MemoryHost()
    made = issued(host)
    wrong = f"tf_{made.key.id}_{'x' * 43}"
    nobody = f"tf_{'y' * 12}_{'x' * 43}"
    monkeypatch.setattr(keys.hmac, "compare_digest", counted)
    for token in (wrong, nobody):
        with pytest.raises(Problem):
            keys.authenticate(host.catalog, BEARER.format(token), "", START)
    assert compared


def test_what_cannot_be_a_key_is_refused() -> None:
    with pytest.raises(ConfigError, match="links:eat"):
        keys.issue("x", ["links:eat"], START)
    with pytest.raises(ConfigError, match="no network"):
        keys.issue("x", keys.SCOPES, START, allowed=["here"])


def test_a_key_in_one_word() -> None:
    key = keys.issue("x", keys.SCOPES, START, expires_at=at(1)).key
    assert keys.described(key, START) == "active"
    assert keys.described(key, at(2)) == "expired"
    assert keys.described(keys.rotate(key, START).key, START) == "rotating"
    assert keys.described(keys.revoke(key, START), START) == "revoked"


# -- limits ----------------------------------------------------------------------------------------


def test_who_tries_keys_is_stopped() -> None:
    host, api = MemoryHost(), Api(Hooks(), ApiSettings(public_hourly_limit=2))
    request = Request("GET", "/links", peer="192.0.2.99")
    statuses = [api.handle(request, host, START).response.status for _ in range(3)]
    assert statuses == [401, 401, 429]
    other = replace(request, peer="192.0.2.98")
    assert api.handle(other, host, START).response.status == 401


def test_a_limit_of_zero_is_none() -> None:
    host, api = MemoryHost(), Api(Hooks(), ApiSettings(public_hourly_limit=0))
    answer = api.handle(Request("GET", "/openapi.json", peer="192.0.2.97"), host, START)
    assert "ratelimit" not in answer.response.headers


def test_counting_in_memory_starts_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    limiter = Limiter()

    def refuse(_thread: threading.Thread) -> None:
        raise AssertionError("a thread is started")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    left = [limiter.spend("threads", 5)["ratelimit"].split(";")[1] for _ in range(3)]
    assert left == ["r=4", "r=3", "r=2"]


def test_a_counter_is_forgotten_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    limiter = Limiter()
    limiter.spend("forgotten", 1)
    with pytest.raises(Problem):
        limiter.spend("forgotten", 1)
    monkeypatch.setattr(time, "time", lambda: now + 3 * 3600)
    assert limiter.spend("forgotten", 1)["ratelimit"].startswith('"hour";r=0')


def test_a_place_where_nothing_can_be_counted() -> None:
    with pytest.raises(ConfigError, match="memory://"):
        Limiter("nonsense://")


@pytest.mark.parametrize(
    ("peer", "header", "expected"),
    [
        ("198.51.100.1", "203.0.113.9", "198.51.100.1"),
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("10.0.0.1", "10.0.0.3", "10.0.0.3"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "forged, nonsense", "10.0.0.1"),
        ("", "203.0.113.9", ""),
    ],
)
def test_only_trusted_proxies_name_the_client(peer: str, header: str, expected: str) -> None:
    headers = {"x-forwarded-for": header} if header else {}
    assert client_address(peer, headers, (parse("10.0.0.0/8"),)) == expected


# -- the log -----------------------------------------------------------------------------------------


def test_secrets_and_persons_are_masked() -> None:
    body = json.dumps(
        {"name": "Anna Ash", "email": "a@b.example", "nested": [{"secret": "x"}], "value": 5}
    ).encode()
    shown = json.loads(masked(body, "/leads/L-17", 1000))
    assert shown == {"name": "…", "email": "…", "nested": [{"secret": "…"}], "value": 5}
    event = b'{"events":[{"type":"signup","address":"198.51.100.7"}]}'
    assert masked(event, "/events", 1000) == '{"events":[{"type":"signup","address":"…"}]}'
    assert json.loads(masked(body, "/campaigns", 1000))["name"] == "Anna Ash"
    assert masked(b"\x89PNG", "/links", 1000) == "(4 bytes)"
    assert masked(b'"' + b"x" * 100 + b'"', "/links", 10) == '"xxxxxxxx…'
    assert masked(body, "/links", 0) == ""


def test_an_answered_request_is_told_to_the_log() -> None:
    host = MemoryHost()
    made = issued(host)
    answered = ask(host, made.token, peer="192.0.2.77")
    entry = answered.entry
    assert (entry.method, entry.path, entry.status) == ("GET", "/trackflow/api/v1/links", 200)
    assert (entry.key_id, entry.address, entry.requested_at) == (made.key.id, "192.0.2.0", START)
    host.catalog.log([entry])
    assert host.catalog.page(LoggedRequest, Query()).items[0].response == '{"items":[],"next":null}'
    assert host.catalog.read(ApiKey, [made.key.id])[made.key.id].usage_count == 1
    assert made.token.split("_")[2] not in repr(answered)


def test_a_failing_host_is_told_politely() -> None:
    answered = Api(Hooks()).failed(Request("GET", "/links"), RuntimeError("password=x"), START)
    assert answered.response.status == 500
    assert b"password" not in answered.response.body


# -- routes --------------------------------------------------------------------------------------------


class _Plugin:
    def __init__(self, *told: ApiRoute) -> None:
        self.told = told

    @hookimpl
    def trackflow_register_api_routes(self) -> Any:
        return self.told


def test_plugins_bring_routes() -> None:
    def handle(call: Any) -> None:
        raise LookupError(f"There is no total of {call.params['ref']}.")

    route = ApiRoute("total", "GET", "/totals/{ref}", "totals:read", "Count", handle)
    api, host = Api(Hooks({"mine": _Plugin(route)})), MemoryHost()
    allowed = issued(host, scopes=["totals:read"])
    for token, status in ((allowed.token, 404), (issued(host).token, 403)):
        headers = {"authorization": f"Bearer {token}"}
        request = Request("GET", "/totals/a/b", headers=headers)
        response = api.handle(request, host, START).response
        assert response.status == status
    assert "/totals/{ref}" in openapi.document([*routes(), route])["paths"]


def test_a_route_may_begin_with_a_parameter() -> None:
    """What is fixed still goes before it."""
    told: list[str] = []
    route = ApiRoute(
        "mine",
        "GET",
        "/{area}/mine",
        "links:read",
        "Mine",
        lambda call: told.append(call.params["area"]),
    )
    api, host = Api(Hooks({"mine": _Plugin(route)})), MemoryHost()
    headers = {"authorization": f"Bearer {issued(host).token}"}
    answers = [
        api.handle(Request("GET", path, headers=headers), host, START).response.status
        for path in ("/shoes/mine", "/links/mine", "/links", "/shoes")
    ]
    assert (answers, told) == ([204, 404, 200, 404], ["shoes"])


@pytest.mark.parametrize(("name", "path"), [("list_links", "/mine"), ("mine", "/links")])
def test_two_routes_never_share_a_place(name: str, path: str) -> None:
    route = ApiRoute(name, "GET", path, "links:read", "Mine", lambda call: None)
    with pytest.raises(ConfigError, match="two routes"):
        Api(Hooks({"mine": _Plugin(route)}))


def test_every_example_is_valid() -> None:
    for route in routes():
        if route.body is not None:
            route.body.model_validate_json(json.dumps(example_of(route.body)))
        if route.answer is not None:
            route.answer.model_validate_json(json.dumps(example_of(route.answer)))


def test_endpoints_may_want_what_the_outbox_tells() -> None:
    wanted = WebhookEndpoint.model_json_schema()["properties"]["events"]["items"]["enum"]
    assert sorted(wanted) == sorted(EVENTS)


def test_every_scope_is_one_that_keys_may_have() -> None:
    assert {route.scope for route in routes()} <= keys.SCOPES | {keys.EDGE}


# -- webhooks ------------------------------------------------------------------------------------------


def told(host: MemoryHost, method: str, path: str, body: Any) -> Any:
    """The answer to a change by a key with every scope."""
    headers = {
        "authorization": f"Bearer {issued(host).token}",
        "content-type": "application/json",
    }
    request = Request(method, path, "", headers, json.dumps(body).encode())
    response = Api(Hooks()).handle(request, host, at(40)).response
    assert response.status < 300, response.body
    return json.loads(response.body) if response.body else None


def test_links_are_announced_to_who_wants_to_know() -> None:
    host = MemoryHost()
    host.outbox = MemoryOutbox(lambda: START, [Subscription("webhook/1", frozenset(EVENTS))])
    link = {"code": "adsGogl", "destination": "https://shop.example/"}
    told(host, "POST", "/links", link)
    told(host, "PATCH", "/links/adsGogl", {"title": "Better"})
    told(host, "DELETE", "/links/adsGogl", None)
    told(host, "POST", "/links/bulk", {"links": [{**link, "code": "other12"}]})
    sent = [held.message.outgoing for held in host.outbox.held]
    assert [(item.event, item.ref) for item in sent] == [
        ("link.created", "adsGogl"),
        ("link.changed", "adsGogl"),
        ("link.deleted", "adsGogl"),
        ("link.created", "other12"),
    ]
    assert json.loads(sent[1].body)["title"] == "Better"


def test_an_endpoint_is_tried_and_gets_messages_again() -> None:
    host = MemoryHost()
    body = {"url": "https://hooks.example/in", "events": ["lead.attributed"]}
    made = told(host, "POST", "/webhook-endpoints", body)
    path = f"/webhook-endpoints/{made['id']}"
    host.outbox = MemoryOutbox(lambda: START)
    assert told(host, "POST", f"{path}/test", {}) == {"waiting": 1}
    [held] = host.outbox.held
    assert held.message.outgoing.target == f"webhook/{made['id']}"
    assert held.message.outgoing.event == "trackflow.test"
    host.outbox.bury(held.message, "It failed.")
    replay = {"since": START.isoformat(), "failed_only": True}
    assert told(host, "POST", f"{path}/replay", replay) == {"waiting": 1}
    assert host.outbox.held[0].state == "waiting"
    late = {"since": at(1).isoformat()}
    assert told(host, "POST", f"{path}/replay", late) == {"waiting": 0}


# -- refusals ------------------------------------------------------------------------------------


def test_no_remedy_is_a_regular_expression() -> None:
    """Every pattern of the description is told in words; moments have words of their own."""
    text = json.dumps(openapi.document(routes()))
    patterns = {json.loads(found) for found in re.findall(r'"pattern": ("(?:[^"\\]|\\.)*")', text)}
    # The example of a link template has an empty one; two are of headers, refused elsewhere.
    patterns -= {"", "^[!-~]+$", "^[ -~]*$"}
    assert len(patterns) > 10
    dates = {pattern for pattern in patterns if pattern.startswith("^(19[7-9][0-9]|")}
    assert patterns - dates <= set(IN_WORDS)


def test_a_refusal_says_what_to_send() -> None:
    with pytest.raises(ValidationError) as caught:
        Link.model_validate_json(b'{"destination": "shop"}')
    [fault] = invalid(caught.value).faults
    told = "Send an address that begins with http:// or https://, without spaces."
    assert (fault.field, fault.remedy) == ("destination", told)


def test_half_a_character_is_told_without_the_bytes() -> None:
    with pytest.raises(ValidationError) as caught:
        Link.model_validate_json(rb'{"destination": "https://a.example/\ud800"}')
    [fault] = invalid(caught.value).faults
    assert (fault.field, fault.detail) == ("body", "cannot be read")
    assert fault.remedy.startswith("Mend the JSON: ")
