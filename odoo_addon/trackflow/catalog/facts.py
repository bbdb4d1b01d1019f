"""Facts: visitors, what they did, conversions, leads and deals; and how often links were clicked."""

# No models, whose methods of these names call super().
# pylint: disable=method-required-super

from datetime import datetime

from odoo.fields import Domain
from odoo.tools import SQL

from trackflow_core.api.storage import Page, Stats, Visitor
from trackflow_core.attribution.allocation import to_minor_units
from trackflow_core.errors import InvalidEvent
from trackflow_core.model import (
    Agent,
    Click,
    ClickEvent,
    Conversion,
    Source,
    Tier,
    Touch,
    Verdict,
)

from ..redirects import LINK_CODE
from ..store import OdooStore, local_ref
from ..store.values import LOCAL_REF, aware
from .base import Records, between, number_of


class Visitors(Records):
    model = "trackflow.visitor"

    def find(self, ids):
        return self.records.search([("visitor_key", "in", list(ids)), ("first_seen", "!=", False)])

    def domain(self, query):
        seen = between(lambda alias: SQL.identifier(alias, "last_seen"), query)
        return Domain("first_seen", "!=", False) & seen

    def told(self, records):
        self.env.flush_all()
        self.env.cr.execute(
            SQL(
                """
                SELECT v.id, v.first_seen, v.last_seen, v.click_count, v.source, v.medium,
                       v.campaign, s.channel, v.content, v.term
                  FROM trackflow_visitor v
                  LEFT JOIN LATERAL (
                       SELECT channel FROM trackflow_session s WHERE s.visitor_id = v.id
                        ORDER BY s.session_start, s.id LIMIT 1) s ON TRUE
                 WHERE v.id = ANY(%s)
                """,
                records.ids,
            )
        )
        rows = {row[0]: row[1:] for row in self.env.cr.fetchall()}
        for record in records:
            first, last, clicks, *source = rows[record.id]
            source = [text or "" for text in source]
            yield (
                record,
                Visitor(
                    record.visitor_key,
                    aware(first),
                    aware(last),
                    clicks or 0,
                    Source(*source[:3], source[3] or "Direct", *source[4:]),
                ),
            )


