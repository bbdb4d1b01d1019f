"""The in-memory store keeps the contract of stores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from trackflow_core.model import Link
from trackflow_core.testing.memory import MemoryStore
from trackflow_core.testing.stores import Shares, StoreContract


class TestMemoryStore(StoreContract):
    shuffles = 25

    def new_store(self, links: Iterable[Link]) -> MemoryStore:
        return MemoryStore(links)

    def credits_of(self, store: MemoryStore, deal_ref: str) -> Shares:
        attribution = store.attribution(deal_ref)
        assert attribution is not None
        return tuple((c.touch.id if c.touch else None, c.value) for c in attribution.credits)

    def digest_of(self, store: MemoryStore, deal_ref: str) -> str:
        attribution = store.attribution(deal_ref)
        assert attribution is not None
        return attribution.digest

    def summary_of(self, store: MemoryStore, lead_ref: str) -> tuple[str | None, str | None, int]:
        summary = store.summary(lead_ref)
        assert summary is not None
        first, last = summary.first, summary.last
        return (first.id if first else None, last.id if last else None, summary.touch_count)

    def recorded_clicks(self, store: MemoryStore) -> Sequence[str]:
        return [event.click.event_id for event in store.click_events()]

    def rejected_clicks(self, store: MemoryStore) -> dict[str, str]:
        return dict(store.rejections())

    def conversion_of(self, store: MemoryStore, ref: str, kind: str) -> int | None:
        found = [c.value for c in store.conversions() if (c.ref, c.kind) == (ref, kind)]
        return found[0] if found else None
