"""Keys of the API: `tf_<prefix>_<secret>`. Only a hash of the secret is kept.

A secret has 256 random bits, so one round of SHA-256 is enough: there is nothing to guess.
"""

from __future__ import annotations

import hmac
import re
import secrets as csprng
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256

from trackflow_core.api.messages import Problem
from trackflow_core.api.storage import ApiKey, Catalog
from trackflow_core.errors import ConfigError
from trackflow_core.tracking import networks

RESOURCES = (
    "campaigns",
    "links",
    "templates",
    "events",
    "conversions",
    "visitors",
    "leads",
    "deals",
    "attribution",
    "webhooks",
    "privacy",
)
SCOPES = frozenset(f"{resource}:{verb}" for resource in RESOURCES for verb in ("read", "write"))
"""What a key may be allowed; plugins that add routes add scopes of their own."""

EDGE = "edge:read"
"""What an edge's key needs. It shows the keys of visitor ids, so that no key has it unasked."""

OVERLAP = timedelta(hours=24)
"""How long the old secret is good after a rotation, where nothing else is asked for."""

_TOKEN = re.compile(r"tf_([A-Za-z0-9]{8,32})_([A-Za-z0-9]{43,64})\Z")
_SCOPE = re.compile(r"[a-z][a-z0-9_-]{0,63}:(read|write)\Z")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True, slots=True)
class Issued:
    """A key and its `token`, which is shown once and cannot be had again."""

    key: ApiKey
    token: str = field(repr=False)


def issue(
    name: str,
    scopes: Iterable[str],
    now: datetime,
    *,
    allowed: Iterable[str] = (),
    expires_at: datetime | None = None,
    hourly_limit: int = 0,
) -> Issued:
    """A new key, to be kept by `Catalog.create`. `allowed` are networks in CIDR form.

    Raises ConfigError without a scope, and on a malformed scope or network.
    """
    key = ApiKey(
        id=_random(12),
        name=name,
        hashed="",
        scopes=frozenset(scopes),
        networks=tuple(allowed),
        created_at=now,
        expires_at=expires_at,
        hourly_limit=hourly_limit,
    )
    check(key)
    secret = _random(43)
    return Issued(replace(key, hashed=_hash(secret)), _token(key.id, secret))


def rotate(key: ApiKey, now: datetime, overlap: timedelta = OVERLAP) -> Issued:
    """`key` with a new secret; the old one is good for `overlap`.

    Raises ConfigError when the key is revoked.
    """
    if key.revoked_at is not None:
        raise ConfigError(f"The key {key.id} is revoked: make a new one.")
    secret = _random(43)
    rotated = replace(
        key, hashed=_hash(secret), previous_hashed=key.hashed, previous_until=now + overlap
    )
    return Issued(rotated, _token(key.id, secret))


def revoke(key: ApiKey, now: datetime) -> ApiKey:
    """`key`, good for nothing from now on."""
    return replace(key, revoked_at=key.revoked_at or now, previous_hashed="", previous_until=None)


def check(key: ApiKey) -> None:
    """Raises ConfigError when `key` has no scope, or a scope or network of it is malformed."""
    if not key.scopes:
        raise ConfigError(
            f"The scopes of the key {key.name!r} are [], so that it could do nothing: give it one or "
            f"more, such as {', '.join(sorted(SCOPES)[:2])}."
        )
    for scope in key.scopes:
        if not _SCOPE.match(scope):
            raise ConfigError(
                f"{scope!r} is no scope: use a resource with ':read' or ':write', such as "
                f"{', '.join(sorted(SCOPES)[:2])}."
            )
    for network in key.networks:
        networks.parse(network)


def authenticate(catalog: Catalog, authorization: str, address: str, now: datetime) -> ApiKey:
    """The key of the header `Authorization`, used from `address`.

    Raises Problem 401 or 403. Whether a prefix exists cannot be told from the answer, nor from
    how long it takes.
    """
    scheme, _, token = authorization.partition(" ")
    match = _TOKEN.match(token.strip())
    if scheme.lower() != "bearer" or match is None:
        raise _refused("There is no API key in the header Authorization.")
    prefix, secret = match.groups()
    key = catalog.read(ApiKey, [prefix]).get(prefix)
    if key is None or not _is_secret(key, secret, now):
        # A missing key costs as much as a wrong secret.
        _same(_hash(secret), "0" * 64)
        raise _refused("The API key is not valid.")
    if key.revoked_at is not None and key.revoked_at <= now:
        raise _refused("The API key is revoked.")
    if key.expires_at is not None and key.expires_at <= now:
        raise _refused(f"The API key expired on {key.expires_at:%Y-%m-%d}.")
    if key.networks and not networks.contains(map(networks.parse, key.networks), address):
        raise Problem(
            403,
            f"The API key {key.id} may not be used from {address or 'this address'}.",
            "Use it from its allowed networks, or allow this one in the key's settings.",
        )
    return key


def require(key: ApiKey, scope: str) -> None:
    """Raises Problem 403 unless `key` has `scope`; to write implies to read."""
    if scope not in key.scopes and scope.replace(":read", ":write") not in key.scopes:
        raise Problem(
            403,
            f"The API key {key.id} has no scope {scope!r}.",
            f"Give the key the scope {scope!r}, or use another one.",
        )


def _is_secret(key: ApiKey, secret: str, now: datetime) -> bool:
    hashed = _hash(secret)
    current = _same(hashed, key.hashed)
    previous = _same(hashed, key.previous_hashed or "0" * 64)
    overlaps = key.previous_until is not None and now < key.previous_until
    return current or (previous and overlaps and bool(key.previous_hashed))


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _refused(detail: str) -> Problem:
    return Problem(
        401,
        detail,
        "Send a valid key: Authorization: Bearer tf_….",
        headers={"www-authenticate": 'Bearer realm="TrackFlow"'},
    )


def _hash(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def _token(prefix: str, secret: str) -> str:
    return f"tf_{prefix}_{secret}"


def _random(length: int) -> str:
    return "".join(csprng.choice(_LETTERS) for _ in range(length))


def described(key: ApiKey, now: datetime) -> str:
    """The state of a key in one word."""
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is not None and key.expires_at <= now:
        return "expired"
    return "rotating" if key.previous_until and now < key.previous_until else "active"
