from odoo import api, models

from .trackflow_retention_run import RULES


class IrConfigParameter(models.Model):
    _inherit = "ir.config_parameter"

    @api.constrains("key", "value")
    def _check_trackflow_keep_days(self):
        ours = {rule.parameter for rule in RULES}
        for parameter in self.filtered(lambda one: one.key in ours):
            self.env["trackflow.retention.run"]._read_days(parameter.key, parameter.value)
