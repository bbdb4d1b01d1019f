"""What the addon's tests share."""

from datetime import datetime, timedelta, timezone
from secrets import token_hex

from odoo.addons.trackflow.engine import build_engine
from odoo.addons.trackflow.keys import visitor_keys
from odoo.addons.trackflow.relations import UncheckedMany2one
from odoo.tests import HttpCase, TransactionCase, new_test_user
from odoo.tools import SQL

from trackflow_core.model import Click
from trackflow_core.tracking.identity import issue_token, new_visitor_id

BROWSER = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0.0.0 Safari/537.36"
)
CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"


class TrackflowCase(TransactionCase):
    """Three links of one campaign, a salesperson, a marketer and a manager."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.env["res.company"].search([]).trackflow_attribution_model_id = cls.env.ref(
            "trackflow.attribution_model_linear"
        )
        cls.salesman = new_test_user(
            cls.env, login="tf_salesman", groups="sales_team.group_sale_salesman"
        )
        cls.colleague = new_test_user(
            cls.env, login="tf_colleague", groups="sales_team.group_sale_salesman"
        )
        cls.marketer = new_test_user(
            cls.env, login="tf_marketer", groups="trackflow.group_trackflow_campaign_manager"
        )
        cls.manager = new_test_user(
            cls.env, login="tf_manager", groups="trackflow.group_trackflow_manager"
        )
        cls.employee = new_test_user(cls.env, login="tf_employee", groups="base.group_user")
        cls.campaign = cls.env["utm.campaign"].create({"title": "TrackFlow Spring"})
        cls.links = cls.env["link.tracker"].concat(
            *(
                cls._make_link(source, medium)
                for source, medium in (
                    ("google", "cpc"),
                    ("weeklymail", "email"),
                    ("friendface", "social"),
                )
            )
        )

    @classmethod
    def _make_link(cls, source, medium):
        find = cls.env["utm.mixin"]._find_or_create_record
        return cls.env["link.tracker"].create(
            {
                "url": f"https://shop.example/{source}",
                "campaign_id": cls.campaign.id,
                "source_id": find("utm.source", source).id,
                "medium_id": find("utm.medium", medium).id,
            }
        )

    def assert_nothing_points_nowhere(self):
        """That every relation which the database does not check is of a record that is there."""
        self.env.flush_all()
        for model in self.env.values():
            for name, field in model._fields.items():
                if isinstance(field, UncheckedMany2one):
                    found = self.env.execute_query(
                        SQL(
                            """
                            SELECT count(*) FROM %(table)s t
                             WHERE %(column)s IS NOT NULL
                               AND NOT EXISTS (SELECT FROM %(other)s o WHERE o.id = %(column)s)
                            """,
                            table=SQL.identifier(model._table),
                            column=SQL.identifier("t", name),
                            other=SQL.identifier(self.env[field.comodel_name]._table),
                        )
                    )
                    self.assertEqual(found, [(0,)], str(field))

    def click(self, visitor, days_ago, link=None, **changes):
        """Queue one person's click so many days ago; returns its event id."""
        link = link or self.links[0]
        click = Click(
            **{
                "event_id": token_hex(16),
                "occurred_at": datetime.now(timezone.utc) - timedelta(days=days_ago),
                "link_code": link.code,
                "destination": link.url,
                "visitor_id": visitor,
                "user_agent": BROWSER,
                **changes,
            }
        )
        build_engine(self.env).record_click(click)
        return click.event_id

    def journey(self, touches=3):
        """A new visitor with one click on each of the first links, days apart."""
        visitor = new_visitor_id()
        for number in range(touches):
            self.click(visitor, 10 * (touches - number), self.links[number % 3])
        return visitor

    def token(self, visitor):
        return issue_token(visitor, visitor_keys(self.env), datetime.now(timezone.utc))

    def opportunity(self, visitor=None, user=None, **vals):
        """An opportunity typed in by `user`, with the token of `visitor`."""
        model = self.env["crm.lead"].with_user(user or self.salesman)
        if visitor:
            vals["trackflow_visitor_token"] = self.token(visitor)
        return model.create(
            {"name": "Deal", "type": "opportunity", "expected_revenue": 100.0, **vals}
        ).with_env(self.env)

    def credits(self, lead):
        """The values of a deal's credits in the order of its touches."""
        self.env.flush_all()
        lead.invalidate_recordset(["trackflow_attribution_ids"])
        return lead.trackflow_attribution_ids.sorted("sequence").mapped("value")

    def drain(self):
        """Run the click job's work inside the test's transaction, after what a commit does."""
        self.env.cr.flush()
        engine = build_engine(self.env)
        while engine.process_clicks().claimed:
            pass


class TourCase(HttpCase, TrackflowCase):
    """Tours through the backend, whose scripts and styles are made once for all of them.

    Otherwise each tour makes them again, while the page's other requests wait for its cursor.
    """

    test_cursor_lock_timeout = 60

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        bundles = cls.env["ir.qweb"]
        for name in ("web.assets_web", "web.assets_tests", "bus.websocket_worker_assets"):
            bundles._get_asset_bundle(name, css=False, js=True).js()
        for name in ("web.assets_web", "web.assets_web_print"):
            bundles._get_asset_bundle(name, css=True, js=False).css()
