from odoo import models
from odoo.http import request


class IrHttp(models.AbstractModel):
    _inherit = "ir.http"

    @classmethod
    def _is_allowed_cookie(cls, cookie_type):
        try:
            return super()._is_allowed_cookie(cookie_type)
        except ValueError:
            # A consent cookie that is not JSON agrees to nothing; Odoo would answer 500.
            return False

    @classmethod
    def _trackflow_asks_consent(cls):
        return bool(request.env["website"].get_current_website().cookies_bar)

    @classmethod
    def _trackflow_company_id(cls):
        """That of the website, for everybody who is no staff."""
        if request.env["res.users"]._trackflow_is_staff(request.env.uid):
            return super()._trackflow_company_id()
        website = request.env["website"].get_current_website()
        return website._get_cached("company_id") or super()._trackflow_company_id()
