"""A person writes expressions, tries them on a sample, and is told what is wrong."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trackflow_core.connectors import Instance, WriteBack
from trackflow_core.errors import ConfigError, InvalidEvent, TrackFlowError
from trackflow_core.model import Deal, DealStatus, Lead
from trackflow_core.options import configure
from trackflow_core.ports import Delivery, Event, IncomingRequest
from trackflow_core.testing import (
    InvalidSample,
    RemoteContract,
    Sample,
    WebhookConnectorContract,
)
from trackflow_http import Pace
from trackflow_webhook import GenericWebhook, WebhookOptions, decode, new_secret, preview, sign
from trackflow_webhook.mapping import events_of, read
from trackflow_webhook.verification import Scheme
from trackflow_webhook.verification import sign as sign_hmac

UTC = timezone.utc
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
URL = "https://trackflow.example/hook"
MAPPING = """
[webhook]
items = events      # several in one body

[lead]
when = item.kind == 'signup'
event = item.uid
id = item.user
occurred_at = item.at
contact_name = item.name
visitor_token = item.token

[deal]
when = item.kind == 'order'
event = item.uid
id = item.number
lead_id = item.user
occurred_at = item.at
value = item.total
currency = item.currency
status = item.paid && 'won' || 'open'
"""
SIGNUP = {"kind": "signup", "uid": "u1", "user": "z1", "at": "2026-03-01T12:00:00Z", "name": "Zoë"}
ORDER = {
    "kind": "order", "uid": "o1", "number": 7, "user": "z1", "at": 1772366400, "paid": True,
    "total": "250.10", "currency": "eur",
}  # fmt: skip
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def connector(**options: Any) -> MappedWebhook:
    given = {"preset": "custom", "mapping": MAPPING, **options}
    return MappedWebhook(configure(WebhookOptions, given))


class MappedWebhook(GenericWebhook):
    """A connection as the kit sees a connector."""

    def __init__(self, options: WebhookOptions) -> None:
        super().__init__()
        self.configured = options

    def verify(self, request: IncomingRequest, secrets: Sequence[str], now: datetime) -> Delivery:
        instance = Instance("kit/shop", URL, tuple(secrets))
        return self.connect(self.configured, instance).verify(request, now)

    def map_events(self, payload: Mapping[str, Any], namespace: str) -> Sequence[Event]:
        return self.connect(self.configured, Instance(namespace)).map_events(payload)


def payload(*events: Mapping[str, Any]) -> dict[str, Any]:
    body = {"events": list(events)}
    digest = hashlib.sha256(json.dumps(body).encode()).hexdigest()
    return {"body": body, "webhook_id": digest}


class TestMapped(WebhookConnectorContract):
    """Any JSON, signed by Standard Webhooks."""

    connector = connector()
    required = (("body",), ("webhook_id",))
    headers_prove_body = True

    def request(self, sample: Sample, secret: str, now: datetime) -> IncomingRequest:
        body = json.dumps(sample.payload["body"]).encode()
        return IncomingRequest(body, sign(body, secret, sample.payload["webhook_id"], now))

    def samples(self) -> Sequence[Sample]:
        lead = Lead("kit/shop/z1", "u1", NOON, contact_name="Zoë", visitor_token="abc")
        deal = Deal("kit/shop/7", "o1", NOON, 25_010, "EUR", "kit/shop/z1", status=DealStatus.WON)
        again = replace(deal, event_id="o2", value=2**53 + 1, currency="JPY", digits=0)
        huge = {**ORDER, "uid": "o2", "total": 2**53 + 1, "currency": "JPY"}
        return [
            Sample(payload({**SIGNUP, "token": "abc"}, ORDER, {"kind": "ping"}), [lead, deal]),
            Sample(payload(huge), [again]),
            Sample(payload(), []),
        ]

    def test_a_missing_required_field_is_named(self) -> None:
        for name in ("body", "webhook_id"):
            kept = {key: value for key, value in payload(SIGNUP).items() if key != name}
            assert name in self._refusal(kept)
        for part in ("user", "at"):
            kept = {key: value for key, value in SIGNUP.items() if key != part}
            assert f"item.{part}" in self._refusal(payload(kept))

    def test_confidential_fields_are_never_shown(self) -> None:
        for value in ("tFm4rk" * 500, ["tFm4rk"], {"a": "tFm4rk"}):
            assert "tFm4rk" not in self._answer(payload({**SIGNUP, "token": value}))

    def invalid_samples(self) -> Sequence[InvalidSample]:
        return [
            InvalidSample({}, "body"),
            InvalidSample(payload({**SIGNUP, "user": "x" * 300}), "item.user"),
            InvalidSample(payload({**SIGNUP, "user": True}), "item.user"),
            InvalidSample(payload({**SIGNUP, "at": "2026-03-01 12:00"}), "zone"),
            InvalidSample(payload({**SIGNUP, "at": "soon"}), "item.at"),
            InvalidSample(payload({**SIGNUP, "at": 5}), "item.at"),
            InvalidSample(payload({**SIGNUP, "name": ["Zoë"]}), "item.name"),
            InvalidSample(payload({**ORDER, "total": "1,000.00"}), "item.total"),
            InvalidSample(payload({**ORDER, "total": {"amount": 1}}), "item.total"),
            InvalidSample(payload({**ORDER, "currency": "€"}), "item.currency"),
            InvalidSample(payload({**ORDER, "currency": None}), "item.currency"),
            InvalidSample({"body": {"events": 5}, "webhook_id": "x"}, "items"),
            InvalidSample({"body": {"events": [1] * 1001}, "webhook_id": "x"}, "1001"),
        ]


class TestSignedLikeGitHub(TestMapped):
    """A plain HMAC over the body, without a time."""

    connector = connector(
        verification="hmac", header="X-Signature-256", prefix="sha256=", id_header="X-Delivery"
    )
    tolerance = None
    scheme = Scheme("hmac", "x-signature-256", prefix="sha256=")

    def request(self, sample: Sample, secret: str, now: datetime) -> IncomingRequest:
        body = json.dumps(sample.payload["body"]).encode()
        return IncomingRequest(body, sign_hmac(body, self.scheme, secret, URL, now))


class TestSignedWithTime(TestSignedLikeGitHub):
    """An HMAC over address, time and body, in base64 by SHA-512."""

    connector = connector(
        verification="hmac",
        header="X-Sign",
        digest="sha512",
        encoding="base64",
        signed="{url}|{timestamp}|{body}",
        timestamp="X-Time",
    )
    tolerance = TestMapped.tolerance
    scheme = Scheme(
        "hmac", "x-sign", "sha512", "base64", signed="{url}|{timestamp}|{body}", timestamp="x-time"
    )


class TestSignedInOneHeader(TestSignedWithTime):
    """Time and signature in one header."""

    connector = connector(
        verification="hmac", header="X-Sign", signed="{timestamp}.{body}", timestamp="t="
    )
    scheme = Scheme("hmac", "x-sign", signed="{timestamp}.{body}", timestamp="t=")


class TestBearer(TestMapped):
    """A token in a header, which says nothing of the body."""

    connector = connector(verification="bearer")
    tolerance = None

    def request(self, sample: Sample, secret: str, now: datetime) -> IncomingRequest:
        body = json.dumps(sample.payload["body"]).encode()
        return IncomingRequest(body, {"authorization": f"Bearer {secret}"})

    def test_a_tampered_body_is_refused(self) -> None:
        """Only what is no JSON can be refused."""
        for _, request, secret in self._requests():
            self._refused(replace(request, body=b"{"), [secret], NOW, secret)


class TestCertificate(TestBearer):
    """A client certificate's fingerprint, by a trusted proxy."""

    connector = connector(verification="mtls", header="X-Fingerprint")

    def request(self, sample: Sample, secret: str, now: datetime) -> IncomingRequest:
        body = json.dumps(sample.payload["body"]).encode()
        spelled = ":".join(secret.upper()[i : i + 2] for i in range(0, len(secret), 2))
        return IncomingRequest(body, {"x-fingerprint": spelled}, from_trusted_proxy=True)

    def test_without_a_trusted_proxy_nothing_is_believed(self) -> None:
        for _, request, secret in self._requests():
            direct = replace(request, from_trusted_proxy=False)
            self._refused(direct, [secret], NOW, secret)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no section"),
        ("id = x", "cannot be read"),
        ("[webhook]\nitems = a", "no section"),
        ("[webhook]\ncolour = red\n[lead]\nid=a\noccurred_at=b", "items, zone"),
        ("[webhook]\nzone = Mars\n[lead]\nid=a\noccurred_at=b", "Mars"),
        ("[leads]\nid = a", "[leads]"),
        ("[lead]\nid = a", "no occurred_at"),
        ("[lead]\nid = a\nid = b", "already exists"),
        ("[lead]\nid = a[\noccurred_at = b", "[lead] id = a["),
        ("[lead]\nid = a\noccurred_at = b\nvalue = c", "a field value"),
        ("[deal]\nid = a\noccurred_at = b\ncurrency = c", "neither value"),
        ("[lead]\nid = " + "a" * 30_000, "characters"),
    ],
)
def test_a_mapping_that_is_wrong_says_where(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert says in str(caught.value) and len(str(caught.value)) < 500
    assert preview(text, {}).problems == [str(caught.value)]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"preset": "custom"}, "Mapping is missing"),
        ({"mapping": MAPPING}, "choose the sender 'custom'"),
        ({"preset": "custom", "mapping": "[lead]"}, "no id"),
        ({"preset": "custom", "mapping": MAPPING, "verification": "hmac"}, "Header is missing"),
        ({"preset": "stripe", "signed": "{timestamp}"}, "{body}"),
        ({"preset": "stripe", "header": "X: y"}, "name of a header"),
        ({"preset": "stripe", "tolerance": "0"}, "86400"),
        ({"write_back_url": URL}, "Write-back Secret is missing"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configure(WebhookOptions, options)
    assert says in str(caught.value)


def test_a_preview_shows_each_field_and_the_facts() -> None:
    found = preview(MAPPING, {"events": [SIGNUP, {**ORDER, "total": "much"}]})
    shown = {(row.section, row.field): row.value for row in found.rows}
    assert shown["lead", "contact_name"] == "Zoë"
    assert shown["deal", "value"] == "much"
    assert [type(event) for event in found.events] == [Lead]
    [problem] = found.problems
    assert problem.startswith("[deal] value = item.total finds 'much'; find a number")


def test_a_preview_says_when_nothing_applies() -> None:
    assert "No section applies" in preview(MAPPING, {"events": [{"kind": "ping"}]}).problems[0]


def test_an_expression_that_fails_says_why() -> None:
    text = "[lead]\nid = join(',', user)\noccurred_at = at"
    found = preview(text, {"user": 5, "at": "2026-03-01T12:00:00Z"})
    assert "[lead] id = join(',', user) fails" in found.problems[0]
    with pytest.raises(InvalidEvent, match="fails"):
        events_of(read(text), {"user": 5}, "m1", "n")


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2026-03-01T12:00:00Z", NOON),
        ("2026-03-01T13:00:00+0100", NOON),
        ("2026-03-01T13:00:00.123456789+01:00", NOON.replace(microsecond=123456)),
        ("2026-03-01 13:00", NOON),
        (1772366400, NOON),
        ("1772366400", NOON),
        (1772366400000, NOON),
        ("1772366400.5", NOON.replace(microsecond=500_000)),
    ],
)
def test_times_are_read_in_many_forms(value: Any, moment: datetime) -> None:
    rules = read("[webhook]\nzone = Europe/Berlin\n[lead]\nid = id\noccurred_at = at")
    [lead] = events_of(rules, {"id": 1, "at": value}, "m1", "n")
    assert lead.occurred_at == moment


