"""Leads from the mail domains named by TRACKFLOW_OWN_MAIL_DOMAINS are bound to no visitor.

Colleagues who try a form, and agents who type in what a caller says, would give the lead the
journey of their own browser.
"""

from __future__ import annotations

import os

from trackflow_core.hooks import hookimpl
from trackflow_core.model import Lead

VARIABLE = "TRACKFLOW_OWN_MAIL_DOMAINS"


@hookimpl
def trackflow_resolve_visitor(lead: Lead) -> frozenset[str] | None:
    """No visitor for a lead of our own, where domains are named."""
    domains = os.environ.get(VARIABLE, "").replace(",", " ").lower().split()
    host = lead.email.strip().lower().rpartition("@")[2]
    if host and any(f".{host}".endswith(f".{domain.lstrip('@.')}") for domain in domains):
        return frozenset()
    return None
