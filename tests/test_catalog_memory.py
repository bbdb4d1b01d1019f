"""The in-memory catalog keeps the contract of catalogs."""

from __future__ import annotations

from collections.abc import Iterable

from trackflow_core.api.storage import Catalog
from trackflow_core.model import Link
from trackflow_core.ports import Store
from trackflow_core.testing import CatalogContract, MemoryCatalog, MemoryStore


class TestMemoryCatalog(CatalogContract):
    def new_host(self, links: Iterable[Link]) -> tuple[Catalog, Store]:
        store = MemoryStore(links)
        return MemoryCatalog(store), store
