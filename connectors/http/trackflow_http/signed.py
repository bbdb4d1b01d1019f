"""What connectors share of a CRM's calls that are JSON, signed with a secret that we made."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets as csprng
from collections.abc import Iterable, Mapping
from typing import Any

from trackflow_core.errors import InvalidEvent
from trackflow_core.ports import Delivery

MAX_BODY_BYTES = 1024 * 1024


def new_secret() -> str:
    """A fresh secret: 256 random bits."""
    return csprng.token_urlsafe(32)


def check_size(body: bytes) -> None:
    """Raises InvalidEvent when `body` has more than `MAX_BODY_BYTES`."""
    if len(body) > MAX_BODY_BYTES:
        raise InvalidEvent(f"The body has {len(body)} bytes; at most {MAX_BODY_BYTES}.")


def is_one_of(given: str, signatures: Iterable[str]) -> bool:
    """Whether a header holds one of `signatures`; how long it takes does not tell which."""
    candidate = given.encode() if given.isascii() else b""
    return any(hmac.compare_digest(signature.encode(), candidate) for signature in signatures)


def delivery_of(body: bytes, remedy: str) -> Delivery:
    """The delivery that `body` is, known by its digest; decimals stay text.

    Raises InvalidEvent, which ends in `remedy`, when it is no JSON object.
    """
    return Delivery(hashlib.sha256(body).hexdigest(), _decoded(body, remedy))


def _decoded(body: bytes, remedy: str) -> Mapping[str, Any]:
    try:
        payload = json.loads(body, parse_float=str)
    except (ValueError, RecursionError):
        raise InvalidEvent(f"The body is no JSON: {remedy}") from None
    if not isinstance(payload, dict):
        raise InvalidEvent(f"The body is no JSON object: {remedy}")
    return payload