class Events:
    """Clicks and other events, which have tables of their own, newest first."""

    # Model, column of the time, and the place that tells which comes first of equal times.
    TABLES = (
        ("link.tracker.click", "trackflow_occurred_at", 1),
        ("trackflow.event", "timestamp", 0),
    )

    def __init__(self, env):
        self.env = env

    def page(self, query):
        self.env.flush_all()
        after = _position(query.after)
        found = []
        for model, column, place in self.TABLES:
            domain = self._domain(model, column, query)
            if after:
                domain &= _before(column, place, after)
            rows = self.env[model]._search(
                domain, order=f"{column} DESC, id DESC", limit=query.limit + 1
            )
            found += self._moments(rows, column, place)
        found.sort(reverse=True)
        chosen = found[: query.limit]
        more = len(found) > len(chosen)
        cursor = ""
        if more:
            moment, place, number = chosen[-1]
            cursor = f"{moment.isoformat()}/{place}/{number}"
        return Page(tuple(self._read(chosen)), cursor)

    def _domain(self, model, column, query):
        domain = between(lambda alias: SQL.identifier(alias, column), query)
        if model == "link.tracker.click":
            fields = ("trackflow_campaign", "trackflow_visitor_id.visitor_key")
            # Clicks of a time before TrackFlow have no event.
            domain &= Domain(column, "!=", False)
        else:
            fields = ("campaign", "visitor_id.visitor_key")
        if query.campaign:
            domain &= Domain(fields[0], "=", query.campaign)
        if query.visitor_id:
            domain &= Domain(fields[1], "=", query.visitor_id)
        if query.link_code:
            domain &= Domain("link_id.link_code_ids.code", "=", query.link_code)
        return domain

    def _moments(self, rows, column, place):
        ids = list(rows)
        self.env.cr.execute(
            SQL(
                "SELECT %s, id FROM %s WHERE id = ANY(%s)",
                SQL.identifier(column),
                SQL.identifier("link_tracker_click" if place else "trackflow_event"),
                ids,
            )
        )
        return [(moment, place, number) for moment, number in self.env.cr.fetchall()]

    def _read(self, chosen):
        self.env.cr.execute(
            SQL(
                """
                SELECT 1, c.id, c.trackflow_event_id, c.trackflow_occurred_at,
                       COALESCE(c.trackflow_link_code, ''), c.trackflow_destination,
                       v.visitor_key, c.ip, c.trackflow_user_agent, c.trackflow_referrer,
                       c.trackflow_internal, c.trackflow_prefetch, c.trackflow_tier, 'click', '',
                       s.session_key, FALSE, c.trackflow_verdict, c.trackflow_reason,
                       c.trackflow_device, c.trackflow_browser, c.trackflow_os,
                       c.trackflow_source, c.trackflow_medium, c.trackflow_campaign,
                       c.trackflow_channel, c.trackflow_content, c.trackflow_term
                  FROM link_tracker_click c
                  LEFT JOIN trackflow_visitor v ON v.id = c.trackflow_visitor_id
                  LEFT JOIN trackflow_session s ON s.id = c.trackflow_session_id
                 WHERE c.id = ANY(%(clicks)s)
                 UNION ALL
                SELECT 0, e.id, e.event_id, e.timestamp, COALESCE(%(code)s, ''), e.page_url,
                       v.visitor_key, e.ip, e.user_agent, e.referrer, e.internal, e.prefetch,
                       e.tier, e.event_type, e.event_data, s.session_key, e.returns, e.verdict,
                       e.reason, e.device, e.browser, e.os, e.source, e.medium, e.campaign,
                       e.channel, e.content, e.term
                  FROM trackflow_event e
                  LEFT JOIN link_tracker link ON link.id = e.link_id
                  LEFT JOIN trackflow_visitor v ON v.id = e.visitor_id
                  LEFT JOIN trackflow_session s ON s.id = e.session_id
                 WHERE e.id = ANY(%(events)s)
                """,
                code=LINK_CODE,
                clicks=[number for _moment, place, number in chosen if place],
                events=[number for _moment, place, number in chosen if not place],
            )
        )
        rows = {row[:2]: row[2:] for row in self.env.cr.fetchall()}
        return [_event(rows[place, number]) for _moment, place, number in chosen]


def _event(row):
    event_id, moment, code, destination, visitor, ip, agent, referrer, internal, prefetch = row[:10]
    tier, kind, data, session, returns, verdict, *rest = row[10:]
    words = [text or "" for text in rest]
    click = Click(
        event_id=event_id or "",
        occurred_at=aware(moment),
        link_code=code,
        destination=destination or "",
        visitor_id=visitor,
        ip=ip or "",
        user_agent=agent or "",
        referrer=referrer or "",
        internal=bool(internal),
        prefetch=bool(prefetch),
        tier=Tier(tier or "full"),
        kind=kind,
        data=data or "",
    )
    return ClickEvent(
        click,
        Agent(Verdict(verdict or "unknown"), *words[:4]),
        Source(*words[4:]),
        session_id=session,
        returns=bool(returns),
    )


def _position(cursor):
    """Where a page of events ended: moment, table, id."""
    if not cursor:
        return None
    moment, _, rest = cursor.partition("/")
    place, _, number = rest.partition("/")
    try:
        return datetime.fromisoformat(moment), int(place), int(number)
    except ValueError:
        raise InvalidEvent(
            f"{cursor[:40]!r} is the cursor of no page: begin at the first one.", field="cursor"
        ) from None


