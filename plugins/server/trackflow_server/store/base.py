"""What all parts of the store share: the connection, upserts and lists of any length."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any

from sqlalchemy import (
    ARRAY,
    JSON,
    BindParameter,
    Column,
    ColumnElement,
    Connection,
    Executable,
    String,
    Table,
    any_,
    bindparam,
    cast,
    func,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.types import TypeEngine

from trackflow_core.attribution import Rule
from trackflow_core.errors import InvalidEvent
from trackflow_server.store import schema
from trackflow_server.store.prepared import Prepared, execute


def list_type(is_sqlite: bool) -> TypeEngine[Any]:
    """The type of a parameter that is a list."""
    return JSON() if is_sqlite else ARRAY(String)


def is_listed(
    column: Column[Any] | ColumnElement[Any], values: BindParameter[Any]
) -> ColumnElement[bool]:
    """Whether `column` is one of `values`, a parameter of `list_type`."""
    if isinstance(values.type, JSON):
        return column.in_(select(func.json_each(values).table_valued("value").c.value))
    return column == any_(cast(values, ARRAY(column.type)))


def _insert(table: Table, is_sqlite: bool) -> sqlite.Insert | postgresql.Insert:
    return sqlite.insert(table) if is_sqlite else postgresql.insert(table)


@cache
def _added(table: Table, is_sqlite: bool) -> Executable:
    # To put a statement together takes longer than to run it.
    return _insert(table, is_sqlite).on_conflict_do_nothing()


@cache
def _counted_up(is_sqlite: bool) -> Prepared:
    revision = schema.revision.c
    statement = _insert(schema.revision, is_sqlite).values(name=bindparam("name"), number=1)
    return Prepared(
        statement.on_conflict_do_update(
            index_elements=["name"], set_={"number": revision.number + 1}
        ).returning(revision.number)
    )


class BaseStore:
    """One transaction on `connection`, which whoever opened it commits.

    `rules` are those that the models of deals may name.
    """

    def __init__(self, connection: Connection, rules: Mapping[str, Rule]) -> None:
        self.connection = connection
        self._rules = rules
        self.is_sqlite = connection.dialect.name == "sqlite"
        self._reads = bool(connection.get_execution_options().get("trackflow_reads"))
        self._callbacks: list[Callable[[], None]] = []

    @contextmanager
    def atomic(self) -> Iterator[None]:
        waiting = len(self._callbacks)
        try:
            # Where nothing is written, nothing need be taken back.
            with nullcontext() if self._reads else self._savepoint():
                yield
        except (DataError, IntegrityError, UnicodeEncodeError, OverflowError) as error:
            cause = error.orig if isinstance(error, (DataError, IntegrityError)) else error
            del self._callbacks[waiting:]
            raise InvalidEvent(f"The database refuses this: {cause}") from error
        except BaseException:
            # What was taken back is told to nobody.
            del self._callbacks[waiting:]
            raise

    @contextmanager
    def _savepoint(self) -> Iterator[None]:
        # Those within each other may have one name: it means the last that is not released.
        execute(self.connection, "SAVEPOINT atomic")
        try:
            yield
        except BaseException:
            execute(self.connection, "ROLLBACK TO SAVEPOINT atomic")
            raise
        finally:
            execute(self.connection, "RELEASE SAVEPOINT atomic")

    def after_commit(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def committed(self) -> None:
        """Run what waits for the commit, which has just been made."""
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def rows(
        self, query: Executable, values: Mapping[str, Any] | None = None
    ) -> Sequence[Mapping[str, Any]]:
        """What a query finds, by the names of its columns; `values` are of its parameters."""
        return [*self.connection.execute(query, values).mappings()]

    def among(
        self, column: Column[Any] | ColumnElement[Any], values: Collection[str]
    ) -> ColumnElement[bool]:
        """Whether `column` is one of `values`, however many: they travel as one parameter."""
        return is_listed(column, bindparam(None, [*values], list_type(self.is_sqlite)))

    def _insert(self, table: Table) -> sqlite.Insert | postgresql.Insert:
        return _insert(table, self.is_sqlite)

    def add(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert `rows`, leaving alone those that are there already."""
        if rows:
            self.connection.execute(_added(table, self.is_sqlite), rows)

    def _put(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert `rows`, all with the same columns, or bring those that are there up to date."""
        if not rows:
            return
        statement = self._insert(table)
        keys = schema.key_of(table)
        changed = {name: statement.excluded[name] for name in rows[0] if name not in keys}
        self.connection.execute(
            statement.on_conflict_do_update(index_elements=keys, set_=changed), rows
        )

    # -- what others keep copies of --------------------------------------------------------

    def revision_of(self, name: str) -> int:
        """A number that grows whenever what goes by `name` changes."""
        query = select(schema.revision.c.number).where(schema.revision.c.name == name)
        return self.connection.scalar(query) or 0

    def count_change(self, name: str) -> int:
        """Tell whoever keeps copies of what goes by `name` that it has changed; the new number."""
        [counted] = _counted_up(self.is_sqlite).rows(self.connection, {"name": name})
        return int(counted["number"])

    # -- merged ids ------------------------------------------------------------------------

    def winners(self, table: Table, ids: Collection[str]) -> dict[str, str]:
        """What each of `ids` means now, by `merged_visitor` or `merged_lead`."""
        if not ids:
            return {}
        loser = table.primary_key.columns[0]
        found = self.connection.execute(select(loser, table.c.winner).where(self.among(loser, ids)))
        merged = {row[0]: row[1] for row in found}
        return {name: merged.get(name, name) for name in ids}

    def _aliases(self, table: Table, winners: Collection[str]) -> set[str]:
        """`winners` with every id that means one of them."""
        loser = table.primary_key.columns[0]
        found = self.connection.scalars(select(loser).where(self.among(table.c.winner, winners)))
        return {*winners, *found}

    def _merge_ids(self, table: Table, winner: str, losers: Collection[str]) -> None:
        """From now on `losers`, and all that meant one of them, mean `winner`."""
        loser = table.primary_key.columns[0]
        self._put(
            table,
            [
                {loser.name: name, "winner": winner}
                for name in sorted(self._aliases(table, losers) - {winner})
            ],
        )
