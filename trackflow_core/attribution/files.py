"""Touches, conversions and credits as Parquet and CSV files.

Needs `trackflow-core[tables]`. What a file may hold is in docs/guides/warehouse.md.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from trackflow_core.attribution.allocation import currency_digits
from trackflow_core.attribution.models import Model
from trackflow_core.errors import ConfigError, InvalidEvent

TOUCH_COLUMNS = ("journey_id", "touch_id", "occurred_at", "channel")
TOUCH_DETAILS = ("source", "medium", "campaign", "content", "term")
CONVERSION_COLUMNS = ("journey_id", "occurred_at", "value", "currency")
MILESTONES = ("lead_created_at", "deal_created_at", "closed_at")

_MOMENT = pa.timestamp("us", tz="UTC")
# No currency has more than four decimal places, and no value of 64 bits more than 19 digits.
_AMOUNT = pa.decimal128(23, 4)
_HAS_OFFSET = r"([zZ]|[+-]\d\d(:?\d\d)?)$"


@dataclass(frozen=True)
class Conversions:
    """Conversions as `tables.Journeys` takes them, and what its integers are worth.

    `table` has `journey_id`, `occurred_at`, `value` (minor units), `currency` and the milestones:
    `lead_created_at`, `deal_created_at` (`occurred_at` unless told) and `closed_at`. `digits` are
    the most decimal places that any of the currencies has.
    """

    table: pa.Table
    digits: int

    @property
    def currencies(self) -> Sequence[str]:
        """The currencies that occur, sorted."""
        return sorted(self.table.column("currency").unique().to_pylist())

    @property
    def milestones(self) -> Sequence[str]:
        """The milestones that at least one conversion tells."""
        table = self.table
        return [name for name in MILESTONES if table.column(name).null_count < len(table)]

    def in_currency(self, currency: str) -> Conversions:
        """Only the conversions in `currency`."""
        of_it = pc.equal(self.table.column("currency"), currency)
        return Conversions(self.table.filter(of_it), currency_digits(currency))

    def in_major_units(self, values: pa.Array, journeys: pa.Array) -> pa.Array:
        """Minor units of the currencies of these journeys as decimals with `digits` places."""
        wide = values.cast(pa.decimal128(19, 0))
        # All share one column, so yen get the places of cents.
        shifts = {code: 10 ** (self.digits - currency_digits(code)) for code in self.currencies}
        if any(shift > 1 for shift in shifts.values()):
            place = pc.index_in(journeys, value_set=self.table.column("journey_id"))
            codes = self.table.column("currency").take(place)
            shift = pc.cast(pc.index_in(codes, value_set=pa.array(shifts)), pa.int64())
            factors = pa.array(shifts.values(), pa.decimal128(5, 0)).take(shift)
            wide = pc.multiply(wide, factors)
        return in_major_units(wide, self.digits)


def notes_on_milestones(model: Model, told: Collection[str]) -> Sequence[str]:
    """Which milestones `model` looks at and the conversions do not tell, in sentences."""
    if not model.rule.milestones:
        return ()
    # No built-in rule but full path looks at the close.
    looked_at = [
        name for name in MILESTONES if (name, model.rule.name) != ("closed_at", "w_shaped")
    ]
    return [
        f"the conversions have no {name}: the others take the share of that milestone."
        for name in looked_at
        if name not in told
    ]


def check_one_currency(currencies: Collection[str]) -> None:
    """Raise InvalidEvent when there are several: their sums would mean nothing."""
    if len(currencies) > 1:
        raise InvalidEvent(
            f"The conversions are in {' and '.join(sorted(currencies))}, which cannot be "
            "added up: choose one with --currency."
        )


def in_major_units(values: pa.Array, digits: int) -> pa.Array:
    """Whole minor units as decimals with `digits` places."""
    one = pa.scalar(Decimal(1).scaleb(-digits), pa.decimal128(digits + 1, digits))
    return pc.multiply(values.cast(pa.decimal128(25, 0)), one).cast(pa.decimal128(38, digits))


def read_touches(path: Path, zone: str = "UTC") -> pa.Table:
    """The touches in a file, as `tables.Journeys` takes them; those of no journey are left out.

    Moments without an offset are in `zone`.

    Raises InvalidEvent naming the file, the column, the value and what to do.
    """
    table = _read(path, TOUCH_COLUMNS, TOUCH_DETAILS)
    columns = {name: _text(table, name) for name in table.column_names if name in TOUCH_DETAILS} | {
        name: _text(table, name) for name in ("journey_id", "touch_id", "channel")
    }
    known = pc.not_equal(columns["journey_id"], "")
    if pc.any(pc.and_(known, pc.equal(columns["touch_id"], ""))).as_py():
        raise InvalidEvent(f"{path}: column 'touch_id' has empty rows: give every touch an id.")
    columns["occurred_at"] = _moments(path, table, "occurred_at", zone)
    # The order of columns is that of the file's description.
    names = [name for name in (*TOUCH_COLUMNS, *TOUCH_DETAILS) if name in columns]
    return pa.table({name: columns[name] for name in names}).filter(known)


def read_conversions(path: Path, zone: str = "UTC") -> Conversions:
    """The conversions in a file. Values are in major units and become minor ones, rounded half up.

    Raises InvalidEvent as `read_touches`, and when a journey has two conversions.
    """
    table = _read(path, CONVERSION_COLUMNS, MILESTONES)
    journey = _text(table, "journey_id")
    if pc.any(pc.equal(journey, "")).as_py():
        raise InvalidEvent(
            f"{path}: column 'journey_id' has empty rows: give every conversion its journey."
        )
    counts = pc.value_counts(journey)
    twice = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        raise InvalidEvent(
            f"{path}: the journey {twice[0]['values'].as_py()!r} has two conversions: "
            "give each conversion a journey of its own."
        )
    currency = pc.utf8_upper(pc.utf8_trim_whitespace(_text(table, "currency")))
    occurred_at = _moments(path, table, "occurred_at", zone)
    columns = {
        "journey_id": journey,
        "occurred_at": occurred_at,
        "value": _minor_units(path, table, currency),
        "currency": currency,
    }
    for name in MILESTONES:
        told = (
            _moments(path, table, name, zone, empty=True)
            if name in table.column_names
            else pa.chunked_array([pa.nulls(len(table), _MOMENT)])
        )
        columns[name] = pc.coalesce(told, occurred_at) if name == "deal_created_at" else told
    _check_anchor(path, columns)
    digits = max((currency_digits(code) for code in currency.unique().to_pylist()), default=2)
    return Conversions(pa.table(columns), digits)


def _check_anchor(path: Path, columns: Mapping[str, pa.ChunkedArray]) -> None:
    """A window counts back from a deal's creation or close, as everywhere else."""
    moment = columns["occurred_at"]
    known = pc.or_(
        pc.equal(columns["deal_created_at"], moment),
        pc.fill_null(pc.equal(columns["closed_at"], moment), False),
    )
    if not pc.all(known).as_py():
        journey = columns["journey_id"].filter(pc.invert(known))[0].as_py()
        raise InvalidEvent(
            f"{path}: 'occurred_at' of the journey {journey!r} is neither its 'deal_created_at' nor "
            "its 'closed_at': make it the one that the model looks back from."
        )