def test_a_moment_to_come_is_now() -> None:
    rules = read("[lead]\nid = id\noccurred_at = at")
    before = datetime.now(timezone.utc)
    [lead] = events_of(rules, {"id": 1, "at": "2199-01-01T00:00:00Z"}, "m1", "n")
    assert before <= lead.occurred_at <= datetime.now(timezone.utc)


def test_minor_units_are_taken_as_they_are() -> None:
    rules = read("[deal]\nid=id\noccurred_at=at\nvalue_minor=cents\ncurrency=cur")
    for currency, value in (("EUR", 25_010), ("JPY", 25_010), ("KWD", 25_010)):
        sent = {"id": 1, "at": 1772366400, "cents": 25_010, "cur": currency}
        [deal] = events_of(rules, sent, "m1", "n")
        assert isinstance(deal, Deal) and deal.value == value


def test_forms_are_bodies_too() -> None:
    form = b"user=z1&at=1772366400&name=Zo%C3%AB&tag=a&tag=b"
    body = decode(form, "application/x-www-form-urlencoded; charset=utf-8")
    assert body == {"user": "z1", "at": "1772366400", "name": "Zoë", "tag": ["a", "b"]}
    with pytest.raises(InvalidEvent, match="fields"):
        decode(b"&".join(b"a=1" for _ in range(2000)), "application/x-www-form-urlencoded")
    with pytest.raises(InvalidEvent, match="NUL"):
        decode(b"a=%00", "application/x-www-form-urlencoded")


