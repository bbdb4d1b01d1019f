"""The REST API behaves over HTTP as its contract says; its keys are made by `trackflow keys`."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import requests

from trackflow_core.api import keys
from trackflow_core.api.storage import ApiKey
from trackflow_core.engine import Engine
from trackflow_core.hooks import Hooks
from trackflow_core.model import Click
from trackflow_core.testing import ApiContract
from trackflow_server.store.catalog import SqlCatalog

pytestmark = pytest.mark.slow


class ServedApi(ApiContract):
    served: Any

    @property
    def host_url(self) -> str:
        return str(self.served.url)

    def new_key(self, scopes: Iterable[str] = keys.SCOPES, **options: Any) -> str:
        issued = keys.issue("Test", scopes, datetime.now(timezone.utc), **options)
        with self.served.database.transaction() as store:
            SqlCatalog(store, "", ()).create([issued.key])
        return issued.token

    def revoke(self, token: str) -> None:
        prefix = token.split("_")[1]
        with self.served.database.transaction() as store:
            catalog = SqlCatalog(store, "", ())
            key = catalog.read(ApiKey, [prefix])[prefix]
            catalog.update([keys.revoke(key, datetime.now(timezone.utc))])

    def visit(self, clicks: Iterable[Click]) -> None:
        with self.served.database.transaction() as store:
            engine = Engine(store, Hooks())
            engine.record_events([*clicks])
            engine.process_clicks()


class TestOnSqlite(ServedApi):
    @pytest.fixture(autouse=True)
    def _served(self, server: Any) -> None:
        self.served = server


@pytest.fixture(scope="module")
def on_postgres(
    serving: Any, new_postgres: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    with serving(tmp_path_factory.mktemp("api"), store=new_postgres("api")) as served:
        yield served


class TestOnPostgres(ServedApi):
    @pytest.fixture(autouse=True)
    def _served(self, on_postgres: Any) -> None:
        self.served = on_postgres


def _trackflow(store: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("trackflow")
    return subprocess.run(
        [program, *arguments, "--store", store], capture_output=True, text=True, check=False
    )


def _keys(url: str, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return requests.get(f"{url}/trackflow/api/v1/links", headers=headers, timeout=20).status_code


def test_keys_by_the_command_line(server: Any) -> None:
    store = str(server.database.url.database)
    made = json.loads(_trackflow(store, "keys", "create", "Shop", "--json").stdout)
    assert _keys(server.url, made["token"]) == 200
    rotated = _trackflow(store, "keys", "rotate", made["id"], "--hours", "0").stdout.strip()
    assert (_keys(server.url, rotated), _keys(server.url, made["token"])) == (200, 401)
    for _ in range(50):
        [row] = [
            row
            for row in json.loads(_trackflow(store, "keys", "list", "--json").stdout)
            if row["id"] == made["id"]
        ]
        if row["usage_count"] == 2:
            break
        time.sleep(0.1)
    assert (row["state"], row["usage_count"], row["name"]) == ("active", 2, "Shop")
    assert made["token"].split("_")[2] not in json.dumps(row)
    _trackflow(store, "keys", "revoke", made["id"])
    assert _keys(server.url, rotated) == 401
    missing = _trackflow(store, "keys", "revoke", "nothing")
    assert (missing.returncode, missing.stderr.strip()) == (
        1,
        "trackflow: There is no key 'nothing': see `trackflow keys list`.",
    )
    wrong = _trackflow(store, "keys", "create", "Shop", "--scope", "everything")
    assert wrong.returncode == 1
    assert "is no scope" in wrong.stderr
