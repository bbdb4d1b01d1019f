from odoo import models
from odoo.http import request


class IrHttp(models.AbstractModel):
    _inherit = "ir.http"

    @classmethod
    def _trackflow_click_queued(cls, event_id):
        result = super()._trackflow_click_queued(event_id)
        mail = getattr(request, "trackflow_mail", None)
        if mail:
            request.env["trackflow.click.queue"].sudo()._hold_mail_click(event_id, *mail)
        return result
