"""Each preset takes what its sender documents, proved as its sender does.

The samples follow the senders' public documentation; names, ids and amounts are made up.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import pytest

from trackflow_core.connectors import Instance
from trackflow_core.errors import InvalidEvent
from trackflow_core.model import Deal, DealStatus, Lead
from trackflow_core.ports import Event, IncomingRequest
from trackflow_webhook import GenericWebhook, WebhookConnection, WebhookOptions
from trackflow_webhook.presets import SCHEMES, preset_named
from trackflow_webhook.verification import sign

UTC = timezone.utc
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SECRET = "user:pass-of-the-sender"
URL = "https://trackflow.example/trackflow/hooks/webhook/shop"


def connect(name: str, url: str = URL) -> WebhookConnection:
    options = WebhookOptions(preset=name)
    return GenericWebhook().connect(options, Instance("webhook/shop", url, (SECRET,)))


def prove(name: str, body: bytes, now: datetime = NOW) -> dict[str, str]:
    scheme = SCHEMES[name]
    if scheme.kind == "hmac":
        return sign(body, scheme, SECRET, URL, now)
    if scheme.kind == "basic":
        return {"authorization": f"Basic {base64.b64encode(SECRET.encode()).decode()}"}
    return {scheme.header: SECRET} if scheme.header else {"authorization": f"Bearer {SECRET}"}


def deliver(name: str, sent: Any) -> Sequence[Event]:
    body = json.dumps(sent).encode()
    headers = {"content-type": "application/json", **prove(name, body)}
    connection = connect(name)
    delivery = connection.verify(IncomingRequest(body, headers), NOW)
    return connection.map_events(json.loads(json.dumps(delivery.payload)))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


HUBSPOT_CONTACT = {
    "hs_object_id": 101, "email": "zoe@example.com", "firstname": "Zoë", "lastname": "Ünal",
    "phone": None, "company": "Acme", "createdate": 1772355600000,
    "lastmodifieddate": 1772359200000, "trackflow_token": "tok",
}  # fmt: skip
HUBSPOT_DEAL = {
    "hs_object_id": 7, "contact_id": 101, "dealname": "Ten chairs", "amount": "250.10",
    "deal_currency_code": "EUR", "createdate": 1772355600000, "closedate": 1772366400000,
    "hs_lastmodifieddate": 1772366400000, "hs_is_closed_won": "true", "hs_is_closed": "true",
}  # fmt: skip
PIPEDRIVE_META = {
    "action": "change", "company_id": 1, "host": "acme.pipedrive.com", "timestamp": "2026-03-01T12:00:00.000Z",
    "version": "2.0", "attempt": 1, "id": "b1d9", "user_id": "5",
}  # fmt: skip
PIPEDRIVE_PERSON = {
    "meta": {**PIPEDRIVE_META, "entity": "person", "entity_id": "101"},
    "data": {
        "id": 101, "name": "Zoë Ünal", "add_time": "2026-03-01T09:00:00Z",
        "update_time": "2026-03-01T10:00:00Z",
        "emails": [{"label": "work", "primary": True, "value": "zoe@example.com"}],
        "phones": [], "custom_fields": {"trackflow_token": {"type": "varchar", "value": "tok"}},
    },
    "previous": None,
}  # fmt: skip
PIPEDRIVE_DEAL = {
    "meta": {**PIPEDRIVE_META, "entity": "deal", "entity_id": "7"},
    "data": {
        "id": 7, "title": "Ten chairs", "value": 250.1, "currency": "EUR", "status": "won",
        "person_id": 101, "add_time": "2026-03-01T09:00:00Z", "update_time": "2026-03-01T12:00:00Z",
        "won_time": "2026-03-01T12:00:00Z", "lost_time": None, "stage_id": 1, "custom_fields": {},
    },
    "previous": {"status": "open"},
}  # fmt: skip
SALESFORCE = {
    "organizationId": "00D000000000001",
    "notifications": [
        {
            "Id": "04l000000000001",
            "sObject": {
                "attributes": {"type": "Lead"}, "Id": "00Q000000000101", "Name": "Zoë Ünal",
                "Email": "zoe@example.com", "Phone": None, "Company": "Acme",
                "CreatedDate": "2026-03-01T09:00:00.000+0000",
                "SystemModstamp": "2026-03-01T10:00:00.000+0000", "TrackFlow_Token__c": "tok",
            },
        },
        {
            "Id": "04l000000000002",
            "sObject": {
                "attributes": {"type": "Opportunity"}, "Id": "006000000000007",
                "TrackFlow_Lead__c": "00Q000000000101", "Name": "Ten chairs", "Amount": 250.1,
                "CurrencyIsoCode": "EUR", "IsWon": True, "IsClosed": True, "IsDeleted": False,
                "LastStageChangeDate": "2026-03-01T12:00:00.000+0000",
                "CreatedDate": "2026-03-01T09:00:00.000+0000",
                "SystemModstamp": "2026-03-01T12:00:00.000+0000",
            },
        },
    ],
}  # fmt: skip
ZOHO_LEAD = {
    "module": "Leads", "id": "5545974000000101", "Full_Name": "Zoë Ünal",
    "Email": "zoe@example.com", "Phone": "", "Company": "Acme", "TrackFlow_Token": "tok",
    "Created_Time": "2026-03-01 09:00:00", "Modified_Time": "2026-03-01 10:00:00",
}  # fmt: skip
ZOHO_DEAL = {
    "module": "Deals", "id": "5545974000000007", "Lead_Id": "5545974000000101", "Amount": "250.10",
    "Currency": "EUR", "Stage": "Closed Won", "Deal_Name": "Ten chairs",
    "Created_Time": "2026-03-01 09:00:00", "Modified_Time": "2026-03-01 12:00:00",
}  # fmt: skip
CALENDLY = {
    "event": "invitee.created", "created_at": "2026-03-01T10:00:00.000000Z",
    "created_by": "https://api.calendly.com/users/AAAA",
    "payload": {
        "uri": "https://api.calendly.com/scheduled_events/E1/invitees/101", "name": "Zoë Ünal",
        "email": "zoe@example.com", "created_at": "2026-03-01T09:00:00.000000Z",
        "updated_at": "2026-03-01T10:00:00.000000Z", "text_reminder_number": None,
        "status": "active", "rescheduled": False, "questions_and_answers": [],
        "tracking": {
            "utm_campaign": None, "utm_source": None, "utm_medium": None, "utm_content": "tok",
            "utm_term": None, "salesforce_uuid": None,
        },
        "scheduled_event": {"name": "First talk", "start_time": "2026-03-09T09:00:00.000000Z"},
    },
}  # fmt: skip
TYPEFORM = {
    "event_id": "01HZ", "event_type": "form_response",
    "form_response": {
        "form_id": "lT4Z3j", "token": "a3a12ec67a1365927098a606107fac15",
        "submitted_at": "2026-03-01T10:00:00Z", "landed_at": "2026-03-01T09:58:00Z",
        "hidden": {"trackflow_token": "tok"},
        "definition": {"id": "lT4Z3j", "title": "Ask us", "fields": []},
        "answers": [
            {"type": "text", "text": "Zoë Ünal", "field": {"id": "f1", "type": "short_text"}},
            {"type": "email", "email": "zoe@example.com", "field": {"id": "f2", "type": "email"}},
        ],
    },
}  # fmt: skip
STRIPE = {
    "id": "evt_1", "object": "event", "type": "checkout.session.completed", "created": 1772366400,
    "livemode": False,
    "data": {
        "object": {
            "id": "cs_1", "object": "checkout.session", "amount_total": 25010, "currency": "eur",
            "client_reference_id": None, "customer": "cus_101", "customer_email": None,
            "customer_details": {"email": "zoe@example.com", "name": "Zoë Ünal", "phone": None},
            "metadata": {"trackflow_token": "tok"}, "payment_intent": "pi_7",
            "payment_status": "paid", "subscription": None,
        }
    },
}  # fmt: skip

SAMPLES: Mapping[str, Sequence[Any]] = {
    "hubspot": (HUBSPOT_CONTACT, HUBSPOT_DEAL),
    "pipedrive": (PIPEDRIVE_PERSON, PIPEDRIVE_DEAL),
    "salesforce": (SALESFORCE,),
    "zoho": (ZOHO_LEAD, ZOHO_DEAL),
    "calendly": (CALENDLY,),
    "typeform": (TYPEFORM,),
    "stripe": (STRIPE,),
}


def test_every_preset_has_samples() -> None:
    assert SAMPLES.keys() == SCHEMES.keys() - {"trackflow", "custom"}


@pytest.mark.parametrize("name", SAMPLES)
def test_the_lead_is_found(name: str) -> None:
    told = [event for sent in SAMPLES[name] for event in deliver(name, sent)]
    [lead] = [event for event in told if isinstance(event, Lead)]
    assert lead.contact_name == "Zoë Ünal"
    assert (lead.email, lead.visitor_token) == ("zoe@example.com", "tok")
    assert lead.occurred_at in (at("2026-03-01T10:00"), at("2026-03-01T12:00"))
    assert lead.ref.startswith("webhook/shop/")


@pytest.mark.parametrize("name", [name for name in SAMPLES if name not in ("calendly", "typeform")])
def test_the_deal_is_found_and_joined_to_its_lead(name: str) -> None:
    told = [event for sent in SAMPLES[name] for event in deliver(name, sent)]
    [lead] = [event for event in told if isinstance(event, Lead)]
    [deal] = [event for event in told if isinstance(event, Deal)]
    assert deal.lead_ref == lead.ref != deal.ref
    assert (deal.value, deal.currency, deal.status) == (25_010, "EUR", DealStatus.WON)
    assert deal.occurred_at == deal.won_at == at("2026-03-01T12:00")


@pytest.mark.parametrize("name", SAMPLES)
def test_what_is_no_lead_or_deal_is_ignored(name: str) -> None:
    assert deliver(name, {"event": "ping", "type": "ping", "module": "Tasks"}) == ()


@pytest.mark.parametrize("name", SAMPLES)
def test_whoever_cannot_prove_it_is_refused(name: str) -> None:
    body = json.dumps(SAMPLES[name][0]).encode()
    proof = prove(name, body)
    connection = connect(name)
    assert connection.verify(IncomingRequest(body, proof), NOW)
    for header in proof:
        wrong = {**proof, header: proof[header].swapcase()[:-2]}
        for headers in ({}, wrong):
            with pytest.raises(InvalidEvent) as caught:
                connection.verify(IncomingRequest(body, headers), NOW)
            assert SECRET not in str(caught.value)
    if SCHEMES[name].kind == "hmac":
        with pytest.raises(InvalidEvent):
            connection.verify(IncomingRequest(body + b" ", proof), NOW)


@pytest.mark.parametrize("name", ["hubspot", "calendly", "stripe"])
def test_an_old_request_is_refused(name: str) -> None:
    body = json.dumps(SAMPLES[name][0]).encode()
    proof = prove(name, body, datetime(2026, 3, 2, 8, 54, tzinfo=UTC))
    with pytest.raises(InvalidEvent, match="360 seconds ago"):
        connect(name).verify(IncomingRequest(body, proof), NOW)


def test_hubspots_time_is_in_milliseconds() -> None:
    scheme = SCHEMES["hubspot"]
    milliseconds = str(int(NOW.timestamp() * 1000))
    from trackflow_webhook.verification import _signature

    made = _signature(b"{}", scheme, SECRET, milliseconds, URL)
    headers = {scheme.header: made, scheme.timestamp: milliseconds}
    assert connect("hubspot").verify(IncomingRequest(b"{}", headers), NOW)


def test_a_deal_deleted_in_pipedrive_is_worth_nothing() -> None:
    previous = PIPEDRIVE_DEAL["data"]
    meta = {**PIPEDRIVE_DEAL["meta"], "action": "delete"}  # type: ignore[dict-item]
    [deal] = deliver("pipedrive", {"meta": meta, "data": None, "previous": previous})
    assert isinstance(deal, Deal)
    assert (deal.ref, deal.value, deal.status) == ("webhook/shop/deal:7", 0, DealStatus.LOST)


def test_a_stripe_payment_refunded_in_full_is_worth_nothing() -> None:
    charge = {"id": "ch_1", "refunded": True, "payment_intent": "pi_7", "currency": "eur"}
    refund = {
        "id": "evt_2",
        "type": "charge.refunded",
        "created": 1772366401,
        "data": {"object": charge},
    }
    [deal] = deliver("stripe", refund)
    assert isinstance(deal, Deal)
    assert (deal.ref, deal.value) == ("webhook/shop/pi_7", 0)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_preset_can_be_copied_and_changed(name: str) -> None:
    changed = preset_named(name).mapping.replace("email = ", "# email = ")
    own = WebhookOptions(preset=name, mapping=changed)
    assert own.rules is not None and own.scheme == SCHEMES[name]
