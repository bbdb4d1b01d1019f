"""A digest of plain values, so that two states can be compared without keeping both."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def digest_of(value: Any) -> str:
    """SHA-256 (hex) of the canonical JSON of `value`: the same on every host and for ever."""
    return sha256(_CANONICAL.encode(value).encode()).hexdigest()
