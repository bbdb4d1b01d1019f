"""Twenty's records become leads and deals, and learn what marketing earned them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from trackflow_core.connectors import Instance, Page, WriteBack
from trackflow_core.errors import ConfigError, InvalidEvent, TerminalError
from trackflow_core.hooks import load
from trackflow_core.model import Deal, DealStatus, Lead
from trackflow_core.options import configure
from trackflow_core.ports import Event, IncomingRequest
from trackflow_core.sync import pages
from trackflow_core.testing import (
    InvalidSample,
    RemoteContract,
    Sample,
    WebhookConnectorContract,
)
from trackflow_http import Pace
from trackflow_twenty import TwentyConnection, TwentyConnector, TwentyOptions
from trackflow_twenty.mapping import OPPORTUNITY, PERSON
from trackflow_twenty.provision import fields_of
from trackflow_twenty.signature import SIGNATURE, TIMESTAMP, sign
from trackflow_twenty.testing import TwentyDouble

UTC = timezone.utc
CONNECTOR = TwentyConnector(Pace(per_second=0, sleep=lambda seconds: None))
ANNA = "20202020-0000-4000-8000-000000000001"
CHAIRS = "20202020-0000-4000-8000-000000000002"
ACME = "20202020-0000-4000-8000-000000000003"


def person(**changes: Any) -> dict[str, Any]:
    return {
        "object": PERSON,
        "id": ANNA,
        "createdAt": "2026-02-28T10:00:00.000Z",
        "updatedAt": "2026-02-28T11:00:00.120Z",
        "deletedAt": None,
        "name": {"firstName": "Zoë", "lastName": "Ünal"},
        "emails": {"primaryEmail": "zoe@example.com", "additionalEmails": []},
        "phones": {"primaryPhoneNumber": "30 1", "primaryPhoneCallingCode": "+49"},
        "companyId": ACME,
        "company_name": "Acme GmbH",
        "trackflowToken": "abc",
        **changes,
    }


def opportunity(**changes: Any) -> dict[str, Any]:
    return {
        "object": OPPORTUNITY,
        "id": CHAIRS,
        "createdAt": "2026-03-01T12:00:00.000Z",
        "updatedAt": "2026-03-02T12:00:00.000Z",
        "deletedAt": None,
        "name": "Ten chairs",
        "amount": {"amountMicros": 250_000_000, "currencyCode": "EUR"},
        "closeDate": "2026-03-02T00:00:00.000Z",
        "stage": "CUSTOMER",
        "pointOfContactId": ANNA,
        "deal_status": "won",
        **changes,
    }


def amount(micros: object, currency: str | None = "EUR") -> dict[str, Any]:
    return {"amount": {"amountMicros": micros, "currencyCode": currency}}


def gone(event: str = "deleted", **changes: Any) -> dict[str, Any]:
    record = {**opportunity(), "deletedAt": "2026-03-03T12:00:00.000Z", **changes}
    del record["object"], record["deal_status"]
    return {
        "eventName": f"opportunity.{event}",
        "eventDate": "2026-03-03T12:00:00.001Z",
        "record": record,
    }


class TestMapping(WebhookConnectorContract):
    connector = CONNECTOR
    required = (("object",), ("id",), ("createdAt",), ("updatedAt",), ("deal_status",), ("record",))
    confidential = (("trackflowToken",),)

    def request(self, sample: Sample, secret: str, now: datetime) -> IncomingRequest:
        body = json.dumps(sample.payload).encode()
        sent = str(int(now.timestamp() * 1000))
        return IncomingRequest(body, {TIMESTAMP: sent, SIGNATURE: sign(body, sent, secret)})

    def samples(self) -> Sequence[Sample]:
        lead_ref, ref = f"kit/shop/person/{ANNA}", f"kit/shop/opportunity/{CHAIRS}"
        changed = datetime(2026, 2, 28, 11, 0, 0, 120_000, tzinfo=UTC)
        noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
        lead = Lead(
            ref=lead_ref,
            event_id=f"{lead_ref}@{changed.isoformat()}",
            occurred_at=changed,
            created_at=datetime(2026, 2, 28, 10, tzinfo=UTC),
            name="Zoë Ünal",
            contact_name="Zoë Ünal",
            email="zoe@example.com",
            phone="+49 30 1",
            company="Acme GmbH",
            visitor_token="abc",
            account=f"kit/shop/company/{ACME}",
        )
        deal: dict[str, Any] = {
            "ref": ref,
            "event_id": f"{ref}@{noon.isoformat()}",
            "occurred_at": noon,
            "created_at": datetime(2026, 3, 1, 12, tzinfo=UTC),
            "currency": "EUR",
            "lead_ref": lead_ref,
            "name": "Ten chairs",
        }
        closed = {"status": DealStatus.WON, "closed_at": datetime(2026, 3, 2, tzinfo=UTC)}
        won = Deal(**deal, **closed, value=25_000)
        huge = Deal(**{**deal, "currency": "JPY"}, digits=0, value=9_007_199_254_740_993)
        deleted_at = noon.replace(day=3)
        lost: dict[str, Any] = {
            "ref": ref,
            "event_id": f"{ref}@{deleted_at.isoformat()}~deleted",
            "occurred_at": deleted_at,
            "created_at": deal["created_at"],
            "currency": "EUR",
            "value": 0,
            "status": DealStatus.LOST,
        }
        yen = amount("9007199254740993000000", "JPY")
        destroyed_at = deleted_at.replace(microsecond=1000)
        destroyed = {"event_id": f"{ref}@{destroyed_at.isoformat()}~deleted"}
        return [
            Sample(person(), [lead]),
            Sample(opportunity(), [won]),
            Sample(opportunity(**yen, stage="NEW", deal_status="open"), [huge]),
            Sample(opportunity(deletedAt="2026-03-03T12:00:00.000Z"), [Deal(**lost)]),
            Sample(gone(), [Deal(**lost)]),
            Sample(
                gone("destroyed", deletedAt=None),
                [Deal(**{**lost, **destroyed, "occurred_at": destroyed_at})],
            ),
            Sample({"eventName": "person.updated", "record": person()}, []),
        ]

    def test_a_missing_required_field_is_named(self) -> None:
        """A hint tells nothing that could be missing, and some fields belong to one shape only."""
        for payload, names in (
            (person(), ("object", "id", "createdAt", "updatedAt")),
            (opportunity(), ("object", "id", "createdAt", "updatedAt", "deal_status")),
            (gone(), ("record",)),
        ):
            for name in names:
                kept = {key: value for key, value in payload.items() if key != name}
                assert name in self._refusal(kept)

    def invalid_samples(self) -> Sequence[InvalidSample]:
        return [
            InvalidSample({}, "object"),
            InvalidSample({"object": "task"}, "object"),
            InvalidSample({"eventName": 7}, "eventName"),
            InvalidSample(person(id="17"), "id"),
            InvalidSample(person(companyId="Acme"), "companyId"),
            InvalidSample(person(name="Zoë"), "name"),
            InvalidSample(person(createdAt="yesterday"), "createdAt"),
            InvalidSample(person(createdAt="2026-02-30T10:00:00Z"), "createdAt"),
            InvalidSample(person(updatedAt="2026-02-28T10:00:00"), "updatedAt"),
            InvalidSample(person(updatedAt="0001-01-01T00:00:00Z"), "updatedAt"),
            InvalidSample(opportunity(deal_status="happy"), "deal_status"),
            InvalidSample(opportunity(deal_status=[1]), "deal_status"),
            InvalidSample(opportunity(**amount(1.5)), "amountMicros"),
            InvalidSample(opportunity(**amount(True)), "amountMicros"),
            InvalidSample(opportunity(**amount("1,000")), "amountMicros"),
            InvalidSample(opportunity(**amount(1, None)), "currencyCode"),
            InvalidSample(opportunity(**amount(1, "€")), "currencyCode"),
            InvalidSample(opportunity(pointOfContactId=7), "pointOfContactId"),
        ]


def test_fractions_of_a_cent_are_rounded_half_up() -> None:
    for micros, cents in ((4_999, 0), (5_000, 1), (-250_000_000, -25_000), (None, 0)):
        [deal] = CONNECTOR.map_events(opportunity(**amount(micros)), "n")
        assert isinstance(deal, Deal) and deal.value == cents


def test_a_close_date_counts_within_the_opportunitys_life() -> None:
    for told, closed in (
        ("2026-02-01T00:00:00Z", "2026-03-01T12:00:00+00:00"),
        ("2026-03-01T18:00:00+02:00", "2026-03-01T16:00:00+00:00"),
        ("2027-01-01T00:00:00Z", "2026-03-02T12:00:00+00:00"),
        (None, "2026-03-02T12:00:00+00:00"),
    ):
        [deal] = CONNECTOR.map_events(opportunity(closeDate=told), "n")
        assert isinstance(deal, Deal) and deal.closed_at
        assert deal.closed_at.isoformat() == closed, told


class DoubleRemote:
    """The kit's hands on the double."""

    def __init__(self, workspace: TwentyDouble) -> None:
        self.workspace = workspace
        workspace.largest_page = 3
        self.secrets = ["secret-4711", "webhook-secret-0815", "secret-renewed"]
        hook = "https://trackflow.example/trackflow/hooks/twenty/acme"
        self.instance = Instance("twenty/acme", hook, ("webhook-secret-0815",))

    def options(self) -> Mapping[str, Any]:
        return {"url": self.workspace.url, "key": self.workspace.key, "currency": "USD"}

    def now(self) -> datetime:
        return self.workspace.now

    def add_lead(self, name: str, visitor_token: str = "") -> str:
        values: dict[str, Any] = {"name": {"firstName": name}}
        values |= {"trackflowToken": visitor_token} if visitor_token else {}
        return f"twenty/acme/person/{self.workspace.insert(PERSON, values)}"

    def add_deal(self, lead: str, value: int, currency: str) -> str:
        values = {"pointOfContactId": _id(lead), **amount(value * 10_000, currency)}
        return f"twenty/acme/opportunity/{self.workspace.insert(OPPORTUNITY, values)}"

    def win(self, deal: str) -> None:
        self.workspace.change(OPPORTUNITY, _id(deal), {"stage": "CUSTOMER"})

    def rename(self, lead: str, name: str) -> None:
        self.workspace.change(PERSON, _id(lead), {"name": {"firstName": name}})

    def delete_deal(self, deal: str) -> None:
        self.workspace.remove(OPPORTUNITY, _id(deal))

    def spoil_deal(self, deal: str) -> str:
        self.workspace.spoil(OPPORTUNITY, _id(deal), **amount(1, "euro"))
        return "currencyCode"

    def add_late_lead(self, name: str) -> str:
        made = self.workspace.insert(PERSON, {"name": {"firstName": name}})
        late = self.workspace.now - timedelta(minutes=1)
        self.workspace.spoil(PERSON, made, createdAt=late, updatedAt=late)
        return f"twenty/acme/person/{made}"

    def marketing(self, ref: str, kind: str) -> Mapping[str, Any]:
        of = PERSON if kind == "lead" else OPPORTUNITY
        held = self.workspace.record(of, _id(ref))
        told: dict[str, Any] = {}
        for field in fields_of(of):
            value = held[field.name]
            if field.type == "DATE_TIME" and value:
                moment = datetime.fromisoformat(value.replace("Z", "+00:00"))
                value = moment.isoformat()
            told[field.holds] = value
        return told

    def changes(self) -> int:
        return self.workspace.writes

    def fail(self, times: int, retry_after: float | None = None) -> None:
        self.workspace.failures, self.workspace.retry_after = times, retry_after

    def expire_credentials(self) -> None:
        self.workspace.key = "secret-renewed"


