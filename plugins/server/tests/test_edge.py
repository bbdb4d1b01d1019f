"""An edge answers in its upstream's stead, and every click arrives there exactly once."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest
import requests
from sqlalchemy import func, select

from trackflow_core.api import keys as api_keys
from trackflow_core.api import schemas
from trackflow_core.api.storage import ApiKey
from trackflow_core.errors import ConfigError, RetriableError
from trackflow_core.model import Click, Link
from trackflow_core.testing.facts import BROWSER
from trackflow_core.tracking import identity
from trackflow_http.testing import listening
from trackflow_server import config, doctor, facts, keys
from trackflow_server.edge import Edge, check_store, event_of
from trackflow_server.spool import SpoolWriter
from trackflow_server.store import Database, schema
from trackflow_server.store.catalog import SqlCatalog

SECRET = "a secret of this test run"
UPSTREAM = ("upstream", "clock", "links", "events")
OFFER = Link("offer22", "https://shop.example/offer?a=1", "google", "cpc", "spring")


def _key(database: Database) -> str:
    issued = api_keys.issue(
        "Edge", [api_keys.EDGE, "events:write", "links:write"], datetime.now(timezone.utc),
        hourly_limit=1_000_000,
    )  # fmt: skip
    with database.transaction() as store:
        SqlCatalog(store, "", ()).create([issued.key])
    return issued.token


def _until(true: Callable[[], object], what: str, seconds: float = 40) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.1)


class Pair:
    """An upstream that can be stopped and started at one address, and settings of its edges."""

    def __init__(self, serving: Any, folder: Path) -> None:
        self.serving, self.folder = serving, folder
        self.store = folder / "upstream.sqlite"
        self.database = Database(str(self.store))
        self.database.upgrade()
        with self.database.transaction() as store:
            store.save_links([OFFER])
        self.key = _key(self.database)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def upstream(self) -> Any:
        return self.serving(self.folder / "upstream", store=str(self.store), port=self.port)

    def copy(self) -> None:
        """Let an edge copy the upstream's links, so that others can begin without upstream."""
        with self.upstream(), self._edge("copy") as edge:
            _until(lambda: edge.get("/r/offer22").status_code == 302, "no copy of the links")
            _until(lambda: edge.health()["spooled"] == 0, "facts stay in the spool")

    def edge(self, name: str, **settings: str) -> Any:
        """An edge in a folder of its own, which begins with a copy of the links."""
        folder = self.folder / name
        if not folder.exists():
            folder.mkdir()
            for file in (self.folder / "copy").glob("trackflow.sqlite*"):
                shutil.copy(file, folder)
        return self._edge(name, **settings)

    def _edge(self, name: str, **settings: str) -> Any:
        return self.serving(
            self.folder / name,
            upstream=f"http://127.0.0.1:{self.port}",
            upstream_key=self.key,
            upstream_seconds="1",
            secret="",
            without_consent="full",
            **settings,
        )

    def recorded(self) -> int:
        """The clicks that have arrived, all of them distinct."""
        click = schema.click.c
        with self.database.reading() as store:
            query = select(func.count(), func.count(click.event_id.distinct()))
            number, distinct = store.connection.execute(query).one()
        assert number == distinct
        return int(number)


@pytest.fixture(scope="module")
def pair(serving: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    made = Pair(serving, tmp_path_factory.mktemp("edge"))
    made.copy()
    yield made
    made.database.close()


def _click(edge: Any, number: int, **headers: str) -> Sequence[int]:
    """The answers to so many clicks, several at a time."""
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda _: edge.get("/r/offer22", headers=headers), range(number))
        return [answer.status_code for answer in answers]


@pytest.mark.slow
def test_links_follow_and_visitors_are_known_upstream(pair: Pair) -> None:
    with pair.upstream() as upstream, pair.edge("follows") as edge:
        before = pair.recorded()
        answer = edge.get("/r/offer22?gclid=X")
        assert answer.headers["Location"].startswith("https://shop.example/offer?a=1&utm_source")
        visitor_keys = [keys.derive(SECRET, "visitor")]
        cookie = answer.cookies[identity.COOKIE_NAME]
        visitor = identity.read_cookie(cookie, visitor_keys)
        assert visitor
        changed = requests.patch(
            f"{upstream.url}/trackflow/api/v1/links/offer22",
            json={"source": "bing"},
            headers={"Authorization": f"Bearer {pair.key}"},
            timeout=20,
        )
        assert changed.ok, changed.text
        _until(lambda: "bing" in edge.get("/r/offer22").headers["Location"], "no change", 10)
        viewed = {"id": token_hex(16), "type": "page_view", "url": "https://shop.example/p"}
        nested: dict[str, Any] = {}
        for _ in range(15):
            nested = {"in": nested}
        refused = {**viewed, "id": token_hex(16), "data": nested}
        page = requests.post(
            f"{edge.url}/trackflow/collect",
            json={"events": [viewed, refused]},
            headers={"User-Agent": BROWSER},
            timeout=20,
        )
        assert page.ok, page.text
        _until(lambda: edge.health()["spooled"] == 0, "facts stay in the spool")
        _until(lambda: pair.recorded() > before, "no click arrived")
        _until(lambda: upstream.health()["queued"] == 0, "clicks wait upstream")
        with pair.database.reading() as store:
            click = schema.click.c
            known = store.connection.scalar(select(click.place).where(click.visitor_id == visitor))
        assert known
        told = edge.health()
        assert (told["status"], told["links"], told["set_aside"]) == ("ok", 1, 1)


