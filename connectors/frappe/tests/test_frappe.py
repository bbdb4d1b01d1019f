"""Frappe CRM's documents become leads and deals, and learn what marketing earned them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from trackflow_core.connectors import Instance, Page, WriteBack
from trackflow_core.errors import ConfigError, InvalidEvent, TerminalError
from trackflow_core.hooks import load
from trackflow_core.model import Deal, DealStatus, Lead
from trackflow_core.options import configure
from trackflow_core.ports import Event, IncomingRequest
from trackflow_core.testing import (
    InvalidSample,
    RemoteContract,
    Sample,
    WebhookConnectorContract,
)
from trackflow_frappe import FrappeConnection, FrappeConnector, FrappeOptions
from trackflow_frappe.mapping import DEAL, LEAD
from trackflow_frappe.provision import FIELDS, fields_of
from trackflow_frappe.signature import sign
from trackflow_frappe.site import Site
from trackflow_frappe.testing import FrappeDouble
from trackflow_http import Pace
from trackflow_http.testing import Sent

UTC = timezone.utc
QUICK = Pace(per_second=0, sleep=lambda seconds: None)
CONNECTOR = FrappeConnector(QUICK)


def document(**changes: Any) -> dict[str, Any]:
    return {
        "doctype": DEAL,
        "name": "CRM-DEAL-2026-00001",
        "creation": "2026-03-01 17:30:00.000001",
        "modified": "2026-03-02 17:30:00",
        "time_zone": "Asia/Kolkata",
        "status": "Closed with joy",
        "status_type": "Won",
        "deal_value": 250.0,
        "currency": "EUR",
        "lead": "CRM-LEAD-2026-00002",
        "lead_creation": "2026-02-28 10:00:00",
        "closed_at": "2026-03-02 05:30:00",
        **changes,
    }


LEAD_DOCUMENT = {
    "doctype": LEAD,
    "name": "CRM-LEAD-2026-00002",
    "creation": "2026-02-28 10:00:00",
    "modified": "2026-02-28 10:00:00",
    "time_zone": "Asia/Kolkata",
    "lead_name": "Zoë Ünal",
    "email": "zoe@example.com",
    "mobile_no": None,
    "phone": "+49 30 1",
    "organization": "Acme GmbH",
    "trackflow_token": "abc",
}


class TestMapping(WebhookConnectorContract):
    connector = CONNECTOR
    tolerance = None
    required = (
        ("doctype",),
        ("name",),
        ("creation",),
        ("modified",),
        ("time_zone",),
        ("status_type",),
        ("currency",),
        ("lead_creation",),
    )
    confidential = (("trackflow_token",),)

    def request(self, sample: Sample, secret: str, now: datetime) -> IncomingRequest:
        body = json.dumps(sample.payload).encode()
        return IncomingRequest(body, {"x-frappe-webhook-signature": sign(body, secret)})

    def samples(self) -> Sequence[Sample]:
        lead_ref = "kit/shop/lead/CRM-LEAD-2026-00002@20260228T100000.000000"
        ref = "kit/shop/deal/CRM-DEAL-2026-00001@20260301T173000.000001"
        came = datetime(2026, 2, 28, 4, 30, tzinfo=UTC)
        noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
        lead = Lead(
            ref=lead_ref,
            event_id=f"{lead_ref}@{came.isoformat()}",
            occurred_at=came,
            name="Zoë Ünal",
            contact_name="Zoë Ünal",
            email="zoe@example.com",
            phone="+49 30 1",
            company="Acme GmbH",
            visitor_token="abc",
            account="kit/shop/organization/Acme GmbH",
        )
        deal: dict[str, Any] = {
            "ref": ref,
            "event_id": f"{ref}@{noon.isoformat()}",
            "occurred_at": noon,
            "created_at": datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=UTC),
            "currency": "EUR",
        }
        won = Deal(
            **deal,
            value=25_000,
            lead_ref=lead_ref,
            status=DealStatus.WON,
            closed_at=datetime(2026, 3, 2, 0, 0, tzinfo=UTC),
        )
        gone = Deal(
            **{**deal, "event_id": f"{deal['event_id']}~deleted"}, value=0, status=DealStatus.LOST
        )
        huge = Deal(**{**deal, "currency": "JPY"}, digits=0, value=9_007_199_254_740_993)
        hint = {**LEAD_DOCUMENT, "event": "on_change"}
        return [
            Sample(LEAD_DOCUMENT, [lead]),
            Sample(document(), [won]),
            Sample(
                document(
                    status_type="On Hold",
                    deal_value=9_007_199_254_740_993,
                    currency="JPY",
                    lead=None,
                ),
                [huge],
            ),
            Sample(document(event="on_trash", lead=None), [gone]),
            Sample(hint, []),
        ]

    def test_a_missing_required_field_is_named(self) -> None:
        """A hint tells nothing that could be missing, and some fields belong to one shape only."""
        for payload, names in (
            (LEAD_DOCUMENT, ("doctype", "name", "creation", "modified", "time_zone")),
            (document(), tuple(path[0] for path in self.required)),
        ):
            for name in names:
                kept = {key: value for key, value in payload.items() if key != name}
                assert name in self._refusal(kept)

    def invalid_samples(self) -> Sequence[InvalidSample]:
        return [
            InvalidSample({}, "doctype"),
            InvalidSample({"doctype": "Task"}, "doctype"),
            InvalidSample(document(name=5), "name"),
            InvalidSample(document(name="x" * 200), "name"),
            InvalidSample(document(creation="yesterday"), "creation"),
            InvalidSample(document(modified="2026-03-02T12:00:00+00:00"), "modified"),
            InvalidSample(document(modified="0001-01-01 00:00:00"), "modified"),
            InvalidSample(document(time_zone="Mars/Olympus"), "time_zone"),
            InvalidSample(document(status_type="Happy"), "status_type"),
            InvalidSample(document(status_type=[1]), "status_type"),
            InvalidSample(document(deal_value="1,000"), "deal_value"),
            InvalidSample(document(deal_value=float("nan")), "deal_value"),
            InvalidSample(document(deal_value=[1]), "deal_value"),
            InvalidSample(document(deal_value=True), "deal_value"),
            InvalidSample(document(currency="€"), "currency"),
            InvalidSample(document(lead=7), "lead"),
            InvalidSample({**LEAD_DOCUMENT, "email": 5}, "email"),
        ]


def test_a_deal_closed_on_a_day_is_closed_within_its_life() -> None:
    for day, moment in (
        ("2026-03-02", "2026-03-01T18:30:00+00:00"),
        ("2026-03-01", "2026-03-01T12:00:00.000001+00:00"),
        ("2026-04-01", "2026-03-02T12:00:00+00:00"),
        (None, "2026-03-02T12:00:00+00:00"),
    ):
        [deal] = CONNECTOR.map_events(document(closed_at=None, closed_date=day), "n")
        assert isinstance(deal, Deal) and deal.closed_at
        assert deal.closed_at.isoformat() == moment, day


class DoubleRemote:
    """The kit's hands on the double."""

    def __init__(self, site: FrappeDouble) -> None:
        self.site = site
        self.secrets = ["secret-4711", "webhook-secret-0815", "secret-renewed"]
        hook = "https://trackflow.example/trackflow/hooks/frappe/acme"
        self.instance = Instance("frappe/acme", hook, ("webhook-secret-0815",))

    def options(self) -> Mapping[str, Any]:
        return {"url": self.site.url, "token": self.site.token, "page_size": "3"}

    def now(self) -> datetime:
        return self.site.now

    def ref(self, doctype: str, name: str) -> str:
        kind = "lead" if doctype == LEAD else "deal"
        creation = datetime.fromisoformat(self.site.document(doctype, name)["creation"])
        return f"frappe/acme/{kind}/{name}@{creation:%Y%m%dT%H%M%S.%f}"

    def add_lead(self, name: str, visitor_token: str = "") -> str:
        values = {"first_name": name, "trackflow_token": visitor_token or None}
        return self.ref(LEAD, self.site.insert(LEAD, values)["name"])

    def add_deal(self, lead: str, value: int, currency: str) -> str:
        name = self.site.convert(_name(lead), {"deal_value": value / 100, "currency": currency})
        return self.ref(DEAL, name)

    def win(self, deal: str) -> None:
        self.site.change(DEAL, _name(deal), {"status": "Won"})

    def rename(self, lead: str, name: str) -> None:
        self.site.change(LEAD, _name(lead), {"first_name": name})

    def delete_deal(self, deal: str) -> None:
        self.site.remove(DEAL, _name(deal))

    def spoil_deal(self, deal: str) -> str:
        self.site.spoil(DEAL, _name(deal), currency="euro")
        return "currency"

    def add_late_lead(self, name: str) -> str:
        made = self.site.insert(LEAD, {"first_name": name})["name"]
        late = self.site.now - timedelta(minutes=1)
        stamp = late.astimezone(timezone(timedelta(hours=5, minutes=30)))
        text = stamp.strftime("%Y-%m-%d %H:%M:%S.%f")
        self.site.spoil(LEAD, made, modified=text, creation=text)
        return self.ref(LEAD, made)

    def marketing(self, ref: str, kind: str) -> Mapping[str, Any]:
        held = self.site.document(LEAD if kind == "lead" else DEAL, _name(ref))
        told: dict[str, Any] = {}
        for field in fields_of(kind):
            value = held[field.name]
            if field.type == "Datetime" and value:
                local = datetime.fromisoformat(value)
                value = (local - timedelta(hours=5, minutes=30)).replace(tzinfo=UTC).isoformat()
            if field.type == "Check":
                value = bool(value)
            told[field.holds] = value
        return told

    def changes(self) -> int:
        return self.site.writes

    def fail(self, times: int, retry_after: float | None = None) -> None:
        self.site.failures, self.site.retry_after = times, retry_after

    def expire_credentials(self) -> None:
        self.site.token = "key:secret-renewed"


