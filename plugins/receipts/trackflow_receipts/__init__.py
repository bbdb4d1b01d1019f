"""Appends the receipt of every attribution to the file named by TRACKFLOW_RECEIPTS, and answers
`GET /receipts/<deal>` of the REST API from it.

One JSON object a line; amounts are integers in the currency's minor unit. A deal whose receipt is
the one this process last wrote for it is left out.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Lock
from typing import Any

from pydantic import BaseModel, Field

from trackflow_core.attribution import Attribution
from trackflow_core.hooks import ApiCall, ApiRoute, hookimpl
from trackflow_core.model import Context

VARIABLE = "TRACKFLOW_RECEIPTS"

_log = logging.getLogger("trackflow.receipts")
# Enough to recognise repetitions, small enough for a process that runs for months.
_REMEMBERED = 10_000


class Receipts:
    """Writes receipts; remembers what it last wrote of each deal and which files failed."""

    def __init__(self) -> None:
        self._written: OrderedDict[tuple[str, ...], bytes] = OrderedDict()
        self._failing: set[str] = set()
        self._lock = Lock()

    def append(self, attribution: Attribution, ctx: Context, path: str) -> None:
        """Append the receipt of `attribution` to `path`, unless it is unchanged."""
        receipt = {**attribution.receipt(), "host": ctx.host, "tenant": ctx.tenant}
        line = (json.dumps(receipt, ensure_ascii=False, sort_keys=True) + "\n").encode()
        key = (path, ctx.host, ctx.tenant, attribution.deal.ref)
        mark = hashlib.sha256(line).digest()
        with self._lock:
            if self._written.get(key) == mark:
                return
            try:
                _append(path, line)
            except OSError as error:
                self._report(path, error)
                return
            self._failing.discard(path)
            self._written[key] = mark
            self._written.move_to_end(key)
            if len(self._written) > _REMEMBERED:
                self._written.popitem(last=False)

    def _report(self, path: str, error: OSError) -> None:
        if path not in self._failing:
            self._failing.add(path)
            _log.error(
                "Receipts cannot be written to %s (%s): make it writable or change %s. "
                "This is said once until it works again.",
                path,
                error.strerror or error,
                VARIABLE,
            )


_receipts = Receipts()


@hookimpl
def trackflow_after_deal_attributed(attribution: Attribution, ctx: Context) -> None:
    """Append the receipt, where a file is named."""
    path = os.environ.get(VARIABLE)
    if path:
        _receipts.append(attribution, ctx, path)


class History(BaseModel):
    """Every receipt of one deal, oldest first."""

    items: list[dict[str, Any]] = Field(
        description="Receipts as they were written, amounts in minor units.",
        examples=[[{"deal": "api/D-7", "value": 25000, "digest": "0" * 64}]],
    )


@hookimpl
def trackflow_register_api_routes() -> Iterable[ApiRoute]:
    """`GET /receipts/{ref}`: how the split of a deal changed over time."""
    return [
        ApiRoute(
            "get_receipts",
            "GET",
            "/receipts/{ref}",
            "receipts:read",
            "Read every receipt that was written of a deal, oldest first",
            history,
            answer=History,
        )
    ]


def history(call: ApiCall) -> History:
    """The receipts of the deal in the file. Raises LookupError when there is none."""
    path = os.environ.get(VARIABLE)
    asked = call.params["ref"]
    deals = {asked, *(deal.ref for deal in call.store.deals({asked}))}
    found = [*_written_of(path, deals, call.ctx)] if path else []
    if not found:
        raise LookupError(f"No receipt was written of the deal {asked!r}.")
    return History(items=found)


def _written_of(path: str, deals: set[str], ctx: Context) -> Iterator[dict[str, Any]]:
    if not Path(path).exists():
        return
    with Path(path).open(encoding="utf-8") as lines:
        for line in lines:
            receipt = json.loads(line)
            owner = (receipt["host"], receipt["tenant"])
            if receipt["deal"] in deals and owner == (ctx.host, ctx.tenant):
                yield receipt


def _append(path: str, line: bytes) -> None:
    # One write with O_APPEND: lines of several processes follow each other and never mix.
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        if os.write(handle, line) != len(line):
            raise OSError("the disk took only part of a line")
    finally:
        os.close(handle)
