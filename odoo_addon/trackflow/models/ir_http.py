from odoo import models
from odoo.http import request


class IrHttp(models.AbstractModel):
    _inherit = "ir.http"

    @classmethod
    def _trackflow_asks_consent(cls):
        """Whether the site asks its visitors before it sets optional cookies."""
        return False

    @classmethod
    def _trackflow_company_id(cls):
        """The company whose settings hold for this request."""
        return request.env["res.users"]._trackflow_company_of(request.env.uid)

    @classmethod
    def _trackflow_click_queued(cls, event_id):
        """Told of each click that this request has put into the queue, in its transaction."""
