from odoo import fields, models


class LinkTrackerClick(models.Model):
    _inherit = "link.tracker.click"

    trackflow_mail_proven = fields.Boolean(
        "By the Recipient",
        readonly=True,
        help="The link's signature proves that whoever clicked had received the mail.",
    )
