"""What may be kept of a request: the company's settings, the visitor's consent and signals.

Redirects, pages and forms all ask here, so that one answer holds for all of them.
"""

from dataclasses import dataclass

from odoo.http import request

from trackflow_core.model import Tier
from trackflow_core.tracking import consent, identity, networks

from .keys import visitor_keys

_MAX_HEADER = 2048


@dataclass(frozen=True, slots=True)
class Rules:
    """A company's settings as a request needs them.

    `policy` is what each answer to the cookie bar allows. `signals` tells whether GPC and DNT are
    heard. `internal_networks` are those whose people are no visitors.
    """

    enabled: bool
    cookie_days: int
    ip_policy: consent.IpPolicy
    policy: consent.Policy
    signals: bool
    internal_networks: tuple[networks.Network, ...]


def rules() -> Rules:
    """The rules of the company whose site this request came to."""
    return request.env["res.company"]._trackflow_rules(
        request.env["ir.http"]._trackflow_company_id()
    )


def tier() -> Tier:
    """How much may be kept of this visitor, by the cookie bar, the browser and the company."""
    own = rules()
    if not own.enabled:
        return Tier.NONE
    return consent.tier(
        _answer(),
        gpc=header("Sec-GPC") if own.signals else "",
        dnt=header("DNT") if own.signals else "",
        policy=own.policy,
    )


def is_internal() -> bool:
    """Whether this request is of staff: somebody signed in as such, or in a network of ours."""
    if request.env["res.users"]._trackflow_is_staff(request.env.uid):
        return True
    return networks.contains(rules().internal_networks, request.httprequest.remote_addr or "")


def address() -> str:
    """As much of the visitor's IP address as the company keeps."""
    return consent.anonymise(request.httprequest.remote_addr or "", rules().ip_policy)


def known_visitor() -> str | None:
    """The visitor whom this request's cookie names, where that may be used."""
    if tier() is not Tier.FULL or is_internal():
        return None
    return identity.read_cookie(
        request.cookies.get(identity.COOKIE_NAME), visitor_keys(request.env)
    )


def identify(response, visitor_id: str | None = None) -> str:
    """The visitor's id, a new one if need be, kept in a cookie of `response`."""
    keys = visitor_keys(request.env)
    visitor_id = visitor_id or known_visitor() or identity.new_visitor_id()
    response.set_cookie(
        identity.COOKIE_NAME,
        identity.sign_cookie(visitor_id, keys),
        max_age=rules().cookie_days * 24 * 3600,
        secure=request.httprequest.scheme == "https",
        httponly=True,
        samesite="Lax",
        cookie_type="optional",
    )
    return visitor_id


def header(name: str) -> str:
    """A header of this request as it may be stored."""
    return request.httprequest.headers.get(name, "")[:_MAX_HEADER].replace("\0", "")


def _answer() -> consent.Consent:
    ir_http = request.env["ir.http"]
    if not ir_http._is_allowed_cookie("optional"):
        return consent.Consent.DENIED
    asked = ir_http._trackflow_asks_consent()
    return consent.Consent.GRANTED if asked else consent.Consent.UNKNOWN
