from collections import Counter, defaultdict
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
# What is told of each channel and campaign.
_RESULTS = ("clicks", "leads", "deals", "revenue")
# Each fact as a whole, by day, by channel and by campaign: read once, summed four times.
_GROUPS = SQL(
    "GROUPING SETS ((name, current), (name, current, day), (name, current, channel), "
    "(name, current, campaign_id))"
)
_GROUP_AND_KEY = SQL(
    """
    CASE grouping(day, channel, campaign_id)
        WHEN 7 THEN '' WHEN 3 THEN 'day' WHEN 5 THEN 'channel' ELSE 'campaign' END,
    COALESCE(day::text, channel, campaign_id::text)
    """
)
_WHOLE = ("", None)


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
        facts = dashboard._facts(scope)
        landing = dashboard._landing(scope)
        return {
            **dashboard._overview(scope, facts),
            "campaigns": dashboard._campaigns(scope, facts),
            "links": dashboard._links(scope, facts),
            "funnel": dashboard._funnel(scope, landing["new"] + landing["returning"]),
            "landing": landing,
            "models": dashboard._models(scope),
            "tables": dashboard._tables(scope),
            "options": dashboard._options(scope, facts),
        }

    @api.readonly
    @api.model
    def get_campaign_data(self, filters):
        """The figures of one campaign for its form; `filters` are those of `get_data`."""
        dashboard, scope = self._begin(filters)
        overview = dashboard._overview(scope, dashboard._facts(scope))
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
        """Clicks, visitors, leads, deals won and their revenue in the company's currency.

        By name and whether it was in the current period, and then by group and key: as a whole, by
        day, channel and campaign, and clicks of the current period by link.
        """
        facts = defaultdict(Counter)
        for read in (self._clicks, self._visitors, self._conversions, self._revenue):
            for name, current, group, key, number in read(scope):
                facts[name, current][group, key] = number
        return facts

    @api.model
    def _clicks(self, scope):
        return self.env.execute_query(
            SQL(
                """
                WITH day AS MATERIALIZED (
                    SELECT day.name, day.since >= %(since)s AS current,
                           (SELECT count(*) FROM link_tracker_click
                             WHERE trackflow_occurred_at >= day.since
                               AND trackflow_occurred_at < day.until
                               AND trackflow_counts AND %(where)s) AS clicks
                      FROM unnest(%(days)s::date[], %(begins)s::timestamp[], %(ends)s::timestamp[])
                           AS day(name, since, until)
                ), part AS MATERIALIZED (
                    -- Of a long period the planner would read the table, and not the index that
                    -- has it all; as a join it can't know how long the period is.
                    SELECT trackflow_channel AS channel, campaign_id, link_id, count(*) AS clicks
                      FROM unnest(ARRAY[%(since)s::timestamp], ARRAY[%(until)s::timestamp])
                           AS period(since, until)
                      JOIN link_tracker_click ON trackflow_occurred_at >= period.since
                       AND trackflow_occurred_at < period.until
                     WHERE trackflow_counts AND %(where)s
                     GROUP BY 1, 2, 3
                )
                SELECT 'clicks', current, '', NULL, sum(clicks)::bigint FROM day GROUP BY current
                 UNION ALL
                SELECT 'clicks', current, 'day', name::text, clicks FROM day
                 UNION ALL
                SELECT 'clicks', TRUE, 'channel', channel, sum(clicks)::bigint
                  FROM part GROUP BY channel
                 UNION ALL
                SELECT 'clicks', TRUE, 'campaign', campaign_id::text, sum(clicks)::bigint
                  FROM part GROUP BY campaign_id
                 UNION ALL
                SELECT 'clicks', TRUE, 'link', link_id::text, sum(clicks)::bigint
                  FROM part GROUP BY link_id
                """,
                since=scope["since"],
                until=scope["until"],
                where=self._where_clicks(scope),
                days=scope["days"],
                begins=scope["midnights"][:-1],
                ends=scope["midnights"][1:],
            )
        )

    @api.model
    def _visitors(self, scope):
        [(now, earlier)] = self.env.execute_query(
            SQL(
                """
                SELECT count(*) FILTER (WHERE latest >= %(since)s),
                       count(*) FILTER (WHERE earliest < %(since)s)
                  FROM (SELECT min(trackflow_occurred_at) AS earliest,
                               max(trackflow_occurred_at) AS latest
                          FROM link_tracker_click
                         WHERE trackflow_counts AND trackflow_visitor_id IS NOT NULL AND %(where)s
                         GROUP BY trackflow_visitor_id) visitor
                """,
                since=scope["since"],
                where=self._where_clicks(scope),
            )
        )
        return [("visitors", True, *_WHOLE, now), ("visitors", False, *_WHOLE, earlier)]

    @api.model
    def _conversions(self, scope):
        return self.env.execute_query(
            SQL(
                """
                SELECT name, current, %(group_and_key)s, count(*)
                  FROM (SELECT CASE kind WHEN 'lead' THEN 'leads' ELSE 'deals' END AS name,
                               occurred_at >= %(since)s AS current, %(day)s AS day,
                               channel, campaign_id
                          FROM trackflow_conversion
                         WHERE kind IN ('lead', 'won') AND %(where)s) fact
                 GROUP BY %(groups)s
                """,
                since=scope["since"],
                day=self._day(scope, SQL("occurred_at")),
                group_and_key=_GROUP_AND_KEY,
                groups=_GROUPS,
                where=self._where(
                    scope,
                    SQL("occurred_at"),
                    SQL("campaign_id"),
                    SQL("channel"),
                    SQL("company_id"),
                ),
            )
        )

    @api.model
    def _revenue(self, scope):
        table, chosen = SQL("trackflow_deal_attribution"), SQL("TRUE")
        if scope["model"]:
            table = SQL("trackflow_model_credit")
            chosen = SQL("credit.attribution_model_id = %s", scope["model"].id)
        return self.env.execute_query(
            SQL(
                """
                SELECT name, current, %(group_and_key)s, sum(value)::float8
                  FROM (SELECT 'revenue' AS name,
                               lead.trackflow_closed_date >= %(since)s AS current, %(day)s AS day,
                               credit.channel, credit.campaign_id, %(value)s AS value
                          FROM %(table)s credit
                          JOIN crm_lead lead ON lead.id = credit.lead_id
                          JOIN res_company company ON company.id = credit.company_id
                         WHERE lead.won_status = 'won' AND %(chosen)s AND %(where)s) fact
                 GROUP BY %(groups)s
                """,
                since=scope["since"],
                day=self._day(scope, SQL("lead.trackflow_closed_date")),
                group_and_key=_GROUP_AND_KEY,
                groups=_GROUPS,
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

    @api.model
    def _day(self, scope, moment):
        """The reader's day of a moment."""
        return SQL("(%s AT TIME ZONE 'UTC' AT TIME ZONE %s)::date", moment, scope["zone"])

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
    def _overview(self, scope, facts):
        """What every reader of these facts is shown."""
        return {
            "currency_id": scope["company"].currency_id.id,
            "kpis": self._kpis(scope, facts),
            "trend": self._trend(scope, facts),
            "channels": self._channels(scope, facts),
        }

    @api.model
    def _kpis(self, scope, facts):
        costs = self._costs(scope)

        def whole(name, current):
            return facts[name, current][_WHOLE]

        def both(value):
            return {"value": value(True), "previous": value(False)}

        def cost(current):
            return costs[current][""] if costs else 0.0

        def cost_per_lead(current):
            return ratio(cost(current), whole("leads", current)) if cost(current) else None

        def ratio(part, among):
            return part / among if among else None

        def unattributed(current):
            return facts["revenue", current]["channel", UNATTRIBUTED]

        def revenue(current):
            return whole("revenue", current)

        env = self.env
        kpis = [
            ("clicks", env._("Clicks"), "integer", lambda c: whole("clicks", c)),
            ("visitors", env._("Visitors"), "integer", lambda c: whole("visitors", c)),
            ("leads", env._("Leads"), "integer", lambda c: whole("leads", c)),
            ("deals", env._("Deals Won"), "integer", lambda c: whole("deals", c)),
            ("revenue", env._("Won Revenue"), "monetary", revenue),
            (
                "unattributed",
                env._("Unattributed"),
                "percentage",
                lambda c: ratio(unattributed(c), revenue(c)),
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
                    lambda c: ratio(revenue(c) - unattributed(c) - cost(c), cost(c)),
                ),
            ]
        return [
            {
                "key": key,
                "label": label,
                "format": shown,
                "action": self._action(scope, key, label),
                "series": (
                    [facts[key, True]["day", day] for day in self._days(scope)]
                    if key in _RESULTS
                    else None
                ),
                **both(value),
            }
            for key, label, shown, value in kpis
        ]

    @api.model
    def _trend(self, scope, facts):
        days = self._days(scope)
        length = timedelta(days=len(days))
        earlier = [str(fields.Date.to_date(day) - length) for day in days]
        return {
            "days": days,
            "clicks": [facts["clicks", True]["day", day] for day in days],
            "previous": [facts["clicks", False]["day", day] for day in earlier],
            "leads": [facts["leads", True]["day", day] for day in days],
        }

    @api.model
    def _days(self, scope):
        return [
            str(scope["first"] + timedelta(days=number))
            for number in range((scope["last"] - scope["first"]).days + 1)
        ]

    @api.model
    def _results(self, facts, group):
        """What the current period brought by the keys of `group`; what has no key is left out."""
        keys = {
            key for name in _RESULTS for part, key in facts[name, True] if part == group and key
        }
        return {key: {name: facts[name, True][group, key] for name in _RESULTS} for key in keys}

    @api.model
    def _channels(self, scope, facts):
        rows = [
            {
                "channel": channel,
                **results,
                "actions": {
                    name: self._action({**scope, "channel": channel}, name, channel)
                    for name in _RESULTS
                },
            }
            for channel, results in self._results(facts, "channel").items()
        ]
        return sorted(rows, key=lambda row: (-row["revenue"], -row["clicks"], row["channel"]))

    @api.model
    def _campaigns(self, scope, facts):
        rows = [
            {"id": int(key), **results} for key, results in self._results(facts, "campaign").items()
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
                    for key in _RESULTS
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
    def _links(self, scope, facts):
        numbers = {
            int(key): clicks
            for (group, key), clicks in facts["clicks", True].items()
            if group == "link"
        }
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
    def _funnel(self, scope, visits):
        """How many visits, leads, deals and wins fell into the period; see the report.

        Visits are many, and counted already.
        """
        domain = self._funnel_domain(scope)
        later = domain & Domain("step", "!=", "1_visit")
        counted = {
            "1_visit": visits,
            **dict(
                self.env["trackflow.report.funnel"]._read_group(later, ["step"], ["number:sum"])
            ),
        }
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
    def _options(self, scope, facts):
        """What the filters offer; of channels those that had a click or a conversion."""
        channels = {key for group, key in facts["clicks", True] if group == "channel"}
        channels.add(scope["channel"])
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

        # Under a chosen model, revenue is known by channel and campaign.
        of_links = _RESULTS[:-1] if scope["model"] else _RESULTS
        env = self.env
        return {
            "trend": facts_by(env._("Clicks and leads"), "date:day", "clicks", "leads"),
            "channels": facts_by(
                env._("Channels"), "channel", *_RESULTS, among=Domain("channel", "!=", False)
            ),
            "campaigns": facts_by(env._("Campaigns"), "campaign_id", *_RESULTS, "cost"),
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
