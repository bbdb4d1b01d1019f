from odoo import api, fields, models

from ..guard import guard

# What may move a record to another stage or status.
_HISTORY_FIELDS = frozenset(("active", "probability", "stage_id", "type"))
_MOVED = "trackflow.history"


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
        before = self._trackflow_remember(_MOVED, lambda lead: lead._trackflow_standing())
        result = super().write(vals)
        for standing in before.values():
            standing["changed_by"] = self.env.uid
        self._trackflow_unsettled(_MOVED).update(before)
        self.invalidate_recordset(
            ["trackflow_stage_change_ids", "trackflow_status_change_ids"], flush=False
        )
        return result

    @api.model
    def _trackflow_settle(self):
        before = self.env.cr.precommit.data.pop(_MOVED, {})
        moved = self._trackflow_changed_since(
            {
                lead_id: (standing["stage"], standing["status"])
                for lead_id, standing in before.items()
            },
            lambda lead: (lead.stage_id.id, lead._trackflow_status()),
        )
        if moved:
            with guard(self.env, "keeping the history of leads", moved.ids[:5]):
                moved._trackflow_keep_changes(before)
        return super()._trackflow_settle()

    def _trackflow_status(self):
        return self.won_status if self.won_status in ("won", "lost") else self.type

    def _trackflow_standing(self):
        """Stage and status of one record, each with the moment since when."""
        status = self._trackflow_status()
        since = {
            "lead": self.trackflow_lead_date,
            "opportunity": self.trackflow_deal_date,
        }.get(status, self.trackflow_closed_date)
        return {
            "stage": self.stage_id.id,
            "stage_since": self.date_last_stage_update or self.create_date,
            "status": status,
            "status_since": since or self.create_date,
        }

    def _trackflow_keep_changes(self, before):
        """Write down what differs from the standings `before`, by id, and who changed it."""
        now = fields.Datetime.now()
        stages, statuses = [], []
        for lead in self:
            old, new = before[lead.id], lead._trackflow_standing()
            made = {"lead_id": lead.id, "change_date": now, "changed_by": old["changed_by"]}
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
            # A write that is not over yet goes on from here.
            old.update(new)
        self.env["trackflow.deal.stage.change"].create(stages)
        self.env["trackflow.lead.status.change"].create(statuses)


def _days(since, until):
    return max((until - since).total_seconds(), 0) / 86400
