from odoo import fields, models


class TrackflowFailure(models.Model):
    """What TrackFlow failed at inside an operation of Odoo, which itself went on."""

    _name = "trackflow.failure"
    _description = "TrackFlow Failure"
    _order = "last_at desc, id desc"
    _rec_name = "operation"

    operation = fields.Char(required=True, readonly=True)
    cause = fields.Char(required=True, readonly=True)
    reference = fields.Char("Last Record", readonly=True)
    count = fields.Integer("Times", readonly=True)
    last_at = fields.Datetime("Last Time", readonly=True)

    _operation_cause_uniq = models.UniqueIndex(
        "(operation, cause)", "One row for each cause of an operation."
    )