@pytest.mark.slow
def test_nobody_goes_round_under_a_host_that_upstream_does_not_know(pair: Pair) -> None:
    own = "https://go.example/r"
    links = [
        Link("itself2", f"{own}/itself2?a=1"),
        Link("there22", f"{own}/back222"),
        Link("back222", "https://GO.example/r/there22"),
        Link("chain22", f"{own}/offer22"),
    ]
    with pair.upstream() as upstream, pair.edge("round") as edge:
        upstream.save(*links)

        def answers(host: str) -> list[int]:
            headers = {"Host": host}
            return [edge.get(f"/r/{link.code}", headers=headers).status_code for link in links]

        _until(lambda: answers("other.example") == [302] * 4, "no copy of the links")
        assert answers("go.example") == [410, 410, 410, 302]
        assert "The link itself2 leads back to itself by" in edge.log.read_text()
        _until(lambda: edge.health()["spooled"] == 0, "facts stay in the spool")


@pytest.mark.slow
def test_hours_without_upstream_cost_no_click_and_count_none_twice(pair: Pair) -> None:
    before = pair.recorded()
    spool = pair.folder / "outage" / "spool"
    with pair.edge("outage") as edge:
        assert _click(edge, 40) == [302] * 40
        _until(lambda: edge.health()["status"] == "degraded", "the outage is not told")
        edge.kill()
    with pair.edge("outage") as edge:
        assert _click(edge, 40) == [302] * 40
        assert edge.health()["spooled"] == 80
        edge.kill()
    # What was handed in once more than the upstream needs, say after a restored backup.
    for name in (spool, Path(f"{spool}-wal")):
        shutil.copy(name, name.with_name(f"copy-{name.name}"))
    with pair.upstream() as upstream:
        with pair.edge("outage") as edge:
            _until(lambda: edge.health()["spooled"] == 0, "facts stay in the spool")
            _until(lambda: pair.recorded() - before >= 80, "clicks are missing")
        for name in (spool, Path(f"{spool}-wal")):
            shutil.copy(name.with_name(f"copy-{name.name}"), name)
        Path(f"{spool}-shm").unlink(missing_ok=True)
        with pair.edge("outage") as edge:
            assert edge.health()["spooled"] in (0, 80)
            assert _click(edge, 5) == [302] * 5
            _until(lambda: edge.health()["spooled"] == 0, "facts stay in the spool")
            _until(lambda: pair.recorded() - before >= 85, "clicks are missing")
            _until(lambda: upstream.health()["queued"] == 0, "clicks wait upstream")
            assert pair.recorded() - before == 85


@pytest.mark.slow
def test_a_full_spool_is_told_and_visitors_go_on(pair: Pair) -> None:
    before = pair.recorded()
    long = {"User-Agent": "Mozilla/5.0 " + "x" * 2000}
    answered, states = 0, []
    with pair.edge("small", spool_megabytes="1") as edge:
        while not states or (states[-1] != "failing" and answered < 3000):
            assert _click(edge, 20, **long) == [302] * 20
            answered += 20
            states.append(edge.health()["status"])
        told = edge.health()
        assert edge.get("/trackflow/health").status_code == 503
        assert "Clicks are being lost" in told["problem"]
        assert told["lost"] > 0
        assert told["spooled"] + told["lost"] == answered
        assert "degraded" in states
        with pair.upstream():
            _until(lambda: edge.health()["spooled"] == 0, "facts stay in the spool")
            assert _click(edge, 1) == [302]
            _until(lambda: edge.health()["status"] == "ok", "the shortage is told after its end")
            kept = answered - edge.health()["lost"] + 1
            _until(lambda: pair.recorded() - before >= kept, "clicks are missing")
            assert pair.recorded() - before == kept


