from odoo import api, models

from trackflow_core.tracking.urls import new_code


class LinkTrackerCode(models.Model):
    _inherit = "link.tracker.code"

    @api.model
    def _get_random_code_strings(self, n=1):
        """Codes that nobody can guess; the database sees to it that each is unique."""
        length = self.env.company.trackflow_code_length
        # Codes that somebody chose, "" where nobody did.
        wanted = self.env.context.get("trackflow_codes") or [""] * n
        missing = wanted.count("")
        codes = {}
        while len(codes) < missing:
            fresh = [new_code(length) for _number in range(missing - len(codes))]
            taken = self.sudo().search([("code", "in", fresh)]).mapped("code")
            codes.update(dict.fromkeys(set(fresh).difference(taken)))
        random = iter(codes)
        return [code or next(random) for code in wanted]
