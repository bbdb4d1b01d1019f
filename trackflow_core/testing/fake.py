"""A CRM that exists only in memory, with dials for everything that goes wrong with real ones.

Hosts test with it how they poll, write back and recover; the kit is tested with it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import secrets as csprng
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from trackflow_core.attribution.allocation import currency_digits
from trackflow_core.connectors import (
    Capabilities,
    Change,
    Finding,
    Instance,
    Page,
    Rejected,
    Webhooks,
    WriteBack,
)
from trackflow_core.errors import ConfigError, InvalidEvent, RetriableError, TerminalError
from trackflow_core.model import Deal, DealStatus, Lead
from trackflow_core.options import option
from trackflow_core.ports import Delivery, Event, IncomingRequest

_FIELDS = "marketing"
_SIGNATURE = "x-fake-signature"


@dataclass
class FakeCrm:
    """The CRM itself. Its dials may be turned at any time.

    `failures` calls fail, asking to wait `retry_after` seconds. `duplicates` repeats every record
    of a page, `shuffle` mixes a page by this seed. `page_size` records make a page. `writes` counts
    how often anything was written.
    """

    key: str = "fake-key-4711"
    now: datetime = datetime(2026, 3, 12, 9, 0, tzinfo=timezone.utc)
    failures: int = 0
    retry_after: float | None = None
    duplicates: bool = False
    shuffle: int | None = None
    page_size: int = 3
    provisioned: bool = False
    writes: int = 0
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    marketing: dict[str, dict[str, Any]] = field(default_factory=dict)

    def save(self, number: str, **changes: Any) -> None:
        """Make or change a record at the CRM's present."""
        self.now += timedelta(seconds=1)
        self.writes += 1
        stamp = self.now.isoformat()
        known = self.records.get(number, {"id": number, "created": stamp})
        self.records[number] = {**known, **changes, "changed": stamp}

    def answer(self, key: str) -> FakeCrm:
        """This CRM, to a caller with this key, unless a dial says otherwise."""
        if not hmac.compare_digest(key.encode(), self.key.encode()):
            raise ConfigError("The fake CRM refuses the key: give the connector a new one.")
        if self.failures:
            self.failures -= 1
            raise RetriableError("The fake CRM is busy.", retry_after=self.retry_after)
        return self


@dataclass(frozen=True)
class FakeOptions:
    """What a connection with the fake CRM needs."""

    key: str = option("Key", "The key that the fake CRM expects.", secret=True)


class FakeConnector:
    """Connects with `crm`. Also a `ports.WebhookConnector` of its own plain signature."""

    name = "fake"
    title = "Fake CRM"
    options = FakeOptions
    capabilities = Capabilities(
        versions="this one",
        webhooks=Webhooks.EVENTS,
        polling=True,
        write_back=True,
        provisioning=True,
    )

    def __init__(self, crm: FakeCrm | None = None) -> None:
        self.crm = crm or FakeCrm()

    def connect(self, options: FakeOptions, instance: Instance) -> FakeConnection:
        """The connection with `crm` by the key in `options`."""
        return FakeConnection(self.crm, options, instance)

    def map_events(self, payload: Mapping[str, Any], namespace: str) -> Sequence[Event]:
        """The lead or deal that a record is."""
        return (_event(payload, namespace),)

    def verify(self, request: IncomingRequest, secrets: Sequence[str], now: datetime) -> Delivery:
        """Check the signature of a request made by `sign`."""
        given = request.headers.get(_SIGNATURE, "").encode()
        if not any(hmac.compare_digest(_digest(request.body, secret), given) for secret in secrets):
            raise InvalidEvent(f"The header {_SIGNATURE} does not match: sign the body.")
        return Delivery(hashlib.sha256(request.body).hexdigest(), json.loads(request.body))

    def new_secret(self) -> str:
        """A fresh secret."""
        return csprng.token_hex(16)


def sign(record: Mapping[str, Any], secret: str) -> IncomingRequest:
    """A record as the fake CRM would send it."""
    body = json.dumps(record).encode()
    return IncomingRequest(body, {_SIGNATURE: _digest(body, secret).decode()})


