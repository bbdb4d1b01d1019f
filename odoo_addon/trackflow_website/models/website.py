from odoo import api, models


class Website(models.Model):
    _inherit = "website"

    @api.model_create_multi
    def create(self, vals_list):
        # Its host is one of ours from now on; Odoo sees to changed ones itself.
        websites = super().create(vals_list)
        self.env.registry.clear_cache()
        return websites

    def unlink(self):
        self.env.registry.clear_cache()
        return super().unlink()
