"""Redirects of one link in Odoo: its own link_tracker, TrackFlow's controller, and TrackFlow loaded
server-wide, which answers in front of Odoo's dispatch.

All servers run on one PostgreSQL that flushes to disk, with two workers each; eight clients ask
one at a time, in alternating rounds. `/web/health`, Odoo's cheapest route, is the floor of what
its dispatch costs.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.benchmarks import load
from tests.environment import odoo_server
from tests.environment.odoo_server import RunningOdoo

CLIENTS = 8
WORKERS = 2
ROUNDS = 3
SECONDS = 8.0
SERVER_WIDE = ("--load=base,web,trackflow",)
LINK = """
link = env["link.tracker"].create({"url": "https://shop.example/offer?a=1", "title": "Offer"})
env.cr.commit()
print("code", link.code)
"""
DRAIN = """
while env["trackflow.click.queue"].search_count([("status", "=", "queued")]):
    env["trackflow.click.queue"]._cron_process_clicks()
    env.cr.commit()
"""


@dataclass
class Side:
    """One Odoo under test."""

    name: str
    odoo: RunningOdoo
    redirects: load.Answers = field(default_factory=load.Answers)
    health: load.Answers = field(default_factory=load.Answers)

    def prepare(self) -> None:
        printed = self.odoo.shell(LINK)
        self.code = next(
            line.split()[1] for line in printed.splitlines() if line.startswith("code ")
        )
        load.run(self.odoo.url, self._path, CLIENTS, 2)
        self.clicks_before = self.clicks() + self.queued()

    def round(self) -> None:
        self.health.add(load.run(self.odoo.url, lambda _: "/web/health", CLIENTS, SECONDS / 2))
        self.redirects.add(load.run(self.odoo.url, self._path, CLIENTS, SECONDS))

    def clicks(self) -> int:
        (row,) = self.odoo.sql("SELECT count(*) FROM link_tracker_click")
        return int(row[0])

    def queued(self) -> int:
        if self.name == "link_tracker":
            return 0
        (row,) = self.odoo.sql("SELECT count(*) FROM trackflow_click_queue WHERE status = 'queued'")
        return int(row[0])

    def recorded(self) -> int:
        """Click events of the rounds, once the queue is drained."""
        self.odoo.shell(DRAIN)
        return self.clicks() - self.clicks_before

    def serialisation_failures(self) -> int:
        return self.odoo.log.read_text(errors="replace").count("could not serialize access")

    def _path(self, _: int) -> str:
        return f"/r/{self.code}"

    def line(self) -> str:
        answers = self.redirects
        statuses = ", ".join(f"{n} x {status}" for status, n in sorted(answers.statuses.items()))
        return (
            f"{self.name:<14}{answers.per_second:>9.0f}{answers.median_ms:>12.1f}"
            f"{answers.p99_ms:>9.1f}{self.health.per_second:>14.0f}"
            f"{self.serialisation_failures():>16}   {statuses}"
        )


def main() -> list[str]:
    """Print the table; the targets that were missed, in words."""
    with (
        odoo_server.fresh(["link_tracker", "crm"], workers=WORKERS) as plain,
        odoo_server.fresh(["trackflow"], workers=WORKERS) as tracked,
        odoo_server.fresh(["trackflow"], workers=WORKERS, options=SERVER_WIDE) as front,
    ):
        sides = Side("link_tracker", plain), Side("trackflow", tracked), Side("in front", front)
        for side in sides:
            side.prepare()
        for _ in range(ROUNDS):
            for side in sides:
                side.round()
        theirs, ours, fronted = sides
        print(f"\nRedirects of one link, {CLIENTS} clients, {WORKERS} workers")
        print(
            f"{'':<14}{'per s':>9}{'median ms':>12}{'p99 ms':>9}{'/web/health/s':>14}"
            f"{'serialisation':>16}   answers"
        )
        for side in sides:
            print(side.line())
        ratio = ours.redirects.per_second / theirs.redirects.per_second
        in_front = fronted.redirects.per_second / theirs.redirects.per_second
        tail = ours.redirects.p99_ms / ours.redirects.median_ms
        print(
            f"ours / link_tracker {ratio:.1f}, in front {in_front:.1f}; our p99 / median {tail:.1f}"
        )
        checks = {
            f"redirects {ratio:.1f} times link_tracker, not 3": ratio >= 3,
            f"in front of the dispatch {in_front:.1f} times, not 10": in_front >= 10,
            f"p99 {tail:.1f} times the median, not under 3": tail < 3,
        }
        for side in (ours, fronted):
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
