"""Whether a webhook comes from the workspace: hex HMAC-SHA256 over its time, a colon, and the body.

The time is in milliseconds since 1970. Twenty sends a nonce beside it that is not signed, so a
repeated delivery is known by its body, which names the moment of the event.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.ports import Delivery, IncomingRequest
from trackflow_http import signed

SIGNATURE = "x-twenty-webhook-signature"
TIMESTAMP = "x-twenty-webhook-timestamp"
TOLERANCE = timedelta(minutes=5)
_DIGITS = 13
"""Of milliseconds since 1970, until the year 2286."""


def sign(body: bytes, timestamp: str, secret: str) -> str:
    """What Twenty puts into the header beside `body`."""
    signed = timestamp.encode() + b":" + body
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def check(request: IncomingRequest, secrets: Sequence[str], now: datetime) -> Delivery:
    """The delivery in a fresh request that is signed with one of `secrets`.

    Raises InvalidEvent when the request is not authentic, is stale or no JSON object, ConfigError
    without secrets.
    """
    signed.check_size(request.body)
    if not secrets:
        raise ConfigError("This connector has no webhook secret: create one, then provision.")
    given = request.headers.get(SIGNATURE, "")
    timestamp = request.headers.get(TIMESTAMP, "")
    if not given or not timestamp:
        missing = TIMESTAMP if given else SIGNATURE
        raise InvalidEvent(f"The header {missing} is missing: give Twenty's webhook a secret.")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) == _DIGITS):
        raise InvalidEvent(f"The header {TIMESTAMP} is no time in milliseconds.")
    expected = (sign(request.body, timestamp, secret) for secret in secrets)
    if not signed.is_one_of(given, expected):
        raise InvalidEvent(
            f"The header {SIGNATURE} does not match: prepare the CRM again, so that Twenty "
            "signs with its secret."
        )
    sent = datetime.fromtimestamp(int(timestamp) / 1000, timezone.utc)
    if abs(now - sent) > TOLERANCE:
        raise InvalidEvent(
            f"The request was signed at {sent.isoformat()}, more than five minutes from now: "
            "set the clocks of both servers."
        )
    return signed.delivery_of(request.body, "is it Twenty that sends it?")
