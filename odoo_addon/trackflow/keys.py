"""Secret keys, derived from one secret of the installation and never stored."""

import base64
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from odoo.tools import config

from trackflow_core.errors import ConfigError


def visitor_keys(env) -> tuple[str, ...]:
    """The keys that sign visitor cookies and tokens, the current one last."""
    return (_derive(_root_secret(env), "visitor").decode(),)


def encrypt(env, text: str) -> str:
    """`text` as it may be stored in the database."""
    return Fernet(_derive(_root_secret(env), "connector secret")).encrypt(text.encode()).decode()


def decrypt(env, text: str) -> str:
    """What `encrypt` was given.

    Raises ConfigError when the installation's secret is another one by now.
    """
    try:
        return (
            Fernet(_derive(_root_secret(env), "connector secret")).decrypt(text.encode()).decode()
        )
    except InvalidToken:
        raise ConfigError(
            "This secret was stored under another installation secret: set it anew."
        ) from None


def _root_secret(env) -> str:
    # The option in odoo.conf keeps the secret out of database dumps.
    return config.get("trackflow_secret_key") or env["ir.config_parameter"].sudo().get_param(
        "database.secret"
    )


@lru_cache(maxsize=64)
def _derive(root: str, purpose: str) -> bytes:
    key = HKDF(SHA256(), length=32, salt=None, info=f"trackflow {purpose}".encode())
    return base64.urlsafe_b64encode(key.derive(root.encode()))