def _id(ref: str) -> str:
    return ref.rpartition("/")[2]


class TestRemote(RemoteContract):
    connector = CONNECTOR
    huge_value = 2**53 // 10**4
    """Twenty's amounts are millionths in a JavaScript number."""

    @contextmanager
    def remote(self) -> Iterator[DoubleRemote]:
        with TwentyDouble().running() as workspace:
            yield DoubleRemote(workspace)


class TestRemoteInSmallPages(TestRemote):
    """The same with pages of one record, which makes every stamp a border."""

    @contextmanager
    def remote(self) -> Iterator[DoubleRemote]:
        with super().remote() as remote:
            remote.workspace.largest_page = 1
            yield remote


@pytest.fixture
def workspace() -> Iterator[TwentyDouble]:
    with TwentyDouble().running() as running:
        yield running


def connect(workspace: TwentyDouble, hook: str = "", **options: str) -> TwentyConnection:
    told = {"url": workspace.url, "key": workspace.key, "currency": "EUR", **options}
    instance = Instance("twenty/acme", hook, ("webhook-secret",))
    return CONNECTOR.connect(configure(TwentyOptions, told), instance)


def events(connection: TwentyConnection, cursor: str = "") -> list[Event]:
    return [event for page in pages(connection, cursor) for event in page.events]


