from odoo import fields, models

from ..guard import guard

# What may move a record to another stage or status.
_HISTORY_FIELDS = frozenset(("active", "probability", "stage_id", "type"))


class CrmLead(models.Model):
    """Keeps who moved a lead or deal on, and when."""

    _inherit = "crm.lead"  # pylint: disable=consider-merging-classes-inherited

    trackflow_stage_change_ids = fields.One2many(
        "trackflow.deal.stage.change", "lead_id", "Stage Changes", copy=False
    )
    trackflow_status_change_ids = fields.One2many(
        "trackflow.lead.status.change", "lead_id", "Status Changes", readonly=True, copy=False
    )

    def write(self, vals):
        if not _HISTORY_FIELDS & vals.keys():
            return super().write(vals)
        before = {lead.id: lead._trackflow_standing() for lead in self.sudo()}
        result = super().write(vals)
        with guard(self.env, "keeping the history of leads", self.ids[:5]):
            self.sudo()._trackflow_keep_changes(before)
        return result

    def _trackflow_standing(self):
        """Stage and status of one record, each with the moment since when."""
        status, since = self.type, self.trackflow_lead_date
        if self.won_status in ("won", "lost"):
            status, since = self.won_status, self.trackflow_closed_date
        elif self.type == "opportunity":
            since = self.trackflow_deal_date
        return {
            "stage": self.stage_id.id,
            "stage_since": self.date_last_stage_update or self.create_date,
            "status": status,
            "status_since": since or self.create_date,
        }

    def _trackflow_keep_changes(self, before):
        """Write down what differs from the standings `before`, by id."""
        now = fields.Datetime.now()
        stages, statuses = [], []
        for lead in self:
            old, new = before[lead.id], lead._trackflow_standing()
            made = {"lead_id": lead.id, "change_date": now, "changed_by": self.env.uid}
            if old["stage"] != new["stage"] and lead.type == "opportunity":
                stages.append(
                    {
                        **made,
                        "from_stage_id": old["stage"],
                        "to_stage_id": new["stage"],
                        "days_in_stage": _days(old["stage_since"], now),
                    }
                )
            if old["status"] != new["status"]:
                statuses.append(
                    {
                        **made,
                        "from_status": old["status"],
                        "to_status": new["status"],
                        "days_in_status": _days(old["status_since"], now),
                        "source_campaign": lead.trackflow_campaign,
                        "source_medium": lead.trackflow_medium,
                    }
                )
        self.env["trackflow.deal.stage.change"].create(stages)
        self.env["trackflow.lead.status.change"].create(statuses)


def _days(since, until):
    return max((until - since).total_seconds(), 0) / 86400
