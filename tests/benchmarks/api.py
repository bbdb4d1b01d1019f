"""The same operations by TrackFlow's API, standalone and in Odoo, and by Odoo's own `/json/2`.

A link is read by its code, changed in its title, and made. Eight clients ask over kept-alive
connections, in alternating rounds on one machine. Both Odoos are one: the same workers, the same
database, flushed to disk. They change one link after the other: of two who change the same one,
Odoo lets the second wait up to two seconds, and the figures would be those of waiting.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from tests.benchmarks import peers, redirect_server
from tests.environment import odoo_server
from trackflow_core.api import keys
from trackflow_core.model import Link
from trackflow_server.store import Database
from trackflow_server.store.catalog import SqlCatalog

CLIENTS = 8
ROUNDS = 3
SECONDS = 3
CODES = tuple(f"offer{number}" for number in range(100, 164))
UNLIMITED = 1_000_000_000
# A body may count, since two links must differ in Odoo; each request has the next of the places.
SCRIPT = """
wrk.method = %(method)s
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = %(authorization)s
local number = 0
local body = %(body)s
local places = {%(places)s}
request = function()
  number = number + 1
  local place = places[number %% #places + 1]
  local path = string.gsub(wrk.path, "PLACE", place)
  if body == "" then return wrk.format(nil, path) end
  local counted = string.gsub(body, "NUMBER", %(mark)s .. number)
  return wrk.format(nil, path, nil, (string.gsub(counted, "PLACE", place)))
end
"""
PREPARE = f"""
from datetime import timedelta
from odoo import fields
from odoo.addons.trackflow.catalog import OdooCatalog
from trackflow_core.api import keys
from trackflow_core.model import Link
from datetime import datetime, timezone
user = env.ref("base.user_admin")
issued = keys.issue("bench", keys.SCOPES, datetime.now(timezone.utc), hourly_limit={UNLIMITED})
OdooCatalog(env(user=user)).create([issued.key])
codes = {CODES!r}
links = env["link.tracker"].with_context(trackflow_codes=list(codes)).create(
    [{{"url": f"https://shop.example/offer?a={{code}}", "title": "Offer"}} for code in codes])
own = env(user=user)["res.users.apikeys"]._generate(
    "rpc", "bench", fields.Datetime.now() + timedelta(days=1))
env.cr.commit()
print("told", issued.token, own, *links.ids)
"""


@dataclass(frozen=True)
class Ask:
    """A request that is made again and again: NUMBER in its body is another each time, and PLACE in
    its address or body the next of `places`."""

    url: str
    token: str
    places: Sequence[str]
    method: str = "GET"
    body: str = ""


@dataclass
class Side:
    """One interface with its requests, by the operation's name, and what came back."""

    name: str
    asks: Mapping[str, Ask]
    totals: dict[str, redirect_server.Total] = field(default_factory=dict)

    def round(self) -> None:
        for operation, ask in self.asks.items():
            total = self.totals.setdefault(operation, redirect_server.Total())
            total.add(_wrk(ask))

    def per_second(self, operation: str) -> float:
        return self.totals[operation].per_second

    def line(self) -> str:
        cells = "".join(
            f"{total.per_second:>10.0f}{total.p99 / 1000:>9.1f}" for total in self.totals.values()
        )
        return f"{self.name:<26}{cells}"


def main() -> list[str]:
    """Print the table; the targets that were missed, in words."""
    with (
        tempfile.TemporaryDirectory() as name,
        _standalone(Path(name)) as standalone,
        odoo_server.fresh(["trackflow"], workers=2) as odoo,
    ):
        printed = odoo.shell(PREPARE)
        told = next(line for line in printed.splitlines() if line.startswith("told ")).split()
        _, token, own, *numbers = told
        sides = (
            standalone,
            Side("TrackFlow in Odoo", _trackflow(odoo.url, token)),
            Side("Odoo's /json/2", _json2(odoo.url, own, numbers)),
        )
        for side in sides:
            # Workers load much with their first requests, whoever sends them.
            side.round()
            side.totals.clear()
        for _ in range(ROUNDS):
            for side in sides:
                side.round()
    ours, in_odoo, theirs = sides
    print(f"\nA link is read, changed and made, {CLIENTS} clients: requests/s and p99 in ms")
    print(f"{'':<26}" + "".join(f"{name:>10}{'p99':>9}" for name in ours.asks))
    missed = []
    for side in sides:
        print(side.line())
        refused = sum(total.refused for total in side.totals.values())
        if refused:
            missed.append(f"{side.name}: {refused} requests were refused")
    for operation in ours.asks:
        alone = ours.per_second(operation) / theirs.per_second(operation)
        hosted = in_odoo.per_second(operation) / theirs.per_second(operation)
        print(f"{operation}: standalone / json2 {alone:.1f}; in Odoo / json2 {hosted:.2f}")
        if alone < 5:
            missed.append(f"standalone {operation} {alone:.1f} times json2, not 5")
        if hosted < 1:
            missed.append(f"in Odoo {operation} {hosted:.2f} times json2, not 1")
    return missed


def _trackflow(url: str, token: str) -> Mapping[str, Ask]:
    links = f"{url}/trackflow/api/v1/links"
    return {
        "read": Ask(f"{links}/PLACE", token, CODES),
        "change": Ask(f"{links}/PLACE", token, CODES, "PATCH", '{"title": "Offer NUMBER"}'),
        "make": Ask(
            links,
            token,
            CODES,
            "POST",
            '{"destination": "https://shop.example/NUMBER", "title": "Offer NUMBER"}',
        ),
    }


def _json2(url: str, token: str, numbers: Sequence[str]) -> Mapping[str, Ask]:
    model = f"{url}/json/2/link.tracker"
    fields = ["title", "url", "short_url", "source_id", "medium_id", "campaign_id", "count"]
    read = {"domain": [["link_code_ids.code", "=", "PLACE"]], "fields": fields}
    change = '{"ids": [PLACE], "vals": {"title": "Offer NUMBER"}}'
    make = {"vals_list": [{"url": "https://shop.example/NUMBER", "title": "Offer NUMBER"}]}
    return {
        "read": Ask(f"{model}/search_read", token, CODES, "POST", json.dumps(read)),
        "change": Ask(f"{model}/write", token, numbers, "POST", change),
        "make": Ask(f"{model}/create", token, CODES, "POST", json.dumps(make)),
    }


@contextmanager
def _standalone(folder: Path) -> Iterator[Side]:
    server = redirect_server.start(folder)
    issued = keys.issue("bench", keys.SCOPES, datetime.now(timezone.utc), hourly_limit=UNLIMITED)
    database = Database(str(folder / "trackflow.sqlite"))
    with database.transaction() as store:
        SqlCatalog(store, "", ()).create([issued.key])
        store.save_links(Link(code, f"https://shop.example/offer?a={code}") for code in CODES)
    database.close()
    try:
        yield Side("TrackFlow standalone", _trackflow(server.url, issued.token))
    finally:
        server.stop()


def _wrk(ask: Ask) -> Mapping[str, float]:
    program = peers.program("wrk")
    values = {
        "method": ask.method,
        "authorization": f"Bearer {ask.token}",
        "body": ask.body,
        # Unlike that of any other round.
        "mark": f"{os.getpid()}-{datetime.now().timestamp()}-",
    }
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        quoted = {name: json.dumps(value) for name, value in values.items()}
        quoted["places"] = ", ".join(map(json.dumps, ask.places))
        script.write(SCRIPT % quoted + redirect_server.REPORT)
        script.flush()
        printed = subprocess.run(
            [program, "-t1", f"-c{CLIENTS}", f"-d{SECONDS}s", "-s", script.name, ask.url],
            env=peers.environment_of(program), capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    told: Mapping[str, float] = json.loads(printed[printed.rindex("{") :])
    return told
