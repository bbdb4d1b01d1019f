"""Redirects of one link in Odoo: its own link_tracker, TrackFlow's controller, and TrackFlow loaded
server-wide, which answers in front of Odoo's dispatch, in the workers and in the evented process.

All servers run on one PostgreSQL that flushes to disk, with two workers each; eight clients ask
one at a time, in alternating rounds. The bare answer beside each is the floor of what its process
costs: `/web/health`, Odoo's cheapest route, and in front of the dispatch a constant 302.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks import load
from tests.environment import odoo_server, odoo_source
from tests.environment.odoo_databases import ADDONS
from tests.environment.odoo_server import RunningOdoo

CLIENTS = 8
WORKERS = 2
ROUNDS = 3
SECONDS = 8.0
SERVER_WIDE = ("--load=base,web,trackflow",)
LINK = """
link = env["link.tracker"].create({"url": "https://shop.example/%s?a=1", "title": "Offer"})
env.cr.commit()
print("code", link.code)
"""
DRAIN = """
while env["trackflow.click.queue"].search_count([("status", "=", "queued")]):
    env["trackflow.click.queue"]._cron_process_clicks()
    env.cr.commit()
"""
_CONSTANT = {
    "__manifest__.py": """
{"name": "Constant", "author": "TrackFlow", "license": "LGPL-3", "post_load": "post_load"}
""",
    "__init__.py": """
from odoo import http

class Constant:
    def __init__(self, odoo):
        self._odoo = odoo

    def __getattr__(self, name):
        return getattr(self._odoo, name)

    def __call__(self, environ, start_response):
        if environ["PATH_INFO"] != "/constant":
            return self._odoo(environ, start_response)
        headers = [("Location", "https://shop.example/offer"), ("Content-Length", "0")]
        start_response("302 FOUND", headers)
        return [b""]

def post_load():
    http.root = Constant(http.root)
""",
}


@dataclass
class Side:
    """One Odoo under test, at one of its addresses; `bare` is a path that costs next to nothing."""

    name: str
    odoo: RunningOdoo
    url: str = ""
    bare: str = "/web/health"
    redirects: load.Answers = field(default_factory=load.Answers)
    floor: load.Answers = field(default_factory=load.Answers)

    def prepare(self) -> None:
        self.url = self.url or self.odoo.url
        printed = self.odoo.shell(LINK % self.name.replace(" ", "-"))
        self.code = next(
            line.split()[1] for line in printed.splitlines() if line.startswith("code ")
        )
        load.run(self.url, self._path, CLIENTS, 2)
        self.clicks_before = self.clicks() + self.queued()

    def round(self) -> None:
        self.floor.add(load.run(self.url, lambda _: self.bare, CLIENTS, SECONDS / 2))
        self.redirects.add(load.run(self.url, self._path, CLIENTS, SECONDS))

    def clicks(self) -> int:
        (row,) = self.odoo.sql(
            "SELECT count(*) FROM link_tracker_click JOIN link_tracker_code USING (link_id)"
            " WHERE code = %s",
            self.code,
        )
        return int(row[0])

    def queued(self) -> int:
        if self.name == "link_tracker":
            return 0
        (row,) = self.odoo.sql(
            "SELECT count(*) FROM trackflow_click_queue WHERE status = 'queued' AND link_code = %s",
            self.code,
        )
        return int(row[0])

    def recorded(self) -> int:
        """Click events of the rounds, once the queue is drained."""
        self.odoo.shell(DRAIN)
        return self.clicks() - self.clicks_before

    def serialisation_failures(self) -> int:
        return self.odoo.log.read_text(errors="replace").count("could not serialize access")

    def _path(self, _: int) -> str:
        return f"/r/{self.code}"

    def line(self, theirs: Side) -> str:
        answers = self.redirects
        statuses = ", ".join(f"{n} x {status}" for status, n in sorted(answers.statuses.items()))
        return (
            f"{self.name:<20}{answers.per_second:>8.0f}{self.times(theirs):>7.1f}"
            f"{answers.median_ms:>11.1f}{answers.p99_ms:>9.1f}"
            f"{self.floor.per_second:>13.0f} {self.bare:<12}{self.serialisation_failures():>14}"
            f"   {statuses}"
        )

    def times(self, theirs: Side) -> float:
        return self.redirects.per_second / theirs.redirects.per_second


def main() -> list[str]:
    """Print the table; the targets that were missed, in words."""
    with (
        odoo_server.fresh(["link_tracker", "crm"], workers=WORKERS) as plain,
        odoo_server.fresh(["trackflow"], workers=WORKERS) as tracked,
        _server_wide() as wide,
    ):
        sides = (
            Side("link_tracker", plain),
            Side("trackflow", tracked),
            Side("in front", wide, bare="/constant"),
            Side("in front, evented", wide, wide.evented_url, "/constant"),
        )
        for side in sides:
            side.prepare()
        for _ in range(ROUNDS):
            for side in sides:
                side.round()
        theirs, ours, fronted, evented = sides
        print(f"\nRedirects of one link, {CLIENTS} clients, {WORKERS} workers")
        print(
            f"{'':<20}{'per s':>8}{'times':>7}{'median ms':>11}{'p99 ms':>9}"
            f"{'bare per s':>13} {'':<12}{'serialisation':>14}   answers"
        )
        for side in sides:
            print(side.line(theirs))
        ceiling = fronted.floor.per_second / theirs.redirects.per_second
        print(
            f"Odoo's worker answering a constant 302: {fronted.floor.per_second:.0f}/s, "
            f"{ceiling:.1f} times link_tracker"
        )
        share = fronted.redirects.per_second / fronted.floor.per_second
        tail = ours.redirects.p99_ms / ours.redirects.median_ms
        print(f"in front / that {share:.2f}; trackflow's p99 / median {tail:.1f}")
        ratio, in_front = ours.times(theirs), evented.times(theirs)
        checks = {
            f"redirects {ratio:.1f} times link_tracker, not 3": ratio >= 3,
            f"in front of the dispatch {in_front:.1f} times, not 10": in_front >= 10,
            f"p99 {tail:.1f} times the median, not under 3": tail < 3,
        }
        for side in (ours, fronted, evented):
            recorded, redirected = side.recorded(), side.redirects.statuses[302]
            print(
                f"{side.name}: {redirected} answers of 302, {recorded} click events after the drain"
            )
            checks |= {
                f"{side.name}: serialisation failures": side.serialisation_failures() == 0,
                f"{side.name}: clicks recorded differ from answers": recorded == redirected,
                f"{side.name}: answers other than 302": set(side.redirects.statuses) == {302},
            }
    return [words for words, reached in checks.items() if not reached]


@contextmanager
def _server_wide() -> Iterator[RunningOdoo]:
    """Odoo with the addon in front of its dispatch, and a constant 302 in front of that."""
    with tempfile.TemporaryDirectory() as folder:
        addon = Path(folder) / "constant"
        addon.mkdir()
        for name, content in _CONSTANT.items():
            (addon / name).write_text(content, encoding="utf-8")
        paths = ",".join(map(str, (*odoo_source.obtain().addons_paths, ADDONS, folder)))
        options = ("--load=base,web,trackflow,constant", f"--addons-path={paths}")
        with odoo_server.fresh(["trackflow"], workers=WORKERS, options=options) as odoo:
            yield odoo
