"""Errors, told apart by what the caller can do about them.

TrackFlowError
├── ConfigError      somebody must change a setting, then try again
├── InvalidEvent     this input will never be accepted; set it aside with the reason
├── RetriableError   the same call may succeed later
└── TerminalError    the other side refused for good; stop trying

Every message says what is wrong, where, and what to do; none contains a secret.
"""

from __future__ import annotations

from datetime import datetime, timezone
from email.utils import parsedate_to_datetime


class TrackFlowError(Exception):
    """Base of all errors that TrackFlow raises on purpose."""


class ConfigError(TrackFlowError):
    """A setting, plugin or connector is configured wrongly."""


class InvalidEvent(TrackFlowError):
    """An inbound click, lead or deal cannot be understood or trusted; `field` is the value's path."""

    def __init__(self, message: str = "", *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class RetriableError(TrackFlowError):
    """A passing fault; `retry_after` is the wait in seconds the other side asked for, if any."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TerminalError(TrackFlowError):
    """The other side refused this for good."""


def seconds_to_wait(header: str, now: datetime) -> float | None:
    """What a `Retry-After` header asks for (RFC 9110, section 10.2.3): seconds or a date.

    None for a header that is empty or says neither.
    """
    value = header.strip()
    if value.isascii() and value.isdigit() and len(value) < 10:
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    sent = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return max(0.0, (sent - now).total_seconds())
