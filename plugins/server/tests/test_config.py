"""The configuration says what is wrong, where, and what to do; and never a secret."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from trackflow_core.attribution import BUILTIN_RULES
from trackflow_core.errors import ConfigError
from trackflow_server import config, keys

RULES = {rule.name: rule for rule in BUILTIN_RULES}
SECRET = "0123456789abcdef"


def _load(folder: Path, text: str = "", **environment: str) -> config.ServerConfig:
    path = folder / "trackflow.toml"
    path.write_text(text)
    return config.load(path, {f"TRACKFLOW_{key}": value for key, value in environment.items()})


def test_the_environment_outweighs_the_file_and_the_command_line_both(tmp_path: Path) -> None:
    text = 'port = 1\nhost = "::1"\nown_hosts = ["a.example"]\naccount_journeys = true'
    found = _load(tmp_path, text, PORT="2", OWN_HOSTS="b.example, c.example")
    assert (found.port, found.host, found.own_hosts) == (2, "::1", ("b.example", "c.example"))
    assert found.account_journeys
    assert config.load(tmp_path / "trackflow.toml", {}, port=3, host=None).port == 3


@pytest.mark.parametrize(
    ("text", "environment", "said"),
    [
        ("prot = 1", {}, "'prot', which does not exist"),
        ("port = '1'", {}, "port in .* must be a whole number"),
        ("port =", {}, "no valid TOML"),
        ("", {"PORT": "x"}, "TRACKFLOW_PORT is 'x'"),
        ("", {"ACCOUNT_JOURNEYS": "perhaps"}, "must be true or false"),
        ("port = 70000", {}, "from 0 to 65535"),
        ("zone = 'Mars/Base'", {}, "no time zone 'Mars/Base'"),
        ("own_hosts = 'a'", {}, "must be a list of strings"),
        ("trusted_proxies = ['10.0.0.1/8']", {}, "no network"),
        ("without_consent = 'all'", {}, "full, session, aggregate or none"),
        ("base_url = 'shop.example'", {}, "must begin with http"),
        ("cookie_days = 0", {}, "above zero"),
        ("engagement_weights = ['meeting']", {}, "write 'kind=points'"),
        ("engagement_weights = ['meeting=-1']", {}, "zero or more"),
        ("engagement_half_life_days = 0", {}, "half-life"),
        ("", {"SECRET": "short-geheim"}, "shorter than 16"),
        ("store = 'postgresql://me:geheim@db/x'", {}, "TRACKFLOW_STORE"),
    ],
)
def test_what_is_wrong_is_said(
    tmp_path: Path, text: str, environment: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        _load(tmp_path, text, **environment)
    assert "geheim" not in str(caught.value)


def test_engagement_is_scored_by_the_servers_weights(tmp_path: Path) -> None:
    found = _load(
        tmp_path, "engagement_half_life_days = 7", SECRET=SECRET, ENGAGEMENT_WEIGHTS="a=2"
    )
    formula = found.settings(RULES).engagement
    assert (formula.weight("a"), formula.weight("call")) == (2.0, 5.0)
    assert formula.half_life == timedelta(days=7)


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load(tmp_path / "nothing.toml", {})


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    found = _load(tmp_path, SECRET=SECRET)
    assert found.secrets == (SECRET,)
    assert SECRET not in repr(found)
    assert "geheim" not in repr(found)


def test_keys_follow_from_the_secret_and_can_be_rotated(tmp_path: Path) -> None:
    assert _load(tmp_path, SECRET=SECRET).visitor_keys == (keys.derive(SECRET, "visitor"),)
    rotated = _load(tmp_path, SECRET=f"{SECRET},{SECRET[::-1]}").visitor_keys
    assert rotated == (keys.derive(SECRET, "visitor"), keys.derive(SECRET[::-1], "visitor"))
    with pytest.raises(ConfigError, match="openssl rand"):
        _ = _load(tmp_path).visitor_keys


def test_stored_secrets_survive_a_rotation() -> None:
    stored = keys.encrypt("whsec", [SECRET])
    assert "whsec" not in stored
    assert keys.decrypt(stored, [SECRET, SECRET[::-1]]) == "whsec"
    with pytest.raises(ConfigError, match="put the old one in front"):
        keys.decrypt(stored, [SECRET[::-1]])


def test_the_engine_is_told(tmp_path: Path) -> None:
    found = _load(
        tmp_path,
        'model = "first_touch"\nbase_url = "https://go.example/"\nlookback_days = 30',
        SECRET=SECRET,
    )
    settings = found.settings(RULES)
    assert settings.model.rule.name == "first_touch"
    assert settings.model.lookback.days == 30
    assert (found.public_url, settings.own_hosts) == ("https://go.example", {"go.example"})
    with pytest.raises(ConfigError, match="which no rule is called"):
        _load(tmp_path, 'model = "best"', SECRET=SECRET).settings(RULES)


def test_every_setting_is_documented() -> None:
    guide = Path(__file__).parents[3] / "docs" / "guides" / "server.md"
    told = guide.read_text(encoding="utf-8")
    missing = [name for name in config.settings_help() if f"`{name}`" not in told]
    assert missing == []
