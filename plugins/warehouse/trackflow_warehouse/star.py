"""`trackflow export`: a database's touches, sessions, conversions, credits and spend as Parquet.

A month is a file. A month whose rows are as they were is left alone, so that what reads the files
need not read them again; erased rows vanish with the next export. What the columns mean:
docs/reference/export.md.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, time, timezone
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from trackflow_core.errors import ConfigError
from trackflow_warehouse import origins

_MOMENT = pa.timestamp("us", tz="UTC")
_MONEY = pa.decimal128(38, 4)
_STATE = "export.json"
_FORMAT = 1
_AT_ONCE = 10_000
_SOURCE = [
    (name, pa.string()) for name in ("channel", "source", "medium", "campaign", "content", "term")
]
SCHEMAS: Mapping[str, pa.Schema] = {
    "touches": pa.schema(
        [
            ("journey_id", pa.string()),
            ("touch_id", pa.string()),
            ("occurred_at", _MOMENT),
            *_SOURCE,
            ("kind", pa.string()),
            ("visitor_id", pa.string()),
            ("session_id", pa.string()),
            ("link_code", pa.string()),
        ]
    ),
    "sessions": pa.schema(
        [
            ("session_id", pa.string()),
            ("visitor_id", pa.string()),
            ("occurred_at", _MOMENT),
            ("ended_at", _MOMENT),
            ("hits", pa.int64()),
            *_SOURCE,
            ("device", pa.string()),
            ("browser", pa.string()),
            ("os", pa.string()),
        ]
    ),
    "conversions": pa.schema(
        [
            ("journey_id", pa.string()),
            ("conversion_id", pa.string()),
            ("occurred_at", _MOMENT),
            ("value", _MONEY),
            ("currency", pa.string()),
            ("status", pa.string()),
        ]
    ),
    "credits": pa.schema(
        [
            ("conversion_id", pa.string()),
            ("place", pa.int64()),
            ("occurred_at", _MOMENT),
            ("touch_id", pa.string()),
            *_SOURCE,
            ("position", pa.string()),
            ("weight", pa.float64()),
            ("value", _MONEY),
            ("currency", pa.string()),
            ("model", pa.string()),
            ("digest", pa.string()),
        ]
    ),
    "spend": pa.schema(
        [
            ("campaign", pa.string()),
            ("occurred_at", _MOMENT),
            ("name", pa.string()),
            ("value", _MONEY),
            ("currency", pa.string()),
        ]
    ),
}


# Reads the rows of a query; of none, the names of all tables.
Select = Callable[[str], Iterator[Sequence[Any]]]


@dataclass(frozen=True)
class Exported:
    """What an export did to one table: all its rows, and the months that were written or dropped."""

    table: str
    rows: int
    written: Sequence[str]
    dropped: Sequence[str]


def export(url: str, folder: Path, progress: Callable[[str], None]) -> Sequence[Exported]:
    """Bring the files in `folder` up to date with the database of `url`; `progress` is told each
    table's name as it begins.

    Raises ConfigError when the database is neither a TrackFlow server's nor an Odoo's with
    TrackFlow, or when `folder` cannot be written or holds an export of another database.
    """
    with _connected(url) as select:
        return export_rows(select, folder, progress)


def export_rows(
    select: Select, folder: Path, progress: Callable[[str], None]
) -> Sequence[Exported]:
    """As `export`, from a database that is read already."""
    queries = _queries(select)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        state = _read_state(folder)
        found = []
        for table in SCHEMAS:
            progress(table)
            rows = select(queries[table]) if table in queries else iter(())
            found.append(_write(folder, table, rows, state.setdefault(table, {})))
            # After each table: an export that is interrupted goes on with the next.
            (folder / _STATE).write_text(json.dumps({"format": _FORMAT, "months": state}))
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror or error}.") from error
    return found


def _read_state(folder: Path) -> dict[str, dict[str, str]]:
    """The digests of the months that are there, by table."""
    path = folder / _STATE
    if not path.exists():
        if any(folder.iterdir()):
            raise ConfigError(f"{folder} holds other files: name a folder that is empty or new.")
        return {}
    try:
        told = json.loads(path.read_text())
        if told["format"] != _FORMAT:
            raise ConfigError(f"{path} is of another version: export into a new folder.")
        months: dict[str, dict[str, str]] = told["months"]
        return months
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} cannot be read: export into a new folder.") from error


def _write(
    folder: Path, table: str, rows: Iterator[Sequence[Any]], digests: dict[str, str]
) -> Exported:
    (folder / table).mkdir(exist_ok=True)
    schema = SCHEMAS[table]
    place = schema.get_field_index("occurred_at")
    count, written, seen = 0, [], set()
    kinds = schema.types
    in_form = ([_value(*pair) for pair in zip(row, kinds, strict=True)] for row in rows)
    for month, members in groupby(in_form, lambda row: f"{row[place]:%Y-%m}"):
        held = list(members)
        found = _table(held, schema)
        digest = _digest(found)
        path = folder / table / f"{month}.parquet"
        if digests.get(month) != digest or not path.exists():
            waiting = path.with_suffix(".part")
            pq.write_table(found, waiting)
            waiting.replace(path)
            digests[month] = digest
            written.append(month)
        seen.add(month)
        count += len(held)
    dropped = sorted(digests.keys() - seen)
    for month in dropped:
        (folder / table / f"{month}.parquet").unlink(missing_ok=True)
        del digests[month]
    if not seen:
        # A reader of the folder finds the columns, if no rows.
        pq.write_table(_table([], schema), folder / table / "empty.parquet")
    else:
        (folder / table / "empty.parquet").unlink(missing_ok=True)
    return Exported(table, count, written, dropped)


def _value(value: Any, kind: pa.DataType) -> Any:
    """A value of a database as the column of a file has it; SQLite holds moments as text."""
    if value is None:
        return None
    if pa.types.is_timestamp(kind):
        return _moment(datetime.fromisoformat(value) if isinstance(value, str) else value)
    if pa.types.is_decimal(kind):
        return Decimal(value)
    return value


def _moment(value: date) -> datetime:
    if not isinstance(value, datetime):
        value = datetime.combine(value, time())
    return (
        value.replace(tzinfo=timezone.utc)
        if value.tzinfo is None
        else value.astimezone(timezone.utc)
    )


def _table(rows: Sequence[Sequence[Any]], schema: pa.Schema) -> pa.Table:
    columns = [*zip(*rows, strict=True)] or [()] * len(schema)
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)],
        schema=schema,
    )


def _digest(table: pa.Table) -> str:
    """Equal for equal rows, whatever wrote them."""
    return hashlib.sha256(repr(table.to_pydict()).encode()).hexdigest()


def _queries(select: Select) -> Mapping[str, str]:
    """The queries for what is in the database."""
    held = {name for (name,) in select("")}
    for wanted, queries in (
        ({"attribution", "credit", "click"}, origins.SERVER),
        ({"trackflow_deal_attribution", "link_tracker_click"}, origins.ODOO),
    ):
        if wanted <= held:
            return queries
    raise ConfigError(
        "The database is neither a TrackFlow server's nor an Odoo's with TrackFlow: name another."
    )


_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = ANY(current_schemas(false))"


@contextmanager
def _connected(url: str) -> Iterator[Select]:
    """A way to read rows, all of one moment."""
    parts = urlsplit(urldefrag(url).url)
    scheme = parts.scheme.partition("+")[0]
    if scheme == "sqlite":
        yield from _sqlite(Path(unquote(parts.path.removeprefix("/"))))
    elif scheme in ("postgres", "postgresql"):
        yield from _postgres(url.replace(parts.scheme, "postgresql", 1), parts.password or "")
    else:
        raise ConfigError("Name a database as postgresql://... or sqlite:///path/to/file.")


def _sqlite(path: Path) -> Iterator[Select]:
    if not path.is_file():
        raise ConfigError(f"There is no file {path}.")
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    try:
        connection.execute("BEGIN")
        yield lambda query: connection.execute(query or "SELECT name FROM sqlite_master")
    except sqlite3.Error as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    finally:
        connection.close()


def _postgres(url: str, password: str) -> Iterator[Select]:
    try:
        import psycopg
    except ImportError as error:
        raise ConfigError(
            "psycopg is not installed: run pip install 'trackflow-warehouse[postgres]'."
        ) from error
    try:
        with psycopg.connect(url) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True

            def select(query: str) -> Iterator[Sequence[Any]]:
                with connection.cursor(name="trackflow_export") as cursor:
                    cursor.itersize = _AT_ONCE
                    yield from cursor.execute((query or _TABLES).encode())

            yield select
    except psycopg.Error as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if password:
            reason = reason.replace(password, "***")
        raise ConfigError(f"The database cannot be read: {reason}") from error
