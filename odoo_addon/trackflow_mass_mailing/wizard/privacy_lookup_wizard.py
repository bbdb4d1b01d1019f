from odoo import models
from odoo.tools import SQL, email_normalize


class PrivacyLookupWizard(models.TransientModel):
    _inherit = "privacy.lookup.wizard"

    def _get_query(self):
        """Also the visitors who opened a signed link of a mail to the person."""
        return SQL(
            """
            %(query)s
            UNION
            SELECT %(visitor_model)s AS res_model_id, visitor.id AS res_id,
                   visitor.active AS is_active
              FROM mailing_trace trace
              JOIN link_tracker_click click ON click.mailing_trace_id = trace.id
              JOIN trackflow_visitor visitor ON visitor.id = click.trackflow_visitor_id
             WHERE trace.email = %(email)s AND click.trackflow_mail_proven
            """,
            query=super()._get_query(),
            visitor_model=self.env["ir.model"]._get_id("trackflow.visitor"),
            email=email_normalize(self.email.strip()),
        )
