from odoo import api, models


class MailRenderMixin(models.AbstractModel):
    _inherit = "mail.render.mixin"

    # A mailing is sent though somebody pasted a short URL into it. Odoo leaves alone those that
    # begin with the address that it mails with; to others, it makes a link.

    @api.model
    def _shorten_links(self, *args, **kwargs):
        mailing = self.with_context(trackflow_to_short_urls=True)
        return super(MailRenderMixin, mailing)._shorten_links(*args, **kwargs)

    @api.model
    def _shorten_links_text(self, *args, **kwargs):
        mailing = self.with_context(trackflow_to_short_urls=True)
        return super(MailRenderMixin, mailing)._shorten_links_text(*args, **kwargs)
