from odoo import fields, models


class TrackflowMergedRef(models.Model):
    """A lead or deal that was merged into another: what is told of it later goes there."""

    _name = "trackflow.merged.ref"
    _description = "TrackFlow Merged Reference"
    _rec_name = "ref"

    ref = fields.Char("Reference", required=True, readonly=True)
    kind = fields.Selection([("lead", "Lead"), ("deal", "Deal")], required=True, readonly=True)
    lead_id = fields.Many2one(
        "crm.lead", "Merged Into", required=True, readonly=True, index=True, ondelete="cascade"
    )

    _ref_kind_uniq = models.UniqueIndex("(ref, kind)", "A reference is merged into one lead.")
