"""Work beside the answers goes on, whatever fails."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionLeft

from trackflow_server import targets
from trackflow_server.background import repeat
from trackflow_server.targets import Targets

_log = logging.getLogger("trackflow.test")


@pytest.mark.parametrize("fault", [NoConnectionLeft("all are in use"), OSError(), KeyError("x")])
def test_work_is_repeated_after_any_fault(
    fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    stopping, faults = threading.Event(), [fault]

    def work() -> float:
        if faults:
            raise faults.pop()
        stopping.set()
        return 0

    repeat(work, stopping, _log, "It cannot go on", first_wait=0.001)
    [told] = caplog.records
    assert told.message.startswith("It cannot go on; next try in 0 s")
    assert bool(told.exc_info) is isinstance(fault, KeyError)


def test_links_are_watched_after_a_fault_of_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "_CHECK_SECONDS", 0.001)
    faults = [OperationalError("SELECT", None, Exception("gone")), NoConnectionLeft("none left")]
    changed = threading.Event()

    def revision() -> int:
        if faults:
            raise faults.pop()
        return 1

    async def watch() -> None:
        watching = asyncio.create_task(Targets(lambda _: {}, revision, changed.set).watch())
        await asyncio.to_thread(changed.wait, 5)
        watching.cancel()

    asyncio.run(watch())
    assert changed.is_set()
