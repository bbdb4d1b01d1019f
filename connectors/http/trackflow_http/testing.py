"""What the doubles of CRMs share: a server on loopback, and the webhooks that wait in their queue."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

Answering: TypeAlias = Callable[[str, str, str, bytes], tuple[int, Mapping[str, str], Any]]
"""From method, target, the header Authorization and body to status, headers and what is told."""


@dataclass
class Sent:
    """A webhook that waits in a CRM's queue."""

    url: str
    headers: Mapping[str, str]
    body: bytes


@contextmanager
def listening(answering: Answering, methods: Collection[str]) -> Iterator[str]:
    """The address of a server on a free port of loopback that answers these methods in JSON."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(answering, methods))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(answering: Answering, methods: Collection[str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        # Headers and body in one packet: small ones would wait for each other.
        wbufsize = -1
        disable_nagle_algorithm = True

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            authorization = self.headers.get("Authorization", "")
            status, headers, told = answering(self.command, self.path, authorization, body)
            content = json.dumps(told).encode()
            self.send_response_only(status)
            own = {"Content-Type": "application/json", "Content-Length": str(len(content))}
            for name, value in {**headers, **own}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Nothing: a test's output is its own."""

    for method in methods:
        setattr(Handler, f"do_{method}", Handler.answer)
    return Handler