def write(path: Path, rows: pa.RecordBatchReader) -> int:
    """Write `rows` as Parquet or CSV, by the ending of `path`; returns how many.

    Raises ConfigError when the ending is another or the file cannot be written.
    """
    writers: Mapping[str, Callable[[], Any]] = {
        ".parquet": lambda: pq.ParquetWriter(path, rows.schema),
        ".csv": lambda: pacsv.CSVWriter(path, rows.schema),
    }
    opened = writers.get(path.suffix.lower())
    if opened is None:
        raise ConfigError(f"{path} ends in neither .parquet nor .csv: use one of the two.")
    count = 0
    try:
        with opened() as writer:
            for batch in rows:
                writer.write_batch(batch)
                count += len(batch)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror or error}.") from error
    return count


def _read(path: Path, wanted: Sequence[str], optional: Sequence[str]) -> pa.Table:
    """The `wanted` columns and those of `optional` that are there, as they are in the file."""
    readers: Mapping[str, Callable[[Path, Sequence[str], Sequence[str]], pa.Table]] = {
        ".parquet": _read_parquet,
        ".csv": _read_csv,
        ".csv.gz": _read_csv,
    }
    name = path.name.lower()
    reader = next((read for ending, read in readers.items() if name.endswith(ending)), None)
    if reader is None and not path.is_dir():
        raise InvalidEvent(f"{path} ends in neither .parquet nor .csv: use one of the two.")
    try:
        return (reader or _read_parquet)(path, wanted, optional)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise InvalidEvent(f"{path} cannot be read: {reason}") from error


def _read_parquet(path: Path, wanted: Sequence[str], optional: Sequence[str]) -> pa.Table:
    held = pq.ParquetDataset(path).schema.names
    return pq.read_table(path, columns=_chosen(path, held, wanted, optional))


def _read_csv(path: Path, wanted: Sequence[str], optional: Sequence[str]) -> pa.Table:
    opened = gzip.open if path.suffix.lower() == ".gz" else Path.open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as lines:
        held = next(csv.reader(lines), [])
    columns = _chosen(path, held, wanted, optional)
    # Ids such as 007 are text; moments and amounts are understood below, with better words.
    as_text = pacsv.ConvertOptions(
        include_columns=columns, column_types=dict.fromkeys(columns, pa.string())
    )
    parse = pacsv.ParseOptions(newlines_in_values=True)
    return pacsv.read_csv(path, parse_options=parse, convert_options=as_text)


