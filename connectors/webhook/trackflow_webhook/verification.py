"""Whether a request comes from whom it should: five schemes, one answer.

`standard` is Standard Webhooks 1.0. `hmac` is any other signature over the body, described by a
`Scheme`. `bearer` and `basic` are credentials in a header, which do not cover the body. `mtls`
trusts the fingerprint of a client certificate, from a proxy that the host trusts.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.ports import IncomingRequest
from trackflow_webhook import signature

KINDS = ("standard", "hmac", "bearer", "basic", "mtls")
DIGESTS = ("sha256", "sha1", "sha512")
ENCODINGS = ("hex", "base64")
IN_SIGNATURE = "t="
"""As the place of the timestamp: in the signature's own header, as in `t=1700000000,v1=5257…`."""

_PLACEHOLDER = re.compile(r"(\{body\}|\{timestamp\}|\{url\}|\{method\})")
_NUMBER = re.compile(r"[0-9]{1,14}\Z")
_MILLISECONDS = 10**11


@dataclass(frozen=True, slots=True)
class Scheme:
    """How a sender proves who it is.

    `header` holds the signature or credential, behind `prefix`. `signed` is what is signed, made of
    {body}, {timestamp}, {url} and {method}. `timestamp` names the header with the sending time in
    seconds or milliseconds, or is `IN_SIGNATURE`; "" where there is none. `tolerance` in seconds.
    `id_header` holds the sender's id of the delivery; without one, a digest of the body is its id.
    """

    kind: str = "standard"
    header: str = ""
    digest: str = "sha256"
    encoding: str = "hex"
    prefix: str = ""
    signed: str = "{body}"
    timestamp: str = ""
    tolerance: int = 300
    id_header: str = ""


def check(
    request: IncomingRequest, scheme: Scheme, secrets: Sequence[str], url: str, now: datetime
) -> str:
    """The id of an authentic delivery; `url` is the address that the sender was given.

    Raises InvalidEvent when the request is not authentic or not fresh, ConfigError when there is no
    secret to tell.
    """
    if len(request.body) > signature.MAX_BODY_BYTES:
        raise InvalidEvent(
            f"The body has {len(request.body)} bytes; at most {signature.MAX_BODY_BYTES} are read: "
            "send fewer fields."
        )
    if scheme.kind == "standard":
        return signature.check(request, secrets, now)[0]
    if not secrets:
        raise ConfigError("This webhook has no secret: give the one that the sender uses.")
    if scheme.kind == "hmac":
        _check_hmac(request, scheme, secrets, url, now)
    elif scheme.kind == "mtls":
        _check_certificate(request, scheme, secrets)
    else:
        _check_credential(request, scheme, secrets)
    return request.headers.get(scheme.id_header, "")[:200] or _digest_of(request.body)


def sign(body: bytes, scheme: Scheme, secret: str, url: str, now: datetime) -> dict[str, str]:
    """The headers that a sender of this scheme `hmac` puts beside `body`."""
    timestamp = str(int(now.timestamp()))
    made = scheme.prefix + _signature(body, scheme, secret, timestamp, url)
    if scheme.timestamp == IN_SIGNATURE:
        return {scheme.header: f"t={timestamp},v1={made}"}
    sent = {scheme.timestamp: timestamp} if scheme.timestamp else {}
    return {scheme.header: made, **sent}


def _check_hmac(
    request: IncomingRequest, scheme: Scheme, secrets: Sequence[str], url: str, now: datetime
) -> None:
    given = _header(request, scheme.header)
    candidates: Sequence[str] = (given,)
    timestamp = ""
    if scheme.timestamp == IN_SIGNATURE:
        parts = [part.strip().partition("=") for part in given.split(",")][:32]
        timestamp = next((value for name, _, value in parts if name == "t"), "")
        candidates = [value for name, _, value in parts if name == "v1"]
    elif scheme.timestamp:
        timestamp = _header(request, scheme.timestamp)
    if scheme.timestamp:
        _check_fresh(timestamp, scheme, now)
    if "{url}" in scheme.signed and not url:
        raise ConfigError("The sender signs the address, and this host does not know its own.")
    wanted = [
        scheme.prefix + _signature(request.body, scheme, secret, timestamp, url)
        for secret in secrets
    ]
    if not _any_equal(wanted, candidates):
        raise InvalidEvent(
            f"No signature in the header {scheme.header} matches: check the secret, and that the "
            "body arrives byte for byte as it was sent."
        )


def _signature(body: bytes, scheme: Scheme, secret: str, timestamp: str, url: str) -> str:
    values = {
        "{body}": body,
        "{timestamp}": timestamp.encode(),
        "{url}": url.encode(),
        "{method}": b"POST",
    }
    content = b"".join(
        values.get(part, part.encode()) for part in _PLACEHOLDER.split(scheme.signed)
    )
    made = hmac.new(secret.encode(), content, scheme.digest).digest()
    return made.hex() if scheme.encoding == "hex" else base64.b64encode(made).decode()


def _check_fresh(timestamp: str, scheme: Scheme, now: datetime) -> None:
    if not (timestamp.isascii() and _NUMBER.match(timestamp)):
        raise InvalidEvent(f"The timestamp is {timestamp!r:.40}; expected seconds since 1970.")
    seconds = int(timestamp) / (1000 if int(timestamp) >= _MILLISECONDS else 1)
    age = now.timestamp() - seconds
    if abs(age) > scheme.tolerance:
        sent = datetime.fromtimestamp(seconds, timezone.utc)
        raise InvalidEvent(
            f"The timestamp says {sent:%Y-%m-%d %H:%M:%S} UTC, {abs(age):.0f} seconds "
            f"{'ago' if age > 0 else 'from now'}; at most {scheme.tolerance} are accepted."
        )


def _check_credential(request: IncomingRequest, scheme: Scheme, secrets: Sequence[str]) -> None:
    header = scheme.header or "authorization"
    prefix = scheme.prefix
    if scheme.kind == "basic":
        prefix = "Basic "
        secrets = [base64.b64encode(secret.encode()).decode() for secret in secrets]
    elif not prefix and header == "authorization":
        prefix = "Bearer "
    given = _header(request, header)
    if not _any_equal([prefix + secret for secret in secrets], [given]):
        raise InvalidEvent(f"The header {header} does not hold this webhook's secret.")


def _check_certificate(request: IncomingRequest, scheme: Scheme, secrets: Sequence[str]) -> None:
    header = scheme.header or "x-client-cert-fingerprint"
    if not request.from_trusted_proxy:
        raise InvalidEvent(
            f"The header {header} counts only from a trusted proxy: let requests come through it."
        )
    if not _any_equal(map(_plain, secrets), [_plain(_header(request, header))]):
        raise InvalidEvent(f"The certificate in the header {header} is none of those allowed.")


def _plain(fingerprint: str) -> str:
    return fingerprint.replace(":", "").strip().lower()


def _header(request: IncomingRequest, name: str) -> str:
    value = request.headers.get(name, "")
    if not value:
        raise InvalidEvent(f"The header {name} is missing: let the sender prove who it is.")
    return value


def _any_equal(wanted: Iterable[str], given: Iterable[str]) -> bool:
    # Text beyond ASCII cannot be compared in constant time, and can never match.
    candidates = [text.encode() for text in given if text.isascii()]
    return any(
        hmac.compare_digest(one.encode(), candidate) for one in wanted for candidate in candidates
    )


def _digest_of(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
