from odoo import http
from odoo.addons.mass_mailing.controllers.main import MassMailController
from odoo.addons.trackflow.controllers.redirect import Redirect
from odoo.http import request


class MailingRedirect(MassMailController):
    """Links in mailings lead on like every other link; their clicks know the mail they came from."""

    @http.route(website=False, save_session=False, methods=["GET", "HEAD"], sitemap=False)
    def full_url_redirect(self, code, mailing_trace_id, **post):
        return self._trackflow_redirect(code, mailing_trace_id, "")

    @http.route(
        "/r/<string:code>/m/<int:mailing_trace_id>/<string:proof>",
        type="http",
        auth="public",
        website=False,
        save_session=False,
        methods=["GET", "HEAD"],
        sitemap=False,
    )
    def signed_url_redirect(self, code, mailing_trace_id, proof, **post):
        """A link whose proof tells that the mail was received at the trace's address."""
        return self._trackflow_redirect(code, mailing_trace_id, proof)

    def _trackflow_redirect(self, code, trace_id, proof):
        request.trackflow_mail = (trace_id, proof)
        return Redirect().full_url_redirect(code)
