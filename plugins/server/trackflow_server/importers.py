"""Links out of other shorteners' exports: Bitly, Dub, Shlink, YOURLS, Kutt.

Their short codes are kept, so that links in print go on working once the domain points here.
Exports are CSV, or JSON as their APIs give it; columns are found by name, whatever their order.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import Any
from urllib.parse import unquote, urlsplit

from trackflow_core.api.storage import TrackedLink
from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.model import Link
from trackflow_core.tracking.urls import parse_utm, safe_destination
from trackflow_server.store.catalog import SqlCatalog

_Row = Mapping[str, Any]
_LONGEST_CODE = 255


@dataclass(frozen=True)
class Source:
    """Which columns of one shortener's export hold a link's parts; the first that is there counts.

    `lists` are the keys under which its JSON keeps the list.
    """

    title: str
    short: tuple[str, ...]
    destination: tuple[str, ...]
    name: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()


SOURCES: Mapping[str, Source] = {
    "bitly": Source(
        "Bitly",
        short=("short_link", "link", "bitlink", "id"),
        destination=("long_url", "destination_url", "long url"),
        name=("title",),
        lists=("links",),
    ),
    "dub": Source(
        "Dub",
        short=("short_link", "shortlink", "short link", "key"),
        destination=("url", "destination_url", "destination url"),
        name=("title",),
        lists=("links", "result"),
    ),
    "shlink": Source(
        "Shlink",
        short=("shortcode", "short_code", "shorturl", "short url", "short_url"),
        destination=("longurl", "long_url", "long url"),
        name=("title",),
        lists=("shorturls", "data"),
    ),
    "yourls": Source(
        "YOURLS",
        short=("keyword", "shorturl", "short url"),
        destination=("url", "longurl", "long url"),
        name=("title",),
        lists=("links",),
    ),
    "kutt": Source(
        "Kutt",
        short=("address", "link", "short link"),
        destination=("target", "long url", "destination"),
        name=("description",),
        lists=("data", "list"),
    ),
}


@dataclass
class Imported:
    """What became of an export: how many links were made, and in words why others were not."""

    made: int = 0
    known: int = 0
    problems: list[str] = field(default_factory=list)


def read(text: str, source: Source) -> Sequence[TrackedLink | str]:
    """The links of an export, or for one that cannot be a link, why.

    Raises ConfigError when the file is no export of `source`.
    """
    found: list[TrackedLink | str] = []
    for number, row in enumerate(_rows(text, source), 1):
        plain = {str(key).strip().lower(): value for key, value in row.items() if key is not None}
        try:
            found.append(_link(plain, source))
        except (InvalidEvent, ConfigError) as error:
            found.append(f"Link {number}: {error}")
    return found


def save(catalog: SqlCatalog, links: Sequence[TrackedLink | str]) -> Imported:
    """Keep the links of an export; one that is here with the same destination is left alone."""
    told = Imported(problems=[item for item in links if isinstance(item, str)])
    fresh: dict[str, TrackedLink] = {}
    tracked = [item for item in links if isinstance(item, TrackedLink)]
    held = catalog.read(TrackedLink, {item.id for item in tracked})
    for item in tracked:
        known = held.get(item.id) or fresh.get(item.id)
        if known is None:
            try:
                catalog.check_destinations(item)
            except InvalidEvent as error:
                told.problems.append(f"The code {item.id!r}: {error}")
                continue
            fresh[item.id] = item
        elif known.link.destination == item.link.destination:
            told.known += 1
        else:
            told.problems.append(
                f"The code {item.id!r} is taken by a link to {known.link.destination}."
            )
    catalog.create([*fresh.values()])
    told.made = len(fresh)
    return told


def _rows(text: str, source: Source) -> Iterator[_Row]:
    text = text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
    rows = _json_rows(text, source) if text.lstrip()[:1] in ("{", "[") else _csv_rows(text)
    for row in rows:
        if not isinstance(row, Mapping):
            raise ConfigError(f"This is no export of {source.title}: it has no columns.")
        names = {str(key).strip().lower() for key in row}
        if not names & {*source.short} or not names & {*source.destination}:
            raise ConfigError(
                f"This is no export of {source.title}: it has the columns "
                f"{', '.join(sorted(names)) or '-'}, but none of "
                f"{', '.join(source.destination)} with one of {', '.join(source.short)}."
            )
        yield row


def _json_rows(text: str, source: Source) -> Sequence[_Row]:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"The export is no valid JSON: {error}.") from None
    while isinstance(told, dict):
        inner = {key.lower(): value for key, value in told.items()}
        key = next((name for name in source.lists if name in inner), None)
        if key is None:
            raise ConfigError(
                f"This is no export of {source.title}: it has no list called "
                f"{' or '.join(source.lists)}."
            )
        told = inner[key]
        # YOURLS numbers its links: link_1, link_2.
        if isinstance(told, dict) and all(isinstance(item, dict) for item in told.values()):
            told = [*told.values()]
    return told if isinstance(told, list) else []


def _csv_rows(text: str) -> Iterator[_Row]:
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    try:
        yield from csv.DictReader(StringIO(text), delimiter=delimiter)
    except csv.Error as error:
        raise ConfigError(f"The export is no valid CSV: {error}.") from None


def _link(row: _Row, source: Source) -> TrackedLink:
    code = _code(_first(row, source.short))
    if not code.isprintable() or not 0 < len(code) <= _LONGEST_CODE or "/" in code:
        raise InvalidEvent(f"{code!r} cannot be a short code.")
    destination = safe_destination(_first(row, source.destination))
    utm = parse_utm(destination)
    link = Link(
        code,
        destination,
        source=utm.get("source", ""),
        medium=utm.get("medium", ""),
        campaign=utm.get("campaign", ""),
        content=utm.get("content", ""),
        term=utm.get("term", ""),
    )
    return TrackedLink(link, _first(row, source.name)[:200])


def _first(row: _Row, names: Sequence[str]) -> str:
    return next((str(row[name]).strip() for name in names if row.get(name)), "")


def _code(short: str) -> str:
    """The code in a short URL such as https://bit.ly/abc or bit.ly/abc, or the code itself."""
    if "/" not in short:
        return short
    try:
        parts = urlsplit(short if "://" in short else f"https://{short}")
    except ValueError:
        raise InvalidEvent(f"{short!r} is no short URL.") from None
    return unquote(parts.path.strip("/"))
