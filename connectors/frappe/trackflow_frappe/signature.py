"""Whether a webhook comes from the site: base64 of HMAC-SHA256 over the raw body.

Frappe sends no timestamp and no delivery id, so an old request cannot be told from a new one. That
does no harm: what it tells is at most a hint to poll.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets as csprng
from collections.abc import Mapping, Sequence
from typing import Any

from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.ports import Delivery, IncomingRequest

HEADER = "x-frappe-webhook-signature"
MAX_BODY_BYTES = 1024 * 1024


def sign(body: bytes, secret: str) -> str:
    """What Frappe puts into the header beside `body`."""
    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()


def check(request: IncomingRequest, secrets: Sequence[str]) -> Delivery:
    """The delivery in a request that is signed with one of `secrets`.

    A repeated delivery has the same body, hence the same id. Raises InvalidEvent when the request
    is not authentic or no JSON object, ConfigError without secrets.
    """
    if len(request.body) > MAX_BODY_BYTES:
        raise InvalidEvent(f"The body has {len(request.body)} bytes; at most {MAX_BODY_BYTES}.")
    given = request.headers.get(HEADER, "")
    if not given:
        raise InvalidEvent(f"The header {HEADER} is missing: enable security in Frappe's webhook.")
    if not secrets:
        raise ConfigError("This connector has no webhook secret: create one, then provision.")
    candidate = given.encode() if given.isascii() else b""
    if not any(
        hmac.compare_digest(sign(request.body, secret).encode(), candidate) for secret in secrets
    ):
        raise InvalidEvent(
            f"The header {HEADER} does not match: provision the connector again, so that Frappe "
            "signs with its secret."
        )
    return Delivery(hashlib.sha256(request.body).hexdigest(), _decoded(request.body))


def new_secret() -> str:
    """A fresh secret: 256 random bits."""
    return csprng.token_urlsafe(32)


def _decoded(body: bytes) -> Mapping[str, Any]:
    try:
        payload = json.loads(body, parse_float=str)
    except (ValueError, RecursionError):
        raise InvalidEvent("The body is no JSON: provision the connector again.") from None
    if not isinstance(payload, dict):
        raise InvalidEvent("The body is no JSON object: provision the connector again.")
    return payload
