from odoo import models

from ..relations import see_to


class ResCurrency(models.Model):
    _inherit = "res.currency"

    def unlink(self):
        ids = self.ids
        result = super().unlink()
        see_to(self, ids)
        self.env["trackflow.model.credit"]._compare_all()
        return result
