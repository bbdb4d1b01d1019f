from odoo import models


class ResCurrency(models.Model):
    _inherit = "res.currency"

    def unlink(self):
        ids = self.ids
        result = super().unlink()
        self.env["trackflow.model.credit"]._forget("currency_id", ids)
        return result
