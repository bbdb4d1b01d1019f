"""Who is behind a request, as far as consent and settings allow to know."""

from __future__ import annotations

from collections.abc import Sequence

from trackflow_core.model import Tier
from trackflow_core.tracking import consent, identity
from trackflow_core.tracking.consent import Consent, IpPolicy
from trackflow_server.client import Client, Networks, anonymised
from trackflow_server.config import ServerConfig

_DAY = 24 * 3600


class Visits:
    """What one configuration lets the server know of visitors."""

    def __init__(self, config: ServerConfig, keys: Sequence[str]) -> None:
        # Whoever gets others puts them here.
        self.keys = keys
        self.proxies = Networks(config.trusted_proxies)
        self._policy = config.consent_policy
        self._unsignalled = {
            answer: consent.tier(answer, policy=config.consent_policy) for answer in Consent
        }
        self._consent_cookie = config.consent_cookie
        self._ip_policy = IpPolicy(config.ip_policy)
        self._internal = Networks(config.internal_networks)
        self._max_age = config.cookie_days * _DAY

    def tier(self, client: Client, said: Consent = Consent.UNKNOWN) -> Tier:
        """How much may be kept, by the consent cookie or else by what the page `said`; a refusal
        by either counts."""
        answer = client.consent(self._consent_cookie)
        gpc, dnt = client.header("sec-gpc"), client.header("dnt")
        if not gpc and not dnt and said is Consent.UNKNOWN:
            return self._unsignalled[answer]
        if answer is Consent.UNKNOWN or said is Consent.DENIED:
            answer = said
        return consent.tier(answer, gpc=gpc, dnt=dnt, policy=self._policy)

    def is_internal(self, client: Client) -> bool:
        """Whether the request comes from our own networks."""
        return self._internal.hold(client.address(self.proxies))

    def address(self, client: Client) -> str:
        """As much of the client's address as may be kept."""
        return anonymised(client.address(self.proxies), self._ip_policy)

    def known(self, client: Client) -> str | None:
        """The visitor whom the cookie names."""
        return identity.read_cookie(client.cookie(identity.COOKIE_NAME), self.keys)

    def identify(
        self, client: Client, tier: Tier, arrived: str | None = None
    ) -> tuple[str | None, str]:
        """The visitor's id and the `Set-Cookie` that keeps it, as long as is configured or for this
        visit: who is known, else who has `arrived` from another site of ours, else a new one.
        Nobody, and "", where the tier allows none or the client is internal."""
        if tier not in (Tier.FULL, Tier.SESSION) or self.is_internal(client):
            return None, ""
        visitor_id = self.known(client) or arrived or identity.new_visitor_id()
        signed = identity.sign_cookie(visitor_id, self.keys)
        age = f"; Max-Age={self._max_age}" if tier is Tier.FULL else ""
        secure = "; Secure" if client.is_https(self.proxies) else ""
        cookie = f"{identity.COOKIE_NAME}={signed}; Path=/; HttpOnly; SameSite=Lax{age}{secure}"
        return visitor_id, cookie