def test_the_same_body_has_the_same_id_and_another_header_id_wins() -> None:
    options = {"verification": "bearer", "id_header": "X-Delivery"}
    kit = connector(**options)
    body = json.dumps({"events": [SIGNUP]}).encode()
    headers = {"authorization": "Bearer s3cret"}
    first = kit.verify(IncomingRequest(body, headers), ["s3cret"], NOW)
    again = kit.verify(IncomingRequest(body, headers), ["s3cret"], NOW)
    named = kit.verify(IncomingRequest(body, {**headers, "x-delivery": "d1"}), ["s3cret"], NOW)
    assert first.event_id == again.event_id != named.event_id == "d1"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
fields = ["kind", "uid", "user", "at", "name", "token", "number", "total", "currency", "paid"]
likely = json_values | st.sampled_from(
    ["signup", "order", "2026-03-01T12:00:00Z", "EUR", 1772366400]
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.dictionaries(st.sampled_from(fields), likely), max_size=3))
def test_any_body_is_mapped_or_refused(events: list[dict[str, Any]]) -> None:
    try:
        told = events_of(read(MAPPING), {"events": events}, "m1", "n")
    except InvalidEvent as error:
        assert len(str(error)) < 500
        return
    assert all(event.ref.startswith("n/") for event in told)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(max_size=80))
