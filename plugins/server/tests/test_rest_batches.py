"""Changes that come at one moment share a commit, and reads some threads, and nothing else."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import pytest
from sqlalchemy import select, text

from trackflow_core.api import keys
from trackflow_core.api.storage import ApiKey, TrackedLink
from trackflow_core.hooks import ApiCall, ApiRoute, Hooks, hookimpl
from trackflow_core.model import Link
from trackflow_server.config import ServerConfig
from trackflow_server.rest import Rest
from trackflow_server.store import Database, schema
from trackflow_server.store.catalog import SqlCatalog

CODES = [f"many{number}" for number in range(40)]


class _Broken:
    """A plugin whose routes write something and then fail, by themselves or by the database; and
    one that reads for as long as it takes another to be read."""

    def __init__(self) -> None:
        self._read = threading.Event()

    @hookimpl
    def trackflow_register_api_routes(self) -> list[ApiRoute]:
        return [
            ApiRoute("break", "POST", "/break", "links:write", "Break", self._break),
            ApiRoute("misuse", "POST", "/misuse", "links:write", "Misuse", self._misuse),
            ApiRoute("slow", "GET", "/slow", "links:read", "Wait", self._wait),
            ApiRoute("quick", "GET", "/quick", "links:read", "End the wait", self._end),
        ]

    def _wait(self, _call: ApiCall) -> None:
        if not self._read.wait(60):
            raise RuntimeError("Nobody else was answered.")

    def _end(self, _call: ApiCall) -> None:
        self._read.set()

    def _break(self, call: ApiCall) -> None:
        call.store.save_links([Link("broken2", "https://shop.example/broken")])
        raise RuntimeError("broken")

    def _misuse(self, call: ApiCall) -> None:
        call.store.save_links([Link("misused", "https://shop.example/misused")])
        call.store.connection.execute(text("SELECT * FROM nowhere"))  # type: ignore[attr-defined]


@dataclass
class _Answer:
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class _Server:
    """The API over one database, asked without a network so that requests come at one moment."""

    def __init__(self, database: Database) -> None:
        self.database = database
        issued = keys.issue("Test", keys.SCOPES, datetime.now(timezone.utc))
        self.key_id, self._token = issued.key.id, issued.token
        with database.transaction() as store:
            SqlCatalog(store, "", ()).create([issued.key])
        config = ServerConfig(secrets=("s" * 40,), store=str(database.url.database))
        hooks = Hooks({"broken": _Broken()})
        self._rest = Rest(config, hooks, config.settings(hooks.rules), database)
        self.http2 = False
        self.method = "POST"

    def send_half(self, path: str) -> Sequence[Any]:
        """What is answered to a client who leaves in the middle of a POST's body."""
        sent: list[Any] = []
        pieces = iter(
            [
                {"type": "http.request", "body": b'{"destination":', "more_body": True},
                {"type": "http.disconnect"},
            ]
        )

        async def receive() -> dict[str, Any]:
            return next(pieces)

        async def send(message: Any) -> None:
            sent.append(message)

        async def ask() -> None:
            await self._rest(self._scope(path, 99, ""), receive, send)
            await self._rest.settle()

        asyncio.run(ask())
        return sent

    def ask(self, asked: Sequence[tuple[str, Mapping[str, Any], str]]) -> Sequence[_Answer]:
        """The answers to requests of these paths, bodies and idempotency keys, sent together."""

        async def ask_all() -> Sequence[_Answer]:
            answers = await asyncio.gather(*(self._answer(*one) for one in asked))
            await self._rest.settle()
            return answers

        return asyncio.run(ask_all())

    async def _answer(self, path: str, body: Mapping[str, Any], once: str) -> _Answer:
        content = json.dumps(body).encode()
        answer = _Answer()

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": content, "more_body": False}

        async def send(message: Any) -> None:
            if "status" in message:
                answer.status = message["status"]
                answer.headers = {
                    name.decode(): value.decode() for name, value in message["headers"]
                }
            answer.body += message.get("body", b"")

        await self._rest(self._scope(path, len(content), once), receive, send)
        return answer

    def _scope(self, path: str, length: int, once: str) -> Mapping[str, Any]:
        headers = [
            (b"authorization", f"Bearer {self._token}".encode()),
            (b"content-type", b"application/json"),
            *([] if self.http2 else [(b"content-length", str(length).encode())]),
            *([(b"idempotency-key", once.encode())] if once else []),
        ]
        return {
            "type": "http",
            "http_version": "2" if self.http2 else "1.1",
            "method": self.method,
            "path": f"/trackflow/api/v1{path}",
            "query_string": b"",
            "headers": headers,
            "client": ("192.0.2.7", 4711),
        }


