from odoo import fields, models
from odoo.exceptions import UserError

from trackflow_core.errors import TrackFlowError


class TrackflowConnectorProvision(models.TransientModel):
    """Shows what would change in a CRM, and changes it when a person says so."""

    _name = "trackflow.connector.provision"
    _description = "Prepare a CRM"

    connector_id = fields.Many2one("trackflow.connector", required=True, ondelete="cascade")
    undo = fields.Boolean(help="Remove what was made, with what it holds.")
    changes = fields.Json(readonly=True)
    done = fields.Boolean(readonly=True)

    def _preview(self):
        self.changes = self._ask(dry_run=True)

    def action_run(self):
        """Make the changes, and show which were made."""
        self.write({"changes": self._ask(dry_run=False), "done": True})
        self.connector_id.action_check()
        return self._open()

    def _ask(self, dry_run):
        self.ensure_one()
        try:
            connection = self.connector_id._provisioning()
            change = connection.deprovision if self.undo else connection.provision
            return [{"verb": one.verb, "what": one.what} for one in change(dry_run)]
        except TrackFlowError as error:
            raise UserError(str(error)) from error

    def _open(self):
        return {
            "type": "ir.actions.act_window",
            "name": self.env._("Clean Up %s", self.connector_id.name)
            if self.undo
            else self.env._("Prepare %s", self.connector_id.name),
            "res_model": self._name,
            "res_id": self.id,
            "views": [[False, "form"]],
            "target": "new",
        }