def test_any_mapping_is_read_or_refused(text: str) -> None:
    try:
        read(f"[lead]\nid = {text}\noccurred_at = at")
    except TrackFlowError as error:
        assert len(str(error)) < 500


# -- write-back: a receiver that checks signatures and tells repetitions by their id -----------


class Receiver:
    """A system that takes attribution in by webhook."""

    instance = Instance("webhook/shop", URL, ("incoming",))

    def __init__(self) -> None:
        self.secret = new_secret()
        self.secrets = [self.secret]
        self.expected = self.secret
        self.taken: dict[str, Mapping[str, Any]] = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                self.send_response(receiver.take(body, headers))
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/in"

    def take(self, body: bytes, headers: Mapping[str, str]) -> int:
        sent = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
        proof = sign(body, self.expected, headers["webhook-id"], sent)["webhook-signature"]
        if proof != headers["webhook-signature"]:
            return 401
        self.taken[headers["webhook-id"]] = json.loads(body)
        return 204

    def options(self) -> Mapping[str, Any]:
        return {"write_back_url": self.url, "write_back_secret": self.secret}

    def now(self) -> datetime:
        return NOW

    def add_lead(self, name: str, visitor_token: str = "") -> str:
        return "webhook/shop/z1"

    def marketing(self, ref: str, kind: str) -> Mapping[str, Any]:
        [told] = [item["data"] for item in self.taken.values() if item["data"]["ref"] == ref]
        return told  # type: ignore[no-any-return]

    def changes(self) -> int:
        return len(self.taken)

    def expire_credentials(self) -> None:
        self.expected = new_secret()


class TestConnection(RemoteContract):
    connector = GenericWebhook(Pace(per_second=0, sleep=lambda seconds: None))

    @contextmanager
    def remote(self) -> Iterator[Any]:
        receiver = Receiver()
        thread = Thread(target=receiver.server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield receiver
        finally:
            receiver.server.shutdown()
            receiver.server.server_close()
            thread.join()

    def test_expired_credentials_are_a_setting_to_renew(self) -> None:
        """There is nothing to check at the receiver before something is sent."""
        with self.remote() as receiver:
            connection = self._connect(receiver)
            receiver.expire_credentials()
            with pytest.raises(ConfigError, match="renew the credentials"):
                connection.write_back(WriteBack("webhook/shop/z1", "lead"))  # type: ignore[attr-defined]


def test_without_an_address_nothing_is_written_back() -> None:
    connection = GenericWebhook().connect(WebhookOptions(), Instance("webhook/shop"))
    with pytest.raises(ConfigError, match="Write-back Address is missing"):
        connection.write_back(WriteBack("webhook/shop/z1", "lead"))
    assert [finding.ok for finding in connection.check()] == [True, False, True]
