"""Several servers count the requests of a key together, in a real Redis."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.benchmarks import peers
from trackflow_core.api import keys
from trackflow_server.store.catalog import SqlCatalog

pytestmark = pytest.mark.slow


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The address of a Redis of its own, and its process."""
    program = peers.program("redis-server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", tmp_path],
        env=peers.environment_of(program),
        stdout=subprocess.DEVNULL,
    )
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    yield f"redis://127.0.0.1:{port}/0", process
    process.terminate()
    process.wait(20)


def test_servers_count_together_and_alone_without_redis(
    serving: Any, tmp_path: Path, redis: tuple[str, subprocess.Popen[bytes]]
) -> None:
    address, process = redis
    store = str(tmp_path / "trackflow.sqlite")
    shared = {"store": store, "limit_storage": address}
    with serving(tmp_path / "a", **shared) as one, serving(tmp_path / "b", **shared) as other:
        issued = keys.issue("Test", keys.SCOPES, datetime.now(timezone.utc), hourly_limit=3)
        with one.database.transaction() as kept:
            SqlCatalog(kept, "", ()).create([issued.key])

        def ask(served: Any) -> requests.Response:
            headers = {"Authorization": f"Bearer {issued.token}"}
            url = f"{served.url}/trackflow/api/v1/links"
            return requests.get(url, headers=headers, timeout=20)

        answers = [ask(served) for served in (one, other, one, other)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert answers[2].headers["RateLimit"].startswith('"hour";r=0')
        process.terminate()
        process.wait(20)
        alone = [ask(other).status_code for _ in range(4)]
        assert alone == [200, 200, 200, 429]
        assert "Redis fails" in other.log.read_text()
