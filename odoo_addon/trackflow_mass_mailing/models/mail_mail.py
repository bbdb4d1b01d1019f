import re

from odoo import models
from odoo.addons.trackflow.keys import visitor_keys

from trackflow_core.tracking.identity import email_proof

# The parameter of a mail's link that proves who received it. Odoo alone leads such a link on, too.
PROOF = "proof"


class MailMail(models.Model):
    _inherit = "mail.mail"

    def _prepare_outgoing_body(self):
        """Sign the links of mailings: a trace's number alone could be guessed."""
        body = super()._prepare_outgoing_body()
        trace = self.mailing_trace_ids[:1]
        if not body or not self.mailing_id or not trace.email:
            return body
        proof = email_proof(trace.email, visitor_keys(self.env))
        links = re.compile(rf"(/r/[^/\"'\s<>]+/m/{trace.id})(?![\w/?])")
        return body.__class__(links.sub(rf"\1?{PROOF}={proof}", str(body)))
