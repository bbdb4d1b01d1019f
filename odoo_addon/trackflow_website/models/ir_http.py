from odoo import models
from odoo.addons.trackflow.engine import build_engine
from odoo.addons.trackflow.guard import guard
from odoo.addons.trackflow.keys import visitor_keys
from odoo.http import request
from odoo.tools import json

from trackflow_core.tracking.identity import COOKIE_NAME, read_cookie

_ANSWER = "website_cookies_bar"


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

    @classmethod
    def _post_dispatch(cls, response):
        if COOKIE_NAME in request.cookies and cls._trackflow_refuses():
            cls._trackflow_withdraw(response)
        return super()._post_dispatch(response)

    @classmethod
    def _trackflow_refuses(cls):
        """Whether this visitor has told the cookie bar that optional cookies are not wanted."""
        try:
            answer = json.scriptsafe.loads(request.cookies.get(_ANSWER, "{}"))
        except ValueError:
            return False
        return (
            isinstance(answer, dict)
            and answer.get("optional") is False
            and cls._trackflow_asks_consent()
        )

    @classmethod
    def _trackflow_withdraw(cls, response):
        """Forget who the visitor was, and take the cookie back in the same answer."""
        env = request.env(su=True)
        key = read_cookie(request.cookies.get(COOKIE_NAME), visitor_keys(env))
        with guard(env, "withdrawing consent", key or "", host_retries=True):
            if key:
                build_engine(env).withdraw(key)
            response.set_cookie(COOKIE_NAME, max_age=0, cookie_type="required")
