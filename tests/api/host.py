"""The API over HTTP with everything in memory, for tests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from trackflow_core.api.app import Api, ApiSettings
from trackflow_core.api.calls import Workspace
from trackflow_core.api.messages import TITLES, Request
from trackflow_core.api.storage import ApiKey, Catalog
from trackflow_core.attribution import BUILTIN_RULES, Model
from trackflow_core.engine import Engine
from trackflow_core.hooks import Hooks
from trackflow_core.testing import MemoryCatalog, MemoryStore
from trackflow_core.testing.outbox_memory import MemoryOutbox

BASE = "/trackflow/api/v1"


class MemoryHost:
    """`api.calls.Host` over one `MemoryStore`."""

    def __init__(self, hooks: Hooks | None = None) -> None:
        self.store = MemoryStore()
        self.engine = Engine(self.store, hooks or Hooks())
        self.outbox = MemoryOutbox(lambda: datetime.now(timezone.utc))
        self.catalog = MemoryCatalog(self.store, outbox=self.outbox)

    def keyring(self) -> Catalog:
        return self.catalog

    def open(self, key: ApiKey) -> Workspace:
        return Workspace(self.catalog, self.store, self.engine, _models, self.outbox)


def _models() -> Mapping[str, Model]:
    return {rule.name: Model(rule) for rule in BUILTIN_RULES}


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server:
    """Serves one host on a free port, until it is closed."""

    def __init__(self, host: MemoryHost, settings: ApiSettings | None = None) -> None:
        self.host = host
        self.api = Api(Hooks(), settings)
        self._server: WSGIServer = make_server("127.0.0.1", 0, self._app, handler_class=_Quiet)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _app(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        headers = {
            name[5:].replace("_", "-").lower(): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        request = Request(
            environ["REQUEST_METHOD"],
            environ["PATH_INFO"].encode("latin-1").decode(errors="replace").removeprefix(BASE),
            environ["QUERY_STRING"],
            {**headers, "content-type": environ.get("CONTENT_TYPE", "")},
            environ["wsgi.input"].read(length),
            environ["REMOTE_ADDR"],
            self.url,
        )
        answered = self.api.handle(request, self.host, datetime.now(timezone.utc))
        self.host.catalog.log([answered.entry])
        response = answered.response
        body = b"" if request.method == "HEAD" else response.body
        status = f"{response.status} {TITLES.get(response.status, 'Done')}"
        start(status, [*response.headers.items(), ("content-length", str(len(body)))])
        return [body]
