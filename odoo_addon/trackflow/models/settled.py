from odoo import api, models


class TrackflowSettled(models.AbstractModel):
    """What follows from leads: whoever searches it finds what the transaction has written so far."""

    _name = "trackflow.settled"
    _description = "TrackFlow Records That Follow from Leads"

    @api.model
    def _search(
        self, domain, offset=0, limit=None, order=None, *, active_test=True, bypass_access=False
    ):
        self.env["crm.lead"]._trackflow_settle()
        return super()._search(
            domain, offset, limit, order, active_test=active_test, bypass_access=bypass_access
        )
