from odoo import api, models

from trackflow_core.model import Touch

from ..store.values import aware
from .mail_activity import SALES_CHANNEL

_FIELDS = frozenset(("active", "opportunity_id", "start"))


class CalendarEvent(models.Model):
    _inherit = "calendar.event"

    @api.model_create_multi
    def create(self, vals_list):
        events = super().create(vals_list)
        events.filtered("opportunity_id")._trackflow_tell()
        return events

    def write(self, vals):
        if not _FIELDS & vals.keys():
            return super().write(vals)
        left = self.sudo().opportunity_id
        result = super().write(vals)
        self._trackflow_tell(left)
        return result

    def unlink(self):
        leads = self.sudo().opportunity_id
        touch_ids = [event._trackflow_touch_id() for event in self if event.opportunity_id]
        result = super().unlink()
        leads._trackflow_drop_touches(touch_ids)
        return result

    def _trackflow_touch_id(self):
        return f"{self._name}/{self.id}"

    def _trackflow_tell(self, left=()):
        """Tell the engine of these meetings as they are now; `left` are leads they had before."""
        meetings = self.sudo().filtered(lambda event: event.active and event.opportunity_id)
        leads = meetings.opportunity_id._trackflow_human_touches()
        counted = meetings.filtered(lambda event: event.opportunity_id in leads)
        leads._trackflow_record_touches(
            {
                lead.id: [event._trackflow_touch() for event in events]
                for lead, events in counted.grouped("opportunity_id").items()
            }
        )
        if left:
            left._trackflow_drop_touches(
                [event._trackflow_touch_id() for event in self.sudo() - counted]
            )
        if left and counted:
            (left - leads)._trackflow_refresh()

    def _trackflow_touch(self):
        """A meeting to come is no touch yet: it lies after every anchor until its time has come."""
        return Touch(
            self._trackflow_touch_id(),
            aware(self.start),
            SALES_CHANNEL,
            source="meeting",
            kind="meeting",
        )
