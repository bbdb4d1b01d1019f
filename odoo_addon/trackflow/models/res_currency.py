from odoo import models

from ..relations import clear


class ResCurrency(models.Model):
    _inherit = "res.currency"

    def unlink(self):
        ids = self.ids
        result = super().unlink()
        for name in ("trackflow.deal.attribution", "trackflow.conversion"):
            clear(self.env[name], "currency_id", ids)
        self.env["trackflow.model.credit"]._forget("currency_id", ids)
        return result