@pytest.fixture
def server(new_file: str) -> Iterator[_Server]:
    database = Database(new_file)
    database.upgrade()
    yield _Server(database)
    database.close()


def _link(code: str) -> Mapping[str, Any]:
    return {"destination": f"https://shop.example/{code}", "code": code}


@pytest.mark.parametrize("failing", ["/break", "/misuse"])
def test_one_that_fails_takes_no_other_with_it(server: _Server, failing: str) -> None:
    """Whether its handler fails, or the database in a way that may end the transaction."""
    asked: list[tuple[str, Mapping[str, Any], str]] = []
    expected: list[int] = []
    for number, code in enumerate(CODES):
        asked.append(("/links", _link(code), ""))
        expected.append(201)
        if number % 4 == 0:
            asked.append((failing, {}, ""))
            expected.append(500)
        if number % 5 == 0:
            asked.append(("/links", {"destination": "no address"}, ""))
            expected.append(422)
    answers = server.ask(asked)
    assert [answer.status for answer in answers] == expected
    with server.database.reading() as store:
        catalog = SqlCatalog(store, "", ())
        known = catalog.read(TrackedLink, [*CODES, "broken2", "misused"])
        [used] = catalog.read(ApiKey, [server.key_id]).values()
        logged = store.connection.scalars(select(schema.api_request.c.status)).all()
    assert set(known) == set(CODES)
    assert sorted(logged) == sorted(expected)
    # A request that failed is known by no key.
    assert used.usage_count == len(expected) - expected.count(500)


def test_many_reads_at_one_moment_are_each_answered(server: _Server) -> None:
    with server.database.transaction() as store:
        store.save_links(Link(code, f"https://shop.example/{code}") for code in CODES)
    server.method = "GET"
    wanted = [*CODES, "nothing", *reversed(CODES)]
    answers = server.ask([(f"/links/{code}", {}, "") for code in wanted])
    told = [json.loads(answer.body).get("code", "nothing") for answer in answers]
    assert told == wanted


def test_a_slow_read_keeps_no_other_waiting(server: _Server) -> None:
    server.method = "GET"
    answers = server.ask([("/slow", {}, ""), *[("/quick", {}, "")] * 20])
    assert [answer.status for answer in answers] == [204] * 21


def test_of_those_that_want_one_code_one_gets_it(server: _Server) -> None:
    answers = server.ask([("/links", _link("wanted1"), "")] * 10)
    assert sorted(answer.status for answer in answers) == [201] + [409] * 9


def test_the_same_key_twice_at_one_moment_makes_one_link(server: _Server) -> None:
    body = {"destination": "https://shop.example/once"}
    answers = server.ask(
        [("/links", body, "order-7"), ("/break", {}, "")] + [("/links", body, "order-7")] * 5
    )
    made = [answer.body for answer in answers if answer.status == 201]
    assert len(made) == 6
    assert len({json.loads(each)["code"] for each in made}) == 1


def test_one_that_fails_is_counted_once(server: _Server) -> None:
    """What its neighbours have left of the hour's requests does not shrink twice."""
    answers = server.ask(
        [("/links", _link("counted1"), ""), ("/break", {}, ""), ("/links", _link("counted2"), "")]
    )
    left = [answer.headers["ratelimit"] for answer in answers if answer.status == 201]
    assert [part.split(";")[1] for part in left] == ["r=999", "r=997"]


def test_who_leaves_in_the_middle_gets_no_answer(server: _Server) -> None:
    assert server.send_half("/links") == []
    with server.database.reading() as store:
        assert store.connection.scalars(select(schema.api_request.c.status)).all() == []


def test_over_http_2_a_body_comes_without_its_length(server: _Server) -> None:
    server.http2 = True
    [answer] = server.ask([("/links", {"destination": "https://shop.example/"}, "")])
    assert answer.status == 201
