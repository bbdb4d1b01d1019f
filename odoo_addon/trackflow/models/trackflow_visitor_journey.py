from odoo import api, fields, models
from odoo.exceptions import AccessError, UserError
from odoo.fields import Domain

from ..engine import build_engine
from ..guard import guard
from .link_tracker_click import DEVICES

# As many visits as anybody reads; the list of visits has all.
_VISITS = 200


class TrackflowVisitor(models.Model):
    """A visitor's whole journey, and making one visitor of several."""

    _inherit = "trackflow.visitor"  # pylint: disable=consider-merging-classes-inherited

    last_activity = fields.Datetime(related="last_seen", string="Last Activity")
    device = fields.Selection(DEVICES, "Last Device", compute="_compute_last_click")
    user_agent = fields.Char("Last User Agent", compute="_compute_last_click")
    ip_address = fields.Char(
        "Last IP", compute="_compute_last_click", help="As much of it as the settings keep."
    )

    def _compute_last_click(self):
        latest = self.env["link.tracker.click"]._read_group(
            [("trackflow_visitor_id", "in", self.ids)],
            ["trackflow_visitor_id"],
            ["id:max"],
        )
        clicks = self.env["link.tracker.click"].browse(click_id for _visitor, click_id in latest)
        by_visitor = {click.trackflow_visitor_id.id: click for click in clicks}
        for visitor in self:
            click = by_visitor.get(visitor.id, self.env["link.tracker.click"])
            visitor.device = click.trackflow_device
            visitor.user_agent = click.trackflow_user_agent
            visitor.ip_address = click.ip

    @api.readonly
    def trackflow_journey(self):
        """Visits with what was done in them, and the leads and deals that followed.

        A visitor may be known to several companies, whose visits and leads are their own.
        """
        self.ensure_one()
        self.check_access("read")
        journey = self.env["trackflow.journey"].sudo()
        visitor = self.sudo().with_context(active_test=False)
        visits = self.env["trackflow.session"].with_context(active_test=False)
        own = Domain("visitor_id", "=", self.id)
        sessions = visits.search(own, limit=_VISITS).sudo()
        steps = journey._steps(sessions.ids)
        entries = [
            self._visit_entry(journey, session, steps[session.id])
            for session in reversed(sessions)
            if steps[session.id]
        ]
        if entries and len(sessions) < _VISITS:
            entries[0]["milestones"] = ["first_touch"]
        return {
            "timeline": journey._sorted(entries + self._lead_entries(journey, visitor)),
            "more": visits.search_count(own) - _VISITS if len(sessions) == _VISITS else 0,
        }

    def _visit_entry(self, journey, session, steps):
        campaign = session.click_ids.campaign_id[:1]
        return journey._entry(
            f"session-{session.id}",
            session.session_end or session.session_start,
            "visit",
            label=steps[0]["label"],
            title=steps[0]["title"],
            channel=session.channel or "",
            campaign=(
                {"id": campaign.id, "name": campaign.title}
                if campaign
                else session.campaign and {"id": False, "name": session.campaign}
            ),
            source=session.source or "",
            medium=session.medium or "",
            device=session.device_type or "",
            session=session.id,
            steps=steps,
        )

    def _lead_entries(self, journey, visitor):
        """Milestones of the leads that this visitor became, named for those who may read them."""
        leads = visitor.lead_ids.filtered_domain(
            [("company_id", "in", [*self.env.companies.ids, False])]
        )
        may_read = self.env["crm.lead"].has_access("read")
        readable = leads.with_env(self.env)._filtered_access("read") if may_read else self.browse()
        entries = []
        for lead in leads:
            record = {
                "id": lead.id,
                "model": "crm.lead",
                "name": lead.name if lead.id in readable.ids else "",
            }
            moments = [(lead.trackflow_lead_date or lead.create_date, "lead", record)]
            if lead.type == "opportunity" and lead.trackflow_deal_date:
                moments.append((lead.trackflow_deal_date, "deal", record))
                if lead.trackflow_closed_date and lead.won_status in ("won", "lost"):
                    moments.append((lead.trackflow_closed_date, lead.won_status, record))
            entries += journey._milestones(moments)
        return entries

    def _first_seen(self):
        return self.sorted(
            lambda visitor: (visitor.first_seen or fields.Datetime.now(), visitor.id)
        )[:1]

    def action_merge(self):
        """Make one visitor of these: the one seen first keeps its id and gets all the rest."""
        if not self.env.user.has_group("trackflow.group_trackflow_manager"):
            raise AccessError(self.env._("Only TrackFlow managers may merge visitors."))
        if len(self) < 2:
            raise UserError(self.env._("Choose two visitors or more that are one person."))
        winner = self._first_seen()
        losers = self - winner
        leads = (winner | losers).sudo().lead_ids
        build_engine(self.env).merge_visitors(winner.visitor_key, losers.mapped("visitor_key"))
        with guard(self.env, "scoring a merged visitor", winner.visitor_key):
            winner.sudo().engagement_date = False
            leads.invalidate_recordset(flush=False)
        message = self.env._(
            "%(count)s visitors are one now: %(visitor)s has their clicks, visits, leads and deals.",
            count=len(self),
            visitor=winner.display_name,
        )
        return {
            "type": "ir.actions.client",
            "tag": "display_notification",
            "params": {
                "type": "success",
                "message": message,
                "next": {
                    "type": "ir.actions.act_window",
                    "res_model": self._name,
                    "res_id": winner.id,
                    "views": [(False, "form")],
                },
            },
        }
