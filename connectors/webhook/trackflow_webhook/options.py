"""What a connection with a sender of webhooks needs; all of it has a default."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from trackflow_core.errors import ConfigError
from trackflow_core.options import option, web_address
from trackflow_webhook import mapping as mappings
from trackflow_webhook.presets import CUSTOM, OWN, SCHEMES, preset_named
from trackflow_webhook.verification import DIGESTS, ENCODINGS, IN_SIGNATURE, KINDS, Scheme

_HEADER = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,80}\Z")
_AS_PRESET = "As the preset has it when it is empty."


def _header(value: str) -> str:
    return "" if _HEADER.match(value.lower()) else "use the name of a header"


def _timestamp(value: str) -> str:
    return "" if value == IN_SIGNATURE else _header(value)


def _signed(value: str) -> str:
    return "" if "{body}" in value else "use a text with {body}, such as {timestamp}.{body}"


def _seconds(value: int) -> str:
    return "" if 1 <= value <= 86_400 else "use 1 to 86400 seconds"


def _mapping(value: str) -> str:
    try:
        mappings.read(value)
    except ConfigError as error:
        return f"mend it: {str(error).rstrip('.')}"
    return ""


@dataclass(frozen=True)
class WebhookOptions:
    """Who sends, how it proves that, what its bodies mean, and where to answer."""

    preset: str = option(
        "Sender",
        "Who sends: 'trackflow' is TrackFlow's own shape, 'custom' any other by a mapping.",
        default=OWN,
        choices=tuple(SCHEMES),
    )
    mapping: str = option(
        "Mapping",
        "What a body means: sections [lead] and [deal] with a JMESPath expression for each field. "
        + _AS_PRESET,
        default="",
        lines=True,
        check=_mapping,
    )
    verification: str = option(
        "Verification",
        "How the sender proves who it is. " + _AS_PRESET,
        default="",
        choices=KINDS,
    )
    header: str = option(
        "Header",
        "The header with the signature, credential or fingerprint. " + _AS_PRESET,
        default="",
        check=_header,
    )
    prefix: str = option(
        "Prefix", "What stands before the signature, such as sha256=. " + _AS_PRESET, default=""
    )
    digest: str = option(
        "Digest",
        "The hash of an HMAC signature. " + _AS_PRESET,
        default="",
        choices=DIGESTS,
    )
    encoding: str = option(
        "Encoding",
        "How an HMAC signature is written. " + _AS_PRESET,
        default="",
        choices=ENCODINGS,
    )
    signed: str = option(
        "Signed Content",
        "What an HMAC signature covers, of {body}, {timestamp}, {url} and {method}. " + _AS_PRESET,
        default="",
        check=_signed,
    )
    timestamp: str = option(
        "Timestamp Header",
        "The header with the sending time; t= where the signature's own header has it. "
        + _AS_PRESET,
        default="",
        check=_timestamp,
    )
    id_header: str = option(
        "Id Header",
        "The header with the sender's id of a delivery; without one a digest of the body is the id.",
        default="",
        check=_header,
    )
    tolerance: int = option(
        "Tolerance",
        "How many seconds the sending time may be off.",
        default=300,
        check=_seconds,
    )
    write_back_url: str = option(
        "Write-back Address",
        "Where attribution is sent to, as a webhook signed by Standard Webhooks; empty for nowhere.",
        default="",
        check=web_address,
    )
    write_back_secret: str = option(
        "Write-back Secret", "Signs what is sent: whsec_ and base64.", default="", secret=True
    )

    def __post_init__(self) -> None:
        if self.preset == CUSTOM and not self.mapping:
            raise ConfigError("Mapping is missing: a custom sender needs one.")
        if self.preset == OWN and self.mapping:
            raise ConfigError("Mapping: choose the sender 'custom' to use a mapping of your own.")
        if self.scheme.kind == "hmac" and not self.scheme.header:
            raise ConfigError("Header is missing: name the one that holds the signature.")
        if self.write_back_url and not self.write_back_secret:
            raise ConfigError("Write-back Secret is missing: generate one for the receiver.")

    @property
    def scheme(self) -> Scheme:
        """How the sender proves who it is: the preset's scheme with what the options change."""
        base = preset_named(self.preset).scheme
        if self.verification and self.verification != base.kind:
            base = Scheme(self.verification)
        given = {
            "header": self.header.lower(),
            "prefix": self.prefix,
            "digest": self.digest,
            "encoding": self.encoding,
            "signed": self.signed,
            "timestamp": self.timestamp.lower(),
            "id_header": self.id_header.lower(),
        }
        changes = {name: value for name, value in given.items() if value}
        return replace(base, tolerance=self.tolerance, **changes)

    @property
    def rules(self) -> mappings.Rules | None:
        """What bodies mean; None for our own shape."""
        text = self.mapping or preset_named(self.preset).mapping
        return mappings.read(text) if text else None
