from urllib.parse import urlsplit

from odoo import api, models


class LinkTracker(models.Model):
    _inherit = "link.tracker"

    @api.model
    def _trackflow_own_hosts(self):
        """The hosts of all websites, too."""
        domains = self.env["website"].sudo().search([("domain", "!=", False)]).mapped("domain")
        hosts = {urlsplit(domain).hostname or "" for domain in domains} - {""}
        return super()._trackflow_own_hosts() | hosts | {h.removeprefix("www.") for h in hosts}