def test_many_records_of_one_millisecond_are_all_read(workspace: TwentyDouble) -> None:
    workspace.largest_page = 3
    stamp = datetime(2026, 3, 1, 10, tzinfo=UTC)
    for number in range(10):
        made = workspace.insert(PERSON, {"name": {"firstName": f"Zoë {number}"}})
        # The API tells one millisecond; within it the order is not that of the ids.
        workspace.spoil(PERSON, made, updatedAt=stamp + timedelta(microseconds=100 - number))
    found = [event.name for event in events(connect(workspace))]
    assert sorted(found) == [f"Zoë {number}" for number in range(10)]


def test_stages_mean_what_the_options_say(workspace: TwentyDouble) -> None:
    for stage in ("NEW", "MEETING", "PROPOSAL", "CUSTOMER"):
        workspace.insert(OPPORTUNITY, {"name": stage, "stage": stage})
    connection = connect(workspace, won="CUSTOMER, PROPOSAL", lost="MEETING")
    found = {event.name: event.status for event in events(connection) if isinstance(event, Deal)}
    assert found == {
        "NEW": DealStatus.OPEN,
        "MEETING": DealStatus.LOST,
        "PROPOSAL": DealStatus.WON,
        "CUSTOMER": DealStatus.WON,
    }
    assert any("stage MAYBE" in told.what for told in connect(workspace, lost="MAYBE").check())
    with pytest.raises(ConfigError, match=r"Won Stages.*API names"):
        connect(workspace, won="Customer")


