"""`trackflow doctor`: drive a made-up click to an attributed deal through the configured parts.

It takes the ways that real ones take, and leaves nothing behind: what it writes to the store is
rolled back. Of an edge, which knows no deals, the parts are those between a visitor and upstream.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from secrets import token_hex
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from trackflow_core import doctor, hooks
from trackflow_core.engine import Engine
from trackflow_core.errors import TrackFlowError
from trackflow_core.model import Link
from trackflow_core.tracking import identity
from trackflow_core.tracking.urls import build_destination
from trackflow_server import spool
from trackflow_server.config import ServerConfig
from trackflow_server.edge import EdgeState, check_store
from trackflow_server.edge_doctor import Upstream
from trackflow_server.store import Database, SqlStore, schema
from trackflow_server.store.outbox import DEAD, WAITING, SqlOutbox

Part = tuple[str, Callable[[], str]]
"""A part's name, and what looks at it: it tells a detail, or raises what is wrong."""


@dataclass(frozen=True)
class Finding:
    """What one part said: `problem` is empty where it works, `skipped` says why it was not tried."""

    part: str
    detail: str = ""
    problem: str = ""
    skipped: bool = False


class _Undo(Exception):
    """Rolls the store's transaction back."""


def examine(config: ServerConfig) -> Iterator[Finding]:
    """Each part in the order in which a click meets them; parts behind a broken one are skipped."""
    database = Database(config.store)
    ways = _edge_ways(config, database) if config.upstream else [_parts(config, database)]
    for way in ways:
        broken = False
        for part, look in way:
            if broken:
                yield Finding(part, skipped=True)
                continue
            try:
                yield Finding(part, look())
            except (TrackFlowError, DBAPIError, sqlite3.Error, OSError) as error:
                broken = True
                told = error.orig if isinstance(error, DBAPIError) else error
                yield Finding(part, problem=str(told))
    database.close()


def _parts(config: ServerConfig, database: Database) -> Sequence[Part]:
    return [
        ("plugins", _plugins),
        ("keys", lambda: _keys(config.visitor_keys)),
        ("store", lambda: _store(database)),
        ("spool", lambda: _spool(config)),
        ("click to deal", lambda: _journey(config, database)),
        ("server", lambda: _server(config)),
        ("messages", lambda: _messages(database)),
    ]


def _edge_ways(config: ServerConfig, database: Database) -> Sequence[Sequence[Part]]:
    """What an edge does alone, and what it does with its upstream: either may fail by itself."""
    upstream = Upstream(config, database)
    return [
        [
            ("plugins", _plugins),
            ("store", lambda: _copy(database)),
            ("keys", lambda: _keys(upstream.visitor_keys())),
            ("spool", lambda: _spool(config)),
            ("server", lambda: _server(config)),
        ],
        [
            ("upstream", upstream.answers),
            ("clock", upstream.clock),
            ("links", upstream.links),
            ("events", upstream.takes_events),
        ],
    ]


def _plugins() -> str:
    loaded = hooks.load()
    if loaded.left_out:
        name, reason = next(iter(loaded.left_out.items()))
        raise TrackFlowError(f"The plugin {name!r} is not in use: it {reason}.")
    return f"{len(hooks.installed())} in use"


def _keys(keys: Sequence[str]) -> str:
    visitor = identity.new_visitor_id()
    if identity.read_cookie(identity.sign_cookie(visitor, keys), keys) != visitor:
        raise TrackFlowError("A cookie that was just signed is not recognised.")
    return f"{len(keys)} in use"


def _store(database: Database) -> str:
    if not database.is_current():
        raise TrackFlowError("Its tables are of another version: start the server once.")
    with database.reading() as store:
        waiting, rejected = store.queue_lengths()
    return f"{waiting} clicks wait, {rejected} were set aside"


def _copy(database: Database) -> str:
    if not database.is_current():
        raise TrackFlowError("Its tables are of another version: start the server once.")
    check_store(database, is_edge=True)
    with database.reading() as store:
        told = EdgeState(store, "").told()
    return f"{told['links']} links, compared with the upstream's at {told['synced_at']}"


def _spool(config: ServerConfig) -> str:
    spool.try_writing(config.spool_path)
    found = spool.room(config)
    if shortage := spool.shortage(config, found["room_bytes"]):
        raise TrackFlowError(f"{shortage} Make room on the disk, or raise spool_megabytes.")
    megabytes = found["room_bytes"] // 1_000_000
    return (
        f"{found['spooled']} facts wait in {config.spool_path}, {found['set_aside']} were set aside; "
        f"there is room for {megabytes} MB"
    )


def _journey(config: ServerConfig, database: Database) -> str:
    told = ""
    try:
        with database.transaction() as store:
            told = _drive(config, store)
            raise _Undo
    except _Undo:
        return told


def _drive(config: ServerConfig, store: SqlStore) -> str:
    """A click, its visitor's lead and a deal; what the deal's credit says."""
    now = datetime.now(timezone.utc)
    link = Link(f"doctor-{token_hex(8)}", "https://example.com/", "doctor", "cpc", "doctor")
    utm = {"source": link.source, "medium": link.medium, "campaign": link.campaign}
    store.save_links([link])
    # No plugin is told of what did not happen.
    engine = Engine(store, hooks.load(), config.settings(hooks.load().rules))
    destination = build_destination(link.destination, utm)
    trial = doctor.drive(engine, link.code, destination, now)
    columns = schema.credit.c
    query = select(columns.touch_id, columns.value).where(columns.deal_ref == trial.deal_ref)
    doctor.check(trial, [(touch, value) for touch, value in store.connection.execute(query)])
    return "a click earned its deal to the cent"


def _messages(database: Database) -> str:
    with database.reading() as store:
        outbox = SqlOutbox(lambda: store)
        refusals = outbox.refusals(datetime.now(timezone.utc))
        unsent = outbox.unsent()
    if refusals:
        raise TrackFlowError(
            " ".join(f"{receiver} takes no messages: {why}" for receiver, why in refusals.items())
        )
    return f"{unsent[WAITING]} messages wait, {unsent[DEAD]} were given up"


def _server(config: ServerConfig) -> str:
    url = f"http://{config.host}:{config.port}/trackflow/health"
    try:
        with urlopen(url, timeout=5) as answer:
            told = json.load(answer)
    except HTTPError as error:
        raise TrackFlowError(f"{url} answers {error.code}: {_problem_of(error)}") from None
    except URLError as error:
        raise TrackFlowError(f"{url} does not answer ({error.reason}): start the server.") from None
    return f"{url} answers 200, {told['status']}"


def _problem_of(answer: HTTPError) -> str:
    with answer:
        try:
            return str(json.load(answer)["problem"])
        except (ValueError, KeyError, TypeError):
            return "see the server's log."
