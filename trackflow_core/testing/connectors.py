"""The contract kit for connectors: mixins of plain `test_*` methods, for unittest and pytest alike.

class TestMyConnector(ConnectorContract):
    connector = MyConnector()
    required = (("id",), ("created",))

    def samples(self): ...
    def invalid_samples(self): ...
"""

from __future__ import annotations

import copy
import json
import random
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta, timezone
from functools import reduce
from typing import Any

from trackflow_core.errors import InvalidEvent, TrackFlowError
from trackflow_core.model import Deal
from trackflow_core.ports import Connector, Event, IncomingRequest, WebhookConnector

Path = tuple[str, ...]
"""Where a field is in a payload: ("data", "id") is `payload["data"]["id"]`."""

NAMESPACE = "kit/shop"
"""The namespace under which the kit maps every payload."""

_NOW = datetime(2026, 3, 2, 9, 0, tzinfo=timezone.utc)
_MARK = "tFm4rkTfm4rk"
_BEYOND_FLOATS = 2**53


@dataclass(frozen=True)
class Sample:
    """A valid payload and exactly the facts that it tells under `NAMESPACE`."""

    payload: Mapping[str, Any]
    events: Sequence[Event]


@dataclass(frozen=True)
class InvalidSample:
    """A payload that must be refused with a message that contains `names` (the field, say)."""

    payload: Mapping[str, Any]
    names: str


