"""Changes that come at one moment share a commit, and nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from starlette.requests import Request

from trackflow_core.api import keys
from trackflow_core.api.storage import TrackedLink
from trackflow_core.hooks import ApiCall, ApiRoute, Hooks, hookimpl
from trackflow_core.model import Link
from trackflow_server.config import ServerConfig
from trackflow_server.rest import Rest
from trackflow_server.store import Database
from trackflow_server.store.catalog import SqlCatalog


class _Broken:
    """A plugin whose route writes something and then fails."""

    @hookimpl
    def trackflow_register_api_routes(self) -> list[ApiRoute]:
        return [ApiRoute("break", "POST", "/break", "links:write", "Break", self._break)]

    def _break(self, call: ApiCall) -> None:
        call.store.save_links([Link("broken2", "https://shop.example/broken")])
        raise RuntimeError("broken")


def _request(token: str, path: str, body: Mapping[str, Any]) -> Request:
    content = json.dumps(body).encode()

    async def receive() -> Mapping[str, Any]:
        return {"type": "http.request", "body": content, "more_body": False}

    return Request(
        {
            "type": "http",
            "method": "POST",
            "path": f"/trackflow/api/v1{path}",
            "path_params": {"path": path},
            "query_string": b"",
            "headers": [
                (b"authorization", f"Bearer {token}".encode()),
                (b"content-type", b"application/json"),
            ],
            "client": ("192.0.2.7", 4711),
        },
        receive,
    )


def test_one_that_fails_takes_no_other_with_it(new_file: str, tmp_path: Path) -> None:
    database = Database(new_file)
    database.upgrade()
    issued = keys.issue("Test", keys.SCOPES, datetime.now(timezone.utc))
    with database.transaction() as store:
        SqlCatalog(store, "", ()).create([issued.key])
    config = ServerConfig(secrets=("s" * 40,), store=new_file)
    hooks = Hooks({"broken": _Broken()})
    rest = Rest(config, hooks, config.settings(hooks.rules), database)
    asked = [
        _request(issued.token, "/links", {"destination": "https://shop.example/1", "code": "one1"}),
        _request(issued.token, "/break", {}),
        _request(issued.token, "/links", {"destination": "no address"}),
        _request(issued.token, "/links", {"destination": "https://shop.example/2", "code": "two2"}),
    ]

    async def ask_all() -> list[int]:
        return [answer.status_code for answer in await asyncio.gather(*map(rest.answer, asked))]

    assert asyncio.run(ask_all()) == [201, 500, 422, 201]
    with database.reading() as store:
        known = SqlCatalog(store, "", ()).read(TrackedLink, ["one1", "two2", "broken2"])
    assert set(known) == {"one1", "two2"}
    database.close()