def _name(ref: str) -> str:
    return ref.split("/", 3)[3].rpartition("@")[0]


class TestRemote(RemoteContract):
    connector = CONNECTOR
    huge_value = 10**14 + 1

    @contextmanager
    def remote(self) -> Iterator[DoubleRemote]:
        with FrappeDouble().running() as site:
            yield DoubleRemote(site)


@pytest.mark.slow
class TestRemoteUnderLoad(TestRemote):
    """The same with a page of one document, which makes every stamp a border."""

    @contextmanager
    def remote(self) -> Iterator[DoubleRemote]:
        class Small(DoubleRemote):
            def options(self) -> Mapping[str, Any]:
                return {**super().options(), "page_size": 1}

        with FrappeDouble().running() as site:
            yield Small(site)


@pytest.fixture
def site() -> Iterator[FrappeDouble]:
    with FrappeDouble().running() as running:
        yield running


def connect(site: FrappeDouble, page_size: int = 3, hook: str = "") -> FrappeConnection:
    options = FrappeOptions(url=site.url, token=site.token, page_size=page_size)
    return CONNECTOR.connect(options, Instance("frappe/acme", hook, ("webhook-secret",)))


def read(connection: FrappeConnection, cursor: str = "") -> list[Page]:
    found = []
    while True:
        found.append(connection.poll(cursor))
        cursor = found[-1].cursor
        if not found[-1].more:
            return found


