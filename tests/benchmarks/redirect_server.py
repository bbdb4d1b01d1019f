"""Redirects of one link by the standalone server, each click on disk before its answer.

It runs without plugins: one that chooses destinations is asked at each click.

Beside it, in alternating rounds on the same machine, nginx answers a bare 302 to the same clients;
once, Odoo's own link_tracker answers eight. Then the server is killed under load, again and again:
whatever was answered must have been recorded, and nothing twice.

With CLICKS=1000000 something else is measured: the server answers that many, and its memory is told
after each tenth.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from tests.benchmarks import load, peers, redirect_odoo
from tests.environment import odoo_server
from trackflow_core.hooks import manager
from trackflow_core.model import Link
from trackflow_server.store import Database

CLIENTS = (8, 64)
ROUNDS = 3
SECONDS = 5
KILLS = 20
LINK = Link("offer22", "https://shop.example/offer?a=1", "google", "cpc", "spring")
# What wrk prints at its end, for programs.
REPORT = """
done = function(summary, latency, requests)
  io.write(string.format('{"answers": %d, "refused": %d, "microseconds": %d, "median": %f, "p99": %f}',
    summary.requests, summary.errors.status, summary.duration,
    latency:percentile(50), latency:percentile(99)))
end
"""
NGINX = """
worker_processes auto;
daemon off;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  server {{ listen 127.0.0.1:{port}; location / {{ return 302 https://shop.example/offer; }} }}
}}
"""


@dataclass
class Total:
    """The sum of some rounds; latencies are the worst round's, in microseconds."""

    answers: int = 0
    refused: int = 0
    microseconds: int = 0
    median: float = 0
    p99: float = 0

    @property
    def per_second(self) -> float:
        return self.answers / (self.microseconds / 1e6)

    def add(self, told: Mapping[str, float]) -> None:
        self.answers += int(told["answers"])
        self.refused += int(told["refused"])
        self.microseconds += int(told["microseconds"])
        self.median = max(self.median, told["median"])
        self.p99 = max(self.p99, told["p99"])


@dataclass
class Standalone:
    """A server in a folder; `process` leads a process group of its own."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)

    def memory(self) -> float:
        """Resident megabytes of the process that answers."""
        found = subprocess.run(
            ["ps", "-o", "rss=", "--ppid", str(self.process.pid)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return max(map(int, found.stdout.split())) / 1024


def main() -> list[str]:
    """Print the table; the targets that were missed, in words."""
    wrk = _Wrk()
    if clicks := int(os.environ.get("CLICKS", "0")):
        return _memory(wrk, clicks)
    with tempfile.TemporaryDirectory() as name, _nginx(Path(name)) as nginx:
        folder = Path(name)
        ours = {clients: Total() for clients in CLIENTS}
        theirs = {clients: Total() for clients in CLIENTS}
        server = start(folder, _alone())
        before = server.memory()
        for _ in range(ROUNDS):
            for clients in CLIENTS:
                ours[clients].add(wrk.run(server.url, clients, SECONDS))
                theirs[clients].add(wrk.run(nginx, clients, SECONDS))
        grown = server.memory() - before
        server.stop()
        answers = sum(total.answers for total in ours.values())
        kept = recorded(folder)
        odoo = _link_tracker()
        print("\nRedirects of one link with the click on disk, requests/s (median and p99 in ms)")
        for clients in CLIENTS:
            print(_line(f"server, {clients} clients", ours[clients]))
            print(_line(f"nginx's bare 302, {clients} clients", theirs[clients]))
        print(f"Odoo's link_tracker, {redirect_odoo.CLIENTS} clients: {odoo:.0f}")
        share = ours[64].per_second / theirs[64].per_second
        times = ours[64].per_second / odoo
        print(f"server / nginx {share:.3f}; server / link_tracker {times:.0f}")
        print(f"{answers} answers, {kept.clicks} clicks kept; memory grew by {grown:.1f} MB")
        lost, twice = _killed(wrk)
        checks = {
            f"server {share:.3f} of nginx, not 0.12": share >= 0.12,
            f"server {times:.0f} times link_tracker, not 100": times >= 100,
            "clicks kept are fewer than answers": kept.clicks >= answers and kept.distinct,
            f"memory grew by {grown:.0f} MB": grown < 50,
            "answers other than 302": not any(total.refused for total in ours.values()),
            f"{lost} clicks lost and {twice} doubled by kill -9": not lost and not twice,
        }
    return [words for words, reached in checks.items() if not reached]


def _memory(wrk: _Wrk, clicks: int) -> list[str]:
    """Print the server's memory while it answers `clicks`, and once all of them are recorded."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = start(folder, _alone())
        try:
            first = server.memory()
            print(f"\n{'clicks':>10}{'resident MB':>14}\n{'':>10}{first:>14.1f}")
            answers = passed = 0
            told = [first]
            while answers < clicks:
                answers += int(wrk.run(server.url, 64, 1)["answers"])
                if answers * 10 // clicks > passed:
                    passed = answers * 10 // clicks
                    told.append(server.memory())
                    print(f"{answers:>10}{told[-1]:>14.1f}")
            while _waiting(server):
                time.sleep(1)
            told.append(server.memory())
            print(f"{'recorded':>10}{told[-1]:>14.1f}")
        finally:
            server.stop()
        kept = recorded(folder)
    # Caches fill within the first tenth.
    grown = max(told[2:]) - told[1]
    print(f"{answers} answers, {kept.clicks} clicks kept; memory grew by {grown:.1f} MB")
    checks = {
        f"memory grew by {grown:.0f} MB": grown < 50,
        "clicks kept are fewer than answers": kept.clicks >= answers and kept.distinct,
    }
    return [words for words, reached in checks.items() if not reached]


def _waiting(server: Standalone) -> int:
    with urlopen(f"{server.url}/trackflow/health", timeout=60) as answer:  # noqa: S310 - ours
        told = json.load(answer)
    return sum(int(told[name]) for name in ("spooled", "queued"))


def _line(name: str, total: Total) -> str:
    return f"{name:<32}{total.per_second:>9.0f}{total.median / 1000:>9.1f}{total.p99 / 1000:>9.1f}"


class _Wrk:
    """The load generator wrk, with kept-alive connections."""

    def __init__(self) -> None:
        self._program = peers.program("wrk")
        self._environment = peers.environment_of(self._program)

    def start(self, url: str, clients: int, seconds: float) -> subprocess.Popen[str]:
        script = Path(tempfile.gettempdir()) / f"trackflow-wrk-{os.getpid()}.lua"
        script.write_text(REPORT)
        return subprocess.Popen(
            [
                self._program, "-t1", f"-c{clients}", f"-d{seconds}s", "-s", script,
                "-H", f"User-Agent: {load.BROWSER}", f"{url}/r/{LINK.code}",
            ],
            env=self._environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, url: str, clients: int, seconds: float) -> Mapping[str, float]:
        return self.result(self.start(url, clients, seconds))

    def result(self, running: subprocess.Popen[str]) -> Mapping[str, float]:
        printed, _ = running.communicate()
        told: Mapping[str, float] = json.loads(printed[printed.rindex("{") :])
        return told


def _alone() -> Mapping[str, str]:
    """The environment of a server without plugins, as installing it alone leaves it."""
    others = (plugin.name for plugin in manager.installed() if plugin.name != "server")
    return {manager.DISABLE: ",".join(others)}


def start(folder: Path, environment: Mapping[str, str] | None = None) -> Standalone:
    """A server over the SQLite file in `folder`, ready to answer the link; `environment` goes
    before its own."""
    store = folder / "trackflow.sqlite"
    database = Database(str(store))
    database.upgrade()
    with database.transaction() as kept:
        kept.save_links([LINK])
    database.close()
    port = _free_port()
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("trackflow"), "serve", "--port", str(port)],
            env={
                **os.environ,
                "TRACKFLOW_SECRET": secrets.token_hex(16),
                "TRACKFLOW_STORE": str(store),
                "TRACKFLOW_WITHOUT_CONSENT": "full",
                "TRACKFLOW_LOG_LEVEL": "warning",
                **(environment or {}),
            },
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    server = Standalone(folder, port, process)
    for _ in range(600):
        with suppress(URLError, OSError):
            urlopen(f"{server.url}/trackflow/health", timeout=5).close()  # noqa: S310 - ours
            return server
        time.sleep(0.1)
    server.kill()
    raise RuntimeError(f"The server did not begin: {(folder / 'server.log').read_text()}")


@dataclass(frozen=True)
class Kept:
    """How many clicks are kept, in the spool, the queue or recorded; `distinct` says that no event
    is kept as two."""

    clicks: int
    distinct: bool


def recorded(folder: Path) -> Kept:
    """What a stopped server has kept. A click that was copied into the store and not yet dropped
    from the spool counts once: its event id tells."""
    store = folder / "trackflow.sqlite"
    with sqlite3.connect(store) as connection:
        ids = [row[0] for row in connection.execute("SELECT event_id FROM click")]
        waiting = [row[0] for row in connection.execute("SELECT event_id FROM click_queue")]
    distinct = len(set(ids)) == len(ids) and not set(ids) & set(waiting)
    with sqlite3.connect(f"{store}.spool") as spool:
        spooled = {
            fact["event_id"]
            for (facts,) in spool.execute("SELECT facts FROM spool")
            for fact in json.loads(facts)
        }
    return Kept(len({*ids, *waiting, *spooled}), distinct)


def _killed(wrk: _Wrk) -> tuple[int, int]:
    """Clicks lost and doubled over `KILLS` kills under load."""
    lost = twice = 0
    for number in range(KILLS):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            server = start(folder, _alone())
            running = wrk.start(server.url, 64, 3)
            time.sleep(0.7 + number / KILLS)
            server.kill()
            answers = int(wrk.result(running)["answers"])
            again = start(folder, _alone())
            time.sleep(1)
            again.stop()
            kept = recorded(folder)
            lost += max(0, answers - kept.clicks)
            twice += not kept.distinct
    print(f"{KILLS} times kill -9 under load: {lost} clicks lost, {twice} times one doubled")
    return lost, twice


@contextmanager
def _nginx(folder: Path) -> Iterator[str]:
    program = peers.program("nginx")
    port = _free_port()
    settings = folder / "nginx.conf"
    settings.write_text(NGINX.format(folder=folder, port=port))
    running = subprocess.Popen(
        [program, "-p", folder, "-c", settings],
        env=peers.environment_of(program), stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        time.sleep(1)
        yield f"http://127.0.0.1:{port}"
    finally:
        running.terminate()
        running.wait()


def _link_tracker() -> float:
    with odoo_server.fresh(["link_tracker", "crm"], workers=redirect_odoo.WORKERS) as plain:
        side = redirect_odoo.Side("link_tracker", plain)
        side.prepare()
        side.round()
        return side.redirects.per_second


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
