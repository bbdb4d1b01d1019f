"""Statements that are run again and again, by the driver itself.

SQLAlchemy takes several times as long to run one as SQLite does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import Select

_Convert = Callable[[Any], Any]


def execute(
    connection: Connection, sql: str, values: Mapping[str, Any] | Sequence[Any] = ()
) -> Any:
    """The driver's cursor after `sql`; raises SQLAlchemy's errors."""
    cursor = connection.connection.cursor()
    driver = connection.dialect.loaded_dbapi
    try:
        cursor.execute(sql, values)
    except driver.Error as error:
        raise DBAPIError.instance(sql, None, error, driver.Error) from error
    return cursor


class Prepared:
    """A statement whose text is made once for each kind of database.

    Its parameters are named (`bindparam`), and a list is one parameter. The transaction must have
    begun.
    """

    def __init__(self, statement: Select[Any] | UpdateBase) -> None:
        self._statement = statement
        self._texts: dict[str, _Text] = {}

    def rows(
        self, connection: Connection, values: Mapping[str, Any] = MappingProxyType({})
    ) -> list[dict[str, Any]]:
        """What it finds, or returns of what it wrote, by the names of the columns."""
        text = self._text(connection.dialect)
        return [text.row(found) for found in text.run(connection, values).fetchall()]

    def change(self, connection: Connection, values: Mapping[str, Any]) -> int:
        """How many rows it changed."""
        return int(self._text(connection.dialect).run(connection, values).rowcount)

    def _text(self, dialect: Dialect) -> _Text:
        text = self._texts.get(dialect.name)
        if text is None:
            text = self._texts[dialect.name] = _Text(self._statement, dialect)
        return text


class _Text:
    """A statement in the words of one kind of database, and how its values come and go."""

    def __init__(self, statement: Select[Any] | UpdateBase, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        if not isinstance(compiled, SQLCompiler):
            raise TypeError(f"{statement!r:.80} cannot be prepared")
        self._sql = compiled.string
        self._fixed = compiled.params
        # None where the driver takes them by name.
        self._order = compiled.positiontup
        self._sent = _converters(
            (name, compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect))
            for name in self._fixed
        )
        columns = statement.exported_columns
        self._names = [str(column.key) for column in columns]
        self._found = _converters(
            (place, column.type.dialect_impl(dialect).result_processor(dialect, None))
            for place, column in enumerate(columns)
        )

    def run(self, connection: Connection, values: Mapping[str, Any]) -> Any:
        """The driver's cursor; raises SQLAlchemy's errors."""
        sent = {**self._fixed, **values}
        for name, convert in self._sent:
            sent[name] = convert(sent[name])
        order = self._order
        ordered = sent if order is None else [sent[name] for name in order]
        return execute(connection, self._sql, ordered)

    def row(self, found: Iterable[Any]) -> dict[str, Any]:
        """One row by the names of its columns."""
        row = [*found]
        for place, convert in self._found:
            row[place] = convert(row[place])
        return dict(zip(self._names, row, strict=True))


def _converters(all_of: Iterable[tuple[Any, _Convert | None]]) -> list[tuple[Any, _Convert]]:
    return [(where, convert) for where, convert in all_of if convert is not None]
