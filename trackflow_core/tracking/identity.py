"""Visitor ids: issue, sign and verify.

The cookie carries a signed id and lives long. A token carries a signed id with its time of issue
and lives short: it travels in forms and webhooks. Signatures are HMAC-SHA256 by itsdangerous; the
two uses have different salts, so one can never stand in for the other.
"""

from __future__ import annotations

import re
import secrets as csprng
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from hashlib import sha256

from itsdangerous import BadSignature, Signer

from trackflow_core.errors import ConfigError, InvalidEvent

COOKIE_NAME = "trackflow_vid"
_VISITOR_ID = re.compile(r"[0-9a-f]{32}\Z")
_MAX_SIGNED_LENGTH = 256
# A clock that runs ahead of ours by less than this is believed.
_CLOCK_SKEW = timedelta(minutes=5)


def new_visitor_id() -> str:
    """A fresh visitor id: 128 random bits as 32 hexadecimal digits."""
    return csprng.token_hex(16)


def sign_cookie(visitor_id: str, keys: Sequence[str]) -> str:
    """The cookie value for `visitor_id`; the last of `keys` signs."""
    return _signer(keys, "cookie").sign(visitor_id).decode()


def read_cookie(value: str | None, keys: Sequence[str]) -> str | None:
    """The visitor id in a cookie; None when it is missing, malformed or not signed by a key."""
    if not value:
        return None
    try:
        return _unsign(value, keys, "cookie")
    except InvalidEvent:
        return None


def issue_token(visitor_id: str, keys: Sequence[str], now: datetime) -> str:
    """A short-lived proof that its bearer knows this visitor, to be sent along with a lead."""
    return _signer(keys, "token").sign(f"{visitor_id}-{int(now.timestamp())}").decode()


def read_token(
    token: str, keys: Sequence[str], now: datetime, max_age: timedelta = timedelta(days=1)
) -> str:
    """The visitor id in a token that is at most `max_age` old.

    Raises InvalidEvent when the token is malformed, forged or too old.
    """
    visitor_id = _unsign(token, keys, "token")
    issued = datetime.fromtimestamp(_issued_at(token), timezone.utc)
    if not -_CLOCK_SKEW <= now - issued <= max_age:
        raise InvalidEvent("The visitor token has expired: ask the tracker for a fresh one.")
    return visitor_id


def _signer(keys: Sequence[str], use: str) -> Signer:
    if not keys or not all(keys):
        raise ConfigError("No signing key is configured for visitor ids.")
    return Signer(
        list(keys),
        salt=f"trackflow.visitor.{use}",
        key_derivation="hmac",
        digest_method=sha256,
    )


def _unsign(value: str, keys: Sequence[str], use: str) -> str:
    if len(value) > _MAX_SIGNED_LENGTH or not value.isascii():
        raise InvalidEvent("The visitor token is malformed.")
    try:
        payload = _signer(keys, use).unsign(value).decode()
    except BadSignature:
        raise InvalidEvent("The visitor token is not signed by this installation.") from None
    visitor_id = payload.partition("-")[0]
    if not _VISITOR_ID.match(visitor_id):
        raise InvalidEvent("The visitor token is malformed.")
    return visitor_id


def _issued_at(token: str) -> int:
    issued = token.partition("-")[2].rpartition(".")[0]
    if not issued.isdigit():
        raise InvalidEvent("The visitor token is malformed.")
    return int(issued)
