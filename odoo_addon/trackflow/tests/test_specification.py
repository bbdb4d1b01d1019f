"""docs/specification.md against the registry and the tests that it names."""

import re
from pathlib import Path
from unittest import skipUnless

from odoo.tests import TransactionCase, tagged

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "specification.md"
HEADER = ["specified", "lives in", "read by", "proven by"]


@tagged("post_install", "-at_install")
@skipUnless(PAGE.is_file(), "the documentation is not beside this addon")
class TestSpecification(TransactionCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.text = PAGE.read_text(encoding="utf-8")
        cls.rows = [
            [cell.strip() for cell in line.strip("|").split("|")]
            for line in cls.text.splitlines()
            if line.startswith("|") and not line.startswith("|---")
        ]

    def test_every_table_has_the_same_columns(self):
        self.assertTrue(self.rows)
        for row in self.rows:
            self.assertEqual(len(row), len(HEADER), row)
        headers = [row for row in self.rows if row[0] == "specified"]
        self.assertEqual(len(headers), len(re.findall(r"^\|---", self.text, re.MULTILINE)))
        for row in headers:
            self.assertEqual(row, HEADER)

    def test_what_it_names_is_in_the_registry(self):
        for specified, place, *_rest in self.rows:
            if specified == "specified":
                continue
            names = re.findall(r"`([^`]+)`", place)
            self.assertTrue(names, f"{specified} names no field: {place}")
            for name in names:
                model, _, field = name.rpartition(".")
                if name not in self.env:
                    self.assertIn(model, self.env, f"named for {specified}")
                    self.assertIn(field, self.env[model]._fields, f"named for {specified}")

    def test_the_tests_that_it_names_exist(self):
        sources = "\n".join(
            path.read_text(encoding="utf-8")
            for folder in ("odoo_addon", "tests", "connectors", "plugins", "trackflow_core")
            for path in (ROOT / folder).rglob("*.py")
        )
        for specified, _place, reader, proof in self.rows:
            if specified == "specified":
                continue
            self.assertTrue(reader, f"nothing reads {specified}")
            self.assertTrue(proof, f"nothing proves {specified}")
            for name in re.findall(r"`(test_\w+)`", proof):
                self.assertIn(f"def {name}(", sources, f"{name}, named for {specified}")
