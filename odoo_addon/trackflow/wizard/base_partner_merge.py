from odoo import api, models


class BasePartnerMergeAutomaticWizard(models.TransientModel):
    _inherit = "base.partner.merge.automatic.wizard"

    @api.model
    def _merge(self, partner_ids, dst_partner=None, extra_checks=True):
        """Odoo moves the leads in SQL, which `crm.lead` is not told of."""
        if not self.env["crm.lead"]._trackflow_has_accounts():
            return super()._merge(partner_ids, dst_partner, extra_checks)
        partners = self.env["res.partner"].sudo().browse(partner_ids).exists()
        left = partners.commercial_partner_id.ids
        result = super()._merge(partner_ids, dst_partner, extra_checks)
        joined = partners.exists().commercial_partner_id.ids
        self.env["crm.lead"]._trackflow_accounts_changed(left + joined)
        return result
