"""Requests and responses as every host sees them, and problem documents (RFC 9457)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from trackflow_core.api.schemas import IN_WORDS

TITLES: Mapping[int, str] = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    412: "Precondition Failed",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request. `path` is decoded and begins behind the API's own; `query` is raw.

    Header names are lower case. `peer` is the address of who is connected. `base_url` is the
    scheme and host that the request was sent to.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    peer: str = ""
    base_url: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response; header names are lower case.

    `told_nothing` is of an answer to a program that asks again and again what is new: such are
    counted, and not written to the request log.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    told_nothing: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """One value that is refused: `field` is its path, such as "links[2].destination"."""

    field: str
    detail: str
    remedy: str


class Problem(Exception):
    """The request cannot be answered as asked; becomes a problem document.

    `detail` says what is wrong and where, `remedy` what to do.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        remedy: str = "",
        *,
        faults: tuple[Fault, ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.remedy = remedy
        self.faults = faults
        self.headers = headers or {}

    def response(self) -> Response:
        """The problem document."""
        document: dict[str, Any] = {
            "type": "about:blank",
            "title": TITLES[self.status],
            "status": self.status,
            "detail": self.detail,
        }
        if self.remedy:
            document["remedy"] = self.remedy
        if self.faults:
            document["errors"] = [
                {"field": item.field, "detail": item.detail, "remedy": item.remedy}
                for item in self.faults
            ]
        return json_response(
            self.status, document, {"content-type": "application/problem+json", **self.headers}
        )


def json_response(
    status: int, document: object, headers: Mapping[str, str] | None = None
) -> Response:
    """`document` as JSON."""
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(status, {"content-type": "application/json", **(headers or {})}, body)


def invalid(error: ValidationError) -> Problem:
    """The problem that a body or query has, with every value that is refused."""
    faults = tuple(_fault(item) for item in error.errors(include_url=False)[:20])
    names = ", ".join(dict.fromkeys(fault.field for fault in faults))
    return Problem(
        422, f"These values cannot be used: {names}.", "Mend each one as said.", faults=faults
    )


def _fault(item: Mapping[str, Any]) -> Fault:
    path = ""
    for part in item["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    path = path.lstrip(".") or "body"
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "missing":
        return Fault(path, "is missing", "Send it.")
    if item["type"] == "extra_forbidden":
        return Fault(path, "is not known", "Leave it out.")
    if item["type"] == "json_invalid":
        return Fault(path, "cannot be read", f"Mend the JSON: {item['ctx']['error']}.")
    value = repr(item["input"])
    hidden = path.endswith(("secret", "token", "cookie", "email", "phone"))
    shown = "not usable" if hidden else f"{value[:60]}{'…' if len(value) > 60 else ''}"
    if item["type"] == "string_pattern_mismatch" and item["ctx"]["pattern"] in IN_WORDS:
        return Fault(path, f"is {shown}", f"Send {IN_WORDS[item['ctx']['pattern']]}.")
    remedy = message.replace("Input should be", "Send").replace("String should", "It should")
    return Fault(path, f"is {shown}", f"{remedy[:1].upper()}{remedy[1:]}.")
