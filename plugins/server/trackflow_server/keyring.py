"""The keys of the REST API, for the command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from trackflow_core.api import keys
from trackflow_core.api.storage import ApiKey, Query
from trackflow_core.errors import ConfigError
from trackflow_server import config as configuration
from trackflow_server.store import Database
from trackflow_server.store.catalog import SqlCatalog

_MOST = 1000


class Keyring:
    """The keys in one transaction."""

    def __init__(self, catalog: SqlCatalog) -> None:
        self._catalog = catalog
        self._now = datetime.now(timezone.utc)

    def create(
        self,
        name: str,
        scopes: Sequence[str],
        networks: Sequence[str],
        days: int | None,
        hourly_limit: int,
    ) -> keys.Issued:
        """A new key with these scopes, or every scope."""
        expires = self._now + timedelta(days=days) if days else None
        issued = keys.issue(
            name,
            scopes or keys.SCOPES,
            self._now,
            allowed=networks,
            expires_at=expires,
            hourly_limit=hourly_limit,
        )
        self._catalog.create([issued.key])
        return issued

    def rotate(self, key: str, hours: int) -> keys.Issued:
        """The key with a new secret."""
        issued = keys.rotate(self._find(key), self._now, timedelta(hours=hours))
        self._catalog.update([issued.key])
        return issued

    def revoke(self, key: str) -> None:
        self._catalog.update([keys.revoke(self._find(key), self._now)])

    def rows(self) -> Sequence[dict[str, Any]]:
        """What may be shown of each key."""
        return [
            {
                "id": key.id,
                "name": key.name,
                "state": keys.described(key, self._now),
                "scopes": sorted(key.scopes),
                "networks": list(key.networks),
                "expires_at": key.expires_at.isoformat() if key.expires_at else None,
                "last_used_at": key.last_used_at.isoformat() if key.last_used_at else None,
                "usage_count": key.usage_count,
            }
            for key in self._catalog.page(ApiKey, Query(limit=_MOST)).items
        ]

    def _find(self, key: str) -> ApiKey:
        found = self._catalog.read(ApiKey, [key]).get(key)
        if found is None:
            raise ConfigError(f"There is no key {key!r}: see `trackflow keys list`.")
        return found


@contextmanager
def opened(path: Path | None, store: str | None) -> Iterator[Keyring]:
    """The keys of the configured store."""
    config = configuration.load(path, store=store)
    database = Database(config.store)
    try:
        database.upgrade()
        with database.transaction() as kept:
            yield Keyring(SqlCatalog(kept, config.public_url, config.secrets))
    finally:
        database.close()
