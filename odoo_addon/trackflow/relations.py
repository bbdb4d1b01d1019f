"""Relations of bulk rows: the database checks none of them row by row."""

from odoo import fields
from odoo.tools import SQL

_DELETE = "DELETE FROM %(table)s WHERE %(column)s = ANY(%(ids)s)"
_CLEAR = "UPDATE %(table)s SET %(column)s = NULL WHERE %(column)s = ANY(%(ids)s)"


class UncheckedMany2one(fields.Many2one):
    """A relation without a foreign key, whose check of each row takes longer than writing the row.

    Rows are made of what the same transaction has read or written; `unlink` of the other side calls
    `see_to`, which does what `ondelete` says.
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


def see_to(deleted):
    """Delete the rows that point to the records `deleted` where `ondelete` says "cascade"; let all
    others point to none."""
    for model in deleted.env.values():
        for name, field in model._fields.items():
            if isinstance(field, UncheckedMany2one) and field.comodel_name == deleted._name:
                ending = _DELETE if field.ondelete == "cascade" else _CLEAR
                table, column = SQL.identifier(model._table), SQL.identifier(name)
                model.env.cr.execute(SQL(ending, table=table, column=column, ids=deleted.ids))
                model.invalidate_model(flush=False)