def events(found: Sequence[Page]) -> list[Event]:
    return [event for page in found for event in page.events]


def test_many_documents_of_one_instant_are_all_read(site: FrappeDouble) -> None:
    for number in range(10):
        name = site.insert(LEAD, {"first_name": f"Zoë {number}"})["name"]
        site.spoil(LEAD, name, modified="2026-03-01 10:00:00.000000")
    found = events(read(connect(site, page_size=3)))
    assert sorted(event.name for event in found) == [f"Zoë {number}" for number in range(10)]


def test_a_name_that_is_used_again_is_another_lead(site: FrappeDouble) -> None:
    first = site.insert(LEAD, {"first_name": "Zoë"})["name"]
    [before] = events(read(connect(site)))
    site.remove(LEAD, first)
    assert site.insert(LEAD, {"first_name": "Ben"})["name"] == first
    [after] = events(read(connect(site)))
    assert before.ref != after.ref and after.name == "Ben"
    with pytest.raises(TerminalError, match="another document"):
        connection = connect(site)
        connection.provision(dry_run=False)
        connection.write_back(WriteBack(before.ref, "lead", source="google"))


def test_a_renamed_status_counts_by_its_type(site: FrappeDouble) -> None:
    site.insert("CRM Deal Status", {})
    status = site.document("CRM Deal Status", "Won")
    site.spoil("CRM Deal Status", "Won", type="Lost")
    lead = site.insert(LEAD, {"first_name": "Zoë"})["name"]
    site.convert(lead, {"status": "Won", "lost_reason": "Other"})
    deal = next(event for event in events(read(connect(site))) if isinstance(event, Deal))
    assert (status["name"], deal.status) == ("Won", DealStatus.LOST)