class FakeConnection:
    """The connection with a fake CRM."""

    def __init__(self, crm: FakeCrm, options: FakeOptions, instance: Instance) -> None:
        self._crm, self._options, self._instance = crm, options, instance

    def check(self) -> Sequence[Finding]:
        """Whether the key is good and the fields are there."""
        crm = self._crm.answer(self._options.key)
        return (
            Finding("The key is accepted."),
            Finding("The fields exist.", crm.provisioned, "Prepare the CRM."),
        )

    def map_events(self, payload: Mapping[str, Any]) -> Sequence[Event]:
        """The lead or deal that a record is."""
        return (_event(payload, self._instance.namespace),)

    def verify(self, request: IncomingRequest, now: datetime) -> Delivery:
        """Check a request by the instance's secrets."""
        return FakeConnector(self._crm).verify(request, self._instance.secrets, now)

    def poll(self, cursor: str) -> Page:
        """The next records in the order of their changes."""
        crm = self._crm.answer(self._options.key)
        since, last = json.loads(cursor) if cursor else ("", "")
        waiting = sorted(
            (record["changed"], number)
            for number, record in crm.records.items()
            if (record["changed"], number) > (since, last)
        )
        taken = waiting[: crm.page_size]
        records = [crm.records[number] for _, number in taken] * (2 if crm.duplicates else 1)
        if crm.shuffle is not None:
            random.Random(crm.shuffle).shuffle(records)
        events, rejected = [], []
        for record in records:
            try:
                events.append(_event(record, self._instance.namespace))
            except InvalidEvent as error:
                rejected.append(Rejected(record["id"], str(error), record))
        return Page(
            cursor=json.dumps(taken[-1]) if taken else cursor,
            more=len(waiting) > len(taken),
            events=events,
            rejected=rejected,
        )

    def write_back(self, told: WriteBack) -> None:
        """Keep `told` beside the record."""
        crm = self._crm.answer(self._options.key)
        if not crm.provisioned:
            raise ConfigError("The fake CRM has no fields for marketing: prepare the CRM.")
        number = told.ref.rpartition("/")[2]
        if number not in crm.records or crm.records[number].get("deleted"):
            raise TerminalError(f"The fake CRM has no record {number!r} any more.")
        if crm.marketing.get(number) != told.to_json():
            crm.marketing[number] = told.to_json()
            crm.writes += 1

    def provision(self, dry_run: bool) -> Sequence[Change]:
        """Make the fields."""
        crm = self._crm.answer(self._options.key)
        changes = () if crm.provisioned else (Change("create", _FIELDS),)
        crm.provisioned = crm.provisioned or not dry_run
        return changes

    def deprovision(self, dry_run: bool) -> Sequence[Change]:
        """Remove the fields."""
        crm = self._crm.answer(self._options.key)
        changes = (Change("delete", _FIELDS),) if crm.provisioned else ()
        if not dry_run:
            crm.provisioned = False
            crm.marketing.clear()
        return changes


def _digest(body: bytes, secret: str) -> bytes:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest().encode()


def _event(record: Mapping[str, Any], namespace: str) -> Event:
    changed = _moment(record, "changed")
    common = {
        "ref": f"{namespace}/{_needed(record, 'id')}",
        "event_id": f"{record['id']}@{record['changed']}",
        "occurred_at": changed,
        "created_at": _moment(record, "created"),
        "name": record.get("name", ""),
    }
    if "lead" not in record:
        return Lead(**common, visitor_token=record.get("token", ""))
    currency, value = str(_needed(record, "currency")), _needed(record, "value")
    if not isinstance(value, int):
        raise InvalidEvent("value is no whole number: give minor units.")
    deleted = bool(record.get("deleted"))
    return Deal(
        **common,
        value=0 if deleted else value,
        currency=currency,
        digits=currency_digits(currency),
        lead_ref=f"{namespace}/{record['lead']}",
        status=DealStatus.LOST if deleted else DealStatus(record.get("status", "open")),
    )


def _needed(record: Mapping[str, Any], name: str) -> Any:
    if record.get(name) in (None, ""):
        raise InvalidEvent(f"{name} is missing: give it.")
    return record[name]


def _moment(record: Mapping[str, Any], name: str) -> datetime:
    try:
        return datetime.fromisoformat(_needed(record, name))
    except (TypeError, ValueError):
        raise InvalidEvent(f"{name} is no time: give ISO 8601 with a zone.") from None
