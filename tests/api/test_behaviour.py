"""The API behaves over HTTP as its contract says, with everything in memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from typing import Any

import pytest

from tests.api.host import MemoryHost, Server
from trackflow_core.api import keys
from trackflow_core.api.storage import ApiKey
from trackflow_core.model import Click
from trackflow_core.testing import ApiContract


class TestApi(ApiContract):
    @pytest.fixture(autouse=True)
    def _server(self) -> Iterator[None]:
        self.server = Server(MemoryHost())
        yield
        self.server.close()

    @property
    def host_url(self) -> str:
        return self.server.url

    @property
    def catalog(self) -> Any:
        return self.server.host.catalog

    def new_key(self, scopes: Iterable[str] = keys.SCOPES, **options: Any) -> str:
        issued = keys.issue("Test", scopes, datetime.now(timezone.utc), **options)
        self.catalog.create([issued.key])
        return issued.token

    def revoke(self, token: str) -> None:
        prefix = token.split("_")[1]
        key = self.catalog.read(ApiKey, [prefix])[prefix]
        self.catalog.update([keys.revoke(key, datetime.now(timezone.utc))])

    def visit(self, clicks: Iterable[Click]) -> None:
        for click in clicks:
            self.server.host.engine.record_click(click)
        self.server.host.engine.process_clicks()
