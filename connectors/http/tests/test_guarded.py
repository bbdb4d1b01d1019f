"""Webhooks that leave: signed, to real receivers that misbehave, and never into a private network."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from typing import Any

import pytest
from standardwebhooks import Webhook

from trackflow_core.errors import ConfigError, RetriableError
from trackflow_core.hooks import Hooks
from trackflow_core.model import Context, Outgoing, Subscription
from trackflow_core.outbox import (
    DEAL_ATTRIBUTED,
    SCHEDULE,
    Courier,
    Delivered,
    Endpoint,
    WebhookSender,
)
from trackflow_core.testing import MemoryOutbox
from trackflow_http.guarded import GuardedPost

LOOPBACK = (ip_network("127.0.0.0/8"),)
OLD, NEW = "whsec_" + "b2xkIHNlY3JldA==", "whsec_" + "bmV3IHNlY3JldA=="


class Receiver:
    """An endpoint whose answers are scripted: status and headers, the last one for ever."""

    def __init__(self) -> None:
        self.script: list[tuple[int, dict[str, str]]] = [(204, {})]
        self.stall = 0.0
        self.seen: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.seen.append((headers, body))
                time.sleep(receiver.stall)
                status, extra = (
                    receiver.script.pop(0) if len(receiver.script) > 1 else receiver.script[0]
                )
                self.send_response(status)
                for name, value in {"Content-Length": "0", **extra}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?tenant=1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    site = Receiver()
    yield site
    site.server.shutdown()
    site.server.server_close()


class Office:
    """An outbox with one endpoint, and a clock that is moved by hand."""

    def __init__(self, url: str, timeout: float = 5) -> None:
        self.now = datetime.now(timezone.utc)
        wanted = Subscription("webhook/1", frozenset({DEAL_ATTRIBUTED}))
        self.outbox = MemoryOutbox(lambda: self.now, [wanted])
        self.endpoint = Endpoint(url, [NEW, OLD])
        self.courier = Courier(
            self.outbox,
            {"webhook": WebhookSender(lambda _: self.endpoint, GuardedPost(LOOPBACK, timeout))},
            commit=lambda: None,
            clock=lambda: self.now,
            hooks=Hooks(),
            context=Context(),
        )
        self.outbox.post([Outgoing("webhook/1", DEAL_ATTRIBUTED, "crm/1", '{"deal":"crm/ü"}')])

    def later(self, wait: timedelta) -> Delivered:
        self.now += wait
        return self.courier.deliver()


def test_a_webhook_is_signed_with_both_secrets(receiver: Receiver) -> None:
    office = Office(receiver.url)
    assert office.courier.deliver() == Delivered(sent=1)
    [(headers, body)] = receiver.seen
    told = Webhook(OLD).verify(body, headers)
    assert told == Webhook(NEW).verify(body, headers)
    assert told["type"] == DEAL_ATTRIBUTED and told["data"] == {"deal": "crm/ü"}
    assert datetime.fromisoformat(told["timestamp"]) == office.now
    assert headers["content-type"] == "application/json"


def _drip(url_of: list[str], stop: threading.Event, start: bytes, drop: bytes) -> None:
    """A receiver that sends `start`, and then a `drop` ten times a second."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url_of.append(f"http://127.0.0.1:{server.getsockname()[1]}/")
        connection, _ = server.accept()
        with connection, suppress(OSError):
            connection.recv(65536)
            connection.sendall(start)
            while not stop.wait(0.1):
                connection.sendall(drop)


