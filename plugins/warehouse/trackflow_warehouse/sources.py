"""Tables of touches and conversions, from files and databases, as `journeys.Journeys` takes them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urldefrag, urlsplit

import duckdb
import ibis
import ibis.expr.types as ir
import pyarrow as pa
import pyarrow.parquet as pq
from ibis.common.exceptions import IbisError, TableNotFound

from trackflow_core.attribution import files
from trackflow_core.attribution.allocation import currency_digits
from trackflow_core.attribution.files import (
    CONVERSION_COLUMNS,
    MILESTONES,
    TOUCH_COLUMNS,
    TOUCH_DETAILS,
)
from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_warehouse.allocation import one_if

# Room for the largest amounts beside the four places that a currency may have.
_AMOUNT = "decimal(28, 6)"


def _database_errors() -> tuple[type[Exception], ...]:
    """What the drivers that are installed raise."""
    found: list[type[Exception]] = [duckdb.Error, IbisError, TableNotFound]
    with suppress(ImportError):
        import psycopg

        found.append(psycopg.Error)
    with suppress(ImportError):
        from clickhouse_connect.driver.exceptions import Error

        found.append(Error)
    return tuple(found)


DATABASE_ERRORS = _database_errors()
_OPENING: tuple[type[Exception], ...] = (*DATABASE_ERRORS, OSError, ValueError)


@dataclass(frozen=True)
class Source:
    """Touches and conversions of one engine, and what the conversions' integers are worth.

    `digits` are the most decimal places that any of the `currencies` has; every value counts in
    units of that many places.
    """

    touches: ir.Table
    conversions: ir.Table
    digits: int
    currencies: Sequence[str]
    milestones: Sequence[str]


def is_url(name: str) -> bool:
    """Whether a source is a database and not a file."""
    return "://" in name


def connect(url: str) -> Any:
    """A connection to the database of a URL.

    Raises ConfigError, without the URL's password, when there is none.
    """
    address = urldefrag(url).url
    parts = urlsplit(address)
    # SQLAlchemy's URLs name a driver, too.
    plain = address.replace(parts.scheme, parts.scheme.partition("+")[0], 1)
    try:
        connection = ibis.connect(plain)
    except ImportError as error:
        raise ConfigError(
            f"{error.name} is not installed: run pip install "
            f"'trackflow-warehouse[{parts.scheme.partition('+')[0].replace('postgresql', 'postgres')}]'."
        ) from error
    except _OPENING as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if parts.password:
            reason = reason.replace(parts.password, "***")
        host = parts.hostname or parts.path
        raise ConfigError(f"The database at {host} cannot be opened: {reason}") from error
    if connection.name == "postgres":
        connection.raw_sql("SET TIME ZONE 'UTC'").close()
    if connection.name == "clickhouse":
        # Columns without a zone would be in the server's.
        connection.con.set_client_setting("session_timezone", "UTC")
    return connection


def table_name(url: str, default: str) -> str:
    """The table that a URL names behind its #."""
    return urldefrag(url).fragment or default


@contextmanager
def opened(touches: str, conversions: str, zone: str, currency: str | None) -> Iterator[Source]:
    """Both tables, while the context lasts: files in DuckDB, or tables of one database.

    Raises InvalidEvent naming table and column, ConfigError when they cannot be opened.
    """
    if is_url(touches) != is_url(conversions) or (
        is_url(touches) and urldefrag(touches).url != urldefrag(conversions).url
    ):
        raise ConfigError("Give both tables as files, or as tables of one database.")
    if is_url(touches):
        connection = connect(touches)
        try:
            yield _of_database(connection, touches, conversions, zone, currency)
        finally:
            connection.disconnect()
        return
    with tempfile.TemporaryDirectory(prefix="trackflow-") as folder:
        connection = ibis.duckdb.connect(temp_directory=folder)
        # The order of rows means nothing here, and keeping it costs memory.
        connection.raw_sql("SET preserve_insertion_order = false")
        try:
            yield _of_files(connection, Path(touches), Path(conversions), zone, currency)
        finally:
            connection.disconnect()


def _of_files(
    connection: Any, touches: Path, conversions: Path, zone: str, currency: str | None
) -> Source:
    for path in (touches, conversions):
        if not path.exists():
            raise ConfigError(f"There is no file {path}.")
    told = files.read_conversions(conversions, zone)
    # Conversions are few and read with the core's care; touches are many and stay in their file
    # where it has moments that need no care.
    table = connection.create_table("trackflow_conversions", told.table, temp=True)
    lazy = _exact_parquet(touches)
    found = (
        connection.read_parquet(_pattern(touches))
        if lazy
        else connection.create_table(
            "trackflow_touches", files.read_touches(touches, zone), temp=True
        )
    )
    return source_of(
        found, table.mutate(value=table.value), touches.name, conversions.name, currency, minor=True
    )


def _pattern(path: Path) -> str:
    return str(path / "**" / "*.parquet") if path.is_dir() else str(path)


def _exact_parquet(path: Path) -> bool:
    """Whether `path` is Parquet whose moments have a time zone."""
    if not (path.is_dir() or path.suffix.lower() == ".parquet"):
        return False
    try:
        schema = pq.ParquetDataset(path).schema
    except (pa.ArrowException, OSError):
        return False
    place = schema.get_field_index("occurred_at")
    if place < 0:
        return False
    kind = schema.field(place).type
    return bool(pa.types.is_timestamp(kind) and kind.tz)


def _of_database(
    connection: Any, touches: str, conversions: str, zone: str, currency: str | None
) -> Source:
    if zone != "UTC":
        raise ConfigError("Moments without a time zone in a database are UTC; --zone is for files.")
    first, second = table_name(touches, "touches"), table_name(conversions, "conversions")
    return source_of(_table(connection, first), _table(connection, second), first, second, currency)


