import tempfile
from decimal import Decimal
from pathlib import Path
from unittest import SkipTest

from odoo import fields
from odoo.tests import tagged

from trackflow_core.tracking.identity import new_visitor_id

from .common import TrackflowCase

try:
    import pyarrow.parquet as parquet

    from trackflow_warehouse import star
except ImportError:
    star = None


@tagged("post_install", "-at_install")
class TestExport(TrackflowCase):
    """What `trackflow export` reads from this Odoo."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if star is None:
            raise SkipTest("trackflow-warehouse is not installed.")

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name, "star")

    def export(self):
        def select(query):
            self.env.cr.execute(query or "SELECT tablename FROM pg_tables")
            return iter(self.env.cr.fetchall())

        self.env.flush_all()
        return {
            item.table: item for item in star.export_rows(select, self.folder, lambda _table: None)
        }

    def rows(self, table, **having):
        rows = parquet.read_table(self.folder / table).to_pylist()
        return [row for row in rows if all(row[name] == value for name, value in having.items())]

    def test_the_star_joins_credits_with_their_touches(self):
        visitor, passer_by = new_visitor_id(), new_visitor_id()
        clicks = [self.click(visitor, 20), self.click(visitor, 10, self.links[1])]
        stray = self.click(passer_by, 5, self.links[2])
        self.drain()
        deal = self.opportunity(visitor, expected_revenue=100.01)
        deal.action_set_won()
        self.env["trackflow.campaign.cost"].create(
            {"campaign_id": self.campaign.id, "date": "2026-03-31", "name": "Ads", "amount": 12.5}
        )
        self.drain()
        self.export()
        ref = f"crm.lead/{deal.id}"
        [conversion] = self.rows("conversions", conversion_id=ref)
        self.assertEqual(conversion["value"], Decimal("100.01"))
        self.assertEqual(conversion["currency"], self.env.company.currency_id.name)
        self.assertEqual((conversion["status"], conversion["journey_id"]), ("won", ref))
        self.assertEqual(
            conversion["occurred_at"].replace(tzinfo=None),
            fields.Datetime.to_datetime(deal.trackflow_attribution_ids[0].anchor),
        )
        credits = self.rows("credits", conversion_id=ref)
        self.assertEqual([row["touch_id"] for row in credits], clicks)
        self.assertEqual(sum(row["value"] for row in credits), Decimal("100.01"))
        self.assertEqual([row["position"] for row in credits], ["first", "last"])
        self.assertEqual({row["model"] for row in credits}, {"linear"})
        self.assertEqual(
            {row["digest"] for row in credits},
            set(deal.trackflow_attribution_ids.mapped("digest")),
        )
        touches = {row["touch_id"]: row for row in self.rows("touches", journey_id=ref)}
        self.assertEqual(list(touches), clicks)
        for credit in credits:
            touch = touches[credit["touch_id"]]
            for name in ("channel", "source", "medium", "campaign", "content", "term"):
                self.assertEqual(credit[name], touch[name])
            self.assertEqual((touch["kind"], touch["visitor_id"]), ("click", visitor))
            [session] = self.rows("sessions", session_id=touch["session_id"])
            self.assertEqual((session["visitor_id"], session["hits"]), (visitor, 1))
        self.assertEqual(self.rows("touches", touch_id=stray)[0]["journey_id"], passer_by)
        [spent] = self.rows("spend", campaign=self.campaign.name, name="Ads")
        self.assertEqual(
            (spent["value"], spent["currency"]), (Decimal("12.5"), conversion["currency"])
        )

    def test_only_what_changed_is_written_again(self):
        visitor = new_visitor_id()
        self.click(visitor, 400)
        self.click(visitor, 1)
        self.drain()
        deal = self.opportunity(visitor, expected_revenue=10.0)
        self.drain()
        self.export()
        again = self.export()
        self.assertFalse([item for item in again.values() if item.written or item.dropped])
        deal.expected_revenue = 20.0
        self.drain()
        month = f"{deal.trackflow_attribution_ids[0].anchor:%Y-%m}"
        changed = {name: [*item.written] for name, item in self.export().items()}
        self.assertEqual(
            changed,
            {
                "touches": [],
                "sessions": [],
                "conversions": [month],
                "credits": [month],
                "spend": [],
            },
        )