@pytest.mark.slow
def test_a_clock_that_jumps_costs_no_click(
    pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = pair.recorded()
    with pair.upstream():
        for name, value in _clock(tmp_path, timedelta()).items():
            monkeypatch.setenv(name, value)
        with pair.edge("clock") as edge:
            for ahead in (timedelta(), timedelta(days=-400), timedelta(days=30)):
                _shift(tmp_path, ahead)
                assert _click(edge, 5) == [302] * 5
            _until(lambda: edge.health()["spooled"] == 0, "facts stay in the spool")
            _until(lambda: pair.recorded() - before >= 15, "clicks are missing")
    assert pair.recorded() - before == 15
    with pair.database.reading() as store:
        moments = store.connection.scalars(select(schema.click.c.occurred_at)).all()
    now = datetime.now(timezone.utc)
    assert sum(now - moment > timedelta(days=399) for moment in moments) == 5
    # The upstream takes a moment that is still to come for now.
    assert max(moments) <= now


def _clock(folder: Path, ahead: timedelta) -> dict[str, str]:
    """The environment of a program whose clock runs `ahead`; `_shift` moves it later."""
    (folder / "ahead").write_text(str(ahead.total_seconds()))
    return {"PYTHONPATH": str(Path(__file__).with_name("clock")), "TEST_CLOCK": str(folder)}


def _shift(folder: Path, ahead: timedelta) -> None:
    """Move the clock of all programs of a folder, and wait until each runs by it."""
    told = str(ahead.total_seconds())
    (folder / "new").write_text(told)
    (folder / "new").replace(folder / "ahead")

    def moved() -> bool:
        programs = [path for path in folder.glob("by-*") if _runs(int(path.name[3:]))]
        return bool(programs) and all(path.read_text() == told for path in programs)

    _until(moved, "a clock was not moved")


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def _settings(folder: Path, **environment: str) -> config.ServerConfig:
    told = {"STORE": str(folder / "trackflow.sqlite"), **environment}
    return config.load(None, {f"TRACKFLOW_{name}": value for name, value in told.items()})


def test_an_edge_never_takes_the_store_of_a_server(tmp_path: Path) -> None:
    edge = {"UPSTREAM": "http://127.0.0.1:9", "UPSTREAM_KEY": "tf_a_b"}
    settings = _settings(tmp_path, **edge)
    database = Database(settings.store)
    database.upgrade()
    with pytest.raises(RetriableError, match="no connection"):
        Edge(settings, database).prepare()
    with database.transaction() as store:
        store.save_links([OFFER])
    with pytest.raises(ConfigError, match="holds links of its own"):
        Edge(settings, database).prepare()
    with database.transaction() as store:
        store.add(schema.edge_state, [{"name": "cursor", "value": "1.1"}])
    with pytest.raises(ConfigError, match="is the copy of an edge"):
        check_store(database, is_edge=False)
    database.close()
    with pytest.raises(ConfigError, match="TRACKFLOW_UPSTREAM_KEY is not set"):
        _settings(tmp_path, UPSTREAM=edge["UPSTREAM"])


@pytest.mark.parametrize("code", ["café.x", "a" * 255, "summer/2026"])
def test_whatever_an_edge_records_its_upstream_takes(code: str) -> None:
    click = Click(
        event_id=token_hex(16),
        occurred_at=datetime.now(timezone.utc),
        link_code=code,
        destination="https://shop.example/two words?" + "a" * 9000,
        referrer="https://news.example/" + "b" * 9000,
        user_agent="Browser\t" + "c" * 9000,
    )
    taken = schemas.Event.model_validate(event_of(facts.of_click(click)))
    assert taken.link == code
    assert taken.url.startswith("https://shop.example/two words?aaa")


def test_facts_stay_while_a_proxy_answers_for_the_upstream(tmp_path: Path) -> None:
    asked: list[str] = []

    def closed(method: str, *_: object) -> tuple[int, Mapping[str, str], Any]:
        asked.append(method)
        return 200, {}, {"status": "maintenance"}

    with listening(closed, ("GET", "POST")) as address:
        settings = _settings(tmp_path, UPSTREAM=address, UPSTREAM_KEY="tf_a_b")
        database = Database(settings.store)
        database.upgrade()
        asyncio.run(_spool(settings.spool_path))
        edge = Edge(settings, database)
        with pytest.raises(RetriableError, match="not as TrackFlow does"):
            edge.prepare()
        edge.start()
        try:
            _until(lambda: asked.count("POST") > 1, "the click is not handed in again")
        finally:
            edge.stop()
            database.close()


async def _spool(path: Path) -> None:
    click = Click(token_hex(16), datetime.now(timezone.utc), OFFER.code, OFFER.destination)
    writer = SpoolWriter(path)
    writer.start()
    await writer.append(facts.of_click(click))
    await writer.stop()


# -- the doctor ----------------------------------------------------------------------------------


def _environment(pair: Pair, edge: Any, **changed: str) -> dict[str, str]:
    """The environment of an edge's commands."""
    return {
        "TRACKFLOW_STORE": str(edge.database.url.database),
        "TRACKFLOW_SPOOL": str(edge.log.with_name("spool")),
        "TRACKFLOW_PORT": edge.url.rpartition(":")[2],
        "TRACKFLOW_UPSTREAM": f"http://127.0.0.1:{pair.port}",
        "TRACKFLOW_UPSTREAM_KEY": pair.key,
        "TRACKFLOW_UPSTREAM_SECONDS": "1",
        **changed,
    }


def _examined(pair: Pair, edge: Any, **changed: str) -> dict[str, str]:
    """What the doctor says of each part of an edge: "ok", "skipped", or the problem."""
    return {
        found.part: "skipped" if found.skipped else found.problem or "ok"
        for found in doctor.examine(config.load(None, _environment(pair, edge, **changed)))
    }


@pytest.mark.slow
def test_the_doctor_finds_an_edge_well_and_leaves_nothing_upstream(pair: Pair) -> None:
    with pair.upstream() as upstream, pair.edge("well") as edge:
        before = pair.recorded()
        found = _examined(pair, edge)
        assert [*found] == ["plugins", "store", "keys", "spool", "server", *UPSTREAM]
        assert {*found.values()} == {"ok"}
        with upstream.database.reading() as store:
            assert store.queue_lengths() == (0, 0)
        assert pair.recorded() == before
        health = edge.health()
        assert (health["spooled"], health["set_aside"]) == (0, 0)


@pytest.mark.slow
def test_the_doctor_names_what_is_broken_of_an_edge(pair: Pair, tmp_path: Path) -> None:
    with pair.upstream(), pair.edge("broken") as edge:
        # Links may have changed since the edge's copy was made.
        assert _examined(pair, edge)["links"] == "ok"
    with pair.edge("broken") as edge:
        # Upstream is down: visitors are answered all the same.
        found = _examined(pair, edge)
        assert (found["server"], found["clock"], found["events"]) == ("ok", "skipped", "skipped")
        assert str(pair.port) in found["upstream"]
        folder = str(edge.log.parent)
        assert "unable to open" in _examined(pair, edge, TRACKFLOW_SPOOL=folder)["spool"]
    with pair.upstream():
        wrong = f"{pair.key[:-4]}AAAA"
        found = _examined(pair, edge, TRACKFLOW_UPSTREAM_KEY=wrong)
        assert "start the server" not in found["keys"] and "skipped" not in found["keys"]
        assert "401" in found["upstream"]
        assert "start the server" in _examined(pair, edge)["server"]
        ahead = _clock(tmp_path, timedelta(minutes=5))
        assert "seconds ahead of" in _told_of_the_clock({**_environment(pair, edge), **ahead})
        with _scopes(pair, {api_keys.EDGE}):
            found = _examined(pair, edge)
            assert (found["upstream"], found["links"]) == ("ok", "ok")
            assert "403" in found["events"] and "events:write" in found["events"]
        with _scopes(pair, {"events:write"}):
            found = _examined(pair, edge)
            assert "403" in found["upstream"] and "edge:read" in found["upstream"]
        with pair.database.transaction() as store:
            store.save_links([replace(OFFER, code="later22")])
        assert "'later22'" in _examined(pair, edge)["links"]


def _told_of_the_clock(settings: Mapping[str, str]) -> str:
    """What `trackflow doctor` prints of a clock that is wrong."""
    done = subprocess.run(
        [Path(sys.executable).with_name("trackflow"), "doctor"],
        env={**os.environ, **settings}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    return next(line for line in done.stdout.splitlines() if line.startswith("clock"))


@contextmanager
def _scopes(pair: Pair, scopes: set[str]) -> Iterator[None]:
    """The edge's key with these scopes only, for a while."""
    prefix = pair.key.split("_")[1]

    def change(to: frozenset[str]) -> frozenset[str]:
        with pair.database.transaction() as store:
            catalog = SqlCatalog(store, "", ())
            [held] = catalog.read(ApiKey, [prefix]).values()
            catalog.update([replace(held, scopes=to)])
            return held.scopes

    before = change(frozenset(scopes))
    try:
        yield
    finally:
        change(before)
