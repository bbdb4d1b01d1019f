"""`trackflow demo`: ready within seconds, on its own, whatever this shell has set."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests

pytestmark = pytest.mark.slow


def test_the_demo(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [Path(sys.executable).with_name("trackflow"), "demo", "--port", str(port)],
        env={**os.environ, "TRACKFLOW_STORE": "postgresql://real@db/x", "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        first = process.stdout.readline()
        found = re.match(r"TrackFlow demo ready: (\S+) \(password: (\w+)\)", first)
        assert found, first
        url, password = found.groups()
        with requests.Session() as person:
            page = person.post(f"{url}login", data={"password": password}, timeout=20)
            assert "deals won of 34" in page.text
            answer = person.get(f"{url}r/adWork2", allow_redirects=False, timeout=20)
        assert answer.headers["Location"].startswith("https://www.example.com/workshops?utm_")
    finally:
        process.terminate()
        process.communicate(timeout=30)
    assert list(tmp_path.iterdir()) == []


def test_a_taken_port_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = subprocess.run(
            [Path(sys.executable).with_name("trackflow"), "demo", "--port", str(port)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == (
        f"trackflow: The server cannot listen on 127.0.0.1, port {port}: Address already in use. "
        "Choose others, such as by --port.\n"
    )
