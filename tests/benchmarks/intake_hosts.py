"""Webhooks verified and durably recorded: Odoo's own `base_automation`, TrackFlow in Odoo, in its
controller and in front of the dispatch, and the standalone server.

Eight clients on kept-alive connections send lead after lead, in alternating rounds of one run. The
Odoos have two workers each on a PostgreSQL that flushes to disk. Odoo's webhook checks nothing
but the secret address and makes a lead, which is all that it can record; ours check a signature and
keep the delivery. Each side must hold as many records as it gave good answers.
"""

from __future__ import annotations

import json
import socket
import sqlite3
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

from tests.benchmarks import redirect_odoo, redirect_server
from tests.environment import odoo_server
from tests.environment.odoo_server import RunningOdoo
from trackflow_server import config as configuration
from trackflow_server.connections import Secrets
from trackflow_server.store import Database
from trackflow_server.switchboard import Switchboard
from trackflow_webhook import new_secret, sign

CLIENTS = 8
WORKERS = 2
ROUNDS = 3
SECONDS = 6.0
# Times Odoo's base_automation: itself, the controller, in front of the dispatch, standalone.
WANTED = (1, 3, 10, 20)
SECRET = new_secret()
_AUTOMATION = """
rule = env["base.automation"].create({
    "name": "Leads by webhook",
    "model_id": env.ref("crm.model_crm_lead").id,
    "trigger": "on_webhook",
    "record_getter": "model.create({'name': payload['data']['name'], 'type': 'lead'})",
})
env.cr.commit()
print("path", "/web/hook/%s" % rule.webhook_uuid)
"""
_CONNECTOR = """
env["trackflow.connector"].create({{
    "name": "Shop", "connector": "webhook", "instance": "shop", "secret": "{secret}",
}})
env.cr.commit()
"""
_PATH = "/trackflow/hooks/webhook/shop"


