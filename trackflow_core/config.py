"""The settings of one host: each field is documented once and has a reader."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from trackflow_core.attribution.models import BUILTIN_RULES, Model
from trackflow_core.errors import ConfigError
from trackflow_core.model import Context, zone_named
from trackflow_core.tracking.engagement import Formula

_RULES = {rule.name: rule for rule in BUILTIN_RULES}


@dataclass(frozen=True, slots=True)
class Settings:
    """What an engine works by.

    `model` splits deals that choose no model of their own.
    `session_gap` is the pause that ends a session, `zone` (an IANA name) where midnight ends one.
    `account_journeys` gives a deal the touches of all leads of its lead's account.
    Referrers on `own_hosts` make no source. `engagement` scores visitors and leads.
    `keys` sign visitor ids, the last one being current. `context` tells hooks where they run.
    """

    model: Model = field(default_factory=lambda: Model(_RULES["linear"]))
    session_gap: timedelta = timedelta(minutes=30)
    zone: str = "UTC"
    account_journeys: bool = False
    own_hosts: frozenset[str] = frozenset()
    engagement: Formula = field(default_factory=Formula)
    keys: tuple[str, ...] = field(default=(), repr=False)
    context: Context = field(default_factory=Context)

    def __post_init__(self) -> None:
        if self.session_gap <= timedelta(0):
            raise ConfigError("session_gap must be longer than zero.")
        zone_named(self.zone)
