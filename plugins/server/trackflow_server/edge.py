"""An edge answers visitors in the stead of an upstream, an Odoo or another TrackFlow.

It keeps a copy of the upstream's links, so that it answers while the upstream is down, and hands
in by the REST API what it has spooled. Facts carry ids by which the upstream knows repetitions, so
that each counts once however often it arrives.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import delete, func, select

from trackflow_core.api import shapes
from trackflow_core.api.routes import BASE
from trackflow_core.api.schemas import MAX_AGENT, MAX_URL
from trackflow_core.errors import ConfigError, RetriableError, TerminalError, TrackFlowError
from trackflow_core.model import Link
from trackflow_http import Answer, Client, Pace, refusal
from trackflow_server import keys
from trackflow_server.background import repeat
from trackflow_server.config import UPSTREAM_KEY, ServerConfig
from trackflow_server.spool import Fact, SpoolReader
from trackflow_server.store import Database, SqlStore, schema

_log = logging.getLogger("trackflow.edge")
_BATCH = 500
_LINKS = 500
# A whole copy now and then finds what no change tells: links that were deleted for good.
_WHOLE_SECONDS = 3600.0
_IDLE_SECONDS = 0.5
_LONGEST_WAIT = 10.0
_CURSOR, _KEYS, _HOSTS, _SYNCED, _PROBLEM = "cursor", "keys", "own_hosts", "synced_at", "problem"
# What no header of a visitor needs, and no upstream takes.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


class EdgeState:
    """What an edge remembers in its store. The upstream's secrets are encrypted under its key."""

    def __init__(self, store: SqlStore, upstream_key: str) -> None:
        self._store = store
        self._secrets = (upstream_key,)

    def read(self, name: str) -> str:
        """What is remembered under `name`, "" for nothing."""
        state = schema.edge_state.c
        return self._store.connection.scalar(select(state.value).where(state.name == name)) or ""

    def write(self, name: str, value: str) -> None:
        """Remember `value` under `name`."""
        if self.read(name) == value:
            return
        state = schema.edge_state
        self._store.connection.execute(delete(state).where(state.c.name == name))
        self._store.add(state, [{"name": name, "value": value}])

    @property
    def visitor_keys(self) -> tuple[str, ...]:
        """What signs visitor ids upstream; () before the upstream was ever reached.

        Raises ConfigError where they were kept under another key of the API.
        """
        held = self.read(_KEYS)
        return tuple(json.loads(keys.decrypt(held, self._secrets))) if held else ()

    def keep_visitor_keys(self, visitor_keys: Sequence[str]) -> bool:
        """Remember the upstream's keys; whether they are new."""
        try:
            same = self.visitor_keys == tuple(visitor_keys)
        except ConfigError:
            same = False
        if not same:
            self.write(_KEYS, keys.encrypt(json.dumps([*visitor_keys]), self._secrets))
        return not same

    @property
    def cursor(self) -> str:
        """Up to which change of the upstream's links the copy reaches, "" before there is one."""
        return self.read(_CURSOR)

    def told(self) -> dict[str, Any]:
        """For people and programs: when the links were last compared, and what is wrong."""
        links = self._store.connection.scalar(select(func.count()).select_from(schema.link))
        return {
            "links": links or 0,
            "synced_at": self.read(_SYNCED) or None,
            "upstream_problem": self.read(_PROBLEM),
        }

    def own_hosts(self) -> tuple[str, ...]:
        """The upstream's own hosts, whose pages may tell what visitors do."""
        return tuple(filter(None, self.read(_HOSTS).split(",")))


def check_store(database: Database, *, is_edge: bool) -> None:
    """Raises ConfigError where a store belongs to a server of the other kind: an edge deletes what
    its upstream does not have."""
    with database.reading() as store:
        state = schema.edge_state.c.name
        of_edge = store.connection.scalar(select(func.count(state))) or 0
        links = store.connection.scalar(select(func.count(schema.link.c.code))) or 0
    if is_edge and links and not of_edge:
        raise ConfigError(
            f"{database.shown} holds links of its own: name another store for the edge."
        )
    if not is_edge and of_edge:
        raise ConfigError(
            f"{database.shown} is the copy of an edge: name another store, or the upstream."
        )


