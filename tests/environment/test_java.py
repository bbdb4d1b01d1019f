"""Which Java Spark runs on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.environment import cache, debian, java


def test_the_major_version_is_read() -> None:
    assert java.major('IMPLEMENTOR="Debian"\nJAVA_VERSION="17.0.15"\n') == "17"
    assert java.major('JAVA_VERSION="1.8.0_402"\n') == "1"
    assert java.major("") == ""


def test_a_java_that_suits_is_taken_and_another_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKFLOW_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))

    def unpack(packages: object, suite: str, into: Path, work: Path) -> None:
        home = into / "usr/lib/jvm/java-17-openjdk-amd64"
        (home / "lib").mkdir(parents=True)
        (home / "release").write_text('JAVA_VERSION="17.0.15"\n')
        (home / "lib/jvm.cfg-default").write_text("-server KNOWN\n")
        (home / "lib/jvm.cfg").symlink_to("/etc/java-17-openjdk/jvm-amd64.cfg")
        (into / "etc/java-17-openjdk").mkdir(parents=True)
        (into / "etc/java-17-openjdk/net.properties").write_text("")
        (home / "net.properties").symlink_to("/etc/java-17-openjdk/net.properties")

    monkeypatch.setattr(debian, "unpack", unpack)
    mine = tmp_path / "mine"
    mine.mkdir()
    monkeypatch.setenv("JAVA_HOME", str(mine))
    (mine / "release").write_text('JAVA_VERSION="11.0.2"\n')
    found = java.home()
    assert cache.root() in found.parents
    assert (found / "lib/jvm.cfg").read_text() == "-server KNOWN\n"
    assert (found / "net.properties").resolve().is_file()
    (mine / "release").write_text('JAVA_VERSION="21"\n')
    assert java.home() == mine