def _before(column, place, after):
    moment, at_place, number = after

    def to_sql(_model, alias, _query):
        # Of equal times, what stands at a higher place came before.
        same = SQL("TRUE") if place < at_place else SQL("FALSE")
        if place == at_place:
            same = SQL("%s < %s", SQL.identifier(alias, "id"), number)
        time = SQL.identifier(alias, column)
        return SQL("(%s < %s OR (%s = %s AND %s))", time, moment, time, moment, same)

    return Domain.custom(to_sql=to_sql)


class Conversions(Records):
    model = "trackflow.conversion"

    def domain(self, query):
        domain = between(lambda alias: SQL.identifier(alias, "occurred_at"), query)
        if query.campaign:
            domain &= Domain("campaign", "=", query.campaign)
        if query.visitor_id:
            domain &= Domain("visitor_id.visitor_key", "=", query.visitor_id)
        if query.link_code:
            domain &= Domain("link_id.link_code_ids.code", "=", query.link_code)
        return domain

    def told(self, records):
        self.env.flush_all()
        self.env.cr.execute(
            SQL(
                """
                SELECT conversion.id, conversion.kind, conversion.occurred_at, conversion.value,
                       currency.name, currency.decimal_places, lead.id, lead.trackflow_lead_ref,
                       lead.trackflow_deal_ref, click.trackflow_event_id,
                       click.trackflow_occurred_at, conversion.channel, conversion.source,
                       conversion.medium, conversion.campaign, click.trackflow_content,
                       click.trackflow_term, visitor.visitor_key, COALESCE(%s, '')
                  FROM trackflow_conversion conversion
                  JOIN crm_lead lead ON lead.id = conversion.lead_id
                  LEFT JOIN res_currency currency ON currency.id = conversion.currency_id
                  LEFT JOIN link_tracker_click click ON click.id = conversion.click_id
                  LEFT JOIN link_tracker link ON link.id = conversion.link_id
                  LEFT JOIN trackflow_visitor visitor ON visitor.id = conversion.visitor_id
                 WHERE conversion.id = ANY(%s)
                """,
                LINK_CODE,
                records.ids,
            )
        )
        rows = {row[0]: row[1:] for row in self.env.cr.fetchall()}
        for record in records:
            yield record, _conversion(*rows[record.id])


def _conversion(
    kind, occurred_at, value, currency, digits, lead_id, lead_ref, deal_ref, event_id, moment, *rest
):
    words = [text or "" for text in rest]
    touch = Touch(event_id or "", aware(moment or occurred_at), *words)
    digits = 2 if digits is None else digits
    return Conversion(
        ref=(lead_ref if kind == "lead" else deal_ref) or local_ref(lead_id),
        kind=kind,
        occurred_at=aware(occurred_at),
        touch=touch,
        value=to_minor_units(value or 0, digits),
        currency=currency or "",
        digits=digits,
    )


class _CrmRecords:
    """Leads or deals: found with the user's rights, told by the store."""

    kind = ""
    # When it came to be.
    columns = ()
    condition = Domain.TRUE

    def __init__(self, env):
        self.env = env
        self.store = OdooStore(env)

    def read(self, ids, *, lock=False):
        leads = self.env["crm.lead"]
        if lock:
            leads.check_access("create")
            leads.check_access("write")
        known = self.ask(ids)
        local = {ref: int(match[1]) for ref in known if (match := LOCAL_REF.match(known[ref].ref))}
        others = [ref for ref in known if ref not in local]
        field = f"trackflow_{self.kind}_ref"
        refs = [known[ref].ref for ref in others]
        allowed = leads.search([(field, "in", refs)]).mapped(field)
        numbers = set(leads.search([("id", "in", list(local.values()))]).ids)
        return {
            ref: fact
            for ref, fact in known.items()
            if (ref in local and local[ref] in numbers) or fact.ref in allowed
        }

    def ask(self, refs):
        """The facts by the refs that were asked for."""
        raise NotImplementedError

    def page(self, query):
        self.env.flush_all()
        domain = self.condition & between(self._moment, query)
        if query.after:
            domain &= Domain("id", "<", number_of(query.after))
        found = self.env["crm.lead"].search(domain, order="id desc", limit=query.limit + 1)
        chosen = found[: query.limit]
        facts = {lead_id: self.pick(lead, deal) for lead_id, lead, deal in self.told(chosen)}
        after = str(chosen[-1:].id) if len(found) > len(chosen) else ""
        return Page(tuple(facts[number] for number in chosen.ids if facts.get(number)), after)

    def told(self, chosen):
        return self.store.records(chosen.ids)

    def _moment(self, alias):
        columns = SQL(", ").join(SQL.identifier(alias, name) for name in self.columns)
        return SQL("COALESCE(%s)", columns)


