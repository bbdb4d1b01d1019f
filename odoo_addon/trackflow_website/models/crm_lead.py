from datetime import datetime, timezone

from odoo import models
from odoo.addons.trackflow import privacy
from odoo.addons.trackflow.keys import visitor_keys

from trackflow_core.tracking.identity import issue_token


class CrmLead(models.Model):
    _inherit = "crm.lead"

    def website_form_input_filter(self, request, values):
        """Give a lead from a form the token of the visitor who sent it."""
        values = super().website_form_input_filter(request, values)
        if request.env.user._is_internal():
            # Staff who try a form out, or fill it in for a customer, are not that customer.
            values.pop("trackflow_visitor_token", None)
            return values
        if not values.get("trackflow_visitor_token"):
            token = self._trackflow_token_from_cookie(request)
            if token:
                values["trackflow_visitor_token"] = token
        return values

    def _trackflow_token_from_cookie(self, request):
        visitor_id = privacy.hit().known_visitor
        keys = visitor_keys(request.env)
        return visitor_id and issue_token(visitor_id, keys, datetime.now(timezone.utc))
