from odoo import api, fields, models
from odoo.exceptions import ValidationError

_URLS = ("trackflow_privacy_url", "trackflow_cookie_policy_url")


class ResCompany(models.Model):
    _inherit = "res.company"

    trackflow_consent_text = fields.Text(
        "Consent Text",
        translate=True,
        help="Tells visitors in the cookie bar what their consent is for.",
    )
    trackflow_privacy_url = fields.Char("Privacy Policy")
    trackflow_cookie_policy_url = fields.Char("Cookie Policy")

    @api.constrains(*_URLS)
    def _check_trackflow_policy_urls(self):
        for company in self:
            for name in _URLS:
                url = company[name]
                if url and not url.startswith(("https://", "http://", "/")):
                    raise ValidationError(
                        self.env._(
                            "%(url)s is no address of a page: begin with https:// or with / for a "
                            "page of the website.",
                            url=url,
                        )
                    )