class Leads(_CrmRecords):
    kind = "lead"
    columns = ("trackflow_lead_date", "create_date")
    # A record that only tells a deal is no lead.
    condition = Domain.custom(
        to_sql=lambda _model, alias, _query: SQL(
            "(%s IS NULL OR %s IS NOT NULL)",
            SQL.identifier(alias, "trackflow_lead_ref"),
            SQL.identifier(alias, "trackflow_lead_version"),
        )
    )

    def ask(self, refs):
        return {lead.ref: lead for lead in self.store.leads(set(refs))}

    def pick(self, lead, _deal):
        return lead

    def told(self, chosen):
        visitors = self.store._visitors_of(chosen.ids)
        self.store._read(chosen.ids)
        return [(number, self.store._lead(number, visitors), None) for number in chosen.ids]


class Deals(_CrmRecords):
    kind = "deal"
    columns = ("trackflow_deal_date", "date_conversion", "create_date")
    condition = Domain("type", "=", "opportunity")

    def ask(self, refs):
        found = {deal.ref: deal for deal in self.store.deals(set(refs))}
        # A deal that was merged is told under the name that was asked for.
        merged = [ref for ref in refs if ref not in found]
        return {ref: found[ref] for ref in refs if ref in found} | {
            ref: deal for ref in merged for deal in self.store.deals({ref})
        }

    def pick(self, _lead, deal):
        return deal


def statistics(env, query):
    """How often people clicked, in one statement beside that of the conversions."""
    env.flush_all()
    clicks = env["link.tracker.click"]
    domain = Events(env)._domain("link.tracker.click", "trackflow_occurred_at", query)
    chosen = clicks._search(domain)
    env.cr.execute(
        SQL(
            """
            SELECT day, trackflow_channel, trackflow_device, trackflow_browser,
                   GROUPING(day, trackflow_channel, trackflow_device, trackflow_browser),
                   count(*) FILTER (WHERE trackflow_counts),
                   count(*) FILTER (WHERE trackflow_counts IS NOT TRUE),
                   count(DISTINCT trackflow_visitor_id) FILTER (WHERE trackflow_counts),
                   max(trackflow_occurred_at) FILTER (WHERE trackflow_counts)
              FROM (SELECT *, trackflow_occurred_at::date::text AS day FROM link_tracker_click) c
             WHERE id IN %s
             GROUP BY GROUPING SETS ((), (day), (trackflow_channel), (trackflow_device),
                                     (trackflow_browser))
            """,
            chosen.subselect(),
        )
    )
    groups = {0b0111: {}, 0b1011: {}, 0b1101: {}, 0b1110: {}}
    total = (0, 0, 0, None)
    for row in env.cr.fetchall():
        keys, group, numbers = row[:4], row[4], row[5:]
        if group == 0b1111:
            total = numbers
        elif numbers[0]:
            key = next((key for key in keys if key is not None), "")
            groups[group][key] = numbers[0]
    conversions = Conversions(env)
    return Stats(
        clicks=total[0],
        visitors=total[2],
        ignored=total[1],
        conversions=conversions.records.search_count(conversions.domain(query)),
        last_click_at=aware(total[3]) if total[3] else None,
        days=groups[0b0111],
        channels=groups[0b1011],
        devices=groups[0b1101],
        browsers=groups[0b1110],
    )
