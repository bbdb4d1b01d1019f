from odoo import models

from ..relations import see_to


class ResCurrency(models.Model):
    _inherit = "res.currency"

    def unlink(self):
        result = super().unlink()
        see_to(self)
        self.env["trackflow.model.credit"]._compare_all()
        return result
