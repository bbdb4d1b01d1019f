from odoo import fields, models


class TrackflowMergedVisitor(models.Model):
    """A visitor who turned out to be another one: later clicks under the old id go there."""

    _name = "trackflow.merged.visitor"
    _description = "TrackFlow Merged Visitor"
    _log_access = False
    _rec_name = "visitor_key"

    visitor_key = fields.Char("Old Visitor ID", required=True, readonly=True)
    visitor_id = fields.Many2one(
        "trackflow.visitor", "Is Now", required=True, readonly=True, index=True, ondelete="cascade"
    )

    _visitor_key_uniq = models.UniqueIndex("(visitor_key)", "A visitor is merged into one other.")