def client(config: ServerConfig) -> Client:
    """What asks the upstream, with the edge's key."""
    return Client(
        f"{config.upstream.rstrip('/')}{BASE}",
        {"Authorization": f"Bearer {config.upstream_key}"},
        # How often to ask is decided by who asks.
        Pace(per_second=0, attempts=1, read_timeout=30),
        _explained,
    )


class Edge:
    """Copies links and hands in facts, in a thread for each, from `start` to `stop`."""

    def __init__(self, config: ServerConfig, database: Database) -> None:
        self._config = config
        self._database = database
        self._stopping = threading.Event()
        self._compared_whole: float | None = None
        self._threads = [
            threading.Thread(target=self._copy_links, name="trackflow-links", daemon=True),
            threading.Thread(target=self._hand_in_facts, name="trackflow-facts", daemon=True),
        ]

    def prepare(self) -> None:
        """Make sure that visitors can be recognised: by what is remembered, or by asking upstream.

        Raises ConfigError or RetriableError where neither helps.
        """
        check_store(self._database, is_edge=True)
        try:
            self._learn_settings(client(self._config))
        except TrackFlowError as error:
            with self._database.reading() as store:
                if not EdgeState(store, self._config.upstream_key).visitor_keys:
                    raise
            _log.warning("The upstream does not answer; its copy does: %s", error)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Finish what is at hand; the rest waits in the spool for the next start."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(_LONGEST_WAIT)

    def _repeat(self, work: Callable[[], float]) -> None:
        repeat(
            work,
            self._stopping,
            _log,
            "The edge cannot go on",
            first_wait=_IDLE_SECONDS,
            longest_wait=_LONGEST_WAIT,
        )

    # -- links down -------------------------------------------------------------------------------

    def _copy_links(self) -> None:
        upstream = client(self._config)
        self._repeat(lambda: self._compare(upstream))

    def _compare(self, client: Client) -> float:
        started = time.monotonic()
        try:
            whole = self._compared_whole is None or started - self._compared_whole > _WHOLE_SECONDS
            if whole:
                self._learn_settings(client)
                self._copy_whole(client)
                self._compared_whole = started
            else:
                self._copy_changes(client)
        except TrackFlowError as error:
            self._say(str(error))
            raise
        self._say("")
        # An upstream that needs long is asked less often.
        return max(self._config.upstream_seconds, 5 * (time.monotonic() - started))

    def _learn_settings(self, client: Client) -> None:
        told = told_by(client.get("/edge"), "visitor_keys", "own_hosts")
        with self._database.transaction() as store:
            state = EdgeState(store, self._config.upstream_key)
            if state.keep_visitor_keys(told["visitor_keys"]):
                # Workers look at the keys again when they are told of changed links.
                store.count_change("link")
            state.write(_HOSTS, ",".join(told["own_hosts"]))

    def _copy_whole(self, client: Client) -> None:
        seen: set[str] = set()
        cursor, more = "", True
        while more:
            links, cursor, more = fetch(client, cursor)
            seen.update(link.code for link in links)
            with self._database.transaction() as store:
                _save_changed(store, links)
        with self._database.transaction() as store:
            store.drop_links(seen)
            EdgeState(store, "").write(_CURSOR, cursor)

    def _copy_changes(self, client: Client) -> None:
        with self._database.reading() as store:
            cursor = EdgeState(store, "").read(_CURSOR)
        more = True
        while more:
            before = cursor
            links, cursor, more = fetch(client, cursor)
            if not links and cursor == before:
                return
            with self._database.transaction() as store:
                _save_changed(store, links)
                EdgeState(store, "").write(_CURSOR, cursor)

    def _say(self, problem: str) -> None:
        """Remember how the upstream is for the workers, which tell people."""
        now = datetime.now(timezone.utc).replace(second=0, microsecond=0)
        with self._database.reading() as store:
            state = EdgeState(store, "")
            known = state.read(_PROBLEM), state.read(_SYNCED)
        wanted = problem, known[1] if problem else now.isoformat()
        if wanted != known:
            with self._database.transaction() as store:
                state = EdgeState(store, "")
                state.write(_PROBLEM, wanted[0])
                state.write(_SYNCED, wanted[1])

    # -- facts up ---------------------------------------------------------------------------------

    def _hand_in_facts(self) -> None:
        upstream, spool = client(self._config), SpoolReader(self._config.spool_path)
        self._repeat(lambda: self._hand_in(upstream, spool))
        spool.close()

    def _hand_in(self, client: Client, spool: SpoolReader) -> float:
        """Hand in the oldest facts and forget them; a crash in between hands them in again."""
        spooled = spool.first(_BATCH)
        for start in range(0, len(spooled.facts), _BATCH):
            self._send(client, spool, spooled.facts[start : start + _BATCH])
        spool.drop(spooled)
        return 0 if len(spooled.facts) >= _BATCH else _IDLE_SECONDS

    def _send(self, client: Client, spool: SpoolReader, told: Sequence[Fact]) -> None:
        try:
            events = [event_of(fact) for fact in told]
            told_by(client.send("POST", "/events", json={"events": events}), "accepted")
        except Refused as error:
            if len(told) == 1:
                _log.error("The upstream refuses the fact %s: %s", told[0]["event_id"], error)
                spool.set_aside(told[0], str(error))
                return
            # Halving finds the one that is refused among the many that are not.
            middle = len(told) // 2
            self._send(client, spool, told[:middle])
            self._send(client, spool, told[middle:])