def _table(connection: Any, name: str) -> ir.Table:
    try:
        return connection.table(name)
    except DATABASE_ERRORS as error:
        raise ConfigError(
            f"The database has no table {name!r}: name another behind the URL's #."
        ) from error


def source_of(
    touches: ir.Table,
    conversions: ir.Table,
    touches_name: str = "touches",
    conversions_name: str = "conversions",
    currency: str | None = None,
    *,
    minor: bool = False,
) -> Source:
    """Tables with the columns of docs/guides/warehouse.md, checked and brought into form.

    `minor` says that values are in minor units already. Raises InvalidEvent, naming the table, the
    column and what to do.
    """
    _check_columns(touches, touches_name, TOUCH_COLUMNS)
    _check_columns(conversions, conversions_name, CONVERSION_COLUMNS)
    told = conversions.mutate(currency=_text(conversions.currency).strip().upper())
    if currency:
        told = told.filter(told.currency == currency.upper())
    currencies = sorted(
        told.select("currency").distinct().to_pyarrow().column("currency").to_pylist()
    )
    if currency and not currencies:
        raise ConfigError(f"No conversion in {conversions_name} is in {currency.upper()}.")
    digits = max((currency_digits(code) for code in currencies), default=2)
    milestones = [name for name in MILESTONES if name in told.columns]
    anchor = _moment(told.occurred_at, conversions_name)
    moments = {name: _moment(told[name], conversions_name) for name in milestones}
    known = moments.get("deal_created_at")
    moments["deal_created_at"] = known.fill_null(anchor) if known is not None else anchor
    in_form = told.select(
        journey_id=_text(told.journey_id),
        anchor=anchor,
        value=_minor_units(told, currencies, digits, minor=minor),
        currency="currency",
        **moments,
    )
    _check_conversions(in_form, conversions_name)
    details = {name: _text(touches[name]) for name in TOUCH_DETAILS if name in touches.columns}
    kept = touches.filter(touches.journey_id.notnull())
    found = kept.select(
        journey_id=_text(kept.journey_id),
        touch_id=_text(kept.touch_id),
        moment=_moment(kept.occurred_at, touches_name),
        channel=_text(kept.channel),
        **{name: _text(kept[name]) for name in details},
    )
    found = found.filter(found.journey_id != "")
    _check_touches(found, touches_name)
    told_of = [name for name in milestones if in_form[name].count().to_pyarrow().as_py()]
    return Source(found, in_form, digits, currencies, told_of)


def _check_columns(table: ir.Table, name: str, wanted: Sequence[str]) -> None:
    missing = [column for column in wanted if column not in table.columns]
    if missing:
        raise InvalidEvent(
            f"{name} has no column {missing[0]!r}: add it, or rename the one that holds it "
            f"(there are: {', '.join(table.columns)})."
        )


def _check_conversions(table: ir.Table, name: str) -> None:
    found = table.aggregate(
        rows=table.count(),
        journeys=table.journey_id.nunique(),
        empty=one_if(table.journey_id == "").sum(),
        moments=one_if(table.anchor.isnull()).sum(),
        values=one_if(table.value.isnull()).sum(),
    ).to_pyarrow()
    rows, journeys, empty, moments, values = (column[0].as_py() or 0 for column in found.columns)
    if empty:
        raise InvalidEvent(f"{name}: column 'journey_id' has empty rows: name every journey.")
    if moments:
        raise InvalidEvent(
            f"{name}: column 'occurred_at' has empty rows: every row needs a moment."
        )
    if values:
        raise InvalidEvent(f"{name}: column 'value' has empty rows: write 0 where it is nothing.")
    if rows != journeys:
        raise InvalidEvent(
            f"{name}: a journey has two conversions: give each conversion a journey of its own."
        )


def _check_touches(table: ir.Table, name: str) -> None:
    found = table.aggregate(
        ids=one_if(table.touch_id == "").sum(),
        moments=one_if(table.moment.isnull()).sum(),
    ).to_pyarrow()
    ids, moments = (column[0].as_py() or 0 for column in found.columns)
    if ids:
        raise InvalidEvent(f"{name}: column 'touch_id' has empty rows: give every touch an id.")
    if moments:
        raise InvalidEvent(
            f"{name}: column 'occurred_at' has empty rows: every row needs a moment."
        )


def _text(column: Any) -> Any:
    return column.cast("string").fill_null("")


def _moment(column: Any, name: str) -> Any:
    """Microseconds since 1970 UTC; what has no time zone is UTC."""
    kind = column.type()
    if kind.is_date():
        column, kind = column.cast("timestamp"), ibis.dtype("timestamp")
    if not kind.is_timestamp():
        raise InvalidEvent(
            f"{name}: column {column.get_name()!r} holds {kind}, not moments: make it a timestamp."
        )
    zone = {"timezone": "UTC"} if kind.timezone else {}
    return column.delta(ibis.timestamp("1970-01-01 00:00:00", **zone), unit="microsecond").cast(
        "int64"
    )


def _minor_units(table: ir.Table, currencies: Sequence[str], digits: int, *, minor: bool) -> Any:
    """`value` as integers with `digits` places, each rounded half up to those of its currency."""

    def amount(code: str) -> Any:
        places = currency_digits(code)
        shift = 10 ** (digits - places)
        if minor:
            return table.value * shift
        units = (table.value.cast(_AMOUNT) * 10**places).cast(_AMOUNT)
        return units.round(0).cast("int64") * shift

    cases = [(table.currency == code, amount(code)) for code in currencies]
    return ibis.cases(*cases).cast("int64") if cases else table.value.cast("int64")
