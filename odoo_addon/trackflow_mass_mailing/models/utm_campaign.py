from odoo import fields, models


class UtmCampaign(models.Model):
    _inherit = "utm.campaign"

    # The form asks for the second of them whoever opens it, also a salesperson coming from a lead.
    mailing_mail_count = fields.Integer(compute_sudo=True)
    ab_testing_mailings_count = fields.Integer(compute_sudo=True)
