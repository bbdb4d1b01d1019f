"""What the clicks of a link sum up to, kept as they are written: many clicks are slow to count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    JSON,
    String,
    Subquery,
    bindparam,
    case,
    cast,
    exists,
    func,
    select,
    update,
)

from trackflow_core.model import ClickEvent
from trackflow_server.store.base import BaseStore
from trackflow_server.store.schema import click, link_total

_Pair = tuple[str, str]


class TotalStore(BaseStore):
    """The part of the store that keeps the totals of links."""

    def known(self, event_ids: Collection[str]) -> set[str]:
        """Which of these are recorded."""
        event_id = click.c.event_id
        return {*self.connection.scalars(select(event_id).where(self.among(event_id, event_ids)))}

    def count(self, events: Sequence[ClickEvent]) -> None:
        """Add those of `events` that count and are new to the totals of their links."""
        known = self.known([event.click.event_id for event in events])
        events = [
            event
            for event in events
            if event.counts and event.click.link_code and event.click.event_id not in known
        ]
        pairs = {_pair(event) for event in events if event.click.visitor_id}
        visitors = Counter(code for code, _ in pairs - self._clicked(pairs))
        clicks = Counter(event.click.link_code for event in events)
        last: dict[str, datetime] = {}
        for event in events:
            code, moment = event.click.link_code, event.click.occurred_at
            last[code] = max(last.get(code, moment), moment)
        self._add_totals(
            [
                {
                    "link_code": code,
                    "clicks": clicks[code],
                    "visitors": visitors[code],
                    "last_click_at": last[code],
                }
                for code in sorted(clicks)
            ]
        )

    @contextmanager
    def recounted(self, visitor_ids: Collection[str], *, erased: bool = False) -> Iterator[None]:
        """Bring the totals of links up to date with what the block does to these visitors' clicks:
        they get other ids, or none, or are `erased`."""
        before = self._totals_of(visitor_ids)
        yield
        after = self._totals_of(visitor_ids)
        total, none = link_total.c, (0, 0)
        changed = [
            {
                "code": code,
                "fewer_clicks": clicks - after.get(code, none)[0] if erased else 0,
                "fewer_visitors": visitors - after.get(code, none)[1],
            }
            for code, (clicks, visitors) in sorted(before.items())
        ]
        if not changed:
            return
        values: dict[str, Any] = {
            "clicks": total.clicks - bindparam("fewer_clicks"),
            "visitors": total.visitors - bindparam("fewer_visitors"),
        }
        if erased:
            values["last_click_at"] = (
                select(func.max(click.c.occurred_at))
                .where(click.c.link_code == total.link_code, click.c.counts)
                .scalar_subquery()
            )
        self.connection.execute(
            update(link_total).where(total.link_code == bindparam("code")).values(values), changed
        )

    def _totals_of(self, visitor_ids: Collection[str]) -> Mapping[str, tuple[int, int]]:
        """Clicks and visitors by link, of these visitors alone."""
        found = self.connection.execute(
            select(click.c.link_code, func.count(), func.count(click.c.visitor_id.distinct()))
            .where(self.among(click.c.visitor_id, visitor_ids), click.c.counts)
            .group_by(click.c.link_code)
        )
        return {row[0]: (row[1], row[2]) for row in found}

    def _clicked(self, pairs: Collection[_Pair]) -> set[_Pair]:
        """Which of these pairs of link and visitor have a click that counts."""
        if not pairs:
            return set()
        asked = self._pairs(pairs)
        found = exists().where(
            click.c.visitor_id == asked.c.visitor_id,
            click.c.link_code == asked.c.link_code,
            click.c.counts,
        )
        return {(row[0], row[1]) for row in self.connection.execute(select(asked).where(found))}

    def _pairs(self, pairs: Collection[_Pair]) -> Subquery:
        if self.is_sqlite:
            each = func.json_each(bindparam(None, sorted(pairs), JSON())).table_valued("value")
            code, visitor = (func.json_extract(each.c.value, f"$[{n}]") for n in (0, 1))
            return select(code.label("link_code"), visitor.label("visitor_id")).subquery()
        columns = zip(*sorted(pairs), strict=True)
        lists = (
            cast(bindparam(None, [*column], ARRAY(String)), ARRAY(String)) for column in columns
        )
        both = func.unnest(*lists).table_valued("link_code", "visitor_id").render_derived()
        return select(both.c.link_code, both.c.visitor_id).subquery()

    def _add_totals(self, rows_of_links: Sequence[Mapping[str, Any]]) -> None:
        if not rows_of_links:
            return
        total, statement = link_total.c, self._insert(link_total)
        added = statement.excluded
        later = case(
            (total.last_click_at > added.last_click_at, total.last_click_at),
            else_=added.last_click_at,
        )
        self.connection.execute(
            statement.on_conflict_do_update(
                index_elements=["link_code"],
                set_={
                    "clicks": total.clicks + added.clicks,
                    "visitors": total.visitors + added.visitors,
                    "last_click_at": later,
                },
            ),
            rows_of_links,
        )


def _pair(event: ClickEvent) -> _Pair:
    return event.click.link_code, event.click.visitor_id or ""
