from odoo import models


class IrQweb(models.AbstractModel):
    _inherit = "ir.qweb"

    def _prepare_frontend_environment(self, values):
        """Tell the templates that the methods and fields of theirs are there.

        While Odoo updates its own modules, pages are shown with our templates already, before our
        code is loaded.
        """
        ir_qweb = super()._prepare_frontend_environment(values)
        values["trackflow_loaded"] = True
        return ir_qweb
