"""Whether a webhook is authentic and fresh, by Standard Webhooks 1.0.

A signature is `v1,` and the base64 HMAC-SHA256 of "<id>.<timestamp>.<body>". The library computes
it; the comparison is ours, because the library's own check reads the wall clock and fails with
arbitrary exceptions on a malformed header.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import secrets as csprng
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone

from standardwebhooks.webhooks import Webhook

from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.ports import IncomingRequest

MAX_BODY_BYTES = 256 * 1024
"""The largest body that is read."""

TOLERANCE = timedelta(minutes=5)
"""How far a sender's clock may be from ours, either way."""

_PREFIX = "whsec_"
_MIN_KEY_BYTES = 24
_MAX_SIGNATURES = 32
_ID = re.compile(r"[\x21-\x7e]{1,200}\Z")
_TIMESTAMP = re.compile(r"(0|[1-9][0-9]{0,10})\Z")


def new_secret() -> str:
    """A fresh signing secret: `whsec_` and 256 random bits in base64."""
    return _PREFIX + base64.b64encode(csprng.token_bytes(32)).decode()


def sign(body: bytes, secret: str, webhook_id: str, now: datetime) -> Mapping[str, str]:
    """The three headers that a sender puts beside `body`.

    Raises ConfigError when `secret` is not a signing secret.
    """
    timestamp = int(now.timestamp())
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": _signature(secret, webhook_id, timestamp, body.decode()),
    }


def check(request: IncomingRequest, secrets: Sequence[str], now: datetime) -> tuple[str, str]:
    """The webhook's id and its body as text, once signature and timestamp have been checked.

    Raises InvalidEvent when the request is too large, lacks a header, is older or newer than
    `TOLERANCE`, or is signed by none of `secrets`; ConfigError when a secret is unusable.
    """
    if len(request.body) > MAX_BODY_BYTES:
        raise InvalidEvent(
            f"The body has {len(request.body)} bytes; at most {MAX_BODY_BYTES} are read: "
            "send fewer fields."
        )
    webhook_id = _header(request, "webhook-id", _ID, "1 to 200 visible ASCII characters")
    timestamp = int(_header(request, "webhook-timestamp", _TIMESTAMP, "seconds since 1970"))
    _check_fresh(timestamp, now)
    try:
        text = request.body.decode()
    except UnicodeDecodeError:
        raise InvalidEvent("The body is not UTF-8: encode the JSON as UTF-8.") from None
    given = _signatures(request)
    if not secrets:
        raise ConfigError("This webhook has no signing secret: create one and give it the sender.")
    for secret in secrets:
        expected = _signature(secret, webhook_id, timestamp, text).encode()
        if any(hmac.compare_digest(expected, candidate) for candidate in given):
            return webhook_id, text
    raise InvalidEvent(
        "No v1 signature in the header webhook-signature matches: sign "
        "'<webhook-id>.<webhook-timestamp>.<body>' with this webhook's secret, "
        "and send the body byte for byte as it was signed."
    )


def _header(request: IncomingRequest, name: str, form: re.Pattern[str], meaning: str) -> str:
    value = request.headers.get(name)
    if not value:
        raise InvalidEvent(f"The header {name} is missing: sign by Standard Webhooks 1.0.")
    if not form.match(value):
        raise InvalidEvent(f"The header {name} is {value!r:.40}; expected {meaning}.")
    return value


def _check_fresh(timestamp: int, now: datetime) -> None:
    age = now.timestamp() - timestamp
    if abs(age) > TOLERANCE.total_seconds():
        sent = datetime.fromtimestamp(timestamp, timezone.utc)
        raise InvalidEvent(
            f"The header webhook-timestamp says {sent}, {abs(age):.0f} seconds "
            f"{'ago' if age > 0 else 'from now'}; at most {TOLERANCE.total_seconds():.0f} are "
            "accepted: sign each attempt anew and check the sender's clock."
        )


def _signatures(request: IncomingRequest) -> Sequence[bytes]:
    value = request.headers.get("webhook-signature")
    if not value:
        raise InvalidEvent(
            "The header webhook-signature is missing: sign by Standard Webhooks 1.0."
        )
    return tuple(_encoded(value.split()[:_MAX_SIGNATURES]))


def _encoded(candidates: Sequence[str]) -> Iterator[bytes]:
    # Non-ASCII text cannot be compared in constant time, and can never match.
    for candidate in candidates:
        if candidate.isascii():
            yield candidate.encode()


def _signature(secret: str, webhook_id: str, timestamp: int, body: str) -> str:
    moment = datetime.fromtimestamp(timestamp, timezone.utc)
    return Webhook(_key(secret)).sign(webhook_id, moment, body)


def _key(secret: str) -> bytes:
    """The HMAC key in `secret`, with or without its prefix."""
    encoded = secret.removeprefix(_PREFIX).rstrip("=")
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) < _MIN_KEY_BYTES:
        raise ConfigError(
            f"A signing secret is not 'whsec_' and at least {_MIN_KEY_BYTES} bytes in base64: "
            "create a new one."
        )
    return key
