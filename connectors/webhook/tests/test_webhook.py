"""Signed JSON webhooks become leads and deals."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.hooks import load
from trackflow_core.model import Deal, DealStatus, Lead
from trackflow_core.ports import Delivery, Event, IncomingRequest
from trackflow_core.testing import InvalidSample, Sample, WebhookConnectorContract
from trackflow_webhook import MAX_BODY_BYTES, GenericWebhook, new_secret, sign
from trackflow_webhook.payload import decode

UTC = timezone.utc
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WEBHOOK = GenericWebhook()


def payload(kind: str, webhook_id: str = "msg_1", /, **data: Any) -> dict[str, Any]:
    return {
        "type": kind,
        "timestamp": "2026-03-01T12:00:00Z",
        "data": data,
        "webhook_id": webhook_id,
    }


def lead_payload(**changes: Any) -> dict[str, Any]:
    data = {"id": "L-17", "name": "Zoë asks", "email": "zoe@example.com"}
    data |= {"visitor_token": "abc", "visitor_cookie": "def"}
    return payload("lead.created", **{**data, **changes})


def deal_payload(kind: str = "deal.won", **changes: Any) -> dict[str, Any]:
    data = {"id": "D-7", "lead_id": "L-17", "value": "250.00", "currency": "EUR"}
    return payload(kind, **{**data, **changes})


def deliver(body: bytes, secret: str = SECRET) -> Mapping[str, Any]:
    request = IncomingRequest(body, sign(body, secret, "msg_1", NOW))
    return WEBHOOK.verify(request, [secret], NOW).payload


class TestGenericWebhook(WebhookConnectorContract):
    connector = WEBHOOK
    required = (
        ("type",),
        ("timestamp",),
        ("data",),
        ("webhook_id",),
        ("data", "id"),
        ("data", "lead_id"),
        ("data", "value"),
        ("data", "currency"),
    )
    confidential = (("data", "visitor_token"), ("data", "visitor_cookie"))

    def request(self, sample: Sample, secret: str, now: datetime) -> IncomingRequest:
        body = {key: value for key, value in sample.payload.items() if key != "webhook_id"}
        encoded = json.dumps(body, ensure_ascii=False).encode()
        return IncomingRequest(encoded, sign(encoded, secret, sample.payload["webhook_id"], now))

    def samples(self) -> Sequence[Sample]:
        noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
        common: dict[str, Any] = {"occurred_at": noon, "lead_ref": "kit/shop/L-17"}
        return [
            Sample(
                lead_payload(created_at="2026-03-01T08:00:00.5+01:00", company=None, phone="+49"),
                [
                    Lead(
                        ref="kit/shop/L-17",
                        event_id="0:msg_1",
                        occurred_at=noon,
                        created_at=datetime(2026, 3, 1, 7, 0, 0, 500_000, tzinfo=UTC),
                        name="Zoë asks",
                        email="zoe@example.com",
                        phone="+49",
                        visitor_token="abc",
                        visitor_cookie="def",
                    )
                ],
            ),
            Sample(
                payload("lead.updated", "msg_2", id="L-17", contact_name="Zoë Example"),
                [
                    Lead(
                        ref="kit/shop/L-17",
                        event_id="1:msg_2",
                        occurred_at=noon,
                        contact_name="Zoë Example",
                    )
                ],
            ),
            Sample(
                deal_payload(closed_at="2026-03-01T11:59:00Z"),
                [
                    Deal(
                        ref="kit/shop/D-7",
                        event_id="2:msg_1",
                        value=25_000,
                        currency="EUR",
                        status=DealStatus.WON,
                        closed_at=datetime(2026, 3, 1, 11, 59, tzinfo=UTC),
                        **common,
                    )
                ],
            ),
            Sample(
                payload(
                    "deal.updated",
                    "msg_3",
                    id=7,
                    lead_id="L-17",
                    name="Big",
                    value="90071992547409.93",
                    currency="usd",
                ),
                [
                    Deal(
                        ref="kit/shop/7",
                        event_id="1:msg_3",
                        value=9_007_199_254_740_993,
                        currency="USD",
                        name="Big",
                        **common,
                    )
                ],
            ),
        ]

    def invalid_samples(self) -> Sequence[InvalidSample]:
        return [
            InvalidSample({}, "type"),
            InvalidSample(payload("contact.created"), "type"),
            InvalidSample({**lead_payload(), "type": ["deal.won"]}, "type"),
            InvalidSample({**lead_payload(), "data": []}, "data"),
            InvalidSample({**lead_payload(), "timestamp": "2026-03-01"}, "timestamp"),
            InvalidSample({**lead_payload(), "timestamp": 1772366400}, "timestamp"),
            InvalidSample({**lead_payload(), "timestamp": "2026-03-01T12:00:00"}, "timestamp"),
            InvalidSample({**lead_payload(), "timestamp": "2026-02-30T12:00:00Z"}, "timestamp"),
            InvalidSample(
                {**lead_payload(), "timestamp": "0001-01-01T00:00:00+14:00"}, "timestamp"
            ),
            InvalidSample(lead_payload(id=True), "data.id"),
            InvalidSample(lead_payload(id="x" * 5000), "data.id"),
            InvalidSample(lead_payload(id="a\nb"), "data.id"),
            InvalidSample(lead_payload(email=5), "data.email"),
            InvalidSample(lead_payload(name="x" * 1001), "data.name"),
            InvalidSample(lead_payload(created_at="soon"), "data.created_at"),
            InvalidSample(deal_payload(value="1,000.00"), "data.value"),
            InvalidSample(deal_payload(value="1_000"), "data.value"),
            InvalidSample(deal_payload(value="\u0661"), "data.value"),
            InvalidSample(deal_payload(value="1e99"), "data.value"),
            InvalidSample(deal_payload(value="NaN"), "data.value"),
            InvalidSample(deal_payload(value=True), "data.value"),
            InvalidSample(deal_payload(value={"amount": 1}), "data.value"),
            InvalidSample(deal_payload(value="9" * 5000), "data.value"),
            InvalidSample(deal_payload(currency="€"), "data.currency"),
            InvalidSample(deal_payload(currency=978), "data.currency"),
            InvalidSample(deal_payload(closed_at=0), "data.closed_at"),
        ]


def test_a_moment_to_come_is_now() -> None:
    before = datetime.now(UTC)
    told = {**deal_payload(), "timestamp": "2199-01-01T00:00:00Z"}
    [deal] = WEBHOOK.map_events(told, "kit/shop")
    assert before <= deal.occurred_at <= datetime.now(UTC)


def test_the_published_vector() -> None:
    moment = datetime.fromtimestamp(1614265330, UTC)
    body = b'{"test": 2432232314}'
    headers = sign(body, SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", moment)
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    delivery = WEBHOOK.verify(IncomingRequest(body, headers), [SECRET], moment)
    assert delivery.event_id == "msg_p5jXN8AQM9LWM0D4loKWxJek"
    assert delivery.payload["test"] == 2432232314


def test_one_of_several_signatures_is_enough() -> None:
    body = b"{}"
    headers = dict(sign(body, SECRET, "msg_1", NOW))
    other = sign(body, new_secret(), "msg_1", NOW)["webhook-signature"]
    headers["webhook-signature"] = f"v1a,xyz {other} {headers['webhook-signature']} broken"
    assert WEBHOOK.verify(IncomingRequest(body, headers), [SECRET], NOW)


def test_a_signature_of_another_version_does_not_count() -> None:
    headers = dict(sign(b"{}", SECRET, "msg_1", NOW))
    headers["webhook-signature"] = headers["webhook-signature"].replace("v1,", "v2,")
    with pytest.raises(InvalidEvent, match="v1"):
        WEBHOOK.verify(IncomingRequest(b"{}", headers), [SECRET], NOW)


@pytest.mark.parametrize("header", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_missing_header_is_named(header: str) -> None:
    headers = dict(sign(b"{}", SECRET, "msg_1", NOW))
    del headers[header]
    with pytest.raises(InvalidEvent, match=header):
        WEBHOOK.verify(IncomingRequest(b"{}", headers), [SECRET], NOW)


@pytest.mark.parametrize("timestamp", ["1e9", " 1", "-1", "01772442000", "9" * 30, "\u0661"])
def test_a_timestamp_is_plain_digits(timestamp: str) -> None:
    headers = {**sign(b"{}", SECRET, "msg_1", NOW), "webhook-timestamp": timestamp}
    with pytest.raises(InvalidEvent, match="webhook-timestamp"):
        WEBHOOK.verify(IncomingRequest(b"{}", headers), [SECRET], NOW)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_é", "whsec_YWJj", "hunter2 hunter2"])
def test_an_unusable_secret_is_a_setting_to_mend(secret: str) -> None:
    request = IncomingRequest(b"{}", sign(b"{}", SECRET, "msg_1", NOW))
    with pytest.raises(ConfigError) as caught:
        WEBHOOK.verify(request, [secret], NOW)
    assert not secret or secret not in str(caught.value) or secret == "whsec_"


def test_a_secret_works_without_prefix_and_padding() -> None:
    secret = new_secret()
    assert deliver(b"{}", secret.removeprefix("whsec_").rstrip("=")) == {"webhook_id": "msg_1"}


def test_the_body_cannot_choose_its_own_id() -> None:
    assert deliver(b'{"webhook_id": "forged"}') == {"webhook_id": "msg_1"}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"[]", "object"),
        (b'"text"', "object"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b"[" * 200_000, "nested"),
        (b'{"a":' * 50 + b"1" + b"}" * 50, "nested"),
        (b'{"data": {"name": "a\\u0000b"}}', "data.name"),
        (b'{"data": ["\\ud800"]}', "data[]"),
        (b'{"a\\u0000": 1}', "a name in the body"),
        (b'{"a": ' + b"9" * 5000 + b"}", "JSON"),
        (b'{"a": "' + b"x" * MAX_BODY_BYTES + b'"}', str(MAX_BODY_BYTES)),
    ],
)
def test_bodies_that_cannot_be_decoded(body: bytes, says: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        deliver(body)
    assert says in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_body_that_is_not_utf8() -> None:
    headers = sign(b"{}", SECRET, "msg_1", NOW)
    with pytest.raises(InvalidEvent, match="UTF-8"):
        WEBHOOK.verify(IncomingRequest(b"\xff{}", headers), [SECRET], NOW)


@pytest.mark.parametrize("literal", ["250.00", '"250.00"', "2.5e2", "250"])
def test_an_amount_reads_the_same_in_every_form(literal: str) -> None:
    body = json.dumps(deal_payload(value="@")).replace('"@"', literal).encode()
    [deal] = WEBHOOK.map_events(deliver(body), "webhook/shop")
    assert isinstance(deal, Deal)
    assert (deal.value, deal.digits) == (25_000, 2)


@pytest.mark.parametrize(
    ("currency", "value", "minor"), [("JPY", "1000", 1000), ("kwd", "1.234", 1234)]
)
def test_digits_come_from_the_currency(currency: str, value: str, minor: int) -> None:
    [deal] = WEBHOOK.map_events(deal_payload(currency=currency, value=value), "webhook/shop")
    assert isinstance(deal, Deal)
    assert deal.value == minor


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("deal.created", DealStatus.OPEN),
        ("deal.updated", DealStatus.OPEN),
        ("deal.won", DealStatus.WON),
        ("deal.lost", DealStatus.LOST),
    ],
)
def test_the_type_tells_the_status(kind: str, status: DealStatus) -> None:
    [deal] = WEBHOOK.map_events(deal_payload(kind), "webhook/shop")
    assert isinstance(deal, Deal)
    assert deal.status is status


@pytest.mark.parametrize("closed", ["deal.won", "deal.lost"])
def test_a_deal_opened_and_closed_in_one_second_is_closed(closed: str) -> None:
    told = [
        {**deal_payload("deal.created"), "webhook_id": "z"},
        {**deal_payload("deal.updated"), "webhook_id": "y"},
        {**deal_payload(closed), "webhook_id": "a"},
    ]
    for order in permutations(told):
        first, second, third = (WEBHOOK.map_events(item, "webhook/shop")[0] for item in order)
        assert isinstance(first, Deal) and isinstance(second, Deal) and isinstance(third, Deal)
        state = first.merged_with(second).merged_with(third)
        assert state.status is not DealStatus.OPEN


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["type", "timestamp", "data", "x"]), json_values))
def test_any_json_is_mapped_or_refused(body: dict[str, Any]) -> None:
    try:
        delivered = deliver(json.dumps(body).encode())
        events = WEBHOOK.map_events(delivered, "webhook/shop")
    except InvalidEvent:
        return
    assert len(events) == 1


@settings(deadline=None)
@given(
    st.sampled_from(["lead.created", "deal.won"]),
    st.dictionaries(
        st.sampled_from(["id", "lead_id", "value", "currency", "name", "created_at", "closed_at"]),
        json_values | st.sampled_from(["EUR", "1.5", "2026-03-01T12:00:00Z"]),
    ),
)
def test_any_data_is_mapped_or_refused(kind: str, data: dict[str, Any]) -> None:
    try:
        [event] = WEBHOOK.map_events(payload(kind, **data), "webhook/shop")
    except InvalidEvent as error:
        assert len(str(error)) < 500
        return
    assert event.ref.startswith("webhook/shop/")


@settings(deadline=None)
@given(st.binary(max_size=200), st.dictionaries(st.text(max_size=30), st.text(max_size=60)))
def test_any_request_is_refused_unless_signed(body: bytes, headers: dict[str, str]) -> None:
    with pytest.raises(InvalidEvent):
        WEBHOOK.verify(IncomingRequest(body, headers), [SECRET], NOW)


def test_it_is_found_by_its_entry_point() -> None:
    assert isinstance(load(frozenset({"webhook"})).connectors["webhook"], GenericWebhook)


# -- the kit itself: each broken connector fails the test that is about its fault -------------


class Timeless(GenericWebhook):
    def verify(self, request: IncomingRequest, secrets: Sequence[str], now: datetime) -> Delivery:
        sent = datetime.fromtimestamp(int(request.headers["webhook-timestamp"]), UTC)
        return super().verify(request, secrets, sent)


class Trusting(GenericWebhook):
    def verify(self, request: IncomingRequest, secrets: Sequence[str], now: datetime) -> Delivery:
        return Delivery("msg_1", decode(request.body.decode(), "msg_1"))


class OneSecret(GenericWebhook):
    def verify(self, request: IncomingRequest, secrets: Sequence[str], now: datetime) -> Delivery:
        return super().verify(request, secrets[:1], now)


class Chatty(GenericWebhook):
    def verify(self, request: IncomingRequest, secrets: Sequence[str], now: datetime) -> Delivery:
        try:
            return super().verify(request, secrets, now)
        except InvalidEvent as error:
            raise InvalidEvent(f"{error} (secrets: {secrets})") from None


class Inexact(GenericWebhook):
    def map_events(self, payload: Mapping[str, Any], namespace: str) -> Sequence[Event]:
        [event] = super().map_events(payload, namespace)
        return (
            [replace(event, value=int(float(event.value)))] if isinstance(event, Deal) else [event]
        )


class Nameless(GenericWebhook):
    def map_events(self, payload: Mapping[str, Any], namespace: str) -> Sequence[Event]:
        return super().map_events(payload, "")


class Consuming(GenericWebhook):
    def map_events(self, payload: Mapping[str, Any], namespace: str) -> Sequence[Event]:
        events = super().map_events(payload, namespace)
        payload["data"].pop("name", None)
        return events


class Counting(GenericWebhook):
    calls = 0

    def map_events(self, payload: Mapping[str, Any], namespace: str) -> Sequence[Event]:
        self.calls += 1
        [event] = super().map_events(payload, namespace)
        return [replace(event, event_id=f"call-{self.calls}")]


class Blabbing(GenericWebhook):
    def map_events(self, payload: Mapping[str, Any], namespace: str) -> Sequence[Event]:
        try:
            return super().map_events(payload, namespace)
        except InvalidEvent as error:
            raise InvalidEvent(f"{error} in {payload}") from None


class Forgiving(GenericWebhook):
    def map_events(self, payload: Mapping[str, Any], namespace: str) -> Sequence[Event]:
        try:
            return super().map_events(payload, namespace)
        except InvalidEvent:
            return ()


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (Timeless, "stale_and_future_requests_are_refused"),
        (Trusting, "a_tampered_body_is_refused"),
        (Trusting, "a_wrong_secret_is_refused"),
        (Trusting, "without_secrets_nothing_is_accepted"),
        (Trusting, "each_header_is_needed_and_checked"),
        (OneSecret, "secrets_are_fresh_and_rotate"),
        (Chatty, "a_wrong_secret_is_refused"),
        (Inexact, "samples_map_to_their_facts"),
        (Inexact, "values_beyond_floats_are_exact"),
        (Nameless, "refs_begin_with_the_namespace"),
        (Consuming, "mapping_is_pure_and_repeatable"),
        (Counting, "mapping_is_pure_and_repeatable"),
        (Blabbing, "confidential_fields_are_never_shown"),
        (Forgiving, "a_missing_required_field_is_named"),
        (Forgiving, "invalid_samples_are_refused"),
    ],
)
def test_the_kit_catches(broken: type[GenericWebhook], test: str) -> None:
    kit = TestGenericWebhook()
    kit.connector = broken()
    with pytest.raises((AssertionError, InvalidEvent)):
        getattr(kit, f"test_{test}")()
