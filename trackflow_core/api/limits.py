"""How many requests an hour: by key, and by address where there is no key.

Counted by the library `limits`, in memory of the process or in Redis.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_address

import limits
from limits.errors import ConfigurationError
from limits.storage import Storage, storage_from_string
from limits.strategies import SlidingWindowCounterRateLimiter

from trackflow_core.api.messages import Problem
from trackflow_core.errors import ConfigError
from trackflow_core.tracking.networks import Network, contains

MEMORY = "memory://"


class Limiter:
    """Counts requests over a sliding hour.

    `storage` is "memory://" or "redis://host:6379/0". Raises ConfigError when it cannot be used.
    """

    def __init__(self, storage: str = MEMORY) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(_storage(storage))

    def spend(self, who: str, hourly: int) -> Mapping[str, str]:
        """Count one request of `who`; the headers that tell how many are left.

        Raises Problem 429 when there is none left.
        """
        item = limits.RateLimitItemPerHour(hourly)
        allowed = self._limiter.hit(item, "trackflow", who)
        stats = self._limiter.get_window_stats(item, "trackflow", who)
        wait = max(1, round(stats.reset_time - time.time()))
        left = stats.remaining if allowed else 0
        headers = {
            "ratelimit-policy": f'"hour";q={hourly};w=3600',
            "ratelimit": f'"hour";r={left};t={wait}',
        }
        if not allowed:
            raise Problem(
                429,
                f"More than {hourly} requests came within an hour.",
                f"Wait {wait} seconds, or ask for a higher limit.",
                headers={**headers, "retry-after": str(wait)},
            )
        return headers


@lru_cache(maxsize=8)
def _storage(url: str) -> Storage:
    # One of each process: requests are counted together, whoever asks.
    try:
        storage = storage_from_string(url)
    except (ConfigurationError, ImportError, ValueError) as error:
        raise ConfigError(
            f"Requests cannot be counted: {error}. Use memory:// or redis://host:6379/0, and "
            "install the package redis for the latter."
        ) from error
    if not isinstance(storage, Storage):
        raise ConfigError(f"Requests cannot be counted in {url.partition(':')[0]}: use redis://.")
    return storage


def client_address(peer: str, headers: Mapping[str, str], trusted: tuple[Network, ...]) -> str:
    """Who sent the request: `peer`, or whom trusted proxies name in `X-Forwarded-For`.

    The header is read from its end, as long as the address before it is a trusted proxy's; what an
    untrusted peer sends in it is never believed.
    """
    chain = [part.strip() for part in headers.get("x-forwarded-for", "").split(",")]
    address = peer
    while chain and contains(trusted, address):
        named = chain.pop()
        if not _is_address(named):
            break
        address = named
    return address


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
