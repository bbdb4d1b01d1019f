"""The kit for connections passes with the fake CRM, whatever its dials say, and fails without."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest

from trackflow_core.connectors import Instance, Page, WriteBack
from trackflow_core.errors import InvalidEvent
from trackflow_core.testing import FakeConnector, FakeCrm, RemoteContract
from trackflow_core.testing.facts import at
from trackflow_core.testing.fake import FakeConnection, FakeOptions, sign


class FakeRemote:
    """The kit's hands on a fake CRM."""

    instance = Instance("fake/one")

    def __init__(self, crm: FakeCrm) -> None:
        self.crm = crm
        self.secrets = [crm.key]
        self.written = 0

    def options(self) -> Mapping[str, Any]:
        return {"key": self.crm.key}

    def now(self) -> datetime:
        return self.crm.now

    def add_lead(self, name: str, visitor_token: str = "") -> str:
        number = f"L{len(self.crm.records)}"
        self.crm.save(number, name=name, token=visitor_token)
        return f"fake/one/{number}"

    def add_deal(self, lead: str, value: int, currency: str) -> str:
        number = f"D{len(self.crm.records)}"
        self.crm.save(number, lead=_number(lead), value=value, currency=currency)
        return f"fake/one/{number}"

    def win(self, deal: str) -> None:
        self.crm.save(_number(deal), status="won")

    def rename(self, lead: str, name: str) -> None:
        self.crm.save(_number(lead), name=name)

    def delete_deal(self, deal: str) -> None:
        self.crm.save(_number(deal), deleted=True)

    def spoil_deal(self, deal: str) -> str:
        self.crm.save(_number(deal), value="much")
        return "value"

    def add_late_lead(self, name: str) -> str:
        raise NotImplementedError("The fake CRM commits at once.")

    def marketing(self, ref: str, kind: str) -> Mapping[str, Any]:
        return self.crm.marketing[_number(ref)]

    def changes(self) -> int:
        return self.crm.writes

    def fail(self, times: int, retry_after: float | None = None) -> None:
        self.crm.failures, self.crm.retry_after = times, retry_after

    def expire_credentials(self) -> None:
        self.crm.key = "fake-key-renewed"
        self.secrets.append(self.crm.key)


def _number(ref: str) -> str:
    return ref.rpartition("/")[2]


class TestFake(RemoteContract):
    connector = FakeConnector()
    late_commits = False
    dials: Mapping[str, Any] = {}

    @contextmanager
    def remote(self) -> Iterator[FakeRemote]:
        self.connector.crm = FakeCrm(**self.dials)
        yield FakeRemote(self.connector.crm)


class TestFakeThatRepeatsAndShuffles(TestFake):
    connector = FakeConnector()
    dials = {"duplicates": True, "shuffle": 7, "page_size": 2}


# -- each broken connector fails the test that is about its fault ------------------------------


class BrokenConnector(FakeConnector):
    broken: type[FakeConnection]

    def connect(self, options: FakeOptions, instance: Instance) -> FakeConnection:
        return self.broken(self.crm, options, instance)


class Stuck(FakeConnection):
    def poll(self, cursor: str) -> Page:
        page = super().poll(cursor)
        return Page(cursor, True, page.events)


class Forgetful(FakeConnection):
    def poll(self, cursor: str) -> Page:
        page = super().poll(cursor)
        return Page(page.cursor, page.more, page.events[1:])


class Careless(FakeConnection):
    def provision(self, dry_run: bool) -> Any:
        return super().provision(dry_run=False)


class Silent(FakeConnection):
    def write_back(self, told: WriteBack) -> None:
        self._crm.marketing.setdefault(_number(told.ref), told.to_json())


class Restless(FakeConnection):
    def write_back(self, told: WriteBack) -> None:
        self._crm.marketing.pop(_number(told.ref), None)
        super().write_back(told)


class Chatty(FakeConnection):
    def check(self) -> Any:
        import logging

        logging.getLogger("chatty").debug("asking with %s", self._options.key)
        return super().check()


class Deaf(FakeConnection):
    def map_events(self, payload: Mapping[str, Any]) -> Sequence[Any]:
        return ()

    def poll(self, cursor: str) -> Page:
        page = super().poll(cursor)
        return Page(page.cursor, page.more, page.events, rejected=())


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (Stuck, "test_every_page_may_be_the_last_before_a_crash"),
        (Forgetful, "test_every_page_may_be_the_last_before_a_crash"),
        (Careless, "test_provisioning_is_shown_first_done_once_and_undone"),
        (Silent, "test_writing_back_without_fields_says_to_prepare_the_crm"),
        (Restless, "test_writing_back_fills_the_fields_once"),
        (Chatty, "test_check_says_what_is_right_and_what_is_missing"),
        (Deaf, "test_one_unreadable_record_stops_nobody_else"),
    ],
)
def test_a_fault_is_found(broken: type[FakeConnection], test: str) -> None:
    class Kit(TestFake):
        connector = BrokenConnector()

    Kit.connector.broken = broken
    with pytest.raises((AssertionError, ValueError)):
        getattr(Kit(), test)()


def test_the_fake_crm_calls_with_a_signature() -> None:
    crm = FakeCrm()
    crm.save("L1", name="Zoë")
    connector = FakeConnector(crm)
    secret = connector.new_secret()
    connection = connector.connect(FakeOptions(key=crm.key), Instance("fake/one", "", (secret,)))
    delivery = connection.verify(sign(crm.records["L1"], secret), at(0))
    assert connection.map_events(delivery.payload) == tuple(connection.poll("").events)
    with pytest.raises(InvalidEvent, match="signature"):
        connection.verify(sign(crm.records["L1"], "another"), at(0))


def test_a_write_back_survives_an_outbox() -> None:
    told = WriteBack(
        "fake/one/L1", "lead", first_touch_at=at(1), last_touch_at=at(1) + timedelta(1)
    )
    assert WriteBack.from_json(told.to_json()) == told
    with pytest.raises(InvalidEvent, match="touch_count"):
        WriteBack.from_json({"ref": "x", "colour": "red"})
    with pytest.raises(InvalidEvent):
        WriteBack.from_json({**told.to_json(), "first_touch_at": "soon"})


def test_an_instance_never_shows_its_secrets() -> None:
    assert "s3cret" not in repr(Instance("fake/one", "https://x.example", ("s3cret",)))
