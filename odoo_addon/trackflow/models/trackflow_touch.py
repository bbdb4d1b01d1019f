from odoo import fields, models


class TrackflowTouch(models.Model):
    """A touch that is no click: a call, a meeting, an event, a referral."""

    _name = "trackflow.touch"
    _description = "TrackFlow Touch"
    _order = "occurred_at desc, id desc"
    _rec_name = "touch_key"

    touch_key = fields.Char("Touch ID", required=True, readonly=True)
    lead_ref = fields.Char("Lead Reference", required=True, readonly=True, index=True)
    kind = fields.Char(required=True, readonly=True)
    occurred_at = fields.Datetime(required=True, readonly=True)
    channel = fields.Char(readonly=True)
    source = fields.Char(readonly=True)
    medium = fields.Char(readonly=True)
    campaign = fields.Char("Campaign Name", readonly=True)
    content = fields.Char(readonly=True)
    term = fields.Char(readonly=True)
    link_id = fields.Many2one(
        "link.tracker", readonly=True, index="btree_not_null", ondelete="set null"
    )
    campaign_id = fields.Many2one(
        "utm.campaign", readonly=True, index="btree_not_null", ondelete="set null"
    )

    _touch_key_uniq = models.UniqueIndex("(touch_key)", "This touch is already recorded.")
