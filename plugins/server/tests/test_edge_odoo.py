"""An edge before a real Odoo with the addon: its links lead on, and every click arrives once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.environment import odoo_server
from tests.environment.odoo_databases import our_addons
from tests.environment.odoo_server import RunningOdoo
from trackflow_core.testing.facts import BROWSER
from trackflow_core.tracking.identity import COOKIE_NAME

_LINK = "edge2odoo"
_PREPARE = f"""
from datetime import datetime, timezone
from odoo.addons.trackflow.catalog import OdooCatalog
from trackflow_core.api import keys
issued = keys.issue(
    "Edge", [keys.EDGE, "events:write", "links:write"], datetime.now(timezone.utc),
    hourly_limit=1_000_000)
OdooCatalog(env(user=env.ref("base.user_admin"))).create([issued.key])
env["link.tracker"].with_context(trackflow_codes=["{_LINK}"]).create({{
    "url": "https://shop.example/offer?a=1", "title": "Offer",
    "campaign_id": env["utm.campaign"].create({{"title": "Spring"}}).id}})
env.cr.commit()
print("key", issued.token)
"""
_ARRIVED = "SELECT count(*), count(DISTINCT event_id) FROM trackflow_click_queue"
_VISITORS = "SELECT count(DISTINCT visitor_key) FROM trackflow_click_queue"
Start = Callable[[], AbstractContextManager[RunningOdoo]]


def _until(true: Callable[[], object], what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.1)


@pytest.fixture
def upstream() -> Iterator[Start]:
    """Starts the same Odoo at the same address, for the duration of a block."""
    with odoo_server.connected(durable=False) as databases:
        template = databases.template(our_addons())
        port = odoo_server.free_port()
        with databases.scratch(template) as database:
            # No job takes clicks out of the queue, so that what has arrived can be counted.
            options = ("--max-cron-threads=0",)
            yield lambda: odoo_server.serving(databases, database, port=port, options=options)


class People:
    """Follow the link at one host or another; `sent_on` counts the redirects."""

    def __init__(self) -> None:
        self.sent_on = 0

    def click(self, url: str, query: str = "", **options: Any) -> requests.Response:
        answer = requests.get(
            f"{url}/r/{_LINK}{query}",
            headers={"User-Agent": BROWSER},
            allow_redirects=False,
            timeout=20,
            **options,
        )
        self.sent_on += answer.status_code == 302
        return answer

    def all_sent_on(self, url: str, number: int) -> None:
        assert [self.click(url).status_code for _ in range(number)] == [302] * number


@pytest.mark.slow
def test_clicks_at_an_edge_arrive_in_odoo_once_whatever_happens_to_it(
    serving: Any, upstream: Start, tmp_path: Path
) -> None:
    people = People()
    with ExitStack() as running:
        with upstream() as odoo:
            key = _key(odoo)
            edge = running.enter_context(
                serving(
                    tmp_path / "edge",
                    upstream=odoo.url,
                    upstream_key=key,
                    upstream_seconds="1",
                    secret="",
                    without_consent="full",
                )
            )
            _until(lambda: people.click(edge.url).status_code == 302, "the link did not arrive")
            at_edge = people.click(edge.url, "?gclid=X")
            known = {COOKIE_NAME: at_edge.cookies[COOKIE_NAME]}
            at_odoo = people.click(odoo.url, "?gclid=X", cookies=known)
            assert at_odoo.headers["Location"] == at_edge.headers["Location"]
            _until(lambda: _arrived(odoo) == people.sent_on, "clicks are missing")
            # That of the first click, and one who is the same at both.
            assert odoo.sql(_VISITORS) == [(2,)]
            _change_source(odoo, key, "bing")
            _until(
                lambda: "utm_source=bing" in people.click(edge.url).headers["Location"],
                "the change did not arrive",
                10,
            )
        people.all_sent_on(edge.url, 40)
        _until(lambda: edge.health()["status"] == "degraded", "the outage is not told")
        assert edge.health()["spooled"] >= 40
        with upstream() as odoo:
            people.all_sent_on(edge.url, 10)
            _until(lambda: edge.health()["spooled"] == 0, "facts stay in the spool")
            assert (edge.health()["lost"], edge.health()["set_aside"]) == (0, 0)
            assert _arrived(odoo) == people.sent_on


def _key(odoo: RunningOdoo) -> str:
    printed = odoo.shell(_PREPARE)
    return next(line[4:] for line in printed.splitlines() if line.startswith("key "))


def _arrived(odoo: RunningOdoo) -> int:
    [(number, distinct)] = odoo.sql(_ARRIVED)
    assert number == distinct
    return int(number)


def _change_source(odoo: RunningOdoo, key: str, source: str) -> None:
    changed = requests.patch(
        f"{odoo.url}/trackflow/api/v1/links/{_LINK}",
        json={"source": source},
        headers={"Authorization": f"Bearer {key}"},
        timeout=20,
    )
    assert changed.ok, changed.text
