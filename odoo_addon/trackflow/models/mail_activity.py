from odoo import fields, models

from trackflow_core.model import Touch

from ..store.values import aware

SALES_CHANNEL = "Sales"
_KINDS = {"phonecall": "call", "meeting": "meeting"}


class MailActivity(models.Model):
    _inherit = "mail.activity"

    def _action_done(self, feedback=False, attachment_ids=None):
        touches = self._trackflow_touches()
        result = super()._action_done(feedback=feedback, attachment_ids=attachment_ids)
        leads = self.env["crm.lead"].sudo().browse(touches)._trackflow_human_touches()
        leads._trackflow_record_touches(touches)
        return result

    def _trackflow_touches(self):
        """Calls and meetings among these activities, by lead; a meeting that has a place in the
        calendar is told by the calendar."""
        now, touches = aware(fields.Datetime.now()), {}
        for activity in self:
            kind = _KINDS.get(activity.activity_category)
            in_calendar = kind == "meeting" and activity.calendar_event_id
            if activity.res_model == "crm.lead" and kind and not in_calendar:
                touch = Touch(
                    f"mail.activity/{activity.id}", now, SALES_CHANNEL, source=kind, kind=kind
                )
                touches.setdefault(activity.res_id, []).append(touch)
        return touches
