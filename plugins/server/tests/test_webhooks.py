"""Incoming webhooks over real HTTP: from a click to an attributed deal."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from html import unescape
from typing import Any

import pytest
import requests
from sqlalchemy import select

from trackflow_core.connectors import Receiving
from trackflow_core.errors import InvalidEvent
from trackflow_core.model import Link
from trackflow_core.ports import IncomingRequest
from trackflow_core.tracking import identity
from trackflow_server import config as configuration
from trackflow_server import keys
from trackflow_server.client import Client, Networks
from trackflow_server.connections import Secrets
from trackflow_server.store import Database, schema
from trackflow_server.store.connectors import Configured
from trackflow_server.switchboard import Switchboard
from trackflow_webhook import new_secret, sign

pytestmark = pytest.mark.slow
SECRET = new_secret()
FINGERPRINT = "ab" * 32
PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def hooked(serving: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("hooked")
    store = str(folder / "trackflow.sqlite")
    with switched(store) as board:
        board.add("webhook", "shop", {}, Secrets(signing=[SECRET]))
        # Its senders are known by certificates, which a proxy in front of the server has checked.
        board.add(
            "webhook", "mtls", {"verification": "mtls", "header": "X-Client", "preset": "trackflow"},
            Secrets(signing=[FINGERPRINT]),
        )  # fmt: skip
    settings = {
        "without_consent": "full",
        "trusted_proxies": "127.0.0.1/32",
        "password": PASSWORD,
    }
    with serving(folder, **settings) as served:
        served.save(Link("offer22", "https://shop.example/", "google", "cpc", "spring"))
        yield served


@contextmanager
def switched(store: str) -> Iterator[Switchboard]:
    environment = {"TRACKFLOW_SECRET": "a secret of this test run"}
    database = Database(store)
    database.upgrade()
    yield Switchboard(configuration.load(environment=environment, store=store), database)
    database.close()


def _wait(done: Callable[[], bool], served: Any) -> None:
    for _ in range(100):
        if done():
            return
        time.sleep(0.1)
    raise AssertionError(served.log.read_text())


def _attempts(served: Any, place: int) -> int:
    with served.database.reading() as store:
        found = store.event("webhook/shop", place)
    return found.attempts if found else 0


def _events(served: Any) -> dict[str, int]:
    with served.database.reading() as store:
        return dict(store.count_events().get("webhook/shop", {}))


def _send(served: Any, name: str, kind: str, data: dict[str, Any], **change: Any) -> int:
    now = datetime.now(timezone.utc)
    body = json.dumps({"type": kind, "timestamp": now.isoformat(), "data": data}).encode()
    signed = sign(body, change.get("secret", SECRET), name, change.get("at", now))
    path = f"/trackflow/hooks/{change.get('to', 'webhook/shop')}"
    return requests.post(served.url + path, data=body, headers=signed, timeout=20).status_code


def test_a_click_becomes_an_attributed_deal(hooked: Any) -> None:
    answer = hooked.get("/r/offer22")
    visitor_id = answer.cookies[identity.COOKIE_NAME].partition(".")[0]
    [click] = hooked.clicks(1)
    key = keys.derive("a secret of this test run", "visitor")
    token = identity.issue_token(visitor_id, [key], datetime.now(timezone.utc))
    lead = {"id": 5, "name": "Anna asks", "visitor_token": token}
    deal = {"id": 5, "lead_id": 5, "value": "250.00", "currency": "EUR"}
    assert _send(hooked, "m1", "lead.created", lead) == 202
    assert _send(hooked, "m2", "deal.won", deal) == 202
    assert _send(hooked, "m2", "deal.won", deal) == 202
    _wait(lambda: _events(hooked) == {"done": 2}, hooked)
    with hooked.database.reading() as store:
        credit = schema.credit.c
        found = store.connection.execute(select(credit.touch_id, credit.value, credit.channel))
        assert [tuple(row) for row in found] == [(click["event_id"], 25_000, "Paid Search")]
        told = store.facts_of_connector("webhook/shop", 10)
        assert {fact.kind for fact in told} == {"lead", "deal"}
        assert all(store.event("webhook/shop", fact.event or 0) for fact in told)


def test_what_cannot_be_understood_is_accepted_kept_and_seen(hooked: Any) -> None:
    deal = {"id": 6, "lead_id": 5, "value": "much", "currency": "EUR"}
    assert _send(hooked, "m3", "deal.won", deal) == 202
    _wait(lambda: _events(hooked).get("failed") == 1, hooked)
    with hooked.database.reading() as store:
        [failed] = store.events("webhook/shop", 1, "failed")
    assert failed.payload["data"]["value"] == "much"
    assert "value" in failed.reason


def test_each_event_is_shown_from_receipt_to_credit(hooked: Any) -> None:
    person = requests.Session()
    person.post(f"{hooked.url}/login", data={"password": PASSWORD}, timeout=20)

    def page(path: str) -> str:
        answer = person.get(hooked.url + path, timeout=20)
        assert answer.status_code == 200, hooked.log.read_text()
        return unescape(answer.text)

    assert "webhook/shop" in page("/connectors")
    shown = page("/connectors/webhook/shop")
    with hooked.database.reading() as store:
        [failed] = store.events("webhook/shop", 1, "failed")
        [told] = [f for f in store.facts_of_connector("webhook/shop", 9) if f.kind == "deal"]
    assert "Retry all" in shown and failed.reason.split(":")[0] in shown
    assert SECRET not in shown
    event = page(f"/connectors/webhook/shop/events/{told.event}")
    assert f"/deals/{told.ref}" in event
    assert f"/connectors/webhook/shop/events/{told.event}" in page(f"/deals/{told.ref}")
    retry = f"{hooked.url}/connectors/webhook/shop/retry"
    foreign = person.post(retry, headers={"Origin": "https://evil.example"}, timeout=20)
    assert foreign.status_code == 403
    person.post(retry, data={"number": failed.place}, headers={"Origin": hooked.url}, timeout=20)
    _wait(lambda: _attempts(hooked, failed.place) == 2, hooked)
    for path in ("/connectors/webhook/other", "/connectors/webhook/shop/events/999"):
        assert person.get(hooked.url + path, timeout=20).status_code == 404


def test_a_certificate_is_believed_from_a_trusted_proxy_alone(hooked: Any) -> None:
    told = {"type": "lead.created", "timestamp": "2026-03-01T12:00:00Z"}
    body = json.dumps({**told, "data": {"id": 1, "name": "Anna"}}).encode()
    path = "/trackflow/hooks/webhook/mtls"
    headers = {"X-Client": FINGERPRINT}
    answer = requests.post(hooked.url + path, data=body, headers=headers, timeout=20)
    assert answer.status_code == 202, hooked.log.read_text()
    proxies = Networks(("127.0.0.1/32",))
    for peer, behind in (("127.0.0.1", True), ("192.0.2.7", False)):
        scope = {"headers": [(b"x-client", b"ab")], "client": (peer, 1)}
        assert Client(scope).is_behind(proxies) is behind
    with (
        switched(str(hooked.log.parent / "trackflow.sqlite")) as board,
        hooked.database.reading() as store,
    ):
        connection = board.connections.named(store, "webhook/mtls")
        assert isinstance(connection, Receiving)
        unproven = IncomingRequest(body, {"x-client": FINGERPRINT}, from_trusted_proxy=False)
        with pytest.raises(InvalidEvent):
            connection.verify(unproven, datetime.now(timezone.utc))


@pytest.mark.parametrize(
    "change",
    [
        {"secret": new_secret()},
        {"at": datetime.now(timezone.utc) - timedelta(hours=1)},
        {"to": "webhook/other"},
        {"to": "nothing/shop"},
    ],
    ids=["forged", "stale", "unknown instance", "unknown connector"],
)
def test_what_is_not_authentic_is_refused(hooked: Any, change: dict[str, Any]) -> None:
    assert _send(hooked, "m9", "lead.created", {"id": 9, "name": "Mallory"}, **change) == 401
    with hooked.database.reading() as store:
        assert store.leads({"webhook/shop/lead/9", "webhook/shop/9"}) == []


def test_what_cannot_be_checked_yet_is_to_be_sent_again(hooked: Any) -> None:
    now = datetime.now(timezone.utc)
    told = {"type": "lead.created", "timestamp": now.isoformat(), "data": {"id": 7, "name": "Ada"}}
    body = json.dumps(told).encode()
    signed = sign(body, SECRET, "m7", now)

    def send() -> requests.Response:
        url = f"{hooked.url}/trackflow/hooks/webhook/later"
        return requests.post(url, data=body, headers=signed, timeout=20)

    assert send().status_code == 401
    with switched(str(hooked.log.parent / "trackflow.sqlite")) as board:
        board.add("webhook", "later", {}, Secrets())
        _wait(lambda: send().status_code == 503, hooked)
        answer = send()
        assert answer.headers["retry-after"] == "60"
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["title"] == "Service Unavailable"
        assert "send this again" in answer.json()["detail"]
        board.change("webhook/later", {}, Secrets(signing=[SECRET]))
    _wait(lambda: send().status_code == 202, hooked)


def test_a_connector_that_no_plugin_brings_any_more_loses_nothing(hooked: Any) -> None:
    with hooked.database.transaction() as store:
        store.save_connector(Configured("gone/shop", {}), "")
    lead = {"id": 8, "name": "Ada"}
    _wait(lambda: _send(hooked, "m8", "lead.created", lead, to="gone/shop") == 503, hooked)
    with hooked.database.transaction() as store:
        store.remove_connector("gone/shop")


def test_a_body_without_end_is_cut(hooked: Any) -> None:
    answer = requests.post(
        f"{hooked.url}/trackflow/hooks/webhook/shop", data=b"x" * (1024 * 1024 + 1), timeout=20
    )
    assert answer.status_code == 413
