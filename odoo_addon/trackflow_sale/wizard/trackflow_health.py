from odoo import api, models
from odoo.tools import SQL


class TrackflowHealth(models.TransientModel):
    _inherit = "trackflow.health"

    @api.model
    def _currencies_in_use(self):
        return SQL(
            """
            %s
             UNION
            SELECT currency_id, company_id FROM sale_order
             WHERE opportunity_id IS NOT NULL AND state = 'sale'
            """,
            super()._currencies_in_use(),
        )
