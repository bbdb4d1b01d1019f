from odoo.tools import SQL

# Nothing reads by these any more.
SUPERSEDED = (
    "trackflow_deal_attribution__attribution_model_id_index",
    "trackflow_model_credit__attribution_model_id_index",
    "trackflow_model_credit__campaign_id_index",
)


def migrate(cr, version):
    for name in SUPERSEDED:
        cr.execute(SQL("DROP INDEX IF EXISTS %s", SQL.identifier(name)))
