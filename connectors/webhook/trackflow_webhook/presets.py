"""What is known of senders: how each proves who it is, and what its bodies mean.

The mappings lie in `presets/` and can be copied and changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from trackflow_webhook.verification import IN_SIGNATURE, Scheme

OWN = "trackflow"
"""The fixed shape of our own, signed by Standard Webhooks."""

CUSTOM = "custom"
"""Any sender, by the mapping and the scheme that a person gives."""

SCHEMES: Mapping[str, Scheme] = {
    OWN: Scheme(),
    CUSTOM: Scheme(),
    "hubspot": Scheme(
        "hmac",
        "x-hubspot-signature-v3",
        encoding="base64",
        signed="{method}{url}{body}{timestamp}",
        timestamp="x-hubspot-request-timestamp",
    ),
    "pipedrive": Scheme("basic"),
    "salesforce": Scheme("bearer"),
    "zoho": Scheme("bearer", "x-trackflow-token"),
    "calendly": Scheme(
        "hmac", "calendly-webhook-signature", signed="{timestamp}.{body}", timestamp=IN_SIGNATURE
    ),
    "typeform": Scheme("hmac", "typeform-signature", encoding="base64", prefix="sha256="),
    "stripe": Scheme(
        "hmac", "stripe-signature", signed="{timestamp}.{body}", timestamp=IN_SIGNATURE
    ),
}
"""How each kind of sender proves who it is."""


@dataclass(frozen=True, slots=True)
class Preset:
    """One kind of sender. `mapping` is "" for our own shape and for a custom sender."""

    name: str
    scheme: Scheme
    mapping: str


@lru_cache(maxsize=16)
def preset_named(name: str) -> Preset:
    """The preset of a name in `SCHEMES`."""
    if name in (OWN, CUSTOM):
        return Preset(name, SCHEMES[name], "")
    text = files("trackflow_webhook").joinpath("presets").joinpath(f"{name}.ini").read_text("utf-8")
    return Preset(name, SCHEMES[name], text)