def test_the_stage_log_tells_when_a_deal_was_won(site: FrappeDouble) -> None:
    lead = site.insert(LEAD, {"first_name": "Zoë"})["name"]
    deal = site.convert(lead)
    site.change(DEAL, deal, {"status": "Won"})
    won_at = site.now
    site.change(DEAL, deal, {"next_step": "Send the invoice"})
    [found] = [event for event in events(read(connect(site))) if isinstance(event, Deal)]
    assert found.won_at == won_at + timedelta(milliseconds=8)
    site.change(DEAL, deal, {"status": "Negotiation"})
    [open_again] = [event for event in events(read(connect(site))) if isinstance(event, Deal)]
    assert (open_again.status, open_again.closed_at) == (DealStatus.OPEN, None)


def test_conversion_joins_the_deal_to_its_lead_and_carries_the_token(site: FrappeDouble) -> None:
    connection = connect(site)
    connection.provision(dry_run=False)
    lead = site.insert(LEAD, {"first_name": "Zoë", "trackflow_token": "abc"})["name"]
    site.convert(lead)
    first, *_, second = events(read(connection))
    assert isinstance(first, Lead) and first.visitor_token == "abc"
    assert isinstance(second, Deal) and second.lead_ref == first.ref


def test_without_fields_leads_are_read_all_the_same(site: FrappeDouble) -> None:
    site.insert(LEAD, {"first_name": "Zoë"})
    [lead] = events(read(connect(site)))
    assert isinstance(lead, Lead) and lead.visitor_token == ""


def test_a_deal_without_a_currency_has_the_sites(site: FrappeDouble) -> None:
    lead = site.insert(LEAD, {"first_name": "Zoë"})["name"]
    site.convert(lead, {"deal_value": 5})
    site.spoil("FCRM Settings", "FCRM Settings", currency="JPY")
    [deal] = [event for event in events(read(connect(site))) if isinstance(event, Deal)]
    assert (deal.value, deal.currency, deal.digits) == (5, "JPY", 0)
    site.spoil("FCRM Settings", "FCRM Settings", currency=None)
    [deal] = [event for event in events(read(connect(site))) if isinstance(event, Deal)]
    assert deal.currency == "USD"


def test_another_time_zone_loses_nothing(site: FrappeDouble) -> None:
    site.insert(LEAD, {"first_name": "Zoë"})
    found = read(connect(site))
    # New documents are now written hours "before" the last one.
    site.time_zone = "America/Los_Angeles"
    site.insert(LEAD, {"first_name": "Ben"})
    assert "Ben" in {event.name for event in events(read(connect(site), found[-1].cursor))}


