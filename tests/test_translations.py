"""Every term of the addons is translated, with its placeholders and its markup.

That the templates hold the terms of today is asked of Odoo: see test_translation_templates.py of the
addon.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

polib = pytest.importorskip("polib")

ADDONS = sorted(path.parents[1] for path in Path("odoo_addon").glob("*/i18n/*.pot"))
LANGUAGES = ("de", "es", "fr")
_ELEMENT = re.compile(r"</?\w")
_PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%[sd]")


def _terms(path: Path) -> dict[str, str]:
    return {entry.msgid: entry.msgstr for entry in polib.pofile(str(path)) if not entry.obsolete}


def _markup(term: str) -> list[tuple[str, str | None]] | None:
    """Each element with its condition; None where the term is not markup."""
    if not _ELEMENT.search(term):
        return None
    # Spanish, French and German words stand between the elements, never in them.
    return [
        (element.tag, element.get("invisible"))
        for element in ElementTree.fromstring(f"<term>{term}</term>").iter()  # noqa: S314
    ]


def test_every_addon_has_a_template() -> None:
    addons = {path.parent for path in Path("odoo_addon").glob("*/__manifest__.py")}
    assert set(ADDONS) == addons


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("addon", ADDONS, ids=lambda addon: addon.name)
def test_every_term_is_translated(addon: Path, language: str) -> None:
    template = _terms(addon / "i18n" / f"{addon.name}.pot")
    translated = _terms(addon / "i18n" / f"{language}.po")
    assert template
    assert sorted(template) == sorted(translated)
    for term, text in translated.items():
        assert text, term
        assert sorted(_PLACEHOLDER.findall(term)) == sorted(_PLACEHOLDER.findall(text)), term
        assert _markup(term) == _markup(text), term
