from odoo import models


class IrHttp(models.AbstractModel):
    _inherit = "ir.http"

    @classmethod
    def _is_allowed_cookie(cls, cookie_type):
        try:
            return super()._is_allowed_cookie(cookie_type)
        except ValueError:
            # A consent cookie that is not JSON agrees to nothing; Odoo would answer 500.
            return False