def test_a_clock_that_ran_ahead_loses_nothing(site: FrappeDouble) -> None:
    right = site.now
    site.now += timedelta(days=3)
    site.insert(LEAD, {"first_name": "From the future"})
    site.now = right
    found = read(connect(site))
    site.insert(LEAD, {"first_name": "Ben"})
    assert "Ben" in {event.name for event in events(read(connect(site), found[-1].cursor))}


def test_a_repeated_hour_loses_nothing() -> None:
    with FrappeDouble("Europe/Berlin").running() as site:
        site.now = datetime(2026, 10, 25, 0, 55, tzinfo=UTC)
        site.insert(LEAD, {"first_name": "Zoë"})
        found = read(connect(site))
        # 02:55 in summer is followed by 02:10 in winter.
        site.now = datetime(2026, 10, 25, 1, 10, tzinfo=UTC)
        site.insert(LEAD, {"first_name": "Ben"})
        assert "Ben" in {event.name for event in events(read(connect(site), found[-1].cursor))}


def test_a_cursor_of_another_connector_is_refused(site: FrappeDouble) -> None:
    for cursor in ("{}", "12", "no json", '{"zone": "", "step": 0, "places": {"x": {"y": 1}}}'):
        with pytest.raises(ConfigError, match="begin anew"):
            connect(site).poll(cursor)


def test_a_sales_manager_may_read_and_write_but_not_provision(site: FrappeDouble) -> None:
    connect(site).provision(dry_run=False)
    site.roles = {"Sales Manager"}
    lead = site.insert(LEAD, {"first_name": "Zoë"})["name"]
    deal = site.convert(lead)
    site.remove(DEAL, deal)
    connection = connect(site, hook="https://trackflow.example/hook")
    assert {event.name for event in events(read(connection))} == {"Zoë"}
    findings = connection.check()
    assert all(finding.ok for finding in findings)
    assert any("Deletions are told by webhooks only" in finding.what for finding in findings)
    with pytest.raises(ConfigError, match="System Manager"):
        connection.deprovision(dry_run=False)


def test_a_sales_user_who_sees_nothing_is_told(site: FrappeDouble) -> None:
    site.insert(LEAD, {"first_name": "Zoë"})
    connect(site).provision(dry_run=False)
    site.roles = {"Sales User"}
    with pytest.raises(ConfigError, match="give the option Currency"):
        connect(site).check()
    options = FrappeOptions(url=site.url, token=site.token, currency="EUR")
    found = CONNECTOR.connect(options, Instance("frappe/acme")).check()
    wrong = [finding for finding in found if not finding.ok]
    assert [finding.remedy for finding in wrong] == ["Give the user the role Sales Manager."]


def test_a_field_that_vanishes_is_noticed(site: FrappeDouble) -> None:
    connection = connect(site)
    connection.provision(dry_run=False)
    site.insert(LEAD, {"first_name": "Zoë"})
    [lead] = events(read(connection))
    connection.write_back(WriteBack(lead.ref, "lead", source="google"))
    site.remove("Custom Field", f"{LEAD}-trackflow_source")
    site.spoil(LEAD, lead.ref.split("/")[3].partition("@")[0], trackflow_source=None)
    with pytest.raises(ConfigError, match="did not keep trackflow_source"):
        connection.write_back(WriteBack(lead.ref, "lead", source="bing"))
    with pytest.raises(ConfigError, match="no fields TrackFlow Source"):
        connect(site).write_back(WriteBack(lead.ref, "lead", source="bing"))


def test_what_frappe_would_change_is_written_plain_and_once(site: FrappeDouble) -> None:
    connection = connect(site)
    connection.provision(dry_run=False)
    site.insert(LEAD, {"first_name": "Zoë"})
    [lead] = events(read(connection))
    told = WriteBack(lead.ref, "lead", campaign="<b>Fall</b>\n sale " + "x" * 200)
    connection.write_back(told)
    writes = site.writes
    connection.write_back(told)
    name = lead.ref.split("/")[3].partition("@")[0]
    held = site.document(LEAD, name)["trackflow_campaign"]
    assert (site.writes, held[:18], len(held)) == (writes, "(b)Fall(/b) sale x", 140)


