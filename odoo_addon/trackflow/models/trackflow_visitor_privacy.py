from odoo import models
from odoo.exceptions import AccessError

from .. import person
from ..engine import build_engine


class TrackflowVisitor(models.Model):
    """What a visitor may ask for: a copy, the withdrawal of consent, to be forgotten."""

    _inherit = "trackflow.visitor"

    def unlink(self):
        """Forget these visitors: what they did goes with them, and deals are split anew."""
        self.check_access("unlink")
        # The store reads and writes by SQL.
        self.env.flush_all()
        engine = build_engine(self.env)
        for visitor in self.exists():
            engine.forget(visitor.visitor_key)
        return super(TrackflowVisitor, self.exists()).unlink()

    def action_export(self):
        """Everything that is held of these visitors, as a file."""
        self._trackflow_check_manager()
        ids = ",".join(map(str, self.ids))
        return {"type": "ir.actions.act_url", "url": f"/trackflow/visitors/{ids}/export.json"}

    def action_withdraw(self):
        """Leave of what these visitors did mere counts, as if they had never consented."""
        self._trackflow_check_manager()
        self._trackflow_withdraw()
        return self._trackflow_done(
            self.env._("Only counts are left. The visitor's tie to leads and deals is gone.")
        )

    def action_forget(self):
        """Erase these visitors and everything that they did."""
        self.unlink()
        return self._trackflow_done(self.env._("The visitor is erased."))

    def _trackflow_withdraw(self):
        self.env.flush_all()
        engine = build_engine(self.env)
        for visitor in self:
            engine.withdraw(visitor.visitor_key)

    def _trackflow_export(self):
        """The file's content: with the leads that are bound, as far as TrackFlow tells of them."""
        self._trackflow_check_manager()
        return person.export(self, self.sudo().lead_ids)

    def _trackflow_check_manager(self):
        if not self.env.user.has_group("trackflow.group_trackflow_manager"):
            raise AccessError(self.env._("Only a TrackFlow Manager sees to what visitors ask for."))
        self.check_access("read")

    def _trackflow_done(self, message):
        visitors = self.env["ir.actions.act_window"]._for_xml_id(
            "trackflow.trackflow_visitor_action"
        )
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "type": "success",
                "message": message,
                # Without the breadcrumbs, which lead to who is gone.
                "next": {**visitors, "target": "main"},
            },
        }