def _chosen(
    path: Path, held: Sequence[str], wanted: Sequence[str], optional: Iterable[str]
) -> list[str]:
    missing = [name for name in wanted if name not in held]
    if missing:
        raise InvalidEvent(
            f"{path} has no column {missing[0]!r}: add it, or rename the one that holds it "
            f"(there are: {', '.join(held) or 'none'})."
        )
    return [*wanted, *(name for name in optional if name in held)]


def _text(table: pa.Table, name: str) -> pa.ChunkedArray:
    return table.column(name).cast(pa.string()).fill_null("")


def _moments(
    path: Path, table: pa.Table, name: str, zone: str, *, empty: bool = False
) -> pa.ChunkedArray:
    """The column as moments in UTC; `empty` says that it may have empty rows."""
    column = table.column(name)
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s"))
    if pa.types.is_timestamp(column.type):
        moments = _in_zone(column.cast(pa.timestamp("us", column.type.tz), safe=False), zone)
    elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        text = pc.utf8_trim_whitespace(column)
        text = pc.if_else(pc.equal(text, ""), None, text)
        moments = _understood(
            path,
            name,
            text,
            lambda part: _parsed(part, zone),
            "no moment: write one like 2026-03-02T09:00:00Z",
        )
    else:
        raise InvalidEvent(
            f"{path}: column {name!r} holds {column.type}, not moments: "
            "write timestamps, or text like 2026-03-02T09:00:00Z."
        )
    if moments.null_count and not empty:
        raise InvalidEvent(f"{path}: column {name!r} has empty rows: every row needs a moment.")
    return moments


def _parsed(text: pa.ChunkedArray, zone: str) -> pa.ChunkedArray:
    has_offset = pc.match_substring_regex(text, _HAS_OFFSET)
    # A day's own dashes look like an offset: 2026-03-02.
    has_offset = pc.and_(has_offset, pc.greater(pc.utf8_length(text), 10))
    exact = pc.if_else(has_offset, text, None).cast(_MOMENT)
    local = pc.if_else(has_offset, None, text).cast(pa.timestamp("us"))
    return pc.coalesce(exact, _in_zone(local, zone))


def _in_zone(moments: pa.ChunkedArray, zone: str) -> pa.ChunkedArray:
    if moments.type.tz is None:
        moments = pc.assume_timezone(moments, zone, ambiguous="earliest", nonexistent="earliest")
    return moments.cast(_MOMENT)


def _minor_units(path: Path, table: pa.Table, currency: pa.ChunkedArray) -> pa.ChunkedArray:
    column = table.column("value")
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = pc.utf8_trim_whitespace(column)
    if column.null_count:
        raise InvalidEvent(f"{path}: column 'value' has empty rows: write 0 where it is nothing.")
    # Ten places are more than any currency has and leave room for the largest amounts.
    exact = _understood(
        path,
        "value",
        column,
        lambda part: part.cast(pa.decimal128(38, 10)),
        "no amount of money: write one like 250.00",
    )
    amounts = pa.chunked_array([pa.nulls(len(column), pa.int64())])
    for code in currency.unique().to_pylist():
        digits = currency_digits(code)
        amounts = pc.if_else(
            pc.equal(currency, code),
            _understood(
                path,
                "value",
                exact,
                partial(_scaled, digits=digits),
                "too much: amounts have at most 18 digits",
            ),
            amounts,
        )
    return amounts


def _scaled(exact: pa.ChunkedArray, digits: int) -> pa.ChunkedArray:
    rounded = pc.round(exact, ndigits=digits, round_mode="half_towards_infinity").cast(_AMOUNT)
    units = pa.scalar(Decimal(10**digits), pa.decimal128(digits + 1, 0))
    return pc.multiply(rounded, units).cast(pa.int64())


def _understood(
    path: Path,
    name: str,
    column: pa.ChunkedArray,
    convert: Callable[[pa.ChunkedArray], pa.ChunkedArray],
    problem: str,
) -> pa.ChunkedArray:
    """`convert(column)`; the first row that it refuses is named in the error."""
    try:
        return convert(column)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        pass
    good, bad = 0, len(column)
    while bad - good > 1:
        middle = (good + bad) // 2
        try:
            convert(column.slice(good, middle - good))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            bad = middle
        else:
            good = middle
    value = column[good].as_py() if len(column) else column.type
    raise InvalidEvent(
        f"{path}: row {good + 1}, column {name!r} holds {str(value)!r:.60}, which is {problem}."
    )
