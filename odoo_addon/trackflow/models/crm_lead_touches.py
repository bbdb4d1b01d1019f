from dataclasses import replace

from odoo import fields, models
from odoo.tools import SQL

from ..engine import build_engine
from ..guard import guard
from ..store import OdooStore, local_ref


class CrmLead(models.Model):
    """Touches of a lead that are no clicks: what people say, calls and meetings."""

    _inherit = "crm.lead"  # pylint: disable=consider-merging-classes-inherited

    trackflow_deal_link_ids = fields.One2many(
        "trackflow.deal.link", "lead_id", "Links Associated by Hand", copy=False
    )

    def unlink(self):
        refs = [
            ref
            for lead in self.sudo()
            for ref in (lead.trackflow_lead_ref, local_ref(lead.id))
            if ref
        ]
        result = super().unlink()
        self.env.cr.execute(SQL("DELETE FROM trackflow_touch WHERE lead_ref = ANY(%s)", refs))
        self.env["trackflow.touch"].invalidate_model(flush=False)
        return result

    def _trackflow_merge(self, opportunities):
        opportunities.sudo().trackflow_deal_link_ids.lead_id = self
        return super()._trackflow_merge(opportunities)

    def _trackflow_record_touches(self, touches):
        """Tell the engine of touches, by the id of their lead."""
        for lead in self:
            for touch in touches[lead.id]:
                with guard(self.env, "recording a touch", touch.id, host_retries=True):
                    build_engine(self.env).record_touch(lead._trackflow_ref(), touch)
        # The score of who was touched is due.
        self.sudo().trackflow_visitor_ids.engagement_date = False

    def _trackflow_drop_touches(self, touch_ids):
        """Take back touches of these leads that turned out not to be."""
        if touch_ids:
            self.env.cr.execute(
                SQL("DELETE FROM trackflow_touch WHERE touch_key = ANY(%s)", touch_ids)
            )
            if self.env.cr.rowcount:
                self.env["trackflow.touch"].invalidate_model(flush=False)
                self._trackflow_refresh()

    def _trackflow_refresh(self):
        """Bring what follows from these leads' touches up to date."""
        ids = self.exists().ids
        with guard(self.env, "refreshing leads", ids[:5], self._trackflow_later):
            store = OdooStore(self.env)
            build_engine(self.env, store).apply(
                [
                    replace(lead, ref=local_ref(lead_id))
                    for lead_id, lead, _deal in store.records(ids)
                ]
            )

    def _trackflow_human_touches(self):
        """Those of these leads whose company counts calls and meetings."""
        leads = self.exists()
        return leads.filtered(lambda lead: lead._trackflow_company().trackflow_human_touches)
