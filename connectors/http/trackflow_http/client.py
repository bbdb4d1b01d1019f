"""One CRM's HTTP interface, asked politely and never for ever.

Errors are told apart by recovery: `RetriableError` for a passing fault (429, 5xx, no answer),
`ConfigError` for what somebody must change (401, 403, a redirect, a certificate), `TerminalError`
for a request that will never be accepted. No message holds a header, a query or a body.
"""

from __future__ import annotations

import json as jsonlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from trackflow_core.errors import (
    ConfigError,
    RetriableError,
    TerminalError,
    TrackFlowError,
)
from trackflow_http.answers import Answer, Unheard, Unsure

if TYPE_CHECKING:
    from trackflow_http.sending import Sender

_REPEATABLE = ("GET", "HEAD", "PUT", "DELETE", "OPTIONS")


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast and how stubborn: at most `per_second` requests (0 for no limit), `attempts` of
    each. A CRM that asks to wait longer than `longest_wait` seconds is left to the caller.
    """

    per_second: float = 10
    attempts: int = 4
    longest_wait: float = 20
    connect_timeout: float = 5
    read_timeout: float = 60
    sleep: Callable[[float], None] = time.sleep


Explain = Callable[[Answer], TrackFlowError | None]
"""What is wrong with an answer, or None."""


def refusal(answer: Answer) -> TrackFlowError | None:
    """What an answer's status says, or None where it is a success."""
    where, status = answer.where, answer.status
    if status < 300:
        return None
    if status < 400:
        return ConfigError(
            f"{where} answers with a redirect ({status}): give the address that it leads to."
        )
    if status in (401, 403):
        return ConfigError(
            f"{where} answered {status}: renew the credentials, or give their user the permission."
        )
    if status == 429 or status >= 500:
        return RetriableError(
            f"{where} answered {status}; it may be busy.", retry_after=answer.retry_after
        )
    return TerminalError(f"{where} answered {status}.")


class Client:
    """Sends requests to one site. Not for several threads at a time.

    `headers` hold the credentials; they go to `base_url` only and are never shown.
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str] | None = None,
        pace: Pace | None = None,
        explain: Explain = refusal,
    ) -> None:
        self._base = base_url.rstrip("/")
        self._pace = pace or Pace()
        self._explain = explain
        self._headers = dict(headers or {})
        self._last = 0.0
        self._backoff = wait_random_exponential(multiplier=0.5, max=self._pace.longest_wait)

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Answer:
        """The answer to a GET."""
        return self.send("GET", path, params=params)

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        repeat: bool | None = None,
    ) -> Answer:
        """The answer to a request, which is a success by `explain`.

        `repeat` says that sending it twice does no harm; by default as HTTP says of the method.
        """
        may_repeat = method in _REPEATABLE if repeat is None else repeat
        retrying = Retrying(
            stop=stop_after_attempt(self._pace.attempts),
            wait=self._wait,
            retry=retry_if_exception_type((Unheard, Unsure) if may_repeat else Unheard),
            sleep=self._pace.sleep,
            reraise=True,
        )
        content = jsonlib.dumps(json).encode() if json is not None else body
        sent = {"Content-Type": "application/json"} if json is not None else {}
        return retrying(self._once, method, path, params, content, {**sent, **(headers or {})})

    @cached_property
    def _sender(self) -> Sender:
        # Here, because the library that sends opens a socket when it is imported.
        from trackflow_http.sending import Sender

        timeout = (self._pace.connect_timeout, self._pace.read_timeout)
        return Sender(self._base, self._headers, timeout)

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, RetriableError) else None
        return self._backoff(state) if asked is None else asked

    def _once(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None,
        content: bytes | None,
        headers: Mapping[str, str],
    ) -> Answer:
        self._keep_pace()
        answer = self._sender.send(method, path, params, content, headers)
        problem = self._explain(answer)
        if problem is None:
            return answer
        if not isinstance(problem, RetriableError):
            raise problem
        raise self._passing(answer, problem)

    def _passing(self, answer: Answer, problem: RetriableError) -> RetriableError:
        """`problem` as what the retrying goes by; a long wait is the caller's."""
        if (problem.retry_after or 0) > self._pace.longest_wait:
            return problem
        kind = Unheard if answer.status in (429, 503) else Unsure
        return kind(str(problem), retry_after=problem.retry_after)

    def _keep_pace(self) -> None:
        if self._pace.per_second:
            wait = self._last + 1 / self._pace.per_second - time.monotonic()
            if wait > 0:
                self._pace.sleep(wait)
        self._last = time.monotonic()