@dataclass
class Side:
    """One host under test; `recorded` counts what it keeps."""

    name: str
    url: str
    path: str
    recorded: Callable[[], int]
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def per_second(self) -> float:
        return sum(self.statuses.values()) / self.seconds

    def warm_up(self, numbers: Iterator[int]) -> None:
        """Let workers load what they need."""
        self.round(numbers)
        self.statuses, self.seconds = Counter(), 0.0

    def round(self, numbers: Iterator[int]) -> None:
        """Let all clients send for a while."""
        answered: list[Counter[int]] = [Counter() for _ in range(CLIENTS)]
        begin = time.perf_counter()
        threads = [
            threading.Thread(target=self._client, args=(mine, begin + SECONDS, numbers))
            for mine in answered
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.seconds += time.perf_counter() - begin
        for mine in answered:
            self.statuses += mine

    def _client(self, mine: Counter[int], until: float, numbers: Iterator[int]) -> None:
        connection: socket.socket | None = None
        address = (urlsplit(self.url).hostname or "", urlsplit(self.url).port or 80)
        while time.perf_counter() < until:
            connection = connection or socket.create_connection(address, timeout=60)
            connection.sendall(self._request(next(numbers)))
            status, connection = _answer(connection)
            mine[status] += 1
        if connection is not None:
            connection.close()

    def _request(self, number: int) -> bytes:
        now = datetime.now(timezone.utc)
        data = {"id": number, "name": f"Zoë {number}", "email": f"zoe{number}@example.com"}
        told = {"type": "lead.created", "timestamp": now.isoformat(), "data": data}
        body = json.dumps(told).encode()
        headers = {
            "Host": "127.0.0.1",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **sign(body, SECRET, f"msg_{number}", now),
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"POST {self.path} HTTP/1.1\r\n{lines}\r\n".encode() + body


def _answer(connection: socket.socket) -> tuple[int, socket.socket | None]:
    """The status of one answer, and the connection where it stays open."""
    reply = b""
    while b"\r\n\r\n" not in reply:
        piece = connection.recv(65536)
        if not piece:
            raise ConnectionError("The server hung up before it answered.")
        reply += piece
    head, _, body = reply.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
    while len(body) < length:
        body += connection.recv(65536)
    if b"connection: close" in lines or lines[0].startswith(b"http/1.0"):
        connection.close()
        return int(head[9:12]), None
    return int(head[9:12]), connection


def main() -> list[str]:
    """Print the table; the targets that were missed, in words."""
    with (
        odoo_server.fresh(["base_automation", "crm"], workers=WORKERS) as plain,
        odoo_server.fresh(["trackflow"], workers=WORKERS) as tracked,
        odoo_server.fresh(
            ["trackflow"], workers=WORKERS, options=redirect_odoo.SERVER_WIDE
        ) as front,
        _standalone() as server,
    ):
        sides = (
            _automation(plain),
            _addon("TrackFlow in Odoo", tracked),
            _addon("in front of the dispatch", front),
            server,
        )
        numbers = count(1)
        for side in sides:
            side.warm_up(numbers)
        before = [side.recorded() for side in sides]
        for _ in range(ROUNDS):
            for side in sides:
                side.round(numbers)
        # What was answered last may still wait in the spool.
        time.sleep(2)
        kept = [side.recorded() - held for side, held in zip(sides, before, strict=True)]
    print(f"\nWebhooks durably recorded, {CLIENTS} clients, in one run")
    missed = []
    theirs = sides[0].per_second
    for side, number, wanted in zip(sides, kept, WANTED, strict=True):
        times = side.per_second / theirs
        told = ", ".join(f"{n} x {status}" for status, n in sorted(side.statuses.items()))
        print(
            f"{side.name:<28}{side.per_second:>9.0f}/s{times:>8.1f} times   {told}; {number} kept"
        )
        if times < wanted:
            missed.append(f"intake: {side.name} {times:.1f} times base_automation, not {wanted}")
        good = sum(n for status, n in side.statuses.items() if status in (200, 202))
        if number != good or good != sum(side.statuses.values()):
            missed.append(f"intake: {side.name} kept {number} of {good} accepted")
    return missed


def _automation(odoo: RunningOdoo) -> Side:
    printed = odoo.shell(_AUTOMATION)
    path = next(line.split()[1] for line in printed.splitlines() if line.startswith("path "))
    return Side("Odoo's base_automation", odoo.url, path, lambda: _count(odoo, "crm_lead"))


def _addon(name: str, odoo: RunningOdoo) -> Side:
    odoo.shell(_CONNECTOR.format(secret=SECRET))
    return Side(name, odoo.url, _PATH, lambda: _count(odoo, "trackflow_connector_event"))


def _count(odoo: RunningOdoo, table: str) -> int:
    [[number]] = odoo.sql(f"SELECT count(*) FROM {table}")  # noqa: S608 - a name of ours
    return int(number)


@contextmanager
def _standalone() -> Iterator[Side]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = folder / "trackflow.sqlite"
        database = Database(str(store))
        database.upgrade()
        environment = {"TRACKFLOW_SECRET": "a secret of this benchmark"}
        config = configuration.load(environment=environment, store=str(store))
        secrets = Secrets(signing=[SECRET])
        Switchboard(config, database).add("webhook", "shop", {}, secrets)
        database.close()
        server = redirect_server.start(folder, environment)
        try:
            # It looks for connectors once a second.
            time.sleep(2)
            yield Side("TrackFlow standalone", server.url, _PATH, lambda: _kept(store))
        finally:
            server.stop()


def _kept(store: Path) -> int:
    """Deliveries in the store or still in the spool."""
    with closing(sqlite3.connect(store)) as connection:
        held = {row[0] for row in connection.execute("SELECT event_id FROM connector_event")}
    with closing(sqlite3.connect(f"{store}.spool")) as spool:
        for (facts,) in spool.execute("SELECT facts FROM spool"):
            held |= {fact["event_id"] for fact in json.loads(facts)}
    return len(held)
