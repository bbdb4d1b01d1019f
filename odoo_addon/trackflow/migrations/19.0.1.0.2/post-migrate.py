from odoo import SUPERUSER_ID, api
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
    env = api.Environment(cr, SUPERUSER_ID, {})
    owned = [("trackflow_company_id", "!=", False)]
    env["utm.campaign"].with_context(active_test=False).search(owned)._trackflow_move_visits()
