"""What may be kept of a request: the company's settings, the visitor's consent and signals.

Redirects, pages and forms all ask here, so that one answer holds for all of them.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from odoo.http import request

from trackflow_core.model import Tier
from trackflow_core.tracking import consent, identity, networks

from .keys import visitor_keys

_MAX_HEADER = 2048


@dataclass(frozen=True, slots=True)
class Rules:
    """A company's settings as a request to its site needs them.

    `policy` is what each answer to the cookie bar allows. `signals` tells whether GPC and DNT are
    heard. `internal_networks` are those whose people are no visitors.
    """

    company_id: int
    enabled: bool
    cookie_days: int
    ip_policy: consent.IpPolicy
    policy: consent.Policy
    signals: bool
    internal_networks: tuple[networks.Network, ...]


@dataclass(frozen=True)
class Hit:
    """A request, judged by the rules of the site it came to.

    `http` is Werkzeug's request or Odoo's likeness of it. `answer` is what the visitor told the
    cookie bar, `staff` says that somebody of ours is signed in.
    """

    http: Any
    rules: Rules
    keys: tuple[str, ...]
    answer: consent.Consent
    staff: bool = False

    @cached_property
    def tier(self) -> Tier:
        """How much may be kept of this visitor, by the cookie bar, the browser and the company."""
        if not self.rules.enabled:
            return Tier.NONE
        return consent.tier(
            self.answer,
            gpc=self.header("Sec-GPC") if self.rules.signals else "",
            dnt=self.header("DNT") if self.rules.signals else "",
            policy=self.rules.policy,
        )

    @cached_property
    def internal(self) -> bool:
        """Whether it is of staff: somebody signed in as such, or in a network of ours."""
        ours = self.rules.internal_networks
        return self.staff or (bool(ours) and networks.contains(ours, self.remote))

    @cached_property
    def remote(self) -> str:
        """The visitor's whole address, which may not be stored."""
        return self.http.remote_addr or ""

    @property
    def address(self) -> str:
        """As much of the visitor's IP address as the company keeps."""
        return consent.anonymise(self.remote, self.rules.ip_policy)

    @property
    def known_visitor(self) -> str | None:
        """The visitor whom the cookie names, where that may be used."""
        if self.tier is not Tier.FULL or self.internal:
            return None
        return identity.read_cookie(self.http.cookies.get(identity.COOKIE_NAME), self.keys)

    def header(self, name: str) -> str:
        """A header as it may be stored."""
        return self.http.headers.get(name, "")[:_MAX_HEADER].replace("\0", "")

    def cookie(self, visitor_id: str) -> dict[str, Any]:
        """What `set_cookie` of a response takes to remember the visitor."""
        return {
            "key": identity.COOKIE_NAME,
            "value": identity.sign_cookie(visitor_id, self.keys),
            "max_age": self.rules.cookie_days * 24 * 3600,
            "secure": self.http.scheme == "https",
            "httponly": True,
            "samesite": "Lax",
        }


def hit() -> Hit:
    """Odoo's current request, by the rules of the company whose site it came to."""
    env, ir_http = request.env, request.env["ir.http"]
    return Hit(
        request.httprequest,
        env["res.company"]._trackflow_rules(ir_http._trackflow_company_id()),
        visitor_keys(env),
        _answer(ir_http),
        env["res.users"]._trackflow_is_staff(env.uid),
    )


def _answer(ir_http) -> consent.Consent:
    if not ir_http._is_allowed_cookie("optional"):
        return consent.Consent.DENIED
    asked = ir_http._trackflow_asks_consent()
    return consent.Consent.GRANTED if asked else consent.Consent.UNKNOWN
