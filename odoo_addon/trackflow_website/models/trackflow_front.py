from odoo import api, models


class TrackflowFront(models.AbstractModel):
    _inherit = "trackflow.front"

    @api.model
    def _website_of(self, host):
        websites = self.env["website"].sudo()
        return websites.browse(websites._get_current_website_id(host))

    @api.model
    def _visitor_user(self, host):
        return self._website_of(host).user_id or super()._visitor_user(host)

    @api.model
    def _company_id(self, host, user):
        return self._website_of(host).company_id.id or super()._company_id(host, user)

    @api.model
    def _asks_consent(self, host):
        return self._website_of(host).cookies_bar

    @api.model
    def _watched(self):
        return {**super()._watched(), "website": ()}
