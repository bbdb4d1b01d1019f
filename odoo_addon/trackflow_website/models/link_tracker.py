from urllib.parse import urlsplit

from odoo import api, models, tools


class LinkTracker(models.Model):
    _inherit = "link.tracker"

    @api.model
    def _trackflow_own_hosts(self):
        """The hosts of all websites, too."""
        hosts = {urlsplit(domain).hostname or "" for domain in self._trackflow_websites()} - {""}
        return super()._trackflow_own_hosts() | hosts | {h.removeprefix("www.") for h in hosts}

    @api.model
    def _trackflow_short_urls(self):
        """Those of all websites, too."""
        websites = {f"{domain}/r/" for domain in self._trackflow_websites()}
        return super()._trackflow_short_urls() | websites

    @api.model
    @tools.ormcache()
    def _trackflow_websites(self):
        """What the pages of websites with a domain of their own begin with."""
        # Asked for each link that is made, and on each page that tells of itself.
        websites = self.env["website"].sudo().search([("domain", "!=", False)])
        return tuple(websites.mapped("domain"))
