"""Whether a webhook comes from the site: base64 of HMAC-SHA256 over the raw body.

Frappe sends no timestamp and no delivery id, so an old request cannot be told from a new one. That
does no harm: what it tells is at most a hint to poll.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence

from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.ports import Delivery, IncomingRequest
from trackflow_http import signed

HEADER = "x-frappe-webhook-signature"


def sign(body: bytes, secret: str) -> str:
    """What Frappe puts into the header beside `body`."""
    return base64.b64encode(hmac.new(secret.encode(), body, hashlib.sha256).digest()).decode()


def check(request: IncomingRequest, secrets: Sequence[str]) -> Delivery:
    """The delivery in a request that is signed with one of `secrets`.

    A repeated delivery has the same body, hence the same id. Raises InvalidEvent when the request
    is not authentic or no JSON object, ConfigError without secrets.
    """
    signed.check_size(request.body)
    given = request.headers.get(HEADER, "")
    if not given:
        raise InvalidEvent(f"The header {HEADER} is missing: enable security in Frappe's webhook.")
    if not secrets:
        raise ConfigError("This connector has no webhook secret: create one, then provision.")
    if not signed.is_one_of(given, (sign(request.body, secret) for secret in secrets)):
        raise InvalidEvent(
            f"The header {HEADER} does not match: prepare the CRM again, so that Frappe "
            "signs with its secret."
        )
    return signed.delivery_of(request.body, "prepare the CRM again.")
