"""What the kinds of records in Odoo share: pages by id, reading and locking."""

# No models, whose methods of these names call super().
# pylint: disable=method-required-super

from odoo.fields import Domain
from odoo.tools import SQL

from trackflow_core.api.storage import Page
from trackflow_core.errors import InvalidEvent

from ..store.values import naive


class Records:
    """Records of one kind, whose ids are those of `model` in decimal digits."""

    model = ""

    def __init__(self, env):
        self.env = env

    @property
    def records(self):
        """The model with the rights of the user."""
        return self.env[self.model]

    def read(self, ids, *, lock=False):
        known = self.find(ids)
        if lock:
            self.lock(known)
            known.check_access("write")
        return {told.id: told for _record, told in self.told(known)}

    def find(self, ids):
        """The records of these ids that the user may read."""
        numbers = [int(key) for key in ids if key.isdecimal() and len(key) < 10]
        return self.records.search([("id", "in", numbers)])

    def lock(self, records):
        """Keep others from changing these rows until the transaction ends.

        What was read of them before still holds: of a row that another transaction has changed
        since ours began PostgreSQL gives no lock, and Odoo repeats the request.
        """
        self.env.cr.execute(
            SQL(
                "SELECT FROM %s WHERE id = ANY(%s) FOR UPDATE",
                SQL.identifier(records._table),
                records.ids,
            )
        )

    def page(self, query):
        domain = Domain(self.domain(query))
        if query.after:
            domain &= Domain("id", "<", number_of(query.after))
        found = self.records.search(domain, order="id desc", limit=query.limit + 1)
        chosen = found[: query.limit]
        after = str(chosen[-1:].id) if len(found) > len(chosen) else ""
        return Page(tuple(told for _record, told in self.told(chosen)), after)

    def domain(self, query):
        """What of `query` this kind knows."""
        return []

    def told(self, records):
        """Pairs of a record and what the core calls it."""
        raise NotImplementedError


def number_of(cursor):
    """The number that a cursor is."""
    if not cursor.isdecimal() or len(cursor) > 18:
        raise InvalidEvent(
            f"{cursor[:40]!r} is the cursor of no page: begin at the first one.", field="cursor"
        )
    return int(cursor)


def between(column, query):
    """The condition that a column of moments lies within `query`, exact to the microsecond."""

    def to_sql(_model, alias, _query):
        moment = column(alias)
        since, until = query.since, query.until
        return SQL(
            "(%s AND %s)",
            SQL("%s >= %s", moment, naive(since)) if since else SQL("TRUE"),
            SQL("%s < %s", moment, naive(until)) if until else SQL("TRUE"),
        )

    if query.since is None and query.until is None:
        return Domain.TRUE
    return Domain.custom(to_sql=to_sql)


def like(search):
    """`search` as a part of a text, where % and _ mean themselves."""
    return search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