def test_a_lead_knows_its_company(workspace: TwentyDouble) -> None:
    companies = [workspace.insert("company", {"name": f"Acme {number}"}) for number in range(70)]
    workspace.largest_page = 60
    for company in companies:
        workspace.insert(PERSON, {"companyId": company})
    found = events(connect(workspace))
    assert sorted(event.company for event in found if isinstance(event, Lead)) == sorted(
        f"Acme {number}" for number in range(70)
    )


def test_an_amount_without_a_currency_has_that_of_the_options(workspace: TwentyDouble) -> None:
    workspace.insert(OPPORTUNITY, amount(5_000_000, None))
    [deal] = events(connect(workspace, currency="JPY"))
    assert isinstance(deal, Deal)
    assert (deal.value, deal.currency, deal.digits) == (5, "JPY", 0)


def test_what_is_restored_counts_again(workspace: TwentyDouble) -> None:
    made = workspace.insert(OPPORTUNITY, {**amount(5_000_000), "stage": "CUSTOMER"})
    connection = connect(workspace)
    workspace.remove(OPPORTUNITY, made)
    [lost] = events(connection)
    workspace.restore(OPPORTUNITY, made)
    [back] = events(connection)
    assert isinstance(lost, Deal) and isinstance(back, Deal)
    state = lost.merged_with(back)
    assert (state.status, state.value) == (DealStatus.WON, 500)


