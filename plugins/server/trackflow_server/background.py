"""Work that is repeated beside the answers, and work on batches of which something may be bad."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from trackflow_core.errors import InvalidEvent, RetriableError, TrackFlowError
from trackflow_server.store import SqlStore

_Item = TypeVar("_Item")
_EXPECTED = (TrackFlowError, SQLAlchemyError, sqlite3.Error, OSError)


def repeat(
    work: Callable[[], float],
    stopping: threading.Event,
    log: logging.Logger,
    problem: str,
    *,
    first_wait: float,
    longest_wait: float = 30.0,
) -> None:
    """Do `work`, which says in how many seconds it is wanted again, until `stopping` is set.

    When it fails, `log` is told `problem` with the cause, and it is tried again after twice
    `first_wait` seconds, then after twice as long each time up to `longest_wait`, or after as long
    as the other side asks for. The log is told where an error that nobody expects comes from.
    """
    wait = first_wait
    while not stopping.is_set():
        try:
            pause = work()
        # Whatever it is: a thread that ended would leave its work undone until the next start.
        except Exception as error:
            asked = error.retry_after if isinstance(error, RetriableError) else None
            wait = max(min(wait * 2, longest_wait), asked or 0)
            cause = error.orig if isinstance(error, DBAPIError) else error
            unexpected = not isinstance(error, _EXPECTED)
            log.warning("%s; next try in %.0f s: %s", problem, wait, cause, exc_info=unexpected)
            stopping.wait(wait)
        else:
            wait = first_wait
            stopping.wait(pause)


def keep_all_or_each(
    store: SqlStore,
    items: Sequence[_Item],
    keep: Callable[[Sequence[_Item]], None],
    refused: Callable[[_Item, InvalidEvent], None],
) -> None:
    """Keep `items` at once; where one of them is refused, each alone, and tell which are."""
    try:
        with store.atomic():
            keep(items)
    except InvalidEvent:
        for item in items:
            try:
                with store.atomic():
                    keep([item])
            except InvalidEvent as error:
                refused(item, error)
