import re
from datetime import timedelta
from typing import get_args

from lxml import etree
from odoo import fields
from odoo.exceptions import AccessError
from odoo.fields import Domain
from odoo.tests import tagged
from odoo.tools import SQL, file_open

from trackflow_core.model import UNATTRIBUTED
from trackflow_core.tracking.channels import Channel

from ..models.mail_activity import SALES_CHANNEL
from .common import TrackflowCase

REPORTS = ("campaign", "funnel", "journey", "lead", "model")


class ReportCase(TrackflowCase):
    def won(self, touches=3, **vals):
        lead = self.opportunity(self.journey(touches), user_id=self.salesman.id, **vals)
        lead.action_set_won()
        return lead

    def compare(self):
        self.env.cr.flush()
        credits = self.env["trackflow.model.credit"]
        while credits._compare(100):
            pass
        return credits


@tagged("post_install", "-at_install")
class TestModelComparison(ReportCase):
    def test_every_model_earns_the_same_in_sum(self):
        lead = self.won(expected_revenue=100.01)
        rows = self.compare().search([("lead_id", "=", lead.id)])
        models = self.env["trackflow.attribution.model"].search([])
        self.assertEqual(rows.attribution_model_id, models)
        for model in models:
            own = rows.filtered(lambda row, model=model: row.attribution_model_id == model)
            self.assertAlmostEqual(sum(own.mapped("value")), 100.01)

    def test_it_says_what_the_ledger_says_of_the_deals_own_model(self):
        lead = self.won()
        self.compare()
        report = self.env["trackflow.report.model"].search(
            [("lead_id", "=", lead.id), ("own_model", "=", True)]
        )
        ledger = {credit.channel: credit.value for credit in lead.trackflow_attribution_ids}
        self.assertEqual({row.channel: row.value for row in report}, ledger)
        self.assertEqual(report.campaign_id, self.campaign)

    def test_it_follows_deals_and_models(self):
        lead = self.won()
        model = self.env["trackflow.attribution.model"].create({"name": "More", "rule": "linear"})
        rows = self.compare().search([("lead_id", "=", lead.id)])
        self.assertIn(model, rows.attribution_model_id)
        model.active = False
        lead.expected_revenue = 50
        rows = self.compare().search([("lead_id", "=", lead.id)])
        self.assertNotIn(model, rows.attribution_model_id)
        first = self.env.ref("trackflow.attribution_model_first_touch")
        of_first = rows.filtered(lambda row: row.attribution_model_id == first)
        self.assertEqual(of_first.mapped("value"), [50.0])
        self.assertFalse(self.compare()._compare(100))

    def test_a_batch_costs_as_many_queries_as_one(self):
        self.won()
        self.compare()
        counts = []
        for number in (1, 12):
            leads = self.env["crm.lead"].concat(*(self.won() for _ in range(number)))
            self.env.flush_all()
            self.env.cr.execute("DELETE FROM trackflow_model_credit_due")
            self.env["trackflow.model.credit.due"].create([{"lead_id": i} for i in leads.ids])
            self.env.flush_all()
            before = self.env.cr.sql_log_count
            self.env["trackflow.model.credit"]._compare(100)
            counts.append(self.env.cr.sql_log_count - before)
        self.assertEqual(counts[0], counts[1])


