from odoo import api, fields, models
from odoo.tools import SQL


class TrackflowTakeover(models.Model):
    _inherit = "trackflow.takeover"

    step = fields.Selection(
        selection_add=[("mailings", "Mailings: a touch for each mail that was clicked")],
        ondelete={"mailings": "cascade"},
    )

    @api.model
    def _steps(self):
        return {**super()._steps(), "mailings": self._touch_recipients}

    def _query(self):
        if self.step != "mailings":
            return super()._query()
        return SQL(
            """
            SELECT t.id FROM mailing_trace t
             WHERE t.links_click_datetime IS NOT NULL AND t.is_test_trace IS NOT TRUE
            """
        )

    @api.model
    def _touch_recipients(self, trace_ids):
        """A mail that was clicked is a touch of the recipient's leads; clicks that are bound to a
        visitor are touches already."""
        rows = self.env.execute_query(
            SQL(
                """
                SELECT lead.id, 'mail' || trace.id, trace.links_click_datetime,
                       source.name, medium.name, campaign.name
                  FROM mailing_trace trace
                  JOIN mailing_mailing mailing ON mailing.id = trace.mass_mailing_id
                  JOIN crm_lead lead ON (trace.model = 'crm.lead' AND lead.id = trace.res_id)
                                     OR lead.email_normalized = trace.email
                  LEFT JOIN utm_source source ON source.id = mailing.source_id
                  LEFT JOIN utm_medium medium ON medium.id = mailing.medium_id
                  LEFT JOIN utm_campaign campaign ON campaign.id = mailing.campaign_id
                 WHERE trace.id = ANY(%s)
                   AND NOT EXISTS (SELECT FROM link_tracker_click c
                                    WHERE c.mailing_trace_id = trace.id
                                      AND c.trackflow_mail_proven)
                """,
                trace_ids,
            )
        )
        self._save(rows)