@pytest.mark.parametrize(
    ("start", "drop"),
    [
        (b"HTTP/1.1 ", b"2"),
        (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a"),
        (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
)
def test_a_receiver_that_drips_gains_no_time(start: bytes, drop: bytes) -> None:
    url_of: list[str] = []
    stop = threading.Event()
    receiver = threading.Thread(target=_drip, args=(url_of, stop, start, drop))
    receiver.start()
    while not url_of:
        time.sleep(0.01)
    began = time.monotonic()
    try:
        with pytest.raises(RetriableError, match="in time"):
            GuardedPost(LOOPBACK, timeout=0.6)(url_of[0], {}, b"{}")
        assert time.monotonic() - began < 2
    finally:
        stop.set()
        receiver.join(5)


def test_each_attempt_is_signed_anew_under_one_id(receiver: Receiver) -> None:
    receiver.script = [(500, {}), (204, {})]
    office = Office(receiver.url)
    assert office.courier.deliver() == Delivered(deferred=1)
    assert office.later(timedelta(seconds=4)) == Delivered()
    assert office.later(timedelta(seconds=3)) == Delivered(sent=1)
    (first, _), (second, _) = receiver.seen
    assert first["webhook-id"] == second["webhook-id"]
    assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) in (6, 7, 8)
    assert first["webhook-signature"] != second["webhook-signature"]


def test_a_receiver_may_ask_to_wait(receiver: Receiver) -> None:
    receiver.script = [(429, {"Retry-After": "3600"}), (204, {})]
    office = Office(receiver.url)
    office.courier.deliver()
    assert office.later(timedelta(minutes=59)) == Delivered()
    assert office.later(timedelta(minutes=2)) == Delivered(sent=1)


def test_a_receiver_that_is_gone_is_told_nothing_more(receiver: Receiver) -> None:
    receiver.script = [(410, {})]
    office = Office(receiver.url)
    assert office.courier.deliver() == Delivered(buried=1)
    assert "410" in office.outbox.disabled["webhook/1"]


def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.script = [(302, {"Location": "http://169.254.169.254/latest/meta-data/"})]
    office = Office(receiver.url)
    assert office.courier.deliver() == Delivered(deferred=1)
    assert len(receiver.seen) == 1
    assert "a redirect, which is not followed" in office.outbox.held[0].reason


def test_a_receiver_that_fails_for_days_is_disabled(receiver: Receiver) -> None:
    receiver.script = [(500, {})]
    office = Office(receiver.url)
    office.courier.deliver()
    for step in SCHEDULE[:-1]:
        assert office.later(step * 1.3) == Delivered(deferred=1)
    assert office.later(SCHEDULE[-1] * 1.3) == Delivered(buried=1)
    assert office.outbox.disabled == {"webhook/1": "The receiver answered 500."}
    assert len(receiver.seen) == len(SCHEDULE) + 1


def test_a_receiver_that_stalls_holds_nobody_up(receiver: Receiver) -> None:
    receiver.stall = 1
    office = Office(receiver.url, timeout=0.2)
    begun = time.monotonic()
    assert office.courier.deliver() == Delivered(deferred=1)
    assert time.monotonic() - begun < 1
    assert "did not answer" in office.outbox.held[0].reason


def test_nobody_there_is_tried_again() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
    with pytest.raises(RetriableError, match="did not answer"):
        GuardedPost(LOOPBACK)(url, {}, b"{}")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "10.1.2.3",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "[fd00:ec2::254]",
        "[fd20:ce::254]",
        "[::ffff:168.63.129.16]",
        "[64:ff9b::168.63.129.16]",
        "0.0.0.0",  # noqa: S104 - refused
        "[::1]",
        "[fe80::1]",
        "[fd00::1]",
        "[::ffff:10.0.0.1]",
        "[64:ff9b::10.0.0.1]",
        "[64:ff9b:1::10.0.0.1]",
        "[fec0::1]",
        "[::10.0.0.1]",
        "[2002:0a00:0001::]",
        "2130706433",
        "0x7f.1",
        "224.0.0.1",
    ],
)
def test_private_addresses_are_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="inside a private network"):
        GuardedPost(timeout=1)(f"http://{host}:9/", {}, b"{}")


@pytest.mark.parametrize("port", [80, 443])
def test_a_name_with_one_private_address_is_refused(
    monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    def found(host: str, asked: int, **_: Any) -> list[Any]:
        return [(2, 1, 6, "", (ip, asked)) for ip in ("93.184.216.34", "10.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    scheme = "https" if port == 443 else "http"
    with pytest.raises(ConfigError, match="inside a private network"):
        GuardedPost(timeout=1)(f"{scheme}://rebind.example/", {}, b"{}")


def test_the_next_address_is_asked_where_one_does_not_answer(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(host: str, asked: int, *_: Any, **__: Any) -> list[Any]:
        addresses = ("127.0.0.2", "127.0.0.1") if host == "two.example" else (host,)
        return [(2, 1, 6, "", (ip, asked)) for ip in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    url = receiver.url.replace("127.0.0.1", "two.example")
    assert GuardedPost(LOOPBACK)(url, {}, b"{}").status == 204


def test_a_name_that_cannot_be_looked_up_is_tried_again_later() -> None:
    with pytest.raises(RetriableError, match="did not answer"):
        GuardedPost()(f"https://{'a' * 64}.example/", {}, b"{}")


@pytest.mark.parametrize("url", ["ftp://shop.example/", "javascript:alert(1)", "https://", "x"])
def test_only_web_addresses_are_asked(url: str) -> None:
    with pytest.raises(ConfigError, match="begins with https://"):
        GuardedPost()(url, {}, b"{}")


def test_a_deleted_endpoint_is_told_nothing(receiver: Receiver) -> None:
    office = Office(receiver.url)
    office.endpoint = None  # type: ignore[assignment]
    assert office.courier.deliver() == Delivered(buried=1)
    assert office.outbox.held[0].reason == "The endpoint was deleted."
    assert json.loads(office.outbox.held[0].message.outgoing.body) == {"deal": "crm/ü"}
