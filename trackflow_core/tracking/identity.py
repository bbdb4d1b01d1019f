"""Visitor ids: issue, sign, verify, carry from one own domain to another, and match with a lead.

The cookie carries a signed id and lives long. A token carries a signed id with its time of issue
and lives short: it travels in forms and webhooks. A crossing carries one in a link from one of our
domains to another and lives for minutes. Signatures are HMAC-SHA256 by itsdangerous; each use, and
each domain that a crossing leads to, has a salt of its own, so none can stand in for another.
"""

from __future__ import annotations

import hmac
import re
import secrets as csprng
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from hashlib import sha256
from urllib.parse import urlsplit

from itsdangerous import BadSignature, Signer
from itsdangerous.signer import SigningAlgorithm

from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.tracking.urls import build_destination, query_pairs

COOKIE_NAME = "trackflow_vid"
CROSSING = "trackflow_x"
"""The query parameter of a crossing."""
FORM_FIELD = "trackflow_visitor_token"
"""The field of a form that carries a token; a form sent by GET puts it into the next address."""
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
    return _read_dated(token, keys, "token", now, max_age)


def _read_dated(
    token: str, keys: Sequence[str], use: str, now: datetime, max_age: timedelta
) -> str:
    visitor_id = _unsign(token, keys, use)
    issued = datetime.fromtimestamp(_issued_at(token), timezone.utc)
    if not -_CLOCK_SKEW <= now - issued <= max_age:
        raise InvalidEvent("The visitor token has expired: ask the tracker for a fresh one.")
    return visitor_id


def cross(
    url: str, visitor_id: str, keys: Sequence[str], now: datetime, domains: Collection[str]
) -> str:
    """`url` with a crossing for `visitor_id` in its query, where it leads to one of `domains`.

    `domains` are our own; each covers its subdomains. Any other URL, one without https, and one
    that has a crossing already come back unchanged. All else in the URL stays byte for byte.
    """
    domain = _own_domain(url, domains)
    if domain is None:
        return url
    token = _signer(keys, f"crossing.{domain}").sign(f"{visitor_id}-{int(now.timestamp())}")
    return build_destination(url, incoming_query=f"{CROSSING}={token.decode()}")


def read_crossing(
    url: str,
    keys: Sequence[str],
    now: datetime,
    domains: Collection[str],
    max_age: timedelta = timedelta(minutes=2),
) -> str | None:
    """The visitor id that `url`, by which somebody arrived, carries over; None without one.

    It is believed on the domain that it was made for and for `max_age` only.
    """
    domain = _own_domain(url, domains)
    token = dict(query_pairs(url)).get(CROSSING)
    if domain is None or not token:
        return None
    try:
        return _read_dated(token, keys, f"crossing.{domain}", now, max_age)
    except InvalidEvent:
        return None


def without_visitor(url: str) -> str:
    """`url` without a crossing or token in its query: what is kept of a page proves no visitor."""
    if CROSSING not in url and FORM_FIELD not in url:
        return url
    address, hash_mark, fragment = url.partition("#")
    page, _, query = address.partition("?")
    kept = "&".join(
        piece
        for piece in query.split("&")
        if piece and not piece.startswith((f"{CROSSING}=", f"{FORM_FIELD}="))
    )
    return f"{page}?{kept}{hash_mark}{fragment}" if kept else f"{page}{hash_mark}{fragment}"


@dataclass(frozen=True, slots=True)
class Match:
    """Whom a lead belongs to: visitors, by which proof ("token", "cookie", "email" or ""), and in
    words why other proofs were not believed."""

    visitor_ids: frozenset[str] = frozenset()
    by: str = ""
    problems: tuple[str, ...] = ()


def match(
    *,
    token: str = "",
    cookie: str = "",
    email_visitor_ids: Collection[str] = (),
    keys: Sequence[str],
    now: datetime,
) -> Match:
    """The visitors of a lead that came in at `now` with these proofs; the first good one counts.

    First the token, which the form itself sent; then the cookie, which may be a colleague's on a
    shared machine; then the visitors who opened a signed link in a mail to the lead's address.
    """
    problems: list[str] = []
    if token:
        try:
            return Match(frozenset({read_token(token, keys, now)}), "token")
        except InvalidEvent as error:
            problems.append(f"token: {error}")
    if cookie:
        visitor_id = read_cookie(cookie, keys)
        if visitor_id is not None:
            return Match(frozenset({visitor_id}), "cookie", tuple(problems))
        problems.append("cookie: It is not signed by this installation.")
    visitors = frozenset(email_visitor_ids)
    return Match(visitors, "email" if visitors else "", tuple(problems))


def email_proof(address: str, keys: Sequence[str]) -> str:
    """What a link in a mail to `address` carries: a signed fingerprint, never the address.

    Whoever opens the link has read that mail. Capitals and blanks around the address do not
    matter.
    """
    fingerprint = _fingerprint(address, keys[-1] if keys else "")
    return _signer(keys, "email").sign(fingerprint).decode()


def proves_email(proof: str, address: str, keys: Sequence[str]) -> bool:
    """Whether `proof` was made by `email_proof` for `address`, with any of `keys`."""
    if len(proof) > _MAX_SIGNED_LENGTH or not proof.isascii():
        return False
    try:
        fingerprint = _signer(keys, "email").unsign(proof).decode()
    except BadSignature:
        return False
    return any(hmac.compare_digest(fingerprint, _fingerprint(address, key)) for key in keys)


def _fingerprint(address: str, key: str) -> str:
    # Keyed, because the addresses of a mailing could be guessed from plain hashes.
    return hmac.new(key.encode(), address.strip().lower().encode(), sha256).hexdigest()


def _own_domain(url: str, domains: Collection[str]) -> str | None:
    """The longest of `domains` that `url` leads to over https."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        return None
    if parts.scheme != "https":
        return None
    own = [name for name in map(str.lower, domains) if f".{host}".endswith(f".{name}")]
    return max(own, key=len, default=None)


def _signer(keys: Sequence[str], use: str) -> Signer:
    if not keys or not all(keys):
        raise ConfigError("No signing key is configured for visitor ids.")
    return _signer_of(tuple(keys), use)


class _HmacSha256(SigningAlgorithm):
    """The library's own algorithm in one call to OpenSSL: a redirect signs a cookie."""

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        return hmac.digest(key, value, "sha256")


@lru_cache(maxsize=64)
def _signer_of(keys: tuple[str, ...], use: str) -> Signer:
    signer = Signer(
        list(keys),
        salt=f"trackflow.visitor.{use}",
        key_derivation="hmac",
        digest_method=sha256,
        algorithm=_HmacSha256(),
    )
    # Signatures stay the same; only the derivation of the keys is not repeated for each.
    signer.secret_keys = [signer.derive_key(key) for key in signer.secret_keys]
    signer.key_derivation = "none"
    return signer


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
