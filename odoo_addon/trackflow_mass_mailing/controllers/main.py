from odoo import http
from odoo.addons.mass_mailing.controllers.main import MassMailController
from odoo.addons.trackflow.controllers.redirect import Redirect
from odoo.http import request

from trackflow_core.tracking.urls import raw_query

from ..models.mail_mail import PROOF


class MailingRedirect(MassMailController):
    """Links in mailings lead on like every other link; their clicks know the mail they came from."""

    @http.route(website=False, save_session=False, methods=["GET", "HEAD"], sitemap=False)
    def full_url_redirect(self, code, mailing_trace_id, **post):
        proof, query = _take_proof(raw_query(request.httprequest.query_string))
        return self._trackflow_redirect(code, mailing_trace_id, proof, query)

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
        """A link as it was signed before the proof became a parameter."""
        query = raw_query(request.httprequest.query_string)
        return self._trackflow_redirect(code, mailing_trace_id, proof, query)

    def _trackflow_redirect(self, code, trace_id, proof, query):
        request.trackflow_mail = (trace_id, proof)
        return Redirect()._trackflow_lead_on(code, query)


def _take_proof(query):
    """The proof that the raw `query` of a request begins with, and what else it has."""
    first, _, rest = query.partition("&")
    name, _, proof = first.partition("=")
    return (proof, rest) if name == PROOF else ("", query)
