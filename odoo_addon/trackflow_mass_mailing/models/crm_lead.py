from collections import defaultdict
from dataclasses import replace

from odoo import api, models
from odoo.addons.trackflow.engine import build_engine
from odoo.addons.trackflow.guard import guard
from odoo.addons.trackflow.store import OdooStore, local_ref
from odoo.tools import SQL


class CrmLead(models.Model):
    _inherit = "crm.lead"

    def _trackflow_mail_visitors(self):
        found = super()._trackflow_mail_visitors()
        by_email = defaultdict(list)
        for lead in self:
            if lead.email_normalized:
                by_email[lead.email_normalized].append(lead.id)
        if not by_email:
            return found
        rows = self.env.execute_query(
            SQL(
                """
                SELECT trace.email, array_agg(DISTINCT visitor.visitor_key)
                  FROM mailing_trace trace
                  JOIN link_tracker_click click ON click.mailing_trace_id = trace.id
                  JOIN trackflow_visitor visitor ON visitor.id = click.trackflow_visitor_id
                 WHERE trace.email = ANY(%s)
                   AND click.trackflow_mail_proven AND click.trackflow_counts
                 GROUP BY 1
                """,
                list(by_email),
            )
        )
        for email, keys in rows:
            for lead_id in by_email[email]:
                found[lead_id] = found.get(lead_id, frozenset()) | frozenset(keys)
        return found

    @api.model
    def _trackflow_bind_recipients(self, recipients):
        """Bind those who opened a signed link to the leads of the address it was sent to.

        Each recipient is (address, model, id, visitor's id) of a mail.
        """
        by_email, by_lead = defaultdict(set), defaultdict(set)
        for email, model, res_id, visitor_id in recipients:
            if email:
                by_email[email].add(visitor_id)
            if model == "crm.lead":
                by_lead[res_id].add(visitor_id)
        leads = self.sudo().with_context(active_test=False)
        for lead in leads.search([("email_normalized", "in", list(by_email))]):
            by_lead[lead.id] |= by_email[lead.email_normalized]
        keys = {
            visitor.id: visitor.visitor_key
            for visitor in self.env["trackflow.visitor"]
            .sudo()
            .browse(set().union(*by_lead.values()))
        }
        ids = leads.browse(by_lead).exists().ids
        if not ids:
            return
        with guard(self.env, "binding recipients", ids[:5], host_retries=True):
            store = OdooStore(self.env)
            build_engine(self.env, store).apply(
                [
                    replace(
                        lead,
                        ref=local_ref(lead_id),
                        email_visitor_ids=frozenset(keys[one] for one in by_lead[lead_id]),
                    )
                    for lead_id, lead, _deal in store.records(ids)
                ]
            )