# -- webhooks ----------------------------------------------------------------------------------


def _incoming(sent: Sent) -> IncomingRequest:
    return IncomingRequest(sent.body, {key.lower(): text for key, text in sent.headers.items()})


def test_webhooks_are_hints_and_tell_deletions(site: FrappeDouble) -> None:
    hook = "https://trackflow.example/trackflow/hooks/frappe/acme"
    connection = connect(site, hook=hook)
    connection.provision(dry_run=False)
    lead = site.insert(LEAD, {"first_name": "Zoë"})["name"]
    deal = site.convert(lead)
    [polled] = [event for event in events(read(connection)) if isinstance(event, Deal)]
    site.remove(DEAL, deal)
    assert {sent.url for sent in site.queue} == {hook}
    payloads, told = [], []
    for sent in site.queue:
        delivery = connection.verify(_incoming(sent), site.now)
        payloads.append((delivery.payload["doctype"], delivery.payload["event"]))
        told += connection.map_events(delivery.payload)
    assert payloads == [
        (LEAD, "after_insert"),
        (DEAL, "after_insert"),
        (LEAD, "on_change"),
        (DEAL, "on_trash"),
        (DEAL, "on_change"),
    ]
    [gone] = told
    assert isinstance(gone, Deal)
    state = gone.merged_with(polled)
    assert (state.ref, state.status, state.value) == (polled.ref, DealStatus.LOST, 0)
    assert state.lead_ref == polled.lead_ref
    for sent in site.queue:
        assert b"Zo" not in sent.body, "nothing personal leaves the site"


def test_a_new_secret_or_address_mends_the_webhooks(site: FrappeDouble) -> None:
    connect(site, hook="https://one.example/hook").provision(dry_run=False)
    moved = connect(site, hook="https://two.example/hook")
    assert {change.verb for change in moved.provision(dry_run=False)} == {"update"}
    options = FrappeOptions(url=site.url, token=site.token)
    instance = Instance("frappe/acme", "https://two.example/hook", ("new-secret", "webhook-secret"))
    renewed = CONNECTOR.connect(options, instance)
    assert len(renewed.provision(dry_run=False)) == 6
    site.insert(LEAD, {"first_name": "Zoë"})
    assert renewed.verify(_incoming(site.queue[-1]), site.now).payload["doctype"] == LEAD
    with pytest.raises(InvalidEvent):
        moved.verify(_incoming(site.queue[-1]), site.now)


def test_every_field_is_made_for_its_kind(site: FrappeDouble) -> None:
    connect(site).provision(dry_run=False)
    for field in FIELDS:
        made = site.document("Custom Field", f"{field.doctype}-{field.name}")
        assert (made["fieldtype"], made["label"]) == (field.type, field.label)


def test_an_address_where_no_frappe_answers_is_said_to_be_wrong() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as another:
        Thread(target=another.serve_forever, daemon=True).start()
        try:
            site = Site(f"http://127.0.0.1:{another.server_port}", "key:secret")
            with pytest.raises(ConfigError, match="no Frappe answers here: check the address"):
                site.user()
        finally:
            another.shutdown()


@pytest.mark.parametrize("token", ["abc", "a:b c", ":x", "a:", "ä:b"])
def test_a_token_of_another_form_is_refused_unseen(token: str) -> None:
    with pytest.raises(ConfigError, match="with a colon") as caught:
        configure(FrappeOptions, {"url": "https://crm.example", "token": token})
    assert token not in str(caught.value).replace("with a colon", "")


def test_it_is_found_by_its_entry_point() -> None:
    assert isinstance(load(frozenset({"frappe"})).connectors["frappe"], FrappeConnector)
