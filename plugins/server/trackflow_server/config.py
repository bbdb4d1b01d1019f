"""How the server is configured: a TOML file, then the environment, then the command line.

Each field of `ServerConfig` is a key of the file and, in capitals behind `TRACKFLOW_`, a variable
of the environment. Secrets are taken from the environment alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from functools import cached_property
from ipaddress import ip_network
from pathlib import Path
from typing import Any, get_type_hints
from urllib.parse import urlsplit

from trackflow_core.attribution import Model, Rule
from trackflow_core.config import Settings
from trackflow_core.errors import ConfigError
from trackflow_core.model import Context, Tier, zone_named
from trackflow_core.tracking.consent import IpPolicy, Policy
from trackflow_core.tracking.engagement import Formula
from trackflow_server import keys
from trackflow_server.store.database import parse

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PREFIX = "TRACKFLOW_"
FILE = "TRACKFLOW_CONFIG"
SECRET = "TRACKFLOW_SECRET"  # noqa: S105 - the variable's name
PASSWORD = "TRACKFLOW_PASSWORD"  # noqa: S105
UPSTREAM_KEY = "TRACKFLOW_UPSTREAM_KEY"
CONNECTOR = "TRACKFLOW_CONNECTOR"
_MIN_SECRET = 16


def _setting(help: str, default: Any, **more: Any) -> Any:
    return field(default=default, metadata={"help": help, **more})


@dataclass(frozen=True)
class ServerConfig:
    """The settings of one server. `help` of each field is what people are shown."""

    store: str = _setting(
        "Path of an SQLite file, or postgresql://user@host:5432/database.", "trackflow.sqlite"
    )
    spool: str = _setting(
        "Path of the file in which clicks are kept until they are in the store; by default the "
        "store's with '.spool' appended.",
        "",
    )
    spool_megabytes: int = _setting(
        "Most megabytes that the spool may take on the disk; 0 for all that there are.", 0
    )
    upstream: str = _setting(
        "Address of the Odoo or TrackFlow in whose stead this server answers; see Edge.", ""
    )
    upstream_seconds: int = _setting("Seconds between two looks for changed links upstream.", 2)
    host: str = _setting("Address to listen on.", "127.0.0.1")
    port: int = _setting("Port to listen on.", 8060)
    base_url: str = _setting("How the outside reaches this server: short links begin with it.", "")
    zone: str = _setting("Time zone whose midnight ends a visit.", "UTC")
    session_minutes: int = _setting("Minutes without a click that end a visit.", 30)
    own_hosts: tuple[str, ...] = _setting("Hosts of your own, which are no referrers.", ())
    account_journeys: bool = _setting(
        "Whether a deal has the touches of all leads of its company.", False
    )
    model: str = _setting("The rule that splits deals with no model of their own.", "linear")
    lookback_days: int = _setting("Days before a deal in which touches count.", 90)
    engagement_weights: tuple[str, ...] = _setting(
        "Points of a touch by its kind, such as 'meeting=20'; kinds left out keep their points.", ()
    )
    engagement_half_life_days: int = _setting("Days after which a touch's points are halved.", 14)
    cookie_days: int = _setting("Days that a visitor is remembered.", 365)
    consent_cookie: str = _setting(
        "Cookie by which your consent dialogue says 'granted' or 'denied'.", "trackflow_consent"
    )
    without_consent: str = _setting(
        "What may be kept of visitors who have not answered: full, session, aggregate or none.",
        "aggregate",
    )
    ip_policy: str = _setting(
        "What is kept of IP addresses: short (network only), full (nothing) or off (all).", "short"
    )
    internal_networks: tuple[str, ...] = _setting(
        "Networks of your staff (CIDR), whose clicks do not count.", ()
    )
    trusted_proxies: tuple[str, ...] = _setting(
        "Networks (CIDR) of proxies whose X-Forwarded-For and -Proto are believed.", ()
    )
    webhook_networks: tuple[str, ...] = _setting(
        "Private networks (CIDR) to which outgoing webhooks may go.", ()
    )
    api_hourly_limit: int = _setting(
        "Requests that an API key, or an address without one, may make in an hour; 0 for any "
        "number.",
        1000,
    )
    limit_storage: str = _setting(
        "Where requests are counted: memory:// or redis://….", "memory://"
    )
    log_format: str = _setting("text or json.", "text")
    log_level: str = _setting("debug, info, warning or error.", "info")

    secrets: tuple[str, ...] = field(default=(), repr=False, metadata={"secret": SECRET})
    upstream_key: str = field(default="", repr=False, metadata={"secret": UPSTREAM_KEY})
    password: str = field(default="", repr=False, metadata={"secret": PASSWORD})
    connector_secrets: Mapping[str, str] = field(
        default_factory=dict, repr=False, metadata={"secret": CONNECTOR}
    )

    def __post_init__(self) -> None:
        parse(self.store)
        zone_named(self.zone)
        _one_of("without_consent", self.without_consent, [tier.value for tier in Tier])
        _one_of("ip_policy", self.ip_policy, [policy.value for policy in IpPolicy])
        _one_of("log_format", self.log_format, ["text", "json"])
        _one_of("log_level", self.log_level, ["debug", "info", "warning", "error"])
        for name in ("internal_networks", "trusted_proxies", "webhook_networks"):
            for network in getattr(self, name):
                _check_network(name, network)
        self._engagement()
        for name in ("session_minutes", "cookie_days", "lookback_days", "upstream_seconds"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} is {getattr(self, name)}: use a number above zero.")
        if self.spool_megabytes < 0:
            raise ConfigError(f"spool_megabytes is {self.spool_megabytes}: use 0 or more.")
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"port is {self.port}: use a number from 0 to 65535.")
        _check_url("base_url", self.base_url)
        _check_url("upstream", self.upstream)
        if self.upstream and not self.upstream_key:
            raise ConfigError(
                f"{UPSTREAM_KEY} is not set: make a key upstream with the scopes edge:read and "
                "events:write."
            )
        for secret in self.secrets:
            if len(secret) < _MIN_SECRET:
                raise ConfigError(
                    f"{SECRET} is shorter than {_MIN_SECRET} characters: make one with "
                    "`openssl rand -base64 32`."
                )

    @cached_property
    def public_url(self) -> str:
        """What short links begin with, without a slash at the end."""
        return (self.base_url or f"http://{self.host}:{self.port}").rstrip("/")

    @cached_property
    def spool_path(self) -> Path:
        if self.spool:
            return Path(self.spool)
        database = parse(self.store)
        if database.get_backend_name() == "sqlite" and database.database:
            return Path(f"{database.database}.spool")
        return Path("trackflow.spool")

    @cached_property
    def visitor_keys(self) -> tuple[str, ...]:
        """What signs visitor ids, the current key last.

        Raises ConfigError where the installation has no secret.
        """
        if not self.secrets:
            raise ConfigError(
                f'{SECRET} is not set: export {SECRET}="$(openssl rand -base64 32)" and keep it, '
                "since visitors are recognised by it."
            )
        return tuple(keys.derive(secret, "visitor") for secret in self.secrets)

    @cached_property
    def consent_policy(self) -> Policy:
        return Policy(unknown=Tier(self.without_consent))

    def settings(self, rules: Mapping[str, Rule]) -> Settings:
        """What the engine works by; raises ConfigError where no plugin brings `model`."""
        if self.model not in rules:
            raise ConfigError(
                f"model is {self.model!r}, which no rule is called: use one of "
                f"{', '.join(sorted(rules))}."
            )
        return Settings(
            model=Model(rules[self.model], lookback=timedelta(days=self.lookback_days)),
            session_gap=timedelta(minutes=self.session_minutes),
            zone=self.zone,
            account_journeys=self.account_journeys,
            engagement=self._engagement(),
            own_hosts=frozenset({*self.own_hosts, urlsplit(self.public_url).hostname or ""}),
            keys=self.visitor_keys,
            context=Context(host="server"),
        )

    def _engagement(self) -> Formula:
        weights = {}
        for told in self.engagement_weights:
            kind, _, points = told.partition("=")
            try:
                weights[kind.strip()] = float(points)
            except ValueError:
                raise ConfigError(
                    f"engagement_weights has {told!r}: write 'kind=points', such as 'meeting=20'."
                ) from None
        return Formula(weights, timedelta(days=self.engagement_half_life_days))


def load(
    path: Path | None = None,
    environment: Mapping[str, str] | None = None,
    **given: Any,
) -> ServerConfig:
    """The configuration by the file at `path`, the environment, and what is `given` and not None.

    Raises ConfigError that names the setting, where it was found, and the remedy.
    """
    environment = os.environ if environment is None else environment
    path = path or (Path(environment[FILE]) if environment.get(FILE) else None)
    values = {**_from_file(path), **_from_environment(environment)}
    values.update({name: value for name, value in given.items() if value is not None})
    return ServerConfig(**{**_secrets(environment), **values})


def settings_help() -> Mapping[str, str]:
    """What each setting is for, by name."""
    return {
        item.name: item.metadata["help"] for item in fields(ServerConfig) if "help" in item.metadata
    }


def _plain_fields() -> dict[str, Any]:
    hints = get_type_hints(ServerConfig)
    return {item.name: hints[item.name] for item in fields(ServerConfig) if "help" in item.metadata}


def _from_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        with path.open("rb") as file:
            told = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"The configuration {path} cannot be read: {error.strerror}.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"The configuration {path} is no valid TOML: {error}.") from error
    known = _plain_fields()
    for name, value in told.items():
        if name not in known:
            raise ConfigError(
                f"{path} has the setting {name!r}, which does not exist; there are: "
                f"{', '.join(sorted(known))}. Secrets belong in the environment."
            )
        told[name] = _checked(f"{name} in {path}", value, known[name])
    if "store" in told and parse(told["store"]).password:
        raise ConfigError(
            f"store in {path} holds a password: put the whole address into the environment "
            f"variable {PREFIX}STORE instead."
        )
    return told


def _checked(where: str, value: Any, kind: Any) -> Any:
    if kind in (str, int, bool):
        if type(value) is not kind:
            raise ConfigError(f"{where} is {value!r}: it must be a {_WORDS[kind]}.")
        return value
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ConfigError(f"{where} is {value!r}: it must be a list of strings.")
    return tuple(value)


_WORDS = {str: "string", int: "whole number", bool: "true or false"}


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    return {
        name: _parsed(f"{PREFIX}{name.upper()}", environment[f"{PREFIX}{name.upper()}"], kind)
        for name, kind in _plain_fields().items()
        if f"{PREFIX}{name.upper()}" in environment
    }


def _parsed(variable: str, text: str, kind: Any) -> Any:
    if kind is str:
        return text
    if kind is int:
        if not text.strip().lstrip("-").isdigit():
            raise ConfigError(f"{variable} is {text!r}: it must be a whole number.")
        return int(text)
    if kind is bool:
        if text.lower() not in ("true", "false", "1", "0"):
            raise ConfigError(f"{variable} is {text!r}: it must be true or false.")
        return text.lower() in ("true", "1")
    return _listed(text)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _secrets(environment: Mapping[str, str]) -> dict[str, Any]:
    return {
        "secrets": _listed(environment.get(SECRET, "")),
        "upstream_key": environment.get(UPSTREAM_KEY, ""),
        "password": environment.get(PASSWORD, ""),
        "connector_secrets": {
            name: value
            for name, value in environment.items()
            if name.startswith(f"{CONNECTOR}_") and value
        },
    }


def _one_of(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ConfigError(f"{name} is {value!r}: use {', '.join(known[:-1])} or {known[-1]}.")


def _check_network(name: str, network: str) -> None:
    try:
        ip_network(network)
    except ValueError as error:
        raise ConfigError(f"{name} has {network!r}, which is no network: {error}.") from None


def _check_url(name: str, url: str) -> None:
    parts = urlsplit(url)
    if url and (parts.scheme not in ("http", "https") or not parts.hostname):
        raise ConfigError(f"{name} is {url!r}: it must begin with http:// or https://.")
