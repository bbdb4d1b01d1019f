"""Relations of bulk rows: the database checks none of them row by row."""

from odoo import fields
from odoo.tools import SQL


class UncheckedMany2one(fields.Many2one):
    """A relation without a foreign key, whose check of each row takes longer than writing the row.

    Rows are made of what the same transaction has read or written; whoever deletes the other side
    sees to the rows that point to it.
    """

    def update_db_foreign_key(self, model, column):
        """No foreign key."""


def drop_foreign_keys(model):
    """Drop those that an earlier version made for the unchecked relations of `model`."""
    for name, field in model._fields.items():
        if isinstance(field, UncheckedMany2one):
            model.env.cr.execute(
                SQL(
                    "ALTER TABLE %s DROP CONSTRAINT IF EXISTS %s",
                    SQL.identifier(model._table),
                    SQL.identifier(f"{model._table}_{name}_fkey"),
                )
            )


def forget(model, column, ids):
    """Delete the rows of `model` that point to deleted records by `column`."""
    model.env.cr.execute(
        SQL(
            "DELETE FROM %s WHERE %s = ANY(%s)",
            SQL.identifier(model._table),
            SQL.identifier(column),
            list(ids),
        )
    )
    model.invalidate_model(flush=False)


def clear(model, column, ids):
    """Let the rows of `model` that point to deleted records by `column` point to none."""
    model.env.cr.execute(
        SQL(
            "UPDATE %s SET %s = NULL WHERE %s = ANY(%s)",
            SQL.identifier(model._table),
            SQL.identifier(column),
            SQL.identifier(column),
            list(ids),
        )
    )
    model.invalidate_model(flush=False)
