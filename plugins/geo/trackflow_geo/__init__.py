"""Countries of addresses from the MaxMind-format database named by TRACKFLOW_GEOIP.

GeoLite2-Country, GeoIP2 and DB-IP's free databases have this format; a City database works too.
The file is opened when it is first needed and again when it was replaced.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path
from threading import Lock

import maxminddb

from trackflow_core.errors import ConfigError
from trackflow_core.hooks import Command, hookimpl

VARIABLE = "TRACKFLOW_GEOIP"

_log = logging.getLogger("trackflow.geo")


class Database:
    """The database at one path, opened again when the file changes."""

    def __init__(self) -> None:
        self._reader: maxminddb.Reader | None = None
        self._opened: tuple[str, int, int] | None = None
        self._lock = Lock()

    def country(self, address: str, path: str) -> str | None:
        """The two letters of the country where `address` is, by the database at `path`.

        None when the database does not know, or cannot be read, which is logged once.
        """
        try:
            ip = ip_address(address)
        except ValueError:
            return None
        with self._lock:
            reader = self._reader_of(path)
            if reader is None or (ip.version == 6 and reader.metadata().ip_version == 4):
                return None
            found = reader.get(ip)
        if not isinstance(found, dict):
            return None
        for field in ("country", "registered_country"):
            place = found.get(field)
            code = place.get("iso_code") if isinstance(place, dict) else None
            if isinstance(code, str):
                return code
        return None

    def _reader_of(self, path: str) -> maxminddb.Reader | None:
        try:
            status = Path(path).stat()
            version = (path, status.st_mtime_ns, status.st_size)
        except OSError:
            version = (path, 0, 0)
        if version == self._opened:
            return self._reader
        self._opened = version
        try:
            # In memory: a file that is replaced under a memory map crashes the process.
            self._reader = maxminddb.open_database(path, maxminddb.MODE_MEMORY)
        except (OSError, maxminddb.InvalidDatabaseError) as error:
            self._reader = None
            _log.error(
                "The database %s cannot be read (%s): correct %s. Countries are unknown until then.",
                path,
                error,
                VARIABLE,
            )
        return self._reader


_database = Database()


@hookimpl
def trackflow_geolocate(address: str) -> str | None:
    """The country by the database, where one is named."""
    path = os.environ.get(VARIABLE)
    return _database.country(address, path) if path else None


@hookimpl
def trackflow_register_cli_commands() -> Iterable[Command]:
    """`trackflow country`, by which one sees whether the database is found and what it says."""
    return [Command("country", country)]


def country(address: str) -> None:
    """Print the country of an IP address by the database that TRACKFLOW_GEOIP names."""
    path = os.environ.get(VARIABLE)
    if not path:
        raise ConfigError(f"{VARIABLE} is not set: name a MaxMind-format database of countries.")
    print(_database.country(address, path) or "unknown")
