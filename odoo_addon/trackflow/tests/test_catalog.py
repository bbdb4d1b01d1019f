from dataclasses import replace

from odoo.addons.trackflow.catalog import OdooCatalog
from odoo.addons.trackflow.store import OdooStore
from odoo.tests import TransactionCase, tagged

from trackflow_core.model import Link
from trackflow_core.testing.catalogs import CatalogContract

from . import test_store


@tagged("post_install", "-at_install")
class TestOdooCatalog(CatalogContract, TransactionCase):
    """The core's own contract for catalogs, over Odoo's tables."""

    allow_inherited_tests_method = True

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env.cr.execute("DELETE FROM trackflow_click_queue")
        cls.env.cr.execute("DELETE FROM trackflow_api_request_log")
        cls.env.cr.execute("DELETE FROM trackflow_event")
        cls.env.cr.execute("DELETE FROM link_tracker_click")
        cls.env.company.currency_id = cls.env.ref("base.EUR")
        cls.env.ref("base.EUR").active = True

    _make_link = test_store.TestOdooStore._make_link

    def new_host(self, links):
        for link in links:
            self._make_link(link)
        return OdooCatalog(self.env), OdooStore(self.env)

    def test_copies_of_links_have_the_zone_of_the_company(self):
        codes = ("zoneOne", "zoneTwo", "zoneThree")
        catalog, _store = self.new_host(
            [
                Link(code, f"https://shop.example/{code}", "google", "cpc", "spring")
                for code in codes
            ]
        )
        self.env.company.partner_id.tz = "Europe/Berlin"
        other = self.env["res.company"].create({"name": "Elsewhere"})
        other.partner_id.tz = "America/Lima"
        theirs = self.env["utm.campaign"].create(
            {"title": "Theirs", "trackflow_company_id": other.id}
        )
        for code, vals in zip(
            codes,
            (
                {"trackflow_zone": False},
                {"trackflow_zone": "Asia/Tokyo"},
                {"trackflow_zone": False, "campaign_id": theirs.id},
            ),
            strict=True,
        ):
            self.env["link.tracker"].search([("link_code_ids.code", "=", code)]).write(vals)
        zones = {link.code: link.zone for link in catalog.changed_links("", 500).links}
        self.assertEqual(
            [zones[code] for code in codes], ["Europe/Berlin", "Asia/Tokyo", "America/Lima"]
        )

    def link(self, link):
        return replace(link, zone=self.env.company.partner_id.tz or "UTC")
