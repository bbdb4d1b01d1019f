"""Reading a CRM page by page into an engine.

A host does, for each page, in one transaction of its own: `take_in`, then keep `page.cursor`. A
process that dies between two pages goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator

from trackflow_core.connectors import Page, Polling
from trackflow_core.engine import Engine
from trackflow_core.model import Deal, Lead


def pages(connection: Polling, cursor: str) -> Iterator[Page]:
    """All that a CRM has to tell since `cursor`; "" for all that it ever had."""
    while True:
        page = connection.poll(cursor)
        yield page
        if not page.more:
            return
        cursor = page.cursor


def take_in(engine: Engine, page: Page) -> None:
    """Tell the engine all facts of a page."""
    engine.apply(
        [event for event in page.events if isinstance(event, Lead)],
        [event for event in page.events if isinstance(event, Deal)],
    )
    for merge in page.merges:
        engine.merge_leads(merge.winner, merge.losers)
