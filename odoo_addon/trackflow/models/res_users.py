from odoo import api, models, tools


class ResUsers(models.Model):
    _inherit = "res.users"

    @api.model
    @tools.ormcache("user_id")
    def _trackflow_is_staff(self, user_id):
        """Whether this user is no visitor but one of ours."""
        return not self.sudo().browse(user_id).share

    @api.model
    @tools.ormcache("user_id")
    def _trackflow_company_of(self, user_id):
        return self.sudo().browse(user_id).company_id.id
