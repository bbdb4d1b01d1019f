from odoo import api, fields, models

from trackflow_core.model import Touch
from trackflow_core.tracking import channels

from ..store.values import aware


class TrackflowDealLink(models.Model):
    """A link that somebody knows to have led to a deal, although no click shows it.

    It is a touch of the lead like any other: the deal's model says what it earns.
    """

    _name = "trackflow.deal.link"
    _description = "TrackFlow Deal Link Association"
    _order = "occurred_at desc, id desc"
    _rec_name = "link_id"

    lead_id = fields.Many2one("crm.lead", "Deal", required=True, index=True, ondelete="cascade")
    link_id = fields.Many2one("link.tracker", required=True, index=True, ondelete="restrict")
    association_type = fields.Selection(
        [
            ("click", "Followed This Link"),
            ("event", "Met at an Event"),
            ("referral", "Was Referred"),
        ],
        "How",
        required=True,
        default="click",
    )
    occurred_at = fields.Datetime("When", required=True, default=fields.Datetime.now)
    reason = fields.Char(required=True, help="How you know; it stays with the deal.")
    user_id = fields.Many2one(
        "res.users",
        "Associated By",
        readonly=True,
        default=lambda self: self.env.uid,
        ondelete="set null",
    )
    attribution_weight = fields.Float(
        "Share",
        compute="_compute_credit",
        digits=(16, 6),
        help="What this touch earns of the deal under the deal's model.",
    )
    currency_id = fields.Many2one("res.currency", compute="_compute_credit")
    attributed_value = fields.Monetary("Amount", compute="_compute_credit")

    @api.depends("lead_id.trackflow_attribution_ids")
    def _compute_credit(self):
        credits = {
            credit.touch_key: credit
            for credit in self.lead_id.sudo().trackflow_attribution_ids
            if credit.touch_key
        }
        for link in self:
            credit = credits.get(link._touch_id())
            link.attribution_weight = credit.weight if credit else 0.0
            link.attributed_value = credit.value if credit else 0.0
            link.currency_id = credit.currency_id if credit else link.lead_id.company_currency

    @api.model_create_multi
    def create(self, vals_list):
        links = super().create(vals_list)
        links._record()
        return links

    def write(self, vals):
        left = self.lead_id
        result = super().write(vals)
        self._record()
        (left - self.lead_id)._trackflow_refresh()
        return result

    def unlink(self):
        leads, touch_ids = self.lead_id, [link._touch_id() for link in self]
        result = super().unlink()
        leads._trackflow_drop_touches(touch_ids)
        return result

    def _touch_id(self):
        return f"{self._name}/{self.id}"

    def _record(self):
        touches = {
            lead.id: [link._touch() for link in links]
            for lead, links in self.grouped("lead_id").items()
        }
        self.lead_id._trackflow_record_touches(touches)
        self.invalidate_recordset(["attribution_weight", "attributed_value", "currency_id"])

    def _touch(self):
        link = self.link_id.sudo()
        source = channels.classify(
            link.redirected_url or link.url,
            "",
            utm={
                "source": link.source_id.name or "",
                "medium": link.medium_id.name or "",
                "campaign": link.campaign_id.name or "",
                "content": link.label or "",
            },
        )
        return Touch(
            self._touch_id(),
            aware(self.occurred_at),
            source.channel,
            source=source.source,
            medium=source.medium,
            campaign=source.campaign,
            content=source.content,
            term=source.term,
            link_code=link.code or "",
            kind=self.association_type,
        )
