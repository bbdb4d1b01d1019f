"""What comes back from a request: an answer, or nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from trackflow_core.errors import RetriableError, TerminalError, seconds_to_wait


@dataclass(frozen=True, slots=True)
class Answer:
    """What a CRM answered; header names are lower case."""

    where: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The decoded body. Raises TerminalError when it is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            raise TerminalError(
                f"{self.where} answered {self.status} with something that is no JSON: "
                "check that the address leads to the CRM itself."
            ) from None

    @property
    def retry_after(self) -> float | None:
        """The seconds to wait that the CRM asks for, if any (RFC 9110, section 10.2.3)."""
        return seconds_to_wait(self.headers.get("retry-after", ""), datetime.now(timezone.utc))


class Unheard(RetriableError):
    """The other side certainly did nothing."""


class Unsure(RetriableError):
    """The other side may have done what it was asked."""
