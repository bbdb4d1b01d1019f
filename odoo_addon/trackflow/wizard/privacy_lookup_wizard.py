from odoo import models
from odoo.tools import SQL, email_normalize

from .. import person


class PrivacyLookupWizard(models.TransientModel):
    _inherit = "privacy.lookup.wizard"

    def _get_query(self):
        """Also the visitors whom the person's leads are bound to, and what other CRMs told."""
        email = email_normalize(self.email.strip())
        return SQL(
            """
            %(query)s
            UNION
            SELECT %(visitor_model)s AS res_model_id, visitor.id AS res_id,
                   visitor.active AS is_active
              FROM crm_lead lead
              JOIN crm_lead_trackflow_visitor_rel rel ON rel.lead_id = lead.id
              JOIN trackflow_visitor visitor ON visitor.id = rel.visitor_id
             WHERE lead.email_normalized = %(email)s
                OR lead.partner_id IN (SELECT id FROM indirect_references)
            UNION
            SELECT %(event_model)s AS res_model_id, event.id AS res_id, TRUE AS is_active
              FROM trackflow_connector_event event
             WHERE strpos(lower(event.payload), %(email)s) > 0
            """,
            query=super()._get_query(),
            visitor_model=self.env["ir.model"]._get_id("trackflow.visitor"),
            event_model=self.env["ir.model"]._get_id("trackflow.connector.event"),
            email=email,
        )

    def action_trackflow_export(self):
        """What TrackFlow holds of the person, as a file."""
        return {"type": "ir.actions.act_url", "url": f"/trackflow/privacy/{self.id}/export.json"}

    def _trackflow_export(self):
        visitors = self.env["trackflow.visitor"].browse(self._trackflow_ids("trackflow.visitor"))
        leads = self.env["crm.lead"].browse(self._trackflow_ids("crm.lead"))
        return person.export(visitors.exists(), leads.exists())

    def _trackflow_ids(self, model):
        return self.line_ids.filtered(lambda line: line.res_model == model).mapped("res_id")
