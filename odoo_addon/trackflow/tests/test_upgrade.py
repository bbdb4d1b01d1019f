from pathlib import Path

from odoo.modules.migration import exec_script
from odoo.tests import tagged
from odoo.tools import parse_version
from odoo.tools.sql import create_index, make_index_name

from .common import TrackflowCase

SCRIPTS = Path(__file__).parents[1] / "migrations"
# What fields asked for up to this version and do not ask for now.
INDEXED_UNTIL = {
    "19.0.1.0.0": {
        "link.tracker.click": ["trackflow_visitor_id"],
        "trackflow.api.request.log": ["key_id"],
        "trackflow.conversion": ["company_id", "visitor_id"],
        "trackflow.deal.attribution": ["channel", "company_id"],
        "trackflow.session": ["visitor_id"],
    },
    "19.0.1.0.1": {
        "trackflow.deal.attribution": ["attribution_model_id"],
        "trackflow.model.credit": ["attribution_model_id", "campaign_id"],
    },
}


@tagged("post_install", "-at_install")
class TestUpgrade(TrackflowCase):
    def _unasked_indexes(self):
        """Indexes of fields of ours that ask for none."""
        names = [
            make_index_name(model._table, name)
            for model in self.env.values()
            if model._auto and not model._abstract
            for name, field in model._fields.items()
            if field.store and field.column_type and not field.index
            if "trackflow" in f"{model._table}.{name}"
        ]
        self.env.cr.execute("SELECT indexname FROM pg_indexes WHERE indexname = ANY(%s)", [names])
        return {name for (name,) in self.env.cr.fetchall()}

    def test_superseded_indexes_are_dropped(self):
        for version, indexed in INDEXED_UNTIL.items():
            with self.subTest(version=version):
                old = self._index(indexed)
                self.assertEqual(self._unasked_indexes(), old)
                self._upgrade(version)
                self.assertEqual(self._unasked_indexes(), set())

    def test_visits_get_the_company_of_their_campaign(self):
        self.campaign.trackflow_company_id = self.env.company
        self.journey(2)
        self.drain()
        visits = self.env["trackflow.session"].search([], limit=2, order="id desc")
        self.env.cr.execute("UPDATE trackflow_session SET company_id = NULL")
        self.env.invalidate_all()
        self._upgrade("19.0.1.0.1")
        self.assertEqual([visit.company_id for visit in visits], [self.env.company] * 2)

    def _index(self, columns):
        """Make indexes of these columns, by model; returns their names."""
        made = set()
        for model, names in columns.items():
            table = self.env[model]._table
            for name in names:
                made.add(make_index_name(table, name))
                create_index(self.env.cr, make_index_name(table, name), table, [f'"{name}"'])
        return made

    def _upgrade(self, version):
        """Do what comes after this version."""
        for script in sorted(SCRIPTS.glob("*/post-*.py")):
            if parse_version(script.parent.name) > parse_version(version):
                exec_script(self.env.cr, version, str(script), "trackflow", "post")

    def test_odoo_makes_records_before_our_code_is_loaded(self):
        self.env.cr.execute(
            """
            SELECT table_name, column_name FROM information_schema.columns
             WHERE table_schema = current_schema
               AND is_nullable = 'NO' AND column_default IS NULL
               AND starts_with(column_name, 'trackflow_')
               AND NOT starts_with(table_name, 'trackflow_')
            """
        )
        self.assertEqual(self.env.cr.fetchall(), [])
