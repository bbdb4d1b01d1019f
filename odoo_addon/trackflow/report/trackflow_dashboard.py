from collections import defaultdict
from datetime import date, datetime, time, timedelta, timezone
from zoneinfo import ZoneInfo

from odoo import api, fields, models
from odoo.exceptions import AccessError
from odoo.fields import Domain
from odoo.tools import SQL

from trackflow_core.model import UNATTRIBUTED

from ..statistics import converted

_TOP = 10
_LONGEST = 366


class TrackflowDashboard(models.AbstractModel):
    """What marketing brought in a period, compared with the one before.

    Clicks, visitors, leads, wins, revenue and cost are those of `statistics`, over all campaigns.
    Each number comes with the records behind it, as an action that lists just these.
    """

    _name = "trackflow.dashboard"
    _description = "TrackFlow Dashboard"

    @api.readonly
    @api.model
    def get_data(self, filters):
        """Everything that the dashboard shows.

        `filters` holds `since` and `until` (days of the reader, both included), and optionally
        `company_id`, `campaign_id`, `channel` and `model_id`: under which model revenue is split,
        the deals' own one by default. Without a company those count that the reader has switched on.
        """
        dashboard, scope = self._begin(filters)
        clicks, conversions, revenue = facts = dashboard._facts(scope)
        return {
            **dashboard._overview(scope, *facts),
            "campaigns": dashboard._campaigns(scope, clicks, conversions, revenue),
            "links": dashboard._links(scope, clicks),
            "funnel": dashboard._funnel(scope),
            "landing": dashboard._landing(scope),
            "models": dashboard._models(scope),
            "tables": dashboard._tables(scope),
            "options": dashboard._options(scope, clicks),
        }

    @api.readonly
    @api.model
    def get_campaign_data(self, filters):
        """The figures of one campaign for its form; `filters` are those of `get_data`."""
        dashboard, scope = self._begin(filters)
        overview = dashboard._overview(scope, *dashboard._facts(scope))
        return {
            **overview,
            # What nobody earned is no figure of a campaign.
            "kpis": [kpi for kpi in overview["kpis"] if kpi["key"] != "unattributed"],
            "devices": dashboard._devices(scope),
        }

    @api.model
    def _begin(self, filters):
        """The dashboard that reads for everybody, and what it is to read, once access is checked."""
        if not self.env.user.has_group("trackflow.group_trackflow_campaign_manager"):
            raise AccessError(self.env._("Only campaign managers may see the dashboard."))
        dashboard = self.sudo().with_context(active_test=False)
        dashboard._flush()
        return dashboard, dashboard._scope(filters)

    @api.model
    def _flush(self):
        self.env["crm.lead"]._trackflow_settle()
        for model in ("crm.lead", "link.tracker.click", "trackflow.campaign.cost"):
            self.env[model].flush_model()

    @api.model
    def _scope(self, filters):
        """The filters as the queries need them; moments are naive UTC."""
        zone = ZoneInfo(self.env.user.tz or "UTC")
        today = fields.Date.context_today(self)
        first = fields.Date.to_date(filters.get("since")) or today - timedelta(days=29)
        last = fields.Date.to_date(filters.get("until")) or today
        first = max(min(first, last), last - timedelta(days=_LONGEST))
        days = (last - first).days + 1

        def midnight(day):
            moment = datetime.combine(day, time.min, zone)
            return moment.astimezone(timezone.utc).replace(tzinfo=None)

        model = self.env["trackflow.attribution.model"].browse(filters.get("model_id") or ())
        companies = self.env.companies
        chosen = companies.filtered(lambda company: company.id == filters.get("company_id"))
        shown = (chosen or companies).ids
        return {
            "zone": zone.key,
            "first": first,
            "last": last,
            "before": midnight(first - timedelta(days=days)),
            "since": midnight(first),
            "until": midnight(last + timedelta(days=1)),
            # Of both periods, with the moments between them.
            "days": [first + timedelta(days=n) for n in range(-days, days)],
            "midnights": [midnight(first + timedelta(days=n)) for n in range(-days, days + 1)],
            "campaign": self.env["utm.campaign"].browse(filters.get("campaign_id") or ()),
            "channel": filters.get("channel") or "",
            "model": model.exists(),
            "companies": shown,
            # Clicks have no company but that of their campaign.
            "foreign": self.env["utm.campaign"]
            .search([("trackflow_company_id", "not in", [*shown, False])])
            .ids,
            "company": chosen or self.env.company,
        }

    @api.model
    def _where(self, scope, moment, campaign, channel, company=None):
        """The conditions of both periods together."""
        parts = [SQL("%s >= %s AND %s < %s", moment, scope["before"], moment, scope["until"])]
        if scope["campaign"]:
            parts.append(SQL("%s = %s", campaign, scope["campaign"].id))
        if scope["channel"]:
            parts.append(SQL("%s = %s", channel, scope["channel"]))
        if company:
            parts.append(SQL("(%s IS NULL OR %s = ANY(%s))", company, company, scope["companies"]))
        return SQL(" AND ").join(parts)

    @api.model
    def _where_clicks(self, scope):
        """The conditions of clicks."""
        where = self._where(
            scope, SQL("trackflow_occurred_at"), SQL("campaign_id"), SQL("trackflow_channel")
        )
        if not scope["foreign"]:
            return where
        return SQL(
            "%s AND (campaign_id IS NULL OR campaign_id <> ALL(%s))", where, scope["foreign"]
        )

    # -- facts ------------------------------------------------------------------------------

    @api.model
    def _facts(self, scope):
        """Clicks, conversions and revenue, as the methods of these names tell them."""
        return self._clicks(scope), self._conversions(scope), self._revenue(scope)

    @api.model
    def _clicks(self, scope):
        """Clicks and visitors by (kind, current): all of them and by day, and of the current period
        by channel, campaign and link."""
        where = self._where_clicks(scope)
        # Each reads the same index and keeps few groups, which is quicker than all in one.
        rows = self.env.execute_query(
            SQL(
                """
                WITH part AS MATERIALIZED (
                     SELECT trackflow_channel AS channel, campaign_id, link_id, count(*) AS clicks
                       FROM link_tracker_click
                      WHERE trackflow_counts AND trackflow_occurred_at >= %(since)s AND %(where)s
                      GROUP BY 1, 2, 3)
                SELECT 'visitor', NULL, current, sum(clicks)::bigint, count(visitor)
                  FROM (SELECT trackflow_occurred_at >= %(since)s AS current,
                               trackflow_visitor_id AS visitor, count(*) AS clicks
                          FROM link_tracker_click
                         WHERE trackflow_counts AND %(where)s
                         GROUP BY 1, 2) person
                 GROUP BY current
                 UNION ALL
                SELECT 'day', day.name::text, day.since >= %(since)s, count(*), 0
                  FROM unnest(%(days)s::date[], %(begins)s::timestamp[], %(ends)s::timestamp[])
                       AS day(name, since, until)
                  JOIN link_tracker_click
                    ON trackflow_occurred_at >= day.since AND trackflow_occurred_at < day.until
                 WHERE trackflow_counts AND %(where)s
                 GROUP BY day.name, day.since
                 UNION ALL
                SELECT 'channel', channel, TRUE, sum(clicks)::bigint, 0 FROM part GROUP BY 2
                 UNION ALL
                SELECT 'campaign', campaign_id::text, TRUE, sum(clicks)::bigint, 0
                  FROM part GROUP BY 2
                 UNION ALL
                SELECT 'link', link_id::text, TRUE, sum(clicks)::bigint, 0 FROM part GROUP BY 2
                """,
                since=scope["since"],
                where=where,
                days=scope["days"],
                begins=scope["midnights"][:-1],
                ends=scope["midnights"][1:],
            )
        )
        found = defaultdict(dict)
        for kind, key, current, clicks, visitors in rows:
            found[kind, current][key] = (clicks, visitors)
        return found

    @api.model
    def _conversions(self, scope):
        """Numbers of leads and wins by (kind, current) and by day, channel and campaign."""
        rows = self.env.execute_query(
            SQL(
                """
                SELECT kind, occurred_at >= %(since)s,
                       (occurred_at AT TIME ZONE 'UTC' AT TIME ZONE %(zone)s)::date::text,
                       channel, campaign_id, count(*)
                  FROM trackflow_conversion
                 WHERE kind IN ('lead', 'won') AND %(where)s
                 GROUP BY 1, 2, 3, 4, 5
                """,
                since=scope["since"],
                zone=scope["zone"],
                where=self._where(
                    scope,
                    SQL("occurred_at"),
                    SQL("campaign_id"),
                    SQL("channel"),
                    SQL("company_id"),
                ),
            )
        )
        found = defaultdict(lambda: defaultdict(int))
        for kind, current, day, channel, campaign, number in rows:
            for key in ("", f"day {day}", f"channel {channel}", f"campaign {campaign}"):
                found[kind, current][key] += number
        return found

    @api.model
    def _revenue(self, scope):
        """Won revenue by current and by day, channel and campaign, in the company's currency."""
        table, chosen = SQL("trackflow_deal_attribution"), SQL("TRUE")
        if scope["model"]:
            table = SQL("trackflow_model_credit")
            chosen = SQL("credit.attribution_model_id = %s", scope["model"].id)
        rows = self.env.execute_query(
            SQL(
                """
                SELECT lead.trackflow_closed_date >= %(since)s,
                       (lead.trackflow_closed_date AT TIME ZONE 'UTC' AT TIME ZONE %(zone)s)
                           ::date::text,
                       credit.channel, credit.campaign_id, sum(%(value)s)
                  FROM %(table)s credit
                  JOIN crm_lead lead ON lead.id = credit.lead_id
                  JOIN res_company company ON company.id = credit.company_id
                 WHERE lead.won_status = 'won' AND %(chosen)s AND %(where)s
                 GROUP BY 1, 2, 3, 4
                """,
                since=scope["since"],
                zone=scope["zone"],
                table=table,
                chosen=chosen,
                value=self._in_currency(scope, SQL("credit.value"), SQL("credit.currency_id")),
                where=self._where(
                    scope,
                    SQL("lead.trackflow_closed_date"),
                    SQL("credit.campaign_id"),
                    SQL("credit.channel"),
                    SQL("credit.company_id"),
                ),
            )
        )
        found = {True: defaultdict(float), False: defaultdict(float)}
        for current, day, channel, campaign, value in rows:
            for key in ("", f"day {day}", f"channel {channel}", f"campaign {campaign}"):
                found[current][key] += float(value)
        return found

    @api.model
    def _in_currency(self, scope, value, currency):
        return converted(
            value,
            currency,
            SQL("%s::int", scope["company"].currency_id.id),
            SQL("lead.trackflow_closed_date::date"),
        )

    @api.model
    def _costs(self, scope):
        """Costs of the current period and the one before, and by campaign; none has a channel."""
        if scope["channel"]:
            return {}
        rows = self.env.execute_query(
            SQL(
                """
                SELECT cost.date >= %(first)s, cost.campaign_id, sum(%(value)s)
                  FROM trackflow_campaign_cost cost
                  JOIN res_company company ON company.id = cost.company_id
                 WHERE cost.company_id = ANY(%(companies)s) AND cost.date <= %(last)s
                   AND cost.date >= %(before)s %(campaign)s
                 GROUP BY 1, 2
                """,
                first=scope["first"],
                last=scope["last"],
                before=scope["first"] - (scope["last"] - scope["first"]) - timedelta(days=1),
                value=converted(
                    SQL("cost.amount"),
                    SQL("cost.currency_id"),
                    SQL("%s::int", scope["company"].currency_id.id),
                    SQL("cost.date"),
                ),
                companies=scope["companies"],
                campaign=(
                    SQL("AND cost.campaign_id = %s", scope["campaign"].id)
                    if scope["campaign"]
                    else SQL()
                ),
            )
        )
        found = {True: defaultdict(float), False: defaultdict(float)}
        for current, campaign, value in rows:
            found[current][""] += float(value)
            found[current][campaign] += float(value)
        return found

    # -- what is shown ----------------------------------------------------------------------

    @api.model
    def _overview(self, scope, clicks, conversions, revenue):
        """What every reader of these facts is shown."""
        return {
            "currency_id": scope["company"].currency_id.id,
            "kpis": self._kpis(scope, clicks, conversions, revenue),
            "trend": self._trend(scope, clicks, conversions),
            "channels": self._channels(scope, clicks, conversions, revenue),
        }

    @api.model
    def _kpis(self, scope, clicks, conversions, revenue):
        costs = self._costs(scope)

        def both(value):
            return {"value": value(True), "previous": value(False)}

        def cost(current):
            return costs[current][""] if costs else 0.0

        def cost_per_lead(current):
            return ratio(cost(current), lead(current)) if cost(current) else None

        days = self._days(scope)
        series = {
            "clicks": [clicks["day", True].get(day, (0,))[0] for day in days],
            "leads": [conversions["lead", True][f"day {day}"] for day in days],
            "deals": [conversions["won", True][f"day {day}"] for day in days],
            "revenue": [revenue[True][f"day {day}"] for day in days],
        }

        def ratio(part, whole):
            return part / whole if whole else None

        def person(current, place):
            return clicks["visitor", current].get(None, (0, 0))[place]

        def total(current):
            return revenue[current][""]

        def unattributed(current):
            return revenue[current].get(f"channel {UNATTRIBUTED}", 0.0)

        def lead(current):
            return conversions["lead", current][""]

        env = self.env
        kpis = [
            ("clicks", env._("Clicks"), "integer", lambda c: person(c, 0)),
            ("visitors", env._("Visitors"), "integer", lambda c: person(c, 1)),
            ("leads", env._("Leads"), "integer", lead),
            ("deals", env._("Deals Won"), "integer", lambda c: conversions["won", c][""]),
            ("revenue", env._("Won Revenue"), "monetary", total),
            (
                "unattributed",
                env._("Unattributed"),
                "percentage",
                lambda c: ratio(unattributed(c), total(c)),
            ),
        ]
        if costs:
            kpis += [
                ("cost", env._("Cost"), "monetary", cost),
                (
                    "cost_per_lead",
                    env._("Cost per Lead"),
                    "monetary",
                    cost_per_lead,
                ),
                (
                    "roi",
                    env._("ROI"),
                    "percentage",
                    lambda c: ratio(total(c) - unattributed(c) - cost(c), cost(c)),
                ),
            ]
        return [
            {
                "key": key,
                "label": label,
                "format": shown,
                "action": self._action(scope, key, label),
                "series": series.get(key),
                **both(value),
            }
            for key, label, shown, value in kpis
        ]

    @api.model
    def _trend(self, scope, clicks, conversions):
        days = self._days(scope)
        length = timedelta(days=len(days))
        earlier = [str(fields.Date.to_date(day) - length) for day in days]
        return {
            "days": days,
            "clicks": [clicks["day", True].get(day, (0,))[0] for day in days],
            "previous": [clicks["day", False].get(day, (0,))[0] for day in earlier],
            "leads": [conversions["lead", True][f"day {day}"] for day in days],
        }

    @api.model
    def _days(self, scope):
        return [
            str(scope["first"] + timedelta(days=number))
            for number in range((scope["last"] - scope["first"]).days + 1)
        ]

    @api.model
    def _channels(self, scope, clicks, conversions, revenue):
        names = {key for key in clicks["channel", True] if key}
        for found in (conversions["lead", True], conversions["won", True], revenue[True]):
            names |= {
                key.removeprefix("channel ") for key in found if key.startswith("channel ")
            } - {"None"}
        rows = [
            {
                "channel": name,
                "clicks": clicks["channel", True].get(name, (0,))[0],
                "leads": conversions["lead", True][f"channel {name}"],
                "deals": conversions["won", True][f"channel {name}"],
                "revenue": revenue[True][f"channel {name}"],
                "actions": {
                    key: self._action({**scope, "channel": name}, key, name)
                    for key in ("clicks", "leads", "deals", "revenue")
                },
            }
            for name in names
        ]
        return sorted(rows, key=lambda row: (-row["revenue"], -row["clicks"], row["channel"]))

    @api.model
    def _campaigns(self, scope, clicks, conversions, revenue):
        ids = {int(key) for key in clicks["campaign", True] if key}
        for found in (conversions["lead", True], conversions["won", True], revenue[True]):
            ids |= {
                int(key.removeprefix("campaign "))
                for key in found
                if key.startswith("campaign ") and key != "campaign None"
            }
        rows = [
            {
                "id": campaign_id,
                "clicks": clicks["campaign", True].get(str(campaign_id), (0,))[0],
                "leads": conversions["lead", True][f"campaign {campaign_id}"],
                "deals": conversions["won", True][f"campaign {campaign_id}"],
                "revenue": revenue[True][f"campaign {campaign_id}"],
            }
            for campaign_id in ids
        ]
        rows.sort(key=lambda row: (-row["revenue"], -row["clicks"], row["id"]))
        campaigns = self.env["utm.campaign"].browse(row["id"] for row in rows[:_TOP]).exists()
        names = {campaign.id: campaign.title for campaign in campaigns}
        return [
            {
                **row,
                "name": names[row["id"]],
                "actions": {
                    key: self._action(
                        {**scope, "campaign": campaigns.browse(row["id"])}, key, names[row["id"]]
                    )
                    for key in ("clicks", "leads", "deals", "revenue")
                },
            }
            for row in rows[:_TOP]
            if row["id"] in names
        ]

    @api.model
    def _devices(self, scope):
        """Clicks of the current period by kind of device."""
        env = self.env
        clicked = env["link.tracker.click"]
        devices = clicked._fields["trackflow_device"]._description_selection(env)
        names = {"": env._("Unknown"), **dict(devices)}
        rows = env.execute_query(
            SQL(
                """
                SELECT COALESCE(trackflow_device, '') AS device, count(*) AS clicks
                  FROM link_tracker_click
                 WHERE trackflow_counts AND trackflow_occurred_at >= %s AND %s
                 GROUP BY 1
                 ORDER BY 2 DESC, 1
                """,
                scope["since"],
                self._where_clicks(scope),
            )
        )
        return [
            {
                "device": device,
                "label": names.get(device, device),
                "clicks": clicks,
                "action": self._action(
                    scope,
                    "clicks",
                    names.get(device, device),
                    Domain("trackflow_device", "in", [device] if device else [False, ""]),
                ),
            }
            for device, clicks in rows
        ]

    @api.model
    def _links(self, scope, clicks):
        numbers = {int(key): row[0] for key, row in clicks["link", True].items() if key}
        top = sorted(numbers, key=lambda link_id: (-numbers[link_id], link_id))[:_TOP]
        links = self.env["link.tracker"].browse(top).exists()
        return [
            {
                "id": link.id,
                "name": link.title if link.title and link.title != link.url else link.url,
                "clicks": numbers[link.id],
                "action": self._action(
                    scope, "clicks", link.title or link.url, Domain("link_id", "=", link.id)
                ),
            }
            for link in links
        ]

    @api.model
    def _funnel(self, scope):
        """How many visits, leads, deals and wins fell into the period; see the report."""
        domain = self._funnel_domain(scope)
        counted = dict(
            self.env["trackflow.report.funnel"]._read_group(domain, ["step"], ["number:sum"])
        )
        steps = self.env["trackflow.report.funnel"]._fields["step"]._description_selection(self.env)
        rows, before = [], 0
        for step, label in steps:
            number = counted.get(step) or 0
            rows.append(
                {
                    "step": step,
                    "label": label,
                    "number": number,
                    "rate": number / before if before else None,
                    "action": self._records(
                        label, "trackflow.report.funnel", domain & Domain("step", "=", step)
                    ),
                }
            )
            before = number
        return rows

    @api.model
    def _funnel_domain(self, scope):
        return self._period(scope, "date") & self._visit_terms(scope)

    @api.model
    def _landing(self, scope):
        """Visits by the page where they began; new ones are of visitors first seen in the period."""
        rows = self.env.execute_query(
            SQL(
                """
                SELECT page, count(*) AS visits, count(*) FILTER (WHERE new)
                  FROM (SELECT split_part(split_part(session.entry_page, '?', 1), '#', 1) AS page,
                               visitor.id IS NOT NULL AS new
                          FROM trackflow_session session
                          -- Of all visitors few are new: only they need to be read.
                          LEFT JOIN trackflow_visitor visitor
                            ON visitor.id = session.visitor_id AND visitor.first_seen >= %(since)s
                         WHERE session.session_start >= %(since)s
                           AND session.session_start < %(until)s
                           AND (session.company_id IS NULL
                                OR session.company_id = ANY(%(companies)s))
                           AND (%(campaign)s = '' OR session.campaign = %(campaign)s)
                           AND (%(channel)s = '' OR session.channel = %(channel)s)) visit
                 GROUP BY GROUPING SETS ((page), ())
                 ORDER BY grouping(page) DESC, visits DESC, page
                 LIMIT %(limit)s
                """,
                since=scope["since"],
                until=scope["until"],
                companies=scope["companies"],
                campaign=scope["campaign"].name or "",
                channel=scope["channel"],
                limit=_TOP + 1,
            )
        )
        (_all, visits, new), *pages = rows
        period = self._period(scope, "session_start") & self._visit_terms(scope)
        seen = Domain("visitor_id.first_seen", ">=", scope["since"])
        earlier = Domain("visitor_id.first_seen", "<", scope["since"])

        def visits_of(title, domain=Domain.TRUE):
            return self._records(title, "trackflow.session", period & domain)

        title = self.env._("Landing pages")
        return {
            "new": new,
            "returning": visits - new,
            "actions": {
                "new": visits_of(self.env._("New visitors"), seen),
                "returning": visits_of(self.env._("Returning visitors"), earlier),
            },
            "pages": [
                {
                    "page": page or "",
                    "visits": number,
                    "new": fresh,
                    "actions": {
                        "visits": visits_of(page or title, _began_on(page)),
                        "new": visits_of(page or title, _began_on(page) & seen),
                    },
                }
                for page, number, fresh in pages
            ],
        }

    @api.model
    def _visit_terms(self, scope):
        """The filters of visits, which name their campaign."""
        domain = self._companies(scope)
        if scope["campaign"]:
            domain &= Domain("campaign", "=", scope["campaign"].name)
        if scope["channel"]:
            domain &= Domain("channel", "=", scope["channel"])
        return domain

    @api.model
    def _models(self, scope):
        """Won revenue of the period by channel under each model."""
        rows = self.env.execute_query(
            SQL(
                """
                SELECT credit.attribution_model_id, credit.channel, sum(%(value)s)
                  FROM trackflow_model_credit credit
                  JOIN crm_lead lead ON lead.id = credit.lead_id
                  JOIN res_company company ON company.id = credit.company_id
                 WHERE lead.won_status = 'won' AND %(where)s
                   AND lead.trackflow_closed_date >= %(since)s
                 GROUP BY 1, 2
                """,
                since=scope["since"],
                value=self._in_currency(scope, SQL("credit.value"), SQL("credit.currency_id")),
                where=self._where(
                    scope,
                    SQL("lead.trackflow_closed_date"),
                    SQL("credit.campaign_id"),
                    SQL("credit.channel"),
                    SQL("credit.company_id"),
                ),
            )
        )
        values = defaultdict(dict)
        for model_id, channel, value in rows:
            values[model_id][channel] = float(value)
        models = self.env["trackflow.attribution.model"].browse(values).exists()
        return [
            {
                "id": model.id,
                "name": model.name,
                "channels": values[model.id],
                "action": self._records(
                    model.name,
                    "trackflow.report.model",
                    self._won_domain(scope, "won_date")
                    & Domain("attribution_model_id", "=", model.id),
                ),
            }
            for model in models.sorted("sequence")
        ]

    @api.model
    def _options(self, scope, clicks):
        """What the filters offer; of channels those that had a click or a conversion."""
        channels = {scope["channel"], *clicks["channel", True]}
        converted_from = self.env["trackflow.conversion"]._read_group([], ["channel"])
        channels |= {channel for [channel] in converted_from}
        channels -= {"", None, False}
        own = Domain("trackflow_company_id", "in", [*self.env.companies.ids, False])
        campaigns = self.env["utm.campaign"].search_fetch(own, ["title"], limit=200)
        models = self.env["trackflow.attribution.model"].search_fetch(
            [("active", "=", True), ("company_id", "in", [*self.env.companies.ids, False])],
            ["name"],
        )
        return {
            "companies": [
                {"id": company.id, "name": company.name} for company in self.env.companies
            ],
            "campaigns": [{"id": campaign.id, "name": campaign.title} for campaign in campaigns],
            "models": [{"id": model.id, "name": model.name} for model in models],
            "channels": sorted(channels),
        }

    @api.model
    def _tables(self, scope):
        """The reports behind the charts, where every figure can be turned about and exported."""
        facts = self._period(scope, "date") & self._companies(scope)
        facts &= self._terms(scope, "campaign_id", "channel")

        def facts_by(title, group, *measures, among=Domain.TRUE):
            action = self._pivot(title, "trackflow.report.campaign", facts & among, group, measures)
            if scope["model"]:
                action["name"] = " · ".join((title, scope["model"].name))
                action["context"]["trackflow_model_id"] = scope["model"].id
            return action

        results = ("clicks", "leads", "deals", "revenue")
        # Under a chosen model, revenue is known by channel and campaign.
        of_links = results[:-1] if scope["model"] else results
        env = self.env
        return {
            "trend": facts_by(env._("Clicks and leads"), "date:day", "clicks", "leads"),
            "channels": facts_by(
                env._("Channels"), "channel", *results, among=Domain("channel", "!=", False)
            ),
            "campaigns": facts_by(env._("Campaigns"), "campaign_id", *results, "cost"),
            "links": facts_by(env._("Links"), "link_id", *of_links),
            "funnel": self._pivot(
                env._("From visit to win"),
                "trackflow.report.funnel",
                self._funnel_domain(scope),
                "step",
                ["number", "value"],
            ),
            "landing": self._pivot(
                env._("Landing pages"),
                "trackflow.report.journey",
                self._period(scope, "date") & self._visit_terms(scope),
                "entry_page",
                ["visits", "bounces", "converted"],
            ),
        }

    # -- the records behind the numbers -----------------------------------------------------

    @api.model
    def _action(self, scope, key, title, extra=Domain.TRUE):
        """The records that a number of the current period counts."""
        if key in ("clicks", "visitors"):
            clicks = Domain("trackflow_counts", "=", True) & self._period(
                scope, "trackflow_occurred_at"
            )
            clicks &= self._terms(scope, "campaign_id", "trackflow_channel") & extra
            if scope["foreign"]:
                clicks &= Domain("campaign_id", "not in", scope["foreign"])
            if key == "clicks":
                return self._records(title, "link.tracker.click", clicks)
            return self._records(title, "trackflow.visitor", Domain("click_ids", "any", clicks))
        if key in ("leads", "deals"):
            domain = Domain("kind", "=", "lead" if key == "leads" else "won")
            domain &= self._period(scope, "occurred_at") & self._companies(scope)
            domain &= self._terms(scope, "campaign_id", "channel")
            return self._records(title, "trackflow.conversion", domain)
        if key in ("revenue", "unattributed", "roi"):
            domain = self._won_domain(scope, "lead_id.trackflow_closed_date")
            if key == "unattributed":
                domain &= Domain("channel", "=", UNATTRIBUTED)
            if not scope["model"]:
                return self._records(title, "trackflow.deal.attribution", domain)
            domain = self._won_domain(scope, "won_date") & Domain(
                "attribution_model_id", "=", scope["model"].id
            )
            if key == "unattributed":
                domain &= Domain("channel", "=", UNATTRIBUTED)
            return self._records(title, "trackflow.report.model", domain)
        domain = Domain("date", ">=", scope["first"]) & Domain("date", "<=", scope["last"])
        domain &= Domain("company_id", "in", scope["companies"])
        if scope["campaign"]:
            domain &= Domain("campaign_id", "=", scope["campaign"].id)
        return self._records(title, "trackflow.campaign.cost", domain)

    @api.model
    def _won_domain(self, scope, moment):
        domain = Domain("deal_status", "=", "won") & self._period(scope, moment)
        return domain & self._companies(scope) & self._terms(scope, "campaign_id", "channel")

    @api.model
    def _period(self, scope, moment):
        return Domain(moment, ">=", scope["since"]) & Domain(moment, "<", scope["until"])

    @api.model
    def _companies(self, scope):
        return Domain("company_id", "in", [*scope["companies"], False])

    @api.model
    def _terms(self, scope, campaign, channel):
        domain = Domain.TRUE
        if scope["campaign"]:
            domain &= Domain(campaign, "=", scope["campaign"].id)
        if scope["channel"]:
            domain &= Domain(channel, "=", scope["channel"])
        return domain

    @api.model
    def _records(self, title, model, domain):
        # Rows of a report have no cards, which phones show instead of a list.
        if model.startswith("trackflow.report."):
            return self._window(title, model, domain, ("list", "form"), on_phones="list")
        return self._window(title, model, domain, ("list", "kanban", "form"), on_phones="kanban")

    @api.model
    def _pivot(self, title, model, domain, group, measures):
        action = self._window(title, model, domain, ("pivot", "graph", "list"), on_phones="pivot")
        action["context"] = {
            "pivot_row_groupby": [group],
            "pivot_column_groupby": [],
            "pivot_measures": list(measures),
        }
        return action

    @api.model
    def _window(self, title, model, domain, views, on_phones):
        return {
            "type": "ir.actions.act_window",
            "name": title,
            "res_model": model,
            "domain": _plain(domain),
            "views": [(False, view) for view in views],
            "mobile_view_mode": on_phones,
            "help": self.env._("Nothing was recorded in this time with these filters"),
        }


def _began_on(page):
    """Visits whose first page is `page`, whatever its parameters were."""
    if not page:
        return Domain("entry_page", "in", [False, ""])
    escaped = page.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return (
        Domain("entry_page", "=", page)
        | Domain("entry_page", "=like", f"{escaped}?%")
        | Domain("entry_page", "=like", f"{escaped}#%")
    )


def _plain(domain):
    """A domain as JSON takes it."""
    return [_plain_term(term) for term in domain]


def _plain_term(term):
    if isinstance(term, str):
        return term
    field, operator, value = term
    if isinstance(value, Domain):
        value = _plain(value)
    elif isinstance(value, datetime):
        value = fields.Datetime.to_string(value)
    elif isinstance(value, date):
        value = fields.Date.to_string(value)
    elif not isinstance(value, (str, int, float, bool)):
        value = list(value)
    return [field, operator, value]
