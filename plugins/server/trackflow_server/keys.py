"""Keys for every purpose, derived from the secrets of the installation and never stored."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from trackflow_core.errors import ConfigError


@lru_cache(maxsize=64)
def derive(secret: str, purpose: str) -> str:
    """The key of one purpose, as URL-safe text."""
    key = HKDF(SHA256(), length=32, salt=None, info=f"trackflow {purpose}".encode())
    return base64.urlsafe_b64encode(key.derive(secret.encode())).decode()


def encrypt(text: str, secrets: Sequence[str]) -> str:
    """`text` as it may be stored; the last of `secrets` encrypts."""
    return _fernet(secrets).encrypt(text.encode()).decode()


def decrypt(text: str, secrets: Sequence[str]) -> str:
    """What `encrypt` was given under any of `secrets`.

    Raises ConfigError when the secret that it was stored under is gone.
    """
    try:
        return _fernet(secrets).decrypt(text.encode()).decode()
    except InvalidToken:
        raise ConfigError(
            "A stored secret was encrypted under another TRACKFLOW_SECRET: put the old one in "
            "front of the new one, with a comma between."
        ) from None


def _fernet(secrets: Sequence[str]) -> MultiFernet:
    return MultiFernet([Fernet(derive(secret, "stored secret")) for secret in reversed(secrets)])
