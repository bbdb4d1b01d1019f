"""The plugin finds countries in a MaxMind database and survives a bad one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

import trackflow_geo
from trackflow_core.engine import Engine
from trackflow_core.errors import ConfigError
from trackflow_core.hooks import Hooks
from trackflow_core.testing import ClassifierContract, MemoryStore


def write(path: Path, networks: dict[str, Any], version: int = 6) -> Path:
    writer = MMDBWriter(version, "GeoLite2-Country", ipv4_compatible=version == 6)
    for network, record in networks.items():
        writer.insert_network(IPSet([network]), record)
    writer.to_db_file(str(path))
    return path


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = write(
        tmp_path / "country.mmdb",
        {
            "203.0.113.0/24": {"country": {"iso_code": "DE"}},
            "198.51.100.0/24": {"registered_country": {"iso_code": "AT"}},
            "192.0.2.0/24": {"country": {"names": {"en": "Nowhere"}}},
            "2001:db8::/32": {"country": {"iso_code": "FR"}},
        },
    )
    monkeypatch.setenv(trackflow_geo.VARIABLE, str(path))
    monkeypatch.setattr(trackflow_geo, "_database", trackflow_geo.Database())
    return path


@pytest.mark.usefixtures("database")
class TestGeo(ClassifierContract):
    plugin = trackflow_geo


@pytest.mark.usefixtures("database")
@pytest.mark.parametrize(
    ("address", "country"),
    [
        ("203.0.113.77", "DE"),
        ("203.0.113.0", "DE"),
        ("198.51.100.1", "AT"),
        ("2001:db8::1", "FR"),
        ("192.0.2.1", ""),
        ("8.8.8.8", ""),
        ("", ""),
        ("no address", ""),
    ],
)
def test_the_country_of_an_address(address: str, country: str) -> None:
    engine = Engine(MemoryStore(), Hooks({"geo": trackflow_geo}))
    assert engine.country_of(address) == country


def test_without_a_database_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(trackflow_geo.VARIABLE, raising=False)
    assert trackflow_geo.trackflow_geolocate("203.0.113.1") is None


def test_a_replaced_file_is_read_anew(database: Path) -> None:
    assert trackflow_geo.trackflow_geolocate("203.0.113.1") == "DE"
    write(database, {"203.0.113.0/24": {"country": {"iso_code": "CH"}}})
    os.utime(database, ns=(1, 1))
    assert trackflow_geo.trackflow_geolocate("203.0.113.1") == "CH"


def test_a_bad_file_is_reported_once(database: Path, caplog: pytest.LogCaptureFixture) -> None:
    database.write_bytes(b"no database")
    for _ in range(3):
        assert trackflow_geo.trackflow_geolocate("203.0.113.1") is None
    [entry] = caplog.records
    assert "correct TRACKFLOW_GEOIP" in entry.getMessage()


def test_a_missing_file_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(trackflow_geo, "_database", trackflow_geo.Database())
    monkeypatch.setenv(trackflow_geo.VARIABLE, str(tmp_path / "none.mmdb"))
    assert trackflow_geo.trackflow_geolocate("203.0.113.1") is None
    assert "cannot be read" in caplog.text


def test_a_database_of_short_addresses_knows_no_long_ones(database: Path) -> None:
    write(database, {"203.0.113.0/24": {"country": {"iso_code": "DE"}}}, version=4)
    os.utime(database, ns=(2, 2))
    assert trackflow_geo.trackflow_geolocate("2001:db8::1") is None
    assert trackflow_geo.trackflow_geolocate("203.0.113.1") == "DE"


def test_the_command_tells_what_the_database_says(
    database: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = Hooks({"geo": trackflow_geo}).commands["country"].run
    command("203.0.113.9")
    command("192.0.2.1")
    assert capsys.readouterr().out == "DE\nunknown\n"
    monkeypatch.delenv(trackflow_geo.VARIABLE)
    with pytest.raises(ConfigError, match="TRACKFLOW_GEOIP is not set"):
        command("203.0.113.9")
