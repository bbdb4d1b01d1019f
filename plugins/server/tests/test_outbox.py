"""What must leave: the outbox on both databases, and a real server that sends to a real receiver."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests
from sqlalchemy import select
from standardwebhooks import Webhook

from trackflow_core.api import keys
from trackflow_core.api.storage import WebhookEndpoint
from trackflow_core.model import Link, Message
from trackflow_core.outbox import DEAL_ATTRIBUTED, EVENTS, LEAD_ATTRIBUTED
from trackflow_core.testing import OutboxContract
from trackflow_server.store import Database, SqlStore, schema
from trackflow_server.store.catalog import SqlCatalog
from trackflow_server.store.outbox import SqlOutbox

SECRETS = ("a secret of this test run",)


class SqlOutboxContract(OutboxContract):
    """Each outbox is a transaction that is rolled back."""

    database: Database

    @pytest.fixture(autouse=True)
    def _opened(self) -> Iterator[None]:
        with self.database.connect() as self.connection:
            transaction = self.connection.begin()
            yield
            transaction.rollback()

    def new_outbox(self) -> SqlOutbox:
        self.store = SqlStore(self.connection, {})
        self.catalog = SqlCatalog(self.store, "", SECRETS)
        wanted = WebhookEndpoint("", "https://a.example/", frozenset({DEAL_ATTRIBUTED}))
        [endpoint] = self.catalog.create([wanted])
        self.target = f"webhook/{endpoint.id}"
        return SqlOutbox(lambda: self.store)

    def now(self) -> datetime:
        return datetime.now(timezone.utc)

    def state_of(self, outbox: SqlOutbox, message: Message) -> tuple[str, str]:  # type: ignore[override]
        held = schema.outbox_message.c
        query = select(held.state, held.reason).where(held.id == message.id)
        found = self.connection.execute(query).one_or_none()
        return (found[0], found[1]) if found else ("", "")

    def problems(self, outbox: SqlOutbox) -> Mapping[str, str]:  # type: ignore[override]
        endpoint = schema.webhook_endpoint.c
        query = select(endpoint.place, endpoint.problem).where(endpoint.enabled.is_(False))
        return {f"webhook/{row[0]}": row[1] for row in self.connection.execute(query)}

    def test_what_was_sent_long_ago_is_deleted_and_what_was_given_up_stays(self) -> None:
        outbox = self.new_outbox()
        outbox.post([self._told(1), self._told(2)])
        sent, dead = self._claim(outbox)
        outbox.sent(sent, self.now() - timedelta(days=31))
        outbox.bury(dead, "It is gone.")
        assert outbox.purge(self.now() - timedelta(days=30)) == 1
        assert outbox.counts() == {self.target: {"dead": 1}}
        outbox.retry(dead.id)
        assert [message.id for message in self._claim(outbox)] == [dead.id]

    def test_a_receiver_that_takes_nothing_for_a_while_is_named_with_its_answer(self) -> None:
        outbox = self.new_outbox()
        outbox.post([self._told(1), self._told(2)])
        soon, later = (self.now() + timedelta(minutes=n) for n in (9, 11))
        assert outbox.refusals(later) == {}, "nothing was tried yet"
        for message in self._claim(outbox):
            outbox.defer(message, later, "It answered 500.")
        assert outbox.refusals(soon) == {}
        assert outbox.refusals(later) == {"https://a.example/": "It answered 500."}
        outbox.disable(self.target, "It answered 410.")
        assert outbox.refusals(soon) == {"https://a.example/": "It answered 410."}

    def test_an_endpoint_leaves_no_messages_to_the_next_of_its_id(self) -> None:
        outbox = self.new_outbox()
        outbox.post([self._told()])
        self.catalog.delete(WebhookEndpoint, [self.target.partition("/")[2]])
        assert outbox.counts() == {}


class TestOnSqlite(SqlOutboxContract):
    @pytest.fixture(autouse=True)
    def _database(self, sqlite_database: Database) -> None:
        self.database = sqlite_database


@pytest.mark.slow
class TestOnPostgres(SqlOutboxContract):
    @pytest.fixture(autouse=True)
    def _database(self, postgres_database: Database) -> None:
        self.database = postgres_database


class Receiver:
    """A real endpoint on loopback that answers the statuses of `script`, the last one for ever."""

    def __init__(self, *script: int) -> None:
        self.seen: list[tuple[Mapping[str, str], bytes]] = []
        self.script = [*script]
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.seen.append(({k.lower(): v for k, v in self.headers.items()}, body))
                more = len(receiver.script) > 1
                self.send_response(receiver.script.pop(0) if more else receiver.script[0])
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def told(self, secret: str) -> list[Any]:
        """What came, after checking the signatures."""
        return [Webhook(secret).verify(body, dict(headers)) for headers, body in self.seen]


@contextmanager
def receiving(*script: int) -> Iterator[Receiver]:
    receiver = Receiver(*script)
    threading.Thread(target=receiver.server.serve_forever, daemon=True).start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        receiver.server.server_close()


@pytest.fixture(scope="module")
def sending(serving: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    settings = {
        "webhook_networks": "127.0.0.0/8",
        "without_consent": "full",
        "password": "correct horse battery",
    }
    with serving(tmp_path_factory.mktemp("sending"), **settings) as served:
        issued = keys.issue("Test", keys.SCOPES, datetime.now(timezone.utc))
        with served.database.transaction() as store:
            SqlCatalog(store, "", ()).create([issued.key])
        served.token = issued.token
        yield served


def _ask(served: Any, method: str, path: str, body: Any = None) -> Any:
    answer = requests.request(
        method,
        f"{served.url}/trackflow/api/v1{path}",
        json=body,
        headers={"Authorization": f"Bearer {served.token}"},
        timeout=20,
    )
    assert answer.ok, answer.text
    return answer.json()


def _endpoint(served: Any, url: str, *events: str) -> tuple[str, str]:
    """The path and the secret of a new endpoint."""
    made = _ask(served, "POST", "/webhook-endpoints", {"url": url, "events": events})
    return f"/webhook-endpoints/{made['id']}", made["secret"]


def _until(number: int, receiver: Receiver) -> None:
    for _ in range(200):
        if len(receiver.seen) >= number:
            break
        time.sleep(0.1)
    assert len(receiver.seen) == number


def _messages(served: Any, path: str, state: str) -> list[Any]:
    """The messages of an endpoint once all of them are in `state`."""
    target = f"webhook/{path.rpartition('/')[2]}"
    for _ in range(100):
        with served.database.reading() as store:
            found = [*SqlOutbox(lambda: store).messages(target, 99)]
        if {message["state"] for message in found} == {state}:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{found}\n{served.log.read_text()}")


@pytest.mark.slow
def test_facts_reach_their_receiver_signed_and_once(sending: Any) -> None:
    sending.save(Link("offer22", "https://shop.example/", "google", "cpc", "spring"))
    with receiving(204) as receiver:
        wanted = {*EVENTS} - {LEAD_ATTRIBUTED}
        path, secret = _endpoint(sending, receiver.url, *sorted(wanted))
        _ask(sending, "POST", f"{path}/test")
        _until(1, receiver)
        sending.get("/r/offer22")
        _until(2, receiver)
        _ask(sending, "PUT", "/leads/L-7", {"name": "Asks"})
        deal = {"lead": "L-7", "value": 25_000, "currency": "EUR"}
        _ask(sending, "PUT", "/deals/D-7", deal)
        _until(3, receiver)
        _ask(sending, "PUT", "/deals/D-7", deal)
        _ask(sending, "POST", "/links", {"destination": "https://shop.example/new"})
        _until(4, receiver)
        told = receiver.told(secret)
        assert [message["type"] for message in told] == [
            "trackflow.test",
            "click.recorded",
            "deal.attributed",
            "link.created",
        ]
        assert told[1]["data"]["clicks"][0]["link"] == "offer22"
        assert told[2]["data"]["value"] == 25_000
        assert len(_messages(sending, path, "sent")) == 4
        since = (datetime.now(timezone.utc) - timedelta(hours=1)).isoformat()
        again = _ask(sending, "POST", f"{path}/replay", {"since": since})
        assert again == {"waiting": 4}
        _until(8, receiver)
        names = [headers["webhook-id"] for headers, _ in receiver.seen]
        assert sorted(names[:4]) == sorted(names[4:])
        _ask(sending, "PATCH", path, {"enabled": False})


@pytest.mark.slow
def test_a_receiver_that_fails_is_tried_again_and_one_that_is_gone_is_not(sending: Any) -> None:
    with receiving(503, 204) as receiver:
        path, secret = _endpoint(sending, receiver.url, "lead.attributed")
        _ask(sending, "POST", f"{path}/test")
        _until(2, receiver)
        first, second = receiver.seen
        assert first[0]["webhook-id"] == second[0]["webhook-id"]
        assert first[0]["webhook-timestamp"] < second[0]["webhook-timestamp"]
        assert len(receiver.told(secret)) == 2
    with receiving(410, 204) as receiver:
        path, secret = _endpoint(sending, receiver.url, "lead.attributed")
        _ask(sending, "POST", f"{path}/test")
        [dead] = _messages(sending, path, "dead")
        assert "410" in dead["reason"]
        held = _ask(sending, "GET", path)
        assert (held["enabled"], held["problem"]) == (False, dead["reason"])
        health = requests.get(f"{sending.url}/trackflow/health", timeout=20)
        told = health.json()
        assert (health.status_code, told["status"], told["given_up"]) == (200, "degraded", 1)
        assert told["refusing"] == 1
        assert receiver.url not in health.text, "an address may hold a secret"
        _page_buttons(sending, path)
        _until(2, receiver)
        assert _ask(sending, "GET", path)["problem"] == ""
        assert sending.health()["status"] == "ok"


def _page_buttons(served: Any, path: str) -> None:
    """What a person does on the endpoint's page of the dashboard after a failure."""
    person = requests.Session()
    person.post(f"{served.url}/login", data={"password": "correct horse battery"}, timeout=20)
    page = f"{served.url}/webhooks/{path.rpartition('/')[2]}"
    told = person.get(page, timeout=20).text
    assert "Disabled: nothing is sent." in told
    assert "410" in told
    foreign = person.post(f"{page}/enable", headers={"Origin": "https://evil.example"}, timeout=20)
    assert foreign.status_code == 403
    own = {"Origin": served.url}
    assert person.post(f"{page}/enable", headers=own, timeout=20).ok
    assert person.post(f"{page}/retry", headers=own, timeout=20).ok
    assert person.post(f"{page}/nothing", headers=own, timeout=20).status_code == 404
    assert page.removeprefix(served.url) in person.get(f"{served.url}/webhooks", timeout=20).text


@pytest.mark.slow
def test_addresses_inside_are_not_called(sending: Any) -> None:
    path, _ = _endpoint(sending, "http://169.254.169.254/latest/meta-data", "lead.attributed")
    _ask(sending, "POST", f"{path}/test")
    for _ in range(100):
        [message] = _messages(sending, path, "waiting")
        if message["reason"]:
            break
        time.sleep(0.1)
    assert json.dumps(message["reason"]).count("inside a private network") == 1
    assert message["attempts"] == 1