@tagged("post_install", "-at_install")
class TestReports(ReportCase):
    def test_campaign_performance_sums_to_the_campaigns_figures(self):
        self.won()
        self.drain()
        self.env["trackflow.campaign.cost"].create({"campaign_id": self.campaign.id, "amount": 30})
        self.env.flush_all()
        [row] = self.env["trackflow.report.campaign"]._read_group(
            [("campaign_id", "=", self.campaign.id)],
            [],
            [
                "clicks:sum",
                "visitor_id:count_distinct",
                "leads:sum",
                "deals:sum",
                "revenue:sum",
                "cost:sum",
            ],
        )
        campaign = self.campaign
        self.assertEqual(
            row,
            (
                campaign.trackflow_clicks,
                campaign.trackflow_visitors,
                campaign.trackflow_leads,
                campaign.trackflow_deals,
                campaign.trackflow_revenue,
                campaign.trackflow_cost,
            ),
        )
        self.assertEqual(row, (3, 1, 1, 1, 100.0, 30.0))

    def test_lead_attribution_tells_where_a_lead_came_from(self):
        lead = self.won()
        plain = self.opportunity(user_id=self.salesman.id)
        self.env.flush_all()
        row, other = self.env["trackflow.report.lead"].browse([lead.id, plain.id])
        self.assertEqual((row.first_channel, row.last_channel), ("Paid Search", "Organic Social"))
        self.assertEqual((row.status, row.touches), ("won", 3))
        self.assertEqual((row.won_revenue, row.attributed_revenue), (100.0, 100.0))
        self.assertAlmostEqual(row.days_to_lead, 30, places=1)
        self.assertFalse(other.influenced)
        self.assertEqual((other.status, other.attributed_revenue), ("opportunity", 0.0))

    def test_visits_are_numbered_and_know_whether_a_conversion_followed(self):
        visitor = self.journey(2)
        self.drain()
        self.opportunity(visitor, user_id=self.salesman.id)
        self.click(visitor, -0.1, self.links[2])
        self.drain()
        self.env.flush_all()
        rows = self.env["trackflow.report.journey"].search(
            [("visitor_id.visitor_key", "=", visitor)], order="date"
        )
        self.assertEqual(rows.mapped("number"), [1, 2, 3])
        self.assertEqual(rows.mapped("kind"), ["new", "returning", "returning"])
        self.assertEqual(rows.mapped("converted"), [1, 1, 0])

    def test_what_a_list_sums_up_has_a_value_in_every_row(self):
        # A list takes what has no value for nought, which makes averages wrong.
        self.opportunity(user_id=self.salesman.id)
        self.journey(1)
        self.drain()
        self.env.flush_all()
        for name in REPORTS:
            report = self.env[f"trackflow.report.{name}"]
            arch = etree.fromstring(report.get_view(view_type="list")["arch"])
            for field in arch.xpath("//field[@avg or @sum]/@name"):
                query = SQL(
                    "SELECT count(*) FROM (%s) row WHERE %s IS NULL",
                    report._table_query,
                    SQL.identifier(field),
                )
                self.assertEqual(self.env.execute_query(query), [(0,)], f"{name}: {field}")

    def test_the_funnel_narrows(self):
        before = self.steps()
        self.won()
        self.opportunity(self.journey(1), user_id=self.salesman.id)
        self.drain()
        after = self.steps()
        self.assertEqual(
            [after[step] - before.get(step, 0) for step in sorted(after)], [4, 2, 2, 1]
        )

    def test_each_channel_has_an_icon(self):
        with file_open("trackflow/static/src/channel/channels.js") as script:
            entries = re.findall(r'^    "?([^":]+)"?: \{ icon: .*\},$', script.read(), re.MULTILINE)
        self.assertEqual(sorted(entries), sorted([*get_args(Channel), SALES_CHANNEL, UNATTRIBUTED]))

    def test_each_step_of_the_funnel_has_a_sum_of_its_own(self):
        counts = ["visit_count:sum", "lead_count:sum", "deal_count:sum", "won_count:sum"]
        self.env.flush_all()
        [before] = self.env["trackflow.report.funnel"]._read_group([], [], counts)
        self.won()
        self.opportunity(self.journey(1), user_id=self.salesman.id)
        self.drain()
        self.env.flush_all()
        [after] = self.env["trackflow.report.funnel"]._read_group([], [], counts)
        more = [now - (then or 0) for now, then in zip(after, before, strict=True)]
        self.assertEqual(more, [4, 2, 2, 1])

    def steps(self):
        self.env.flush_all()
        return dict(self.env["trackflow.report.funnel"]._read_group([], ["step"], ["number:sum"]))

    def test_sales_reports_on_its_own_leads_only(self):
        own = self.won()
        other = self.opportunity(self.journey(1), user=self.colleague, user_id=self.colleague.id)
        self.compare()
        for model in ("trackflow.report.lead", "trackflow.report.model", "trackflow.model.credit"):
            found = self.env[model].with_user(self.salesman).search([])
            self.assertIn(own.id, found.lead_id.ids)
            self.assertNotIn(other.id, found.lead_id.ids)
        for name in ("campaign", "funnel", "journey"):
            with self.assertRaises(AccessError):
                self.env[f"trackflow.report.{name}"].with_user(self.salesman).search([])
        for name in REPORTS:
            self.env[f"trackflow.report.{name}"].with_user(self.marketer).search([], limit=1)
            with self.assertRaises(AccessError):
                self.env[f"trackflow.report.{name}"].with_user(self.employee).search([])