class Refused(TerminalError):
    """The upstream will never take these facts; `fields` are the values that it names."""

    def __init__(self, message: str, fields: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.fields = fields


def _explained(answer: Answer) -> TrackFlowError | None:
    if answer.status in (401, 403):
        return ConfigError(
            f"The upstream answered {answer.status}: {_detail(answer)} Make a key there with the "
            f"scopes edge:read and events:write, and set {UPSTREAM_KEY}."
        )
    if answer.status in (400, 413, 422):
        fields = [str(fault.get("field", "")) for fault in _object(answer).get("errors", ())]
        return Refused(f"{answer.where} answered {answer.status}: {_detail(answer)}", fields)
    if answer.status == 404:
        return ConfigError(
            f"{answer.where} is not there: give the address of an Odoo or TrackFlow."
        )
    if answer.status == 429:
        return RetriableError(
            "The upstream answers no more requests of this key within the hour: give the key a "
            "higher limit.",
            retry_after=answer.retry_after,
        )
    return refusal(answer)


def _detail(answer: Answer) -> str:
    return str(_object(answer).get("detail", ""))[:300]


def _object(answer: Answer) -> Mapping[str, Any]:
    try:
        found = json.loads(answer.body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def told_by(answer: Answer, *names: str) -> Mapping[str, Any]:
    """The fields `names` and others of an answer.

    Raises RetriableError without them: a proxy may answer 200 while the upstream is down.
    """
    told = _object(answer)
    if any(name not in told for name in names):
        raise RetriableError(f"{answer.where} answered {answer.status}, but not as TrackFlow does.")
    return told


def fetch(client: Client, cursor: str) -> tuple[Sequence[Link], str, bool]:
    """The links that changed upstream since `cursor`, the cursor behind them, whether there are
    more."""
    answer = client.get("/edge/links", {"cursor": cursor, "limit": _LINKS})
    told = told_by(answer, "items", "next", "more")
    return [shapes.link_of_copy(item) for item in told["items"]], told["next"], told["more"]


def changed(store: SqlStore, links: Sequence[Link]) -> Sequence[Link]:
    """Those of `links` that differ from what is held."""
    held = store.links({link.code for link in links})
    return [link for link in links if held.get(link.code) != link]


def _save_changed(store: SqlStore, links: Sequence[Link]) -> None:
    """Keep those that differ from what is held: every change makes workers forget all links."""
    if news := changed(store, links):
        store.save_links(news)


def event_of(fact: Mapping[str, Any]) -> dict[str, Any]:
    """A fact of the spool as the REST API takes it."""
    return {
        "id": fact["event_id"],
        "type": fact["kind"],
        "occurred_at": fact["occurred_at"],
        "visitor": fact["visitor_id"] or "",
        "link": fact["link_code"],
        "url": _CONTROLS.sub(" ", fact["destination"])[:MAX_URL],
        "referrer": _CONTROLS.sub(" ", fact["referrer"])[:MAX_URL],
        "user_agent": _CONTROLS.sub(" ", fact["user_agent"])[:MAX_AGENT],
        "address": fact["ip"],
        "internal": fact["internal"],
        "prefetch": fact["prefetch"],
        "consent": fact["tier"],
        "data": json.loads(fact["data"]) if fact["data"] else {},
    }
