"""Errors, told apart by what the caller can do about them.

TrackFlowError
├── ConfigError      somebody must change a setting, then try again
├── InvalidEvent     this input will never be accepted; set it aside with the reason
├── RetriableError   the same call may succeed later
└── TerminalError    the other side refused for good; stop trying

Every message says what is wrong, where, and what to do; none contains a secret.
"""

from __future__ import annotations


class TrackFlowError(Exception):
    """Base of all errors that TrackFlow raises on purpose."""


class ConfigError(TrackFlowError):
    """A setting, plugin or connector is configured wrongly."""


class InvalidEvent(TrackFlowError):
    """An inbound click, lead or deal cannot be understood or trusted."""


class RetriableError(TrackFlowError):
    """A passing fault; `retry_after` is the wait in seconds the other side asked for, if any."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class TerminalError(TrackFlowError):
    """The other side refused this for good."""
