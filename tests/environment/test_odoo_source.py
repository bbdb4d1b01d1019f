"""Which folder is accepted as Odoo 19."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.environment import odoo_source
from tests.environment.failure import SetupError


def _checkout(folder: Path, version: str) -> Path:
    (folder / "odoo/addons").mkdir(parents=True)
    (folder / "addons").mkdir()
    (folder / "odoo/release.py").write_text(f"version_info = ({version}, 'final', 0, '')\n")
    return folder


def test_a_checkout_is_used_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODOO_SRC", str(_checkout(tmp_path, "19, 0, 0")))
    source = odoo_source.obtain()
    assert source.path == tmp_path
    assert source.addons_paths == [tmp_path / "odoo/addons", tmp_path / "addons"]


def test_another_series_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODOO_SRC", str(_checkout(tmp_path, "18, 0, 0")))
    with pytest.raises(SetupError, match=r"is Odoo 18\.0; TrackFlow needs 19\.0"):
        odoo_source.obtain()


def test_a_folder_without_odoo_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODOO_SRC", str(tmp_path))
    with pytest.raises(SetupError, match="is it a checkout of Odoo"):
        odoo_source.obtain()