@tagged("post_install", "-at_install")
class TestDashboard(ReportCase):
    def data(self, user=None, **filters):
        self.env.flush_all()
        today = fields.Date.today()
        filters = {"since": str(today - timedelta(days=60)), "until": str(today), **filters}
        return self.env["trackflow.dashboard"].with_user(user or self.marketer).get_data(filters)

    def numbers(self, data, key="value"):
        return {kpi["key"]: kpi[key] for kpi in data["kpis"]}

    def test_numbers_are_those_of_the_records_behind_them(self):
        self.won()
        self.env["trackflow.campaign.cost"].create({"campaign_id": self.campaign.id, "amount": 40})
        self.compare()
        data = self.data(campaign_id=self.campaign.id)
        numbers = self.numbers(data)
        self.assertEqual(
            [numbers[key] for key in ("clicks", "visitors", "leads", "deals", "revenue", "cost")],
            [3, 1, 1, 1, 100.0, 40.0],
        )
        self.assertEqual((numbers["cost_per_lead"], numbers["roi"]), (40.0, 1.5))
        counted = ("clicks", "visitors", "leads", "deals")
        for kpi in data["kpis"]:
            action = kpi["action"]
            records = self.env[action["res_model"]].with_user(self.manager)
            found = records.search(action["domain"])
            if kpi["key"] in counted:
                self.assertEqual(len(found), kpi["value"], kpi["key"])
            if kpi["key"] == "revenue":
                self.assertAlmostEqual(sum(found.mapped("value")), kpi["value"])

    def test_the_period_before_is_as_long(self):
        self.journey(3)
        self.drain()
        today = fields.Date.today()
        data = self.data(since=str(today - timedelta(days=14)), campaign_id=self.campaign.id)
        self.assertEqual(self.numbers(data)["clicks"], 1)
        self.assertEqual(self.numbers(data, "previous")["clicks"], 1)
        self.assertEqual(sum(data["trend"]["clicks"]), 1)
        self.assertEqual(sum(data["trend"]["previous"]), 1)
        self.assertEqual(len(data["trend"]["days"]), 15)

    def test_filters_work_together(self):
        self.won()
        self.compare()
        first = self.env.ref("trackflow.attribution_model_first_touch")
        email = self.data(campaign_id=self.campaign.id, channel="Email")
        self.assertEqual(self.numbers(email)["clicks"], 1)
        self.assertAlmostEqual(self.numbers(email)["revenue"], 33.33)
        self.assertNotIn("cost", self.numbers(email))
        paid = self.data(campaign_id=self.campaign.id, channel="Paid Search", model_id=first.id)
        self.assertEqual(self.numbers(paid)["revenue"], 100.0)
        elsewhere = self.env["utm.campaign"].create({"title": "Elsewhere"})
        self.assertFalse(any(self.numbers(self.data(campaign_id=elsewhere.id)).values()))

    def test_one_company_of_those_switched_on(self):
        other = self.env["res.company"].create({"name": "TrackFlow Elsewhere"})
        self.marketer.company_ids += other
        self.won()
        self.env.flush_all()
        filters = {"since": str(fields.Date.today()), "until": str(fields.Date.today())}
        dashboard = self.env["trackflow.dashboard"].with_user(self.marketer)
        dashboard = dashboard.with_context(allowed_company_ids=[self.env.company.id, other.id])
        own = dashboard.get_data({**filters, "company_id": self.env.company.id})
        self.assertGreaterEqual(self.numbers(own)["revenue"], 100.0)
        elsewhere = dashboard.get_data({**filters, "company_id": other.id})
        self.assertEqual(self.numbers(elsewhere)["revenue"], 0.0)
        names = [company["name"] for company in elsewhere["options"]["companies"]]
        self.assertEqual(names, [self.env.company.name, "TrackFlow Elsewhere"])

    def test_clicks_on_another_companys_campaign_do_not_count(self):
        self.won()
        before = self.data()
        other = self.env["res.company"].create({"name": "TrackFlow Elsewhere"})
        self.campaign.trackflow_company_id = other
        data = self.data()
        self.assertEqual(self.numbers(data)["clicks"], self.numbers(before)["clicks"] - 3)
        self.assertEqual(sum(data["trend"]["clicks"]), self.numbers(data)["clicks"])
        actions = {kpi["key"]: kpi["action"] for kpi in data["kpis"]}
        for key in ("clicks", "visitors"):
            records = self.env[actions[key]["res_model"]].with_user(self.marketer)
            counted = records.search_count(actions[key]["domain"])
            self.assertEqual(counted, self.numbers(data)[key], key)
        report = self.env["trackflow.report.campaign"].with_user(self.marketer)
        self.assertFalse(
            report.search_count([("campaign_id", "=", self.campaign.id), ("clicks", "=", 1)])
        )
        options = [campaign["id"] for campaign in data["options"]["campaigns"]]
        self.assertNotIn(self.campaign.id, options)

    def test_visits_through_another_companys_campaign_do_not_count(self):
        self.won()
        self.drain()
        before = self.data()
        visits = self.env["trackflow.session"].search([], limit=3, order="id desc")
        other = self.env["res.company"].create({"name": "TrackFlow Elsewhere"})
        self.campaign.trackflow_company_id = other
        self.assertEqual(visits.company_id, other)
        self.won()
        self.drain()
        after = self.data()
        self.assertEqual(after["funnel"][0]["number"], before["funnel"][0]["number"] - 3)
        landing = after["landing"]
        self.assertEqual(landing["new"] + landing["returning"], after["funnel"][0]["number"])
        for action in (
            after["funnel"][0]["action"],
            *landing["actions"].values(),
            after["tables"]["landing"],
        ):
            self.assertFalse(
                self.env[action["res_model"]].search(
                    Domain(action["domain"]) & Domain("company_id", "=", other.id)
                )
            )
        for model in ("session", "report.journey", "report.funnel"):
            theirs = self.env[f"trackflow.{model}"].search([("company_id", "=", other.id)])
            self.assertEqual(len(theirs), 6, model)
            self.assertFalse(theirs.with_user(self.marketer)._filtered_access("read"), model)
            self.marketer.company_ids += other
            own = theirs.with_user(self.marketer).with_context(allowed_company_ids=other.ids)
            self.assertEqual(len(own._filtered_access("read")), 6, model)
            self.marketer.company_ids -= other

    def test_a_campaign_opens_its_own_dashboard(self):
        self.won()
        action = self.campaign.with_user(self.marketer).action_trackflow_dashboard()
        self.assertEqual(action["tag"], "trackflow.dashboard")
        data = self.data(**action["params"])
        self.assertEqual([row["id"] for row in data["campaigns"]], self.campaign.ids)

    def test_a_campaign_tells_its_figures_and_its_mix(self):
        self.won()
        filters = {
            "since": str(fields.Date.today() - timedelta(days=60)),
            "until": str(fields.Date.today()),
            "campaign_id": self.campaign.id,
        }
        dashboard = self.env["trackflow.dashboard"]
        data = dashboard.with_user(self.marketer).get_campaign_data(filters)
        whole = self.data(campaign_id=self.campaign.id)
        numbers = self.numbers(whole)
        numbers.pop("unattributed")
        self.assertEqual(self.numbers(data), numbers)
        self.assertEqual(data["channels"], whole["channels"])
        self.assertEqual(sum(row["clicks"] for row in data["devices"]), 3)
        self.assertEqual({row["label"] for row in data["devices"]}, {"Computer"})
        for row in data["devices"]:
            clicks = self.env["link.tracker.click"].with_user(self.manager)
            self.assertEqual(clicks.search_count(row["action"]["domain"]), row["clicks"])
        with self.assertRaises(AccessError):
            dashboard.with_user(self.salesman).get_campaign_data(filters)

    def test_a_day_is_the_readers_where_clocks_change(self):
        self.marketer.tz = "Europe/Brussels"
        link = self.env["link.tracker"].create(
            {"url": "https://shop.example/clock", "campaign_id": self.campaign.id}
        )
        # Clocks went back at one in the night by UTC: that day had 25 hours.
        for number, moment in enumerate(
            ("2025-10-25 21:59", "2025-10-25 22:00", "2025-10-26 22:59", "2025-10-26 23:00")
        ):
            self.env["link.tracker.click"].create(
                {
                    "link_id": link.id,
                    "trackflow_occurred_at": f"{moment}:00",
                    "trackflow_event_id": f"clock-{number}",
                }
            )
        data = self.data(since="2025-10-25", until="2025-10-27", campaign_id=self.campaign.id)
        self.assertEqual(data["trend"]["clicks"], [1, 2, 1])

    def test_cards_tell_every_day(self):
        self.won()
        data = self.data(campaign_id=self.campaign.id)
        series = {kpi["key"]: kpi["series"] for kpi in data["kpis"] if kpi["series"]}
        days = len(data["trend"]["days"])
        self.assertEqual(
            {key: len(values) for key, values in series.items()},
            dict.fromkeys(("clicks", "leads", "deals", "revenue"), days),
        )
        self.assertEqual(
            {key: sum(values) for key, values in series.items()},
            {key: value for key, value in self.numbers(data).items() if key in series},
        )

    def test_landing_pages_tell_visits_and_new_visitors(self):
        self.journey(3)
        self.drain()
        today = fields.Date.today()
        data = self.data(since=str(today - timedelta(days=14)), campaign_id=self.campaign.id)
        landing = data["landing"]
        self.assertEqual((landing["new"], landing["returning"]), (0, 1))
        data = self.data(campaign_id=self.campaign.id)["landing"]
        self.assertEqual((data["new"], data["returning"]), (3, 0))
        visits = self.env["trackflow.session"].with_user(self.marketer)
        for page in data["pages"]:
            for key, action in page["actions"].items():
                self.assertEqual(visits.search_count(action["domain"]), page[key], page["page"])
        for key, action in landing["actions"].items():
            self.assertEqual(visits.search_count(action["domain"]), landing[key], key)

    def test_every_chart_has_a_table_behind_it(self):
        self.won()
        self.env["trackflow.campaign.cost"].create({"campaign_id": self.campaign.id, "amount": 40})
        self.assert_tables_tell_the_numbers(self.data(campaign_id=self.campaign.id))

    def test_a_number_without_records_says_so_and_phones_show_cards(self):
        data = self.data(since="2001-01-01", until="2001-01-02")
        actions = {kpi["key"]: kpi["action"] for kpi in data["kpis"]}
        for key, action in actions.items():
            # The client shows the help of an action that it was handed as it is, without markup.
            self.assertNotIn("<", action["help"], key)
            for _view_id, view_type in action["views"]:
                self.env[action["res_model"]].get_view(view_type=view_type)
        self.assertIn((False, "kanban"), actions["clicks"]["views"])
        self.assertEqual(actions["clicks"]["mobile_view_mode"], "kanban")

    def test_the_tables_split_revenue_by_the_chosen_model(self):
        lead = self.won()
        self.compare()
        first = self.env.ref("trackflow.attribution_model_first_touch")
        [channel] = self.env["trackflow.report.model"]._read_group(
            [("lead_id", "=", lead.id), ("attribution_model_id", "=", first.id)], ["channel"]
        )
        data = self.data(campaign_id=self.campaign.id, channel=channel[0], model_id=first.id)
        self.assertNotEqual(
            self.numbers(data)["revenue"],
            self.numbers(self.data(campaign_id=self.campaign.id, channel=channel[0]))["revenue"],
        )
        self.assert_tables_tell_the_numbers(data)

    def assert_tables_tell_the_numbers(self, data):
        numbers = self.numbers(data)
        for action in data["tables"].values():
            context = action["context"]
            model = self.env[action["res_model"]].with_user(self.marketer).with_context(**context)
            [row] = model._read_group(
                action["domain"], [], [f"{name}:sum" for name in context["pivot_measures"]]
            )
            summed = dict(zip(context["pivot_measures"], row, strict=True))
            for key in summed.keys() & {"clicks", "leads", "deals", "revenue"}:
                self.assertEqual(summed[key], numbers[key], key)
            groups = model._read_group(action["domain"], context["pivot_row_groupby"])
            self.assertTrue(groups)
            if context["pivot_row_groupby"] == ["channel"]:
                # A cost belongs to no channel.
                self.assertNotIn((False,), groups)

    def test_a_cost_falls_on_its_day_wherever_its_reader_is(self):
        costs = self.env["trackflow.campaign.cost"]
        costs.create({"campaign_id": self.campaign.id, "date": "2026-03-01", "amount": 40})
        days = {"since": "2026-03-01", "until": "2026-03-01", "campaign_id": self.campaign.id}
        for zone in ("America/Los_Angeles", "Pacific/Auckland"):
            self.marketer.tz = zone
            data = self.data(**days)
            self.assertEqual(self.numbers(data)["cost"], 40.0)
            report = self.env["trackflow.report.campaign"].with_user(self.marketer)
            summed = report._read_group(data["tables"]["campaigns"]["domain"], [], ["cost:sum"])
            self.assertEqual(summed, [(40.0,)], zone)

    def test_unattributed_revenue_is_never_hidden(self):
        before = self.numbers(self.data())
        lead = self.opportunity(user_id=self.salesman.id)
        lead.action_set_won()
        data = self.data()
        after = self.numbers(data)
        self.assertAlmostEqual(after["revenue"] - before["revenue"], 100.0)
        self.assertGreater(after["unattributed"], 0)
        self.assertIn("Unattributed", [row["channel"] for row in data["channels"]])

    def test_another_company_counts_only_when_it_is_switched_on(self):
        company = self.env["res.company"].create({"name": "TrackFlow Elsewhere"})
        lead = self.won()
        before = self.numbers(self.data())["revenue"]
        lead.write({"user_id": False, "team_id": False, "company_id": company.id})
        self.assertAlmostEqual(self.numbers(self.data())["revenue"], before - 100.0)

    def test_models_channels_campaigns_and_links_are_told(self):
        self.won()
        self.compare()
        data = self.data(campaign_id=self.campaign.id)
        active = self.env["trackflow.attribution.model"].search([])
        self.assertEqual([model["id"] for model in data["models"]], active.sorted("sequence").ids)
        for model in data["models"]:
            self.assertAlmostEqual(sum(model["channels"].values()), 100.0)
        self.assertEqual(
            {row["channel"]: row["clicks"] for row in data["channels"]},
            {"Paid Search": 1, "Email": 1, "Organic Social": 1},
        )
        [row] = data["campaigns"]
        self.assertEqual((row["name"], row["revenue"]), ("TrackFlow Spring", 100.0))
        self.assertEqual({row["id"] for row in data["links"]}, set(self.links.ids))
        self.assertEqual([step["number"] for step in data["funnel"]], [3, 1, 1, 1])

    def test_it_takes_few_queries_however_much_there_is(self):
        self.won()
        self.data()
        before = self.env.cr.sql_log_count
        self.data()
        self.assertLessEqual(self.env.cr.sql_log_count - before, 25)

    def test_only_campaign_managers_see_it(self):
        for user in (self.salesman, self.employee):
            with self.assertRaises(AccessError):
                self.data(user)
