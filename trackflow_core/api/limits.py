"""How many requests an hour: by key, and by address where there is no key.

Counted by the library `limits`, in memory of the process or in Redis.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from functools import lru_cache
from ipaddress import ip_address
from threading import Lock

import limits
from limits.errors import ConfigurationError, StorageError
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import SlidingWindowCounterRateLimiter
from limits.util import WindowStats

from trackflow_core.api.messages import Problem
from trackflow_core.errors import ConfigError
from trackflow_core.tracking.networks import Network, contains

_log = logging.getLogger(__name__)
MEMORY = "memory://"
_REMINDER_SECONDS = 60.0
_SWEEP_SECONDS = 60.0


class Limiter:
    """Counts requests over a sliding hour.

    `storage` is "memory://" or "redis://host:6379/0". While Redis does not answer, each process
    counts by itself. Raises ConfigError when the storage cannot be used.
    """

    def __init__(self, storage: str = MEMORY) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(_storage(storage))
        self._alone = SlidingWindowCounterRateLimiter(_storage(MEMORY))
        self._warned = 0.0

    def spend(self, who: str, hourly: int) -> Mapping[str, str]:
        """Count one request of `who`; the headers that tell how many are left.

        Raises Problem 429 when there is none left.
        """
        item = limits.RateLimitItemPerHour(hourly)
        try:
            allowed, stats = _hit(self._limiter, item, who)
        except StorageError as error:
            self._warn(error)
            allowed, stats = _hit(self._alone, item, who)
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

    def _warn(self, error: StorageError) -> None:
        now = time.monotonic()
        if not self._warned or now - self._warned > _REMINDER_SECONDS:
            self._warned = now
            cause = type(error.storage_error).__name__
            _log.warning("Requests are counted by each process alone: Redis fails (%s).", cause)


class _Memory(MemoryStorage):
    """Counts in this process; the library's own starts a thread at almost every request."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = Lock()
        self._swept = time.monotonic()

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        with self._lock:
            self._sweep()
            count = self.get(key) + amount
            self.storage[key] = count
            self.expirations.setdefault(key, time.time() + expiry)
        return count

    def decr(self, key: str, amount: int = 1) -> int:
        with self._lock:
            count = max(self.get(key) - amount, 0)
            self.storage[key] = count
        return count

    def _sweep(self) -> None:
        now = time.monotonic()
        if now - self._swept < _SWEEP_SECONDS:
            return
        self._swept = now
        for key in [*self.expirations]:
            # Reading what has expired forgets it.
            self.get(key)


def _hit(
    limiter: SlidingWindowCounterRateLimiter, item: limits.RateLimitItem, who: str
) -> tuple[bool, WindowStats]:
    allowed = limiter.hit(item, "trackflow", who)
    return allowed, limiter.get_window_stats(item, "trackflow", who)


@lru_cache(maxsize=8)
def _storage(url: str) -> Storage:
    # One of each process: requests are counted together, whoever asks.
    if url == MEMORY:
        return _Memory()
    try:
        # Who asks must not wait long for a Redis that hangs.
        impatient = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0}
        storage = storage_from_string(url, wrap_exceptions=True, **impatient)
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
    if not trusted or "x-forwarded-for" not in headers:
        return peer
    chain = [part.strip() for part in headers["x-forwarded-for"].split(",")]
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