class ConnectorContract:
    """What every connector keeps. Subclasses give `connector`, samples and required fields.

    The samples must hold a name that is not ASCII, a deal whose value no float can hold, and at
    least two facts about one lead or deal; without them the kit could not fail, so it fails.
    """

    connector: Connector
    required: Sequence[Path] = ()
    """Fields without which a sample is refused; applied to each sample that has them."""
    confidential: Sequence[Path] = ()
    """Fields, in some sample, whose content no message and no `repr` may show."""
    shuffles = 20

    @abstractmethod
    def samples(self) -> Sequence[Sample]:
        """Valid payloads with the facts they tell."""

    @abstractmethod
    def invalid_samples(self) -> Sequence[InvalidSample]:
        """Payloads that can never be accepted."""

    # -- what it maps ----------------------------------------------------------------------

    def test_identity_is_usable(self) -> None:
        assert isinstance(self.connector, Connector)
        assert self.connector.name == self.connector.name.lower().strip() != ""
        assert self.connector.title

    def test_samples_map_to_their_facts(self) -> None:
        for sample in self.samples():
            assert tuple(self._map(sample.payload)) == tuple(sample.events), sample.payload

    def test_mapping_is_pure_and_repeatable(self) -> None:
        for sample in self.samples():
            payload = copy.deepcopy(dict(sample.payload))
            first = tuple(self._map(payload))
            assert payload == sample.payload, "map_events changed its payload"
            assert tuple(self._map(payload)) == first, "mapping twice gave other facts"
            turned = dict(reversed(list(payload.items())))
            assert tuple(self._map(turned)) == first, "the order of fields changed the facts"

    def test_refs_begin_with_the_namespace(self) -> None:
        for event in self._events():
            refs = [event.ref]
            if isinstance(event, Deal) and event.lead_ref:
                refs.append(event.lead_ref)
            for ref in refs:
                assert ref.startswith(f"{NAMESPACE}/") and len(ref) > len(NAMESPACE) + 1, ref

    def test_every_fact_has_an_id(self) -> None:
        assert all(event.event_id for event in self._events())

    def test_datetimes_are_utc(self) -> None:
        for event in self._events():
            for field in fields(event):
                value = getattr(event, field.name)
                if isinstance(value, datetime):
                    assert value.utcoffset() == timedelta(0), f"{field.name} is {value!r}"

    def test_text_beyond_ascii_survives(self) -> None:
        texts = [
            value
            for event in self._events()
            for value in (event.name, getattr(event, "contact_name", ""))
        ]
        assert any(not text.isascii() for text in texts), "give a sample with a name like 'Zoë'"

    def test_values_beyond_floats_are_exact(self) -> None:
        values = [abs(event.value) for event in self._events() if isinstance(event, Deal)]
        assert any(value > _BEYOND_FLOATS and value % 2 for value in values), (
            f"give a sample of a deal with an odd value above {_BEYOND_FLOATS} minor units"
        )

    def test_delivery_in_any_order_gives_one_state(self) -> None:
        told: dict[tuple[type, str], list[Any]] = {}
        for event in self._events():
            told.setdefault((type(event), event.ref), []).append(event)
        assert max(map(len, told.values())) > 1, "give two samples about one lead or deal"
        for facts in told.values():
            expected = reduce(lambda known, fact: known.merged_with(fact), facts)
            for seed in range(self.shuffles):
                chance = random.Random(seed)
                again = [*facts, *chance.sample(facts, k=len(facts) // 2)]
                chance.shuffle(again)
                state = reduce(lambda known, fact: known.merged_with(fact), again)
                assert state == expected, [fact.event_id for fact in again]

    # -- what it refuses -------------------------------------------------------------------

    def test_a_missing_required_field_is_named(self) -> None:
        seen: set[Path] = set()
        for sample in self.samples():
            for path in self.required:
                if _has(sample.payload, path):
                    seen.add(path)
                    message = self._refusal(_without(sample.payload, path))
                    assert path[-1] in message, f"{message!r} does not name {path[-1]}"
        assert self.required and seen == set(self.required), "no sample has some required field"

    def test_invalid_samples_are_refused(self) -> None:
        assert self.invalid_samples(), "give payloads that must be refused"
        for sample in self.invalid_samples():
            message = self._refusal(sample.payload)
            assert sample.names in message, f"{message!r} does not name {sample.names!r}"
            assert len(message) < 500, "a message is for people: shorten the value it shows"

    def test_confidential_fields_are_never_shown(self) -> None:
        seen: set[Path] = set()
        for sample in self.samples():
            for path in self.confidential:
                if not _has(sample.payload, path):
                    continue
                seen.add(path)
                marked = _with(sample.payload, path, _MARK)
                assert _MARK not in repr(self._map(marked)), f"repr shows {path[-1]}"
                broken = [_with(sample.payload, path, [_MARK]), _with(marked, path, _MARK * 1000)]
                broken += [
                    _with(marked, needed, [0])
                    for needed in self.required
                    if needed != path and _has(marked, needed)
                ]
                for payload in broken:
                    assert _MARK not in self._answer(payload), f"a message shows {path[-1]}"
        assert seen == set(self.confidential), "no sample has some confidential field"

    # -- helpers ---------------------------------------------------------------------------

    def _map(self, payload: Mapping[str, Any]) -> Sequence[Event]:
        return self.connector.map_events(payload, NAMESPACE)

    def _events(self) -> Iterator[Event]:
        for sample in self.samples():
            yield from self._map(sample.payload)

    def _refusal(self, payload: Mapping[str, Any]) -> str:
        return _refusal(lambda: self._map(payload))

    def _answer(self, payload: Mapping[str, Any]) -> str:
        """The message with which `payload` is refused, or the facts it is mapped to."""
        try:
            return repr(self._map(payload))
        except InvalidEvent as error:
            return _whole_message(error)


class WebhookConnectorContract(ConnectorContract):
    """What a connector keeps besides when its CRM calls us."""

    connector: WebhookConnector
    tolerance: timedelta | None = timedelta(minutes=5)
    """How old or new a request may be; None for a CRM that sends no timestamp."""

    @abstractmethod
    def request(self, sample: Sample, secret: str, now: datetime) -> IncomingRequest:
        """`sample` as its CRM would send it at `now`, signed with `secret`."""

    def test_it_is_a_webhook_connector(self) -> None:
        assert isinstance(self.connector, WebhookConnector)

    def test_a_verified_request_tells_its_facts(self) -> None:
        for sample, request, secret in self._requests():
            delivery = self.connector.verify(request, [secret], _NOW)
            assert delivery.event_id
            assert tuple(self._map(delivery.payload)) == tuple(sample.events)

    def test_a_host_may_keep_the_payload_as_json(self) -> None:
        for sample, request, secret in self._requests():
            payload = self.connector.verify(request, [secret], _NOW).payload
            kept = json.loads(json.dumps(payload))
            assert tuple(self._map(kept)) == tuple(sample.events)

    def test_a_repeated_request_has_the_same_id(self) -> None:
        secret = self.connector.new_secret()
        later = _NOW + timedelta(hours=1)
        for sample in self.samples():
            first = self.connector.verify(self.request(sample, secret, _NOW), [secret], _NOW)
            again = self.connector.verify(self.request(sample, secret, later), [secret], later)
            assert (again.event_id, again.payload) == (first.event_id, first.payload)

    def test_secrets_are_fresh_and_rotate(self) -> None:
        secrets = [self.connector.new_secret() for _ in range(3)]
        assert len(set(secrets)) == 3
        request = self.request(self.samples()[0], secrets[2], _NOW)
        assert self.connector.verify(request, secrets, _NOW).payload

    def test_a_wrong_secret_is_refused(self) -> None:
        for _, request, secret in self._requests():
            other = self.connector.new_secret()
            self._refused(request, [other], _NOW, secret)

    def test_without_secrets_nothing_is_accepted(self) -> None:
        for _, request, secret in self._requests():
            self._refused(request, [], _NOW, secret)

    def test_a_tampered_body_is_refused(self) -> None:
        for _, request, secret in self._requests():
            body = request.body
            middle = len(body) // 2
            flipped = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
            for tampered in (body + b" ", b" " + body, body[:-1], flipped, b""):
                self._refused(replace(request, body=tampered), [secret], _NOW, secret)

    def test_each_header_is_needed_and_checked(self) -> None:
        for _, request, secret in self._requests():
            for name in request.headers:
                for value in (None, "", "x", "\u00fc", "0", ",", "v1,", "=" * 10_000):
                    headers = {**request.headers, name: value}
                    kept = {key: text for key, text in headers.items() if text is not None}
                    self._refused(replace(request, headers=kept), [secret], _NOW, secret)

    def test_stale_and_future_requests_are_refused(self) -> None:
        if self.tolerance is None:
            return
        second = timedelta(seconds=1)
        for _, request, secret in self._requests():
            for sign in (1, -1):
                inside, outside = (
                    sign * (self.tolerance - second),
                    sign * (self.tolerance + second),
                )
                assert self.connector.verify(request, [secret], _NOW + inside)
                self._refused(request, [secret], _NOW + outside, secret)

    def _requests(self) -> Iterator[tuple[Sample, IncomingRequest, str]]:
        for sample in self.samples():
            secret = self.connector.new_secret()
            yield sample, self.request(sample, secret, _NOW), secret

    def _refused(
        self, request: IncomingRequest, secrets: Sequence[str], now: datetime, hidden: str
    ) -> None:
        message = _refusal(
            lambda: self.connector.verify(request, secrets, now),
            InvalidEvent if secrets else TrackFlowError,
        )
        assert not any(secret in message for secret in (*secrets, hidden)), "a secret is shown"


def _refusal(call: Callable[[], object], kind: type[TrackFlowError] = InvalidEvent) -> str:
    """The message with which `call` is refused."""
    try:
        answer = call()
    except kind as error:
        return _whole_message(error)
    raise AssertionError(f"accepted, but must be refused: {answer!r:.200}")


def _whole_message(error: BaseException) -> str:
    """What a log would show of an error: its message and those it was raised from."""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return str(error) + (f" <- {_whole_message(cause)}" if cause else "")


def _has(payload: Mapping[str, Any], path: Path) -> bool:
    value: Any = payload
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return False
        value = value[key]
    return True


def _with(payload: Mapping[str, Any], path: Path, value: object) -> dict[str, Any]:
    inner = value if len(path) == 1 else _with(payload[path[0]], path[1:], value)
    return {**payload, path[0]: inner}


def _without(payload: Mapping[str, Any], path: Path) -> dict[str, Any]:
    if len(path) == 1:
        return {key: value for key, value in payload.items() if key != path[0]}
    return {**payload, path[0]: _without(payload[path[0]], path[1:])}