def test_its_webhook_tells_what_was_deleted_for_ever(workspace: TwentyDouble) -> None:
    hook = "https://trackflow.example/trackflow/hooks/twenty/acme"
    connection = connect(workspace, hook)
    connection.provision(dry_run=False)
    made = workspace.insert(OPPORTUNITY, amount(5_000_000, None))
    workspace.insert("company", {"name": "Not our business"})
    workspace.destroy(OPPORTUNITY, made)
    created, destroyed = workspace.queue
    told = []
    for sent in (created, destroyed):
        assert sent.url == hook
        headers = {name.lower(): value for name, value in sent.headers.items()}
        delivery = connection.verify(IncomingRequest(sent.body, headers), workspace.now)
        told.append(connection.map_events(delivery.payload))
    assert told[0] == ()
    [lost] = told[1]
    assert isinstance(lost, Deal)
    assert (lost.status, lost.value, lost.currency) == (DealStatus.LOST, 0, "EUR")
    with pytest.raises(InvalidEvent, match="more than five minutes"):
        connection.verify(IncomingRequest(sent.body, headers), workspace.now + timedelta(minutes=6))


def test_a_rotated_secret_changes_the_webhook(workspace: TwentyDouble) -> None:
    hook = "https://trackflow.example/trackflow/hooks/twenty/acme"
    connect(workspace, hook).provision(dry_run=False)
    options = TwentyOptions(url=workspace.url, key=workspace.key, currency="EUR")
    renewed = CONNECTOR.connect(options, Instance("twenty/acme", hook, ("new", "webhook-secret")))
    assert not all(finding.ok for finding in renewed.check())
    [change] = renewed.provision(dry_run=False)
    assert (change.verb, change.what) == ("update", "the webhook TrackFlow acme")
    assert all(finding.ok for finding in renewed.check())
    other = CONNECTOR.connect(options, Instance("twenty/acm", hook, ("other",)))
    removed = [change.what for change in other.deprovision(dry_run=True)]
    assert removed and not any("webhook" in what for what in removed)


def test_a_role_that_may_too_little_is_told_what_it_lacks(workspace: TwentyDouble) -> None:
    connection = connect(workspace, "https://trackflow.example/hook")
    workspace.denied = ("webhooks",)
    assert any("may not see webhooks" in finding.what for finding in connection.check())
    workspace.denied = ("opportunities",)
    with pytest.raises(ConfigError, match="role may not"):
        connection.check()
    with pytest.raises(ConfigError, match="role may not"):
        events(connection)


def test_twentys_throttle_is_waited_for(workspace: TwentyDouble) -> None:
    workspace.insert(PERSON, {"name": {"firstName": "Zoë"}})
    workspace.throttled = 2
    [lead] = events(connect(workspace))
    assert lead.name == "Zoë"


def test_what_is_rejected_is_the_same_after_provisioning(workspace: TwentyDouble) -> None:
    workspace.spoil(OPPORTUNITY, workspace.insert(OPPORTUNITY, {}), **amount(1, "euro"))
    connection = connect(workspace)

    def rejected() -> list[Any]:
        return [item for page in pages(connection, "") for item in page.rejected]

    before = rejected()
    connection.provision(dry_run=False)
    assert rejected() == before and before


def test_refs_of_others_are_refused(workspace: TwentyDouble) -> None:
    connection = connect(workspace)
    for ref in ("frappe/acme/person/x", "twenty/acme/task/17", f"twenty/acme/person/{ANNA}/x"):
        with pytest.raises(InvalidEvent, match="no record of twenty/acme"):
            connection.write_back(WriteBack(ref, "lead"))
    with pytest.raises(TerminalError, match="no such record"):
        connection.write_back(WriteBack(f"twenty/acme/person/{ANNA}", "lead"))


def test_a_cursor_of_something_else_is_refused(workspace: TwentyDouble) -> None:
    for cursor in ("x", "{}", '{"step": 9, "places": []}', '{"step": 0, "places": [{"a": 1}]}'):
        with pytest.raises(ConfigError, match="none of a Twenty connector"):
            connect(workspace).poll(cursor)


def test_a_quiet_round_asks_thrice(workspace: TwentyDouble) -> None:
    workspace.insert(PERSON, {"name": {"firstName": "Zoë"}})
    found: list[Page] = [*pages(connect(workspace), "")]
    workspace.requests.clear()
    again = [*pages(connect(workspace), found[-1].cursor)]
    assert len(workspace.requests) == len(again) == 3


def test_hosts_find_it() -> None:
    assert isinstance(load().connectors["twenty"], TwentyConnector)
