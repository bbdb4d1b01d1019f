"""The proxies that odoo.conf trusts: what they forward is believed.

They are the machine's and not a database's.
"""

from functools import lru_cache

from odoo.tools import config

from trackflow_core.tracking import networks


def trusted() -> tuple[str, ...]:
    """Their networks (CIDR), as they are written."""
    return _told(config.get("trackflow_trusted_proxies") or "")


def are_trusted(address: str) -> bool:
    """Whether a trusted proxy has this address; raises ConfigError where one is no network."""
    return networks.contains(_networks(trusted()), address)


@lru_cache(maxsize=4)
def _told(text):
    return tuple(filter(None, map(str.strip, text.split(","))))


@lru_cache(maxsize=4)
def _networks(told):
    return tuple(map(networks.parse, told))
