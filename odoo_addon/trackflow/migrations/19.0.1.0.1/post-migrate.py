from odoo.tools import SQL

# Nothing reads by these alone any more, and every row written pays for them. Odoo itself keeps the
# index of a field that asks for none any more.
SUPERSEDED = (
    "link_tracker_click__trackflow_visitor_id_index",
    "trackflow_api_request_log__key_id_index",
    "trackflow_conversion__company_id_index",
    "trackflow_conversion__visitor_id_index",
    "trackflow_deal_attribution__channel_index",
    "trackflow_deal_attribution__company_id_index",
    "trackflow_session__visitor_id_index",
)


def migrate(cr, version):
    for name in SUPERSEDED:
        cr.execute(SQL("DROP INDEX IF EXISTS %s", SQL.identifier(name)))
