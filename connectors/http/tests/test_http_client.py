"""The client against a real server on loopback that answers what each test scripts."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from trackflow_core.errors import ConfigError, RetriableError, TerminalError
from trackflow_http import Answer, Client, Pace, sending

SECRET = "s3cret-4711"


class Site:
    """A server that gives the scripted answers in turn, the last one for ever."""

    def __init__(self) -> None:
        self.script: list[tuple[int, dict[str, str], bytes]] = [(200, {}, b"{}")]
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                site.seen.append((self.command, self.path, dict(self.headers), body))
                status, headers, content = (
                    site.script.pop(0) if len(site.script) > 1 else site.script[0]
                )
                if not status:
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = answer

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def site() -> Iterator[Site]:
    running = Site()
    yield running
    running.close()


@pytest.fixture
def naps() -> list[float]:
    return []


@pytest.fixture
def client(site: Site, naps: list[float]) -> Client:
    return Client(site.url, {"Authorization": SECRET}, Pace(per_second=0, sleep=naps.append))


def test_it_sends_credentials_and_reads_json(site: Site, client: Client) -> None:
    site.script = [(200, {}, b'{"name": "Zo\\u00eb"}')]
    assert client.get("/leads", {"q": "a b"}).json() == {"name": "Zoë"}
    assert client.send("PUT", "/leads/1", json={"name": "Zoë"}).status == 200
    (_, path, headers, _), (_, _, _, body) = site.seen
    assert path == "/leads?q=a+b"
    assert headers["Authorization"] == SECRET
    assert json.loads(body) == {"name": "Zoë"}


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 0])
def test_a_passing_fault_is_tried_again(
    site: Site, client: Client, naps: list[float], status: int
) -> None:
    site.script = [(status, {}, b""), (status, {}, b""), (200, {}, b"1")]
    assert client.get("/").json() == 1
    assert len(site.seen) == 3 and len(naps) == 2


def test_trying_has_an_end(site: Site, client: Client) -> None:
    site.script = [(503, {"Retry-After": "7"}, b"")]
    with pytest.raises(RetriableError, match=r"GET http\S*/leads answered 503") as caught:
        client.get("/leads", {"token": SECRET})
    assert (len(site.seen), caught.value.retry_after) == (4, 7)


def test_retry_after_is_heeded(site: Site, client: Client, naps: list[float]) -> None:
    in_a_while = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=9), usegmt=True)
    site.script = [
        (429, {"Retry-After": "3"}, b""),
        (429, {"Retry-After": in_a_while}, b""),
        (200, {}, b"1"),
    ]
    assert client.get("/").json() == 1
    assert naps[0] == 3 and 5 < naps[1] <= 9


def test_a_long_wait_is_the_callers(site: Site, client: Client, naps: list[float]) -> None:
    site.script = [(429, {"Retry-After": "3600"}, b"")]
    with pytest.raises(RetriableError) as caught:
        client.get("/")
    assert (len(site.seen), naps, caught.value.retry_after) == (1, [], 3600)


@pytest.mark.parametrize("value", ["soon", "-5", "\u0663", "9" * 400, ""])
def test_a_retry_after_that_says_nothing(value: str) -> None:
    assert Answer("GET /", 429, {"retry-after": value}, b"").retry_after is None


@pytest.mark.parametrize(("status", "calls"), [(429, 2), (503, 2), (500, 1), (502, 1), (0, 1)])
def test_a_post_is_not_repeated_where_it_may_have_worked(
    site: Site, client: Client, status: int, calls: int
) -> None:
    site.script = [(status, {}, b""), (200, {}, b"1")]
    if calls == 1:
        with pytest.raises(RetriableError):
            client.send("POST", "/", json={})
    else:
        assert client.send("POST", "/", json={}).json() == 1
    assert len(site.seen) == calls


def test_a_post_that_does_no_harm_is_repeated(site: Site, client: Client) -> None:
    site.script = [(500, {}, b""), (200, {}, b"1")]
    assert client.send("POST", "/", json={}, repeat=True).json() == 1


@pytest.mark.parametrize(
    ("status", "kind", "says"),
    [
        (401, ConfigError, "renew the credentials"),
        (403, ConfigError, "permission"),
        (302, ConfigError, "redirect"),
        (404, TerminalError, "404"),
        (422, TerminalError, "422"),
    ],
)
def test_what_will_not_pass_is_not_repeated(
    site: Site, client: Client, status: int, kind: type[Exception], says: str
) -> None:
    site.script = [(status, {"Location": "http://127.0.0.1:1/"}, b"")]
    with pytest.raises(kind, match=says):
        client.get("/")
    assert len(site.seen) == 1


def test_nobody_there_is_a_passing_fault(naps: list[float]) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        client = Client(f"http://127.0.0.1:{port}", pace=Pace(per_second=0, sleep=naps.append))
        with pytest.raises(RetriableError, match="no connection"):
            client.send("POST", "/", json={})
    assert len(naps) == 3, "nothing was sent, so even a POST is tried again"


def test_an_answer_that_takes_too_long(site: Site, naps: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        pace = Pace(per_second=0, attempts=2, read_timeout=0.05, sleep=naps.append)
        with pytest.raises(RetriableError, match="no answer in time"):
            Client(address, pace=pace).get("/")
    assert len(naps) == 1


@pytest.mark.parametrize("address", ["ftp://x.example", "http://[bad", "crm"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(ConfigError, match="correct it"):
        Client(address, pace=Pace(per_second=0)).get("/")


def test_what_is_no_json_is_said(site: Site, client: Client) -> None:
    site.script = [(200, {}, b"<html>")]
    with pytest.raises(TerminalError, match="no JSON"):
        client.get("/").json()


def test_a_huge_answer_is_not_read(
    site: Site, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "MAX_ANSWER_BYTES", 10)
    site.script = [(200, {}, b"x" * 100_000)]
    with pytest.raises(TerminalError, match="larger than 10 bytes"):
        client.get("/")


def test_the_pace_is_polite(site: Site, naps: list[float]) -> None:
    client = Client(site.url, pace=Pace(per_second=2, sleep=naps.append))
    for _ in range(3):
        client.get("/")
    assert len(naps) == 2 and all(0.3 < nap <= 0.5 for nap in naps)


def test_a_netrc_does_not_replace_the_credentials(
    site: Site, client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login other password other\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    client.get("/")
    assert site.seen[0][2]["Authorization"] == SECRET


def test_no_log_and_no_message_shows_credentials(
    site: Site, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    site.script = [(401, {}, SECRET.encode())]
    with pytest.raises(ConfigError) as caught:
        client.send("PUT", "/leads", params={"key": "x"}, json={"token": SECRET})
    assert SECRET not in caplog.text + str(caught.value)
