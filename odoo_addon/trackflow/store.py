"""TrackFlow's facts in Odoo's own tables: `trackflow_core.ports.Store` over one environment.

Sets of rows are read and written by single statements, because the ORM would need several for
each record. A lead or deal of this database is called "crm.lead/<id>"; those of other CRMs keep
the reference that came with them in `trackflow_lead_ref` and `trackflow_deal_ref`.
"""

import json
import logging
import re
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone

import psycopg2
from psycopg2.errors import SerializationFailure

from odoo.tools import SQL

from trackflow_core.attribution.allocation import from_minor_units
from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.model import (
    Agent,
    Click,
    DealStatus,
    Link,
    Session,
    Source,
    Touch,
    Verdict,
)
from trackflow_odoo.mapping import deal_from_record, lead_from_record

from .guard import isolated

_logger = logging.getLogger(__name__)

NAMESPACE = "crm.lead"
_LOCAL_REF = re.compile(rf"{re.escape(NAMESPACE)}/([0-9]{{1,9}})\Z")

# What must be in the database before leads are read by SQL.
_READ_FIELDS = [
    "active",
    "company_id",
    "contact_name",
    "date_closed",
    "date_conversion",
    "email_from",
    "expected_revenue",
    "name",
    "partner_name",
    "phone",
    "trackflow_attribution_model_id",
    "trackflow_closed_date",
    "trackflow_deal_date",
    "trackflow_deal_ref",
    "trackflow_deal_version",
    "trackflow_lead_date",
    "trackflow_lead_ref",
    "trackflow_lead_version",
    "trackflow_origin_id",
    "type",
    "user_id",
    "won_status",
]
_SUMMARY_FIELDS = [
    "campaign_id",
    "medium_id",
    "source_id",
    "trackflow_campaign",
    "trackflow_first_touch_date",
    "trackflow_first_touch_source",
    "trackflow_last_touch_date",
    "trackflow_last_touch_source",
    "trackflow_marketing_influenced",
    "trackflow_medium",
    "trackflow_source",
    "trackflow_touch_count",
]


def local_ref(lead_id):
    """The reference of a crm.lead of this database."""
    return f"{NAMESPACE}/{lead_id}"


class OdooStore:
    """One environment's store; it works as superuser and lives as long as one engine.

    `new_leads` are the ids of leads that this transaction has just created: nothing can be held
    of them yet, so nothing is looked up. `defer_counters` leaves the counters of links, which
    all visitors share, to the click job.
    """

    def __init__(self, env, new_leads=(), defer_counters=False, absorb_deals=False):
        self.env = env(su=True, context={**env.context, "active_test": False})
        self._new = frozenset(new_leads)
        self._defer_counters = defer_counters
        self._absorb_deals = absorb_deals
        # Rows of crm.lead by id, and ids by kind and ref, as this transaction sees them.
        self._rows = {}
        self._ids = {"lead": {}, "deal": {}}
        self._chosen_models = {}
        self._idle_visitors = frozenset()

    # -- transactions ----------------------------------------------------------------------

    @contextmanager
    def atomic(self):
        self.env.flush_all()
        savepoint = self.env.cr.savepoint(flush=False)
        try:
            yield
            self.env.flush_all()
        except (psycopg2.DataError, psycopg2.IntegrityError) as error:
            self._undo(savepoint)
            reason = error.diag.message_primary or str(error)
            raise InvalidEvent(f"The database refuses this: {reason}.") from error
        except BaseException:
            self._undo(savepoint)
            raise
        else:
            savepoint.close(rollback=False)

    def _undo(self, savepoint):
        savepoint.close(rollback=True)
        self.env.transaction.clear()
        self._forget_rows()

    def after_commit(self, callback):
        self.env.cr.postcommit.add(isolated(callback))

    # -- clicks ----------------------------------------------------------------------------

    def append_click(self, click, country_code=None):
        self._idle_visitors = frozenset()
        self.env.cr.execute(
            SQL(
                """
                INSERT INTO trackflow_click_queue
                    (event_id, link_code, occurred_at, visitor_key, ip, user_agent, referrer,
                     destination, internal, prefetch, country_code, status, create_date)
                VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'queued',
                        now() AT TIME ZONE 'UTC')
                ON CONFLICT DO NOTHING
                """,
                click.event_id,
                click.link_code,
                _naive(click.occurred_at),
                click.visitor_id,
                click.ip,
                click.user_agent,
                click.referrer,
                click.destination,
                click.internal,
                click.prefetch,
                country_code,
            )
        )

    def claim_clicks(self, limit, visitor_ids=None):
        if visitor_ids is not None and not self.has_queued_clicks(visitor_ids):
            return []
        self.env["trackflow.click.queue"].flush_model(["status"])
        query = SQL(
            """
            SELECT q.event_id, q.occurred_at, q.link_code, q.destination, q.visitor_key, q.ip,
                   q.user_agent, q.referrer, q.internal, q.prefetch, click.id
              FROM trackflow_click_queue q
              LEFT JOIN link_tracker_click click ON click.trackflow_event_id = q.event_id
             WHERE q.status = 'queued' %s
             ORDER BY q.occurred_at, q.event_id
             LIMIT %s
               FOR UPDATE OF q SKIP LOCKED
            """,
            SQL() if visitor_ids is None else SQL("AND q.visitor_key = ANY(%s)", list(visitor_ids)),
            limit,
        )
        try:
            with self.env.cr.savepoint(flush=False):
                rows = self._select(query)
        except SerializationFailure:
            # Another worker has just recorded some of them; it has seen to the rest.
            return []
        recorded = [row[0] for row in rows if row[-1]]
        if recorded:
            self._settle(recorded)
        return [_click(*row[:-1]) for row in rows if not row[-1]]

    def has_queued_clicks(self, visitor_ids):
        wanted = frozenset(visitor_ids)
        # One transaction sees one state of the queue, so that an empty answer stays true.
        if wanted <= self._idle_visitors:
            return False
        [[found]] = self._select(
            SQL(
                """
                SELECT EXISTS (SELECT FROM trackflow_click_queue
                                WHERE status = 'queued' AND visitor_key = ANY(%s))
                """,
                list(wanted),
            )
        )
        if not found:
            self._idle_visitors = wanted
        return found

    def reject_click(self, click, reason):
        self.env.cr.execute(
            SQL(
                """
                UPDATE trackflow_click_queue
                   SET status = 'failed', error_message = %s, processed_at = %s
                 WHERE event_id = %s
                """,
                reason.replace("\0", ""),
                self.env.cr.now(),
                click.event_id,
            )
        )

    def _settle(self, event_ids):
        self.env.cr.execute(
            SQL(
                """
                UPDATE trackflow_click_queue SET status = 'done', processed_at = %s
                 WHERE event_id = ANY(%s) AND status = 'queued'
                """,
                self.env.cr.now(),
                list(event_ids),
            )
        )

    def links(self, codes):
        self.env["link.tracker"].flush_model(
            ["url", "campaign_id", "medium_id", "source_id", "label"]
        )
        self.env["link.tracker.code"].flush_model(["code", "link_id"])
        rows = self._select(
            SQL(
                """
                SELECT code.code, link.url, COALESCE(source.name, ''), COALESCE(medium.name, ''),
                       COALESCE(campaign.name, ''), COALESCE(link.label, '')
                  FROM link_tracker_code code
                  JOIN link_tracker link ON link.id = code.link_id
                  LEFT JOIN utm_campaign campaign ON campaign.id = link.campaign_id
                  LEFT JOIN utm_medium medium ON medium.id = link.medium_id
                  LEFT JOIN utm_source source ON source.id = link.source_id
                 WHERE code.code = ANY(%s)
                """,
                [code for code in codes if "\0" not in code],
            )
        )
        return {row[0]: Link(*row) for row in rows}

    def sessions(self, visitor_ids):
        if not visitor_ids:
            return []
        rows = self._select(
            SQL(
                """
                SELECT s.session_key, v.visitor_key, s.session_start, s.session_end, s.hits,
                       COALESCE(s.entry_page, ''), COALESCE(s.exit_page, ''),
                       s.source, s.medium, s.campaign, s.channel, s.content, s.term,
                       s.verdict, s.reason, s.device_type, s.browser, s.os
                  FROM trackflow_session s
                  JOIN trackflow_visitor v ON v.id = s.visitor_id
                 WHERE v.visitor_key = ANY(%s)
                """,
                list(visitor_ids),
            )
        )
        return [
            Session(
                id=key,
                visitor_id=visitor,
                started_at=_aware(start),
                ended_at=_aware(end),
                hits=hits,
                entry_page=entry,
                exit_page=exit_,
                source=Source(*(text or "" for text in rest[:6])),
                agent=Agent(Verdict(rest[6] or "unknown"), *(text or "" for text in rest[7:])),
            )
            for key, visitor, start, end, hits, entry, exit_, *rest in rows
        ]

    def save_visits(self, events, sessions):
        if not events:
            return
        self._save_visitors(events)
        if sessions:
            self._save_sessions(sessions)
        click_ids = self._save_clicks(events)
        if not self._defer_counters:
            self._count_clicks(click_ids)
        self._settle([event.click.event_id for event in events])
        self.env["trackflow.visitor"].invalidate_model(flush=False)
        self.env["trackflow.session"].invalidate_model(flush=False)
        self.env["link.tracker.click"].invalidate_model(flush=False)

    def _save_visitors(self, events):
        by_visitor = defaultdict(list)
        for event in events:
            if event.click.visitor_id:
                by_visitor[event.click.visitor_id].append(event)
        if not by_visitor:
            return
        rows = []
        # Always in one order, so that two workers never wait for each other crosswise.
        for key in sorted(by_visitor):
            own = sorted(by_visitor[key], key=lambda event: event.click.occurred_at)
            first = next((event for event in own if event.counts), own[0])
            rows.append(
                {
                    "visitor_key": key,
                    "first_seen": _text_time(own[0].click.occurred_at),
                    "last_seen": _text_time(own[-1].click.occurred_at),
                    "referrer": first.click.referrer,
                    "source": first.source.source,
                    "medium": first.source.medium,
                    "campaign": first.source.campaign,
                    "content": first.source.content,
                    "term": first.source.term,
                }
            )
        self.env.cr.execute(
            SQL(
                """
                INSERT INTO trackflow_visitor
                    (visitor_key, first_seen, last_seen, source, medium, campaign, content, term,
                     referrer, click_count, session_count, create_date)
                SELECT r.visitor_key, r.first_seen, r.last_seen, r.source, r.medium, r.campaign,
                       r.content, r.term, r.referrer, 0, 0, %(now)s
                  FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(
                       visitor_key text, first_seen timestamp, last_seen timestamp, source text,
                       medium text, campaign text, content text, term text, referrer text)
                ON CONFLICT (visitor_key) DO UPDATE SET
                    (source, medium, campaign, content, term, referrer) = (
                        SELECT f.source, f.medium, f.campaign, f.content, f.term, f.referrer
                          FROM (VALUES (EXCLUDED.first_seen, EXCLUDED.source, EXCLUDED.medium,
                                        EXCLUDED.campaign, EXCLUDED.content, EXCLUDED.term,
                                        EXCLUDED.referrer),
                                       (trackflow_visitor.first_seen, trackflow_visitor.source,
                                        trackflow_visitor.medium, trackflow_visitor.campaign,
                                        trackflow_visitor.content, trackflow_visitor.term,
                                        trackflow_visitor.referrer)
                               ) AS f(seen, source, medium, campaign, content, term, referrer)
                         ORDER BY f.seen NULLS LAST LIMIT 1),
                    first_seen = LEAST(trackflow_visitor.first_seen, EXCLUDED.first_seen),
                    last_seen = GREATEST(trackflow_visitor.last_seen, EXCLUDED.last_seen)
                """,
                rows=json.dumps(rows),
                now=self.env.cr.now(),
            )
        )

    def _save_sessions(self, sessions):
        rows = [
            {
                "session_key": session.id,
                "visitor_key": session.visitor_id,
                "session_start": _text_time(session.started_at),
                "session_end": _text_time(session.ended_at),
                "hits": session.hits,
                "entry_page": session.entry_page,
                "exit_page": session.exit_page,
                "source": session.source.source,
                "medium": session.source.medium,
                "campaign": session.source.campaign,
                "channel": session.source.channel,
                "content": session.source.content,
                "term": session.source.term,
                "verdict": session.agent.verdict.value,
                "reason": session.agent.reason,
                "device_type": session.agent.device,
                "browser": session.agent.browser,
                "os": session.agent.os,
            }
            for session in sorted(sessions, key=lambda session: session.id)
        ]
        self.env.cr.execute(
            SQL(
                """
                INSERT INTO trackflow_session
                    (visitor_id, session_key, session_start, session_end, hits, is_bounce,
                     entry_page, exit_page, source, medium, campaign, channel, content, term,
                     verdict, reason, device_type, browser, os, create_date)
                SELECT v.id, r.session_key, r.session_start, r.session_end, r.hits, r.hits = 1,
                       r.entry_page, r.exit_page, r.source, r.medium, r.campaign, r.channel,
                       r.content, r.term, r.verdict, r.reason, r.device_type, r.browser, r.os,
                       %(now)s
                  FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(
                       session_key text, visitor_key text, session_start timestamp,
                       session_end timestamp, hits int, entry_page text, exit_page text,
                       source text, medium text, campaign text, channel text, content text,
                       term text, verdict text, reason text, device_type text, browser text,
                       os text)
                  JOIN trackflow_visitor v ON v.visitor_key = r.visitor_key
                ON CONFLICT (session_key) DO UPDATE SET
                    session_start = EXCLUDED.session_start,
                    session_end = EXCLUDED.session_end,
                    hits = EXCLUDED.hits,
                    is_bounce = EXCLUDED.is_bounce,
                    entry_page = EXCLUDED.entry_page,
                    exit_page = EXCLUDED.exit_page,
                    source = EXCLUDED.source,
                    medium = EXCLUDED.medium,
                    campaign = EXCLUDED.campaign,
                    channel = EXCLUDED.channel,
                    content = EXCLUDED.content,
                    term = EXCLUDED.term
                """,
                rows=json.dumps(rows),
                now=self.env.cr.now(),
            )
        )

    def _save_clicks(self, events):
        """Insert the clicks, bring their visitors' counters up to date, return the new ids."""
        rows = [
            {
                "event_id": event.click.event_id,
                "link_code": event.click.link_code,
                "occurred_at": _text_time(event.click.occurred_at),
                "visitor_key": event.click.visitor_id,
                "session_key": event.session_id,
                "ip": event.click.ip,
                "user_agent": event.click.user_agent,
                "referrer": event.click.referrer,
                "destination": event.click.destination,
                "internal": event.click.internal,
                "counts": event.counts,
                "source": event.source.source,
                "medium": event.source.medium,
                "campaign": event.source.campaign,
                "channel": event.source.channel,
                "content": event.source.content,
                "term": event.source.term,
                "verdict": event.agent.verdict.value,
                "reason": event.agent.reason,
                "device": event.agent.device,
                "browser": event.agent.browser,
                "os": event.agent.os,
            }
            for event in events
        ]
        inserted = self._select(
            SQL(
                """
                INSERT INTO link_tracker_click
                    (link_id, campaign_id, country_id, ip, trackflow_event_id,
                     trackflow_occurred_at, trackflow_visitor_id, trackflow_session_id,
                     trackflow_source, trackflow_medium, trackflow_campaign, trackflow_content,
                     trackflow_term, trackflow_channel, trackflow_verdict, trackflow_reason,
                     trackflow_device, trackflow_browser, trackflow_os, trackflow_referrer,
                     trackflow_destination, trackflow_user_agent, trackflow_internal,
                     trackflow_counts, trackflow_rolled_up,
                     create_uid, create_date, write_uid, write_date)
                SELECT link.id, link.campaign_id, country.id, r.ip, r.event_id,
                       r.occurred_at, v.id, s.id,
                       r.source, r.medium, r.campaign, r.content,
                       r.term, r.channel, r.verdict, r.reason,
                       r.device, r.browser, r.os, r.referrer,
                       r.destination, r.user_agent, r.internal,
                       r.counts, %(rolled_up)s,
                       %(uid)s, r.occurred_at, %(uid)s, %(now)s
                  FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(
                       event_id text, link_code text, occurred_at timestamp, visitor_key text,
                       session_key text, ip text, user_agent text, referrer text,
                       destination text, internal bool, counts bool, source text, medium text,
                       campaign text, channel text, content text, term text, verdict text,
                       reason text, device text, browser text, os text)
                  JOIN link_tracker_code code ON code.code = r.link_code
                  JOIN link_tracker link ON link.id = code.link_id
                  LEFT JOIN trackflow_visitor v ON v.visitor_key = r.visitor_key
                  LEFT JOIN trackflow_session s ON s.session_key = r.session_key
                  LEFT JOIN trackflow_click_queue q ON q.event_id = r.event_id
                  LEFT JOIN res_country country ON country.code = q.country_code
                ON CONFLICT (trackflow_event_id) WHERE trackflow_event_id IS NOT NULL DO NOTHING
                RETURNING id
                """,
                rows=json.dumps(rows),
                rolled_up=not self._defer_counters,
                uid=self.env.uid,
                now=self.env.cr.now(),
            )
        )
        click_ids = [row[0] for row in inserted]
        self.env.cr.execute(
            SQL(
                """
                UPDATE trackflow_visitor v
                   SET click_count = COALESCE(v.click_count, 0) + new.clicks,
                       session_count = (SELECT count(*) FROM trackflow_session s
                                         WHERE s.visitor_id = v.id)
                  FROM (SELECT trackflow_visitor_id AS id, count(*) AS clicks
                          FROM link_tracker_click
                         WHERE id = ANY(%s) AND trackflow_counts
                         GROUP BY 1) new
                 WHERE v.id = new.id
                """,
                click_ids,
            )
        )
        return click_ids

    def count_waiting_clicks(self):
        """Add to the links' counters what `defer_counters` has left out."""
        rows = self._select(
            SQL(
                """
                UPDATE link_tracker_click SET trackflow_rolled_up = TRUE
                 WHERE trackflow_rolled_up IS FALSE RETURNING id
                """
            )
        )
        if rows:
            self._count_clicks([row[0] for row in rows])

    def _count_clicks(self, click_ids):
        self.env["link.tracker"].flush_model(["count"])
        self.env.cr.execute(
            SQL(
                """
                UPDATE link_tracker link
                   SET count = COALESCE(link.count, 0) + new.clicks,
                       trackflow_unique_visitors =
                           COALESCE(link.trackflow_unique_visitors, 0) + new.visitors,
                       trackflow_last_click = GREATEST(link.trackflow_last_click, new.last_click)
                  FROM (
                    SELECT c.link_id, count(*) AS clicks, max(c.trackflow_occurred_at) AS last_click,
                           count(DISTINCT c.trackflow_visitor_id) FILTER (
                               WHERE NOT EXISTS (
                                   SELECT FROM link_tracker_click old
                                    WHERE old.link_id = c.link_id
                                      AND old.trackflow_visitor_id = c.trackflow_visitor_id
                                      AND old.trackflow_counts
                                      AND NOT old.id = ANY(%(ids)s))) AS visitors
                      FROM link_tracker_click c
                     WHERE c.id = ANY(%(ids)s) AND c.trackflow_counts
                     GROUP BY c.link_id
                     ORDER BY c.link_id
                  ) new
                 WHERE link.id = new.link_id
                """,
                ids=click_ids,
            )
        )
        self.env["link.tracker"].invalidate_model(
            ["count", "trackflow_unique_visitors", "trackflow_last_click"], flush=False
        )

    # -- leads -----------------------------------------------------------------------------

    def save_leads(self, leads):
        ids = self._resolve("lead", [lead.ref for lead in leads])
        remote = [lead for lead in leads if not _LOCAL_REF.match(lead.ref)]
        if remote:
            self._save_remote_leads(remote, ids)
        self._bind({(ids[lead.ref], key) for lead in leads for key in lead.visitor_ids})
        if all(ids[lead.ref] in self._new for lead in leads):
            return leads
        visitors = self._visitors_of(ids.values())
        if not remote:
            return [replace(lead, visitor_ids=visitors[ids[lead.ref]]) for lead in leads]
        self._read(ids.values())
        return [self._lead(ids[lead.ref], visitors) for lead in leads]

    def _save_remote_leads(self, leads, ids):
        facts = {}
        for lead in leads:
            facts[lead.ref] = facts[lead.ref].merged_with(lead) if lead.ref in facts else lead
        rows = self._read(ids[ref] for ref in facts if ref in ids)
        to_create = []
        for ref, fact in facts.items():
            row = rows.get(ids.get(ref))
            if row is None:
                to_create.append(fact)
                continue
            known = self._lead(row["id"], {}) if row["trackflow_lead_version"] else None
            state = known.merged_with(fact) if known else fact
            if replace(state, visitor_ids=frozenset()) != known:
                vals = self._prepare_lead(state, row)
                # What people typed in here is not lost to what the other CRM does not know.
                self._browse(row["id"]).write({k: v for k, v in vals.items() if v})
        if to_create:
            created = self._leads_model().create(
                [
                    {**self._prepare_lead(fact, None), "trackflow_lead_ref": fact.ref}
                    for fact in to_create
                ]
            )
            for fact, record in zip(to_create, created, strict=True):
                ids[fact.ref] = self._ids["lead"][fact.ref] = record.id
        self._forget_rows(keep_ids=True)

    def _prepare_lead(self, lead, row):
        vals = {
            "contact_name": _clean(lead.contact_name),
            "email_from": _clean(lead.email),
            "phone": _clean(lead.phone),
            "partner_name": _clean(lead.company),
            "trackflow_lead_date": _naive(lead.came_in_at),
            "trackflow_lead_version": _version(lead),
        }
        name = _clean(lead.name or lead.contact_name or lead.email or lead.ref)
        # A deal's own name says more than that of the lead it came from.
        if row is None or not row["trackflow_deal_version"]:
            vals["name"] = name
        if row is None:
            vals["type"] = (
                "lead" if self.env.user.has_group("crm.group_use_lead") else "opportunity"
            )
            vals["user_id"] = False
            vals["company_id"] = self.env.company.id
        return vals

    def _bind(self, pairs):
        """Bind visitors, given by their keys, to leads; a new visitor becomes known by it."""
        if not pairs:
            return
        rows = [{"lead_id": lead_id, "visitor_key": key} for lead_id, key in sorted(pairs)]
        self.env.cr.execute(
            SQL(
                """
                WITH pair AS (
                    SELECT r.lead_id, r.visitor_key
                      FROM jsonb_to_recordset(%(rows)s::jsonb)
                           AS r(lead_id int, visitor_key text)
                ), fresh AS (
                    INSERT INTO trackflow_visitor
                           (visitor_key, click_count, session_count, create_date)
                    SELECT DISTINCT pair.visitor_key, 0, 0, %(now)s::timestamp FROM pair
                     WHERE NOT EXISTS (SELECT FROM trackflow_visitor v
                                        WHERE v.visitor_key = pair.visitor_key)
                    ON CONFLICT DO NOTHING
                    RETURNING id, visitor_key
                ), visitor AS (
                    SELECT id, visitor_key FROM fresh
                     UNION
                    SELECT id, visitor_key FROM trackflow_visitor v
                     WHERE v.visitor_key IN (SELECT visitor_key FROM pair)
                ), bound AS (
                    INSERT INTO crm_lead_trackflow_visitor_rel (lead_id, visitor_id)
                    SELECT pair.lead_id, visitor.id FROM pair JOIN visitor USING (visitor_key)
                    ON CONFLICT DO NOTHING
                    RETURNING lead_id, visitor_id
                )
                UPDATE crm_lead SET trackflow_visitor_id = first.visitor_id
                  FROM (SELECT lead_id, min(visitor_id) AS visitor_id FROM bound GROUP BY 1) first
                 WHERE crm_lead.id = first.lead_id AND crm_lead.trackflow_visitor_id IS NULL
                """,
                rows=json.dumps(rows),
                now=self.env.cr.now(),
            )
        )
        self._browse(lead_id for lead_id, _key in pairs).invalidate_recordset(
            ["trackflow_visitor_id", "trackflow_visitor_ids"], flush=False
        )
        self.env["trackflow.visitor"].invalidate_model(["lead_ids"], flush=False)

    def _visitors_of(self, lead_ids):
        found = defaultdict(set)
        rows = self._select(
            SQL(
                """
                SELECT rel.lead_id, v.visitor_key
                  FROM crm_lead_trackflow_visitor_rel rel
                  JOIN trackflow_visitor v ON v.id = rel.visitor_id
                 WHERE rel.lead_id = ANY(%s)
                """,
                list(lead_ids),
            )
        )
        for lead_id, key in rows:
            found[lead_id].add(key)
        return defaultdict(frozenset, {key: frozenset(value) for key, value in found.items()})

    def leads(self, refs):
        ids = self._resolve("lead", refs, merged=False)
        rows = self._read(ids.values())
        visitors = self._visitors_of(rows) if rows else {}
        return [
            replace(self._lead(lead_id, visitors), ref=ref)
            for ref, lead_id in sorted(ids.items())
            if lead_id in rows and self._is_lead(rows[lead_id])
        ]

    def leads_of_visitors(self, visitor_ids):
        rows = self._select(
            SQL(
                """
                SELECT DISTINCT COALESCE(lead.trackflow_lead_ref, %(prefix)s || lead.id)
                  FROM trackflow_visitor v
                  JOIN crm_lead_trackflow_visitor_rel rel ON rel.visitor_id = v.id
                  JOIN crm_lead lead ON lead.id = rel.lead_id
                 WHERE v.visitor_key = ANY(%(keys)s)
                   AND (lead.trackflow_lead_ref IS NULL
                        OR lead.trackflow_lead_version IS NOT NULL)
                """,
                prefix=f"{NAMESPACE}/",
                keys=list(visitor_ids),
            )
        )
        return {row[0] for row in rows}

    def mark_stale(self, lead_refs):
        self.mark_records_stale(
            dict.fromkeys(self._resolve("lead", lead_refs, merged=False).values(), ())
        )

    def mark_records_stale(self, visitors_by_lead):
        """Let the click job refresh these leads, and bind these visitors to them first."""
        rows = [
            {"id": lead_id, "visitors": ",".join(sorted(keys))}
            for lead_id, keys in visitors_by_lead.items()
        ]
        self.env.cr.execute(
            SQL(
                """
                UPDATE crm_lead
                   SET trackflow_stale = TRUE,
                       trackflow_pending_visitors = NULLIF(concat_ws(
                           ',', NULLIF(trackflow_pending_visitors, ''), NULLIF(r.visitors, '')), '')
                  FROM jsonb_to_recordset(%s::jsonb) AS r(id int, visitors text)
                 WHERE crm_lead.id = r.id
                """,
                json.dumps(rows),
            )
        )
        self._browse(visitors_by_lead).invalidate_recordset(
            ["trackflow_stale", "trackflow_pending_visitors"], flush=False
        )

    def take_stale(self, limit):
        rows = self._select(
            SQL(
                """
                WITH taken AS (
                    SELECT id, trackflow_pending_visitors AS pending FROM crm_lead
                     WHERE trackflow_stale IS TRUE
                     ORDER BY id LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
                )
                UPDATE crm_lead
                   SET trackflow_stale = FALSE, trackflow_pending_visitors = NULL
                  FROM taken
                 WHERE crm_lead.id = taken.id
                RETURNING crm_lead.id, taken.pending,
                          COALESCE(crm_lead.trackflow_lead_ref, %(prefix)s || crm_lead.id)
                """,
                limit=limit,
                prefix=f"{NAMESPACE}/",
            )
        )
        self._bind(
            {
                (lead_id, key)
                for lead_id, pending, _ref in rows
                if pending
                for key in pending.split(",")
            }
        )
        self._browse(row[0] for row in rows).invalidate_recordset(
            ["trackflow_stale", "trackflow_pending_visitors"], flush=False
        )
        return {ref for _id, _pending, ref in rows}

    def touches(self, lead_refs):
        ids = self._resolve("lead", lead_refs)
        rows = self._select(
            SQL(
                """
                SELECT rel.lead_id, c.trackflow_event_id, c.trackflow_occurred_at,
                       COALESCE(c.trackflow_channel, ''), COALESCE(c.trackflow_source, ''),
                       COALESCE(c.trackflow_medium, ''), COALESCE(c.trackflow_campaign, ''),
                       COALESCE(c.trackflow_content, ''), COALESCE(c.trackflow_term, ''),
                       v.visitor_key,
                       (SELECT code.code FROM link_tracker_code code
                         WHERE code.link_id = c.link_id ORDER BY code.id DESC LIMIT 1)
                  FROM crm_lead_trackflow_visitor_rel rel
                  JOIN trackflow_visitor v ON v.id = rel.visitor_id
                  JOIN link_tracker_click c ON c.trackflow_visitor_id = v.id
                 WHERE rel.lead_id = ANY(%s)
                   AND c.trackflow_counts AND c.trackflow_event_id IS NOT NULL
                """,
                list(set(ids.values())),
            )
        )
        found = defaultdict(list)
        for lead_id, event_id, moment, *rest in rows:
            found[lead_id].append(Touch(event_id, _aware(moment), *rest[:-1], rest[-1] or ""))
        return {ref: found[lead_id] for ref, lead_id in ids.items()}

    def save_summaries(self, summaries):
        ids = self._resolve("lead", summaries)
        rows = []
        for ref, summary in summaries.items():
            lead_id = ids.get(ref)
            if lead_id is None or (lead_id in self._new and summary.last is None):
                continue
            first, last = summary.first, summary.last
            rows.append(
                {
                    "id": lead_id,
                    "source": last and last.source,
                    "medium": last and last.medium,
                    "campaign": last and last.campaign,
                    "first_source": first and (first.source or first.channel),
                    "last_source": last and (last.source or last.channel),
                    "first_date": first and _text_time(first.occurred_at),
                    "last_date": last and _text_time(last.occurred_at),
                    "touches": summary.touch_count,
                    "last_event": last and last.id,
                }
            )
        if not rows:
            return
        leads = self._browse(row["id"] for row in rows)
        leads.flush_recordset(["campaign_id", "medium_id", "source_id"])
        self.env.cr.execute(
            SQL(
                """
                UPDATE crm_lead
                   SET trackflow_source = r.source,
                       trackflow_medium = r.medium,
                       trackflow_campaign = r.campaign,
                       trackflow_first_touch_source = r.first_source,
                       trackflow_last_touch_source = r.last_source,
                       trackflow_first_touch_date = r.first_date,
                       trackflow_last_touch_date = r.last_date,
                       trackflow_touch_count = r.touches,
                       trackflow_marketing_influenced = r.touches > 0,
                       campaign_id = COALESCE(crm_lead.campaign_id, link.campaign_id),
                       medium_id = COALESCE(crm_lead.medium_id, link.medium_id),
                       source_id = COALESCE(crm_lead.source_id, link.source_id)
                  FROM jsonb_to_recordset(%s::jsonb) AS r(
                       id int, source text, medium text, campaign text, first_source text,
                       last_source text, first_date timestamp, last_date timestamp, touches int,
                       last_event text)
                  LEFT JOIN link_tracker_click click ON click.trackflow_event_id = r.last_event
                  LEFT JOIN link_tracker link ON link.id = click.link_id
                 WHERE crm_lead.id = r.id
                """,
                json.dumps(rows),
            )
        )
        leads.invalidate_recordset(_SUMMARY_FIELDS, flush=False)

    # -- deals -----------------------------------------------------------------------------

    def save_deals(self, deals):
        remote = [deal for deal in deals if not _LOCAL_REF.match(deal.ref)]
        if not remote:
            return deals
        ids = self._resolve("deal", [deal.ref for deal in deals])
        lead_ids = self._resolve("lead", {deal.lead_ref for deal in remote if deal.lead_ref})
        facts = {}
        for deal in remote:
            facts[deal.ref] = facts[deal.ref].merged_with(deal) if deal.ref in facts else deal
        self._read([*ids.values(), *lead_ids.values()])
        for ref, fact in facts.items():
            ids[ref] = self._save_remote_deal(fact, ids.get(ref), lead_ids)
            self._ids["deal"][ref] = ids[ref]
        self._forget_rows(keep_ids=True)
        self._read(ids.values())
        return [
            deal if _LOCAL_REF.match(deal.ref) else self._deal(ids[deal.ref]) for deal in deals
        ]

    def _save_remote_deal(self, fact, record_id, lead_ids):
        """Take in one deal; returns the id of its record."""
        row = self._rows.get(record_id)
        if row and row["trackflow_deal_ref"] and row["trackflow_deal_ref"] != fact.ref:
            # Its record was merged into another one here, which speaks for both.
            return record_id
        lead_row = self._rows.get(lead_ids.get(fact.lead_ref))
        if row is None and lead_row and not lead_row["trackflow_deal_ref"]:
            row = lead_row
        known = self._deal(row["id"]) if row and row["trackflow_deal_version"] else None
        state = known.merged_with(fact) if known else fact
        if state == known:
            return row["id"]
        # The value held is in the company's currency already.
        told = state.event_id == fact.event_id and state.occurred_at == fact.occurred_at
        company = self.env["res.company"].browse(row["company_id"]) if row else self.env.company
        vals = self._prepare_deal(state, company, with_value=told)
        vals["trackflow_deal_ref"] = fact.ref
        if lead_row and (row is None or lead_row["id"] != row["id"]):
            vals["trackflow_origin_id"] = lead_row["trackflow_origin_id"] or lead_row["id"]
        elif fact.lead_ref and lead_row is None and not (row and row["trackflow_lead_ref"]):
            vals["trackflow_lead_ref"] = fact.lead_ref
        if row is None:
            record = self._leads_model().create(
                {
                    "name": _clean(fact.ref),
                    "user_id": False,
                    "company_id": company.id,
                    **vals,
                }
            )
        else:
            record = self._browse(row["id"])
            record.write(vals)
        if told:
            self._set_status(record, state)
        if "trackflow_lead_ref" in vals:
            self._ids["lead"][fact.lead_ref] = lead_ids[fact.lead_ref] = record.id
        record.flush_recordset()
        self._forget_rows(keep_ids=True)
        self._read([record.id, *lead_ids.values()])
        return record.id

    def _prepare_deal(self, deal, company, with_value):
        vals = {
            "type": "opportunity",
            "trackflow_deal_date": _naive(deal.began_at),
            "trackflow_deal_version": _version(deal),
        }
        if deal.name:
            vals["name"] = _clean(deal.name)
        if with_value:
            vals["expected_revenue"] = self._in_company_currency(deal, company)
        return vals

    def _in_company_currency(self, deal, company):
        amount = float(from_minor_units(deal.value, deal.digits))
        if deal.currency == company.currency_id.name:
            return amount
        currency = self.env["res.currency"].search([("name", "=", deal.currency)], limit=1)
        if not currency.active:
            raise InvalidEvent(
                f"The currency {deal.currency!r} of {deal.ref} is not active in Odoo: activate it "
                "and give it a rate."
            )
        return currency._convert(amount, company.currency_id, company, deal.began_at.date())

    def _set_status(self, record, deal):
        """Win, lose or reopen the way Odoo does it."""
        status = DealStatus({"pending": "open"}.get(record.won_status, record.won_status) or "open")
        if status is not deal.status:
            if status is DealStatus.WON:
                stage = record._stage_find(domain=[("is_won", "=", False)])
                record.write({"stage_id": stage.id})
            elif status is DealStatus.LOST:
                record.action_restore()
            if deal.status is DealStatus.WON:
                record.action_set_won()
            elif deal.status is DealStatus.LOST:
                record.action_set_lost()
        closed_at = deal.closed_at and _naive(deal.closed_at)
        record.write({"trackflow_closed_date": closed_at or False})

    def deals_of_leads(self, lead_refs):
        ids = set(self._resolve("lead", lead_refs).values())
        # A lead that has just been made has no other deal than the one being told.
        if ids <= self._new:
            return []
        rows = self._read_where(
            SQL(
                "(lead.id = ANY(%(ids)s) OR lead.trackflow_origin_id = ANY(%(ids)s))"
                " AND lead.type = 'opportunity'",
                ids=list(ids),
            )
        )
        return [self._deal(lead_id) for lead_id in rows]

    def deals(self, refs=None):
        if refs is None:
            rows = self._read_where(SQL("lead.type = 'opportunity'"))
        else:
            rows = self._read(self._resolve("deal", refs).values())
        return [
            self._deal(lead_id) for lead_id, row in rows.items() if row["type"] == "opportunity"
        ]

    def models(self, deal_refs):
        ids = self._resolve("deal", deal_refs)
        rows = self._read(ids.values())
        found, models = {}, {}
        for ref, lead_id in ids.items():
            row = rows.get(lead_id)
            key = row and (row["model_id"], row["window_days"])
            if not key or not key[0]:
                continue
            if key not in models:
                models[key] = self._core_model(*key)
            if models[key]:
                found[ref] = models[key]
                self._chosen_models[lead_id] = key[0]
        return found

    def _core_model(self, model_id, window_days):
        try:
            return self.env["trackflow.attribution.model"].browse(model_id)._core_model(window_days)
        except ConfigError as error:
            _logger.error("%s Deals are split by the linear rule meanwhile.", error)
            return None

    def replace_credits(self, attributions):
        ids = self._resolve("deal", [attribution.deal.ref for attribution in attributions])
        rows = self._read(ids.values())
        credits, old = [], []
        for attribution in attributions:
            lead_id = ids[attribution.deal.ref]
            if lead_id not in rows:
                continue
            if lead_id not in self._new:
                old.append(lead_id)
            credits += self._prepare_credits(attribution, rows[lead_id])
        self.env.cr.execute(
            SQL(
                """
                %(delete)s
                INSERT INTO trackflow_deal_attribution
                    (lead_id, attribution_model_id, company_id, currency_id, deal_value,
                     deal_status, position, sequence, touch_at, channel, source, medium,
                     campaign, content, term, campaign_id, link_id, click_id, visitor_id,
                     weight, value, days_to_conversion, anchor, digest,
                     create_uid, create_date, write_uid, write_date)
                SELECT r.lead_id, r.model_id, r.company_id, r.currency_id, r.deal_value,
                       r.deal_status, r.position, r.sequence, r.touch_at, r.channel, r.source,
                       r.medium, r.campaign, r.content, r.term, click.campaign_id,
                       click.link_id, click.id, click.trackflow_visitor_id,
                       r.weight, r.value,
                       EXTRACT(EPOCH FROM r.anchor - r.touch_at) / 86400, r.anchor, r.digest,
                       %(uid)s, %(now)s, %(uid)s, %(now)s
                  FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(
                       lead_id int, model_id int, company_id int, currency_id int,
                       deal_value numeric, deal_status text, position text, sequence int,
                       touch_at timestamp, channel text, source text, medium text,
                       campaign text, content text, term text, event_id text, weight float8,
                       value numeric, anchor timestamp, digest text)
                  LEFT JOIN link_tracker_click click ON click.trackflow_event_id = r.event_id
                """,
                delete=SQL(
                    "WITH old AS (DELETE FROM trackflow_deal_attribution WHERE lead_id = ANY(%s))",
                    old,
                )
                if old
                else SQL(),
                rows=json.dumps(credits),
                uid=self.env.uid,
                now=self.env.cr.now(),
            )
        )
        self.env["trackflow.deal.attribution"].invalidate_model(flush=False)
        self._browse(ids.values()).invalidate_recordset(["trackflow_attribution_ids"], flush=False)

    def _prepare_credits(self, attribution, row):
        deal, digits = attribution.deal, attribution.deal.digits
        shared = {
            "lead_id": row["id"],
            "model_id": self._chosen_models.get(row["id"]),
            "company_id": row["company_id"],
            "currency_id": row["currency_id"],
            "deal_value": str(from_minor_units(deal.value, digits)),
            "deal_status": deal.status.value,
            "anchor": _text_time(attribution.anchor),
            "digest": attribution.digest,
        }
        prepared = []
        for sequence, credit in enumerate(attribution.credits, 1):
            touch = credit.touch
            prepared.append(
                {
                    **shared,
                    "sequence": sequence,
                    "position": credit.position,
                    "channel": credit.channel,
                    "weight": credit.weight,
                    "value": str(from_minor_units(credit.value, digits)),
                    **(_touch_columns(touch) if touch else {}),
                }
            )
        return prepared

    def replace_conversions(self, keys, conversions):
        ids = {
            kind: self._resolve(
                "lead" if kind == "lead" else "deal", [ref for ref, own in keys if own == kind]
            )
            for kind in {kind for _ref, kind in keys}
        }
        kept, rows = set(), []
        for conversion in conversions:
            lead_id = ids[conversion.kind][conversion.ref]
            kept.add((lead_id, conversion.kind))
            touch = conversion.touch
            rows.append(
                {
                    "lead_id": lead_id,
                    "kind": conversion.kind,
                    "occurred_at": _text_time(conversion.occurred_at),
                    "value": str(from_minor_units(conversion.value, conversion.digits)),
                    **(_touch_columns(touch) if touch else {}),
                }
            )
        gone = [
            {"lead_id": lead_id, "kind": kind}
            for kind, found in ids.items()
            for lead_id in found.values()
            if lead_id not in self._new and (lead_id, kind) not in kept
        ]
        if gone:
            self.env.cr.execute(
                SQL(
                    """
                    DELETE FROM trackflow_conversion c
                     USING jsonb_to_recordset(%s::jsonb) AS r(lead_id int, kind text)
                     WHERE c.lead_id = r.lead_id AND c.kind = r.kind
                    """,
                    json.dumps(gone),
                )
            )
        if rows:
            self._save_conversions(rows)
        if gone or rows:
            self.env["trackflow.conversion"].invalidate_model(flush=False)

    def _save_conversions(self, rows):
        held = self._read({row["lead_id"] for row in rows})
        for row in rows:
            row["company_id"] = held[row["lead_id"]]["company_id"]
            row["currency_id"] = held[row["lead_id"]]["currency_id"]
        self.env.cr.execute(
            SQL(
                """
                INSERT INTO trackflow_conversion
                    (lead_id, kind, occurred_at, value, currency_id, company_id, channel, source,
                     medium, campaign, visitor_id, link_id, click_id, campaign_id,
                     create_uid, create_date, write_uid, write_date)
                SELECT r.lead_id, r.kind, r.occurred_at, r.value, r.currency_id, r.company_id,
                       r.channel, r.source, r.medium, r.campaign, click.trackflow_visitor_id,
                       click.link_id, click.id, click.campaign_id,
                       %(uid)s, %(now)s, %(uid)s, %(now)s
                  FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(
                       lead_id int, kind text, occurred_at timestamp, value numeric,
                       currency_id int, company_id int, channel text, source text, medium text,
                       campaign text, event_id text)
                  LEFT JOIN link_tracker_click click ON click.trackflow_event_id = r.event_id
                ON CONFLICT (lead_id, kind) DO UPDATE SET
                    occurred_at = EXCLUDED.occurred_at,
                    value = EXCLUDED.value,
                    currency_id = EXCLUDED.currency_id,
                    company_id = EXCLUDED.company_id,
                    channel = EXCLUDED.channel,
                    source = EXCLUDED.source,
                    medium = EXCLUDED.medium,
                    campaign = EXCLUDED.campaign,
                    visitor_id = EXCLUDED.visitor_id,
                    link_id = EXCLUDED.link_id,
                    click_id = EXCLUDED.click_id,
                    campaign_id = EXCLUDED.campaign_id,
                    write_date = EXCLUDED.write_date
                """,
                rows=json.dumps(rows),
                uid=self.env.uid,
                now=self.env.cr.now(),
            )
        )

    # -- merging and forgetting --------------------------------------------------------------

    def merge_leads(self, winner, losers):
        ids = self._resolve("lead", [winner, *losers])
        winner_id = ids[winner]
        loser_ids = [lead_id for lead_id in {ids.get(ref) for ref in losers} if lead_id]
        loser_ids = [lead_id for lead_id in loser_ids if lead_id != winner_id]
        if not loser_ids:
            return
        leads = self._browse([winner_id, *loser_ids])
        leads.flush_recordset(["trackflow_lead_date", "trackflow_lead_ref", "trackflow_deal_ref"])
        args = {"winner": winner_id, "losers": loser_ids, "absorb": self._absorb_deals}
        for statement in (
            """
            INSERT INTO crm_lead_trackflow_visitor_rel (lead_id, visitor_id)
            SELECT DISTINCT %(winner)s, visitor_id FROM crm_lead_trackflow_visitor_rel
             WHERE lead_id = ANY(%(losers)s)
            ON CONFLICT DO NOTHING
            """,
            "DELETE FROM crm_lead_trackflow_visitor_rel WHERE lead_id = ANY(%(losers)s)",
            "DELETE FROM trackflow_conversion WHERE lead_id = ANY(%(losers)s) AND kind = 'lead'",
            "UPDATE trackflow_merged_ref SET lead_id = %(winner)s WHERE lead_id = ANY(%(losers)s)",
            """
            INSERT INTO trackflow_merged_ref (ref, kind, lead_id)
            SELECT trackflow_lead_ref, 'lead', %(winner)s FROM crm_lead
             WHERE id = ANY(%(losers)s) AND trackflow_lead_ref IS NOT NULL
            ON CONFLICT (ref, kind) DO UPDATE SET lead_id = EXCLUDED.lead_id
            """,
            """
            UPDATE crm_lead
               SET trackflow_lead_date = LEAST(trackflow_lead_date, (
                       SELECT min(loser.trackflow_lead_date) FROM crm_lead loser
                        WHERE loser.id = ANY(%(losers)s))),
                   trackflow_visitor_id = COALESCE(trackflow_visitor_id, (
                       SELECT min(visitor_id) FROM crm_lead_trackflow_visitor_rel
                        WHERE lead_id = %(winner)s))
             WHERE id = %(winner)s
            """,
            """
            UPDATE crm_lead SET trackflow_origin_id = %(winner)s
             WHERE trackflow_origin_id = ANY(%(losers)s) AND id != %(winner)s
            """,
            """
            UPDATE crm_lead
               SET trackflow_origin_id = CASE WHEN NOT %(absorb)s THEN %(winner)s END,
                   trackflow_lead_ref = NULL,
                   trackflow_lead_version = NULL
             WHERE id = ANY(%(losers)s)
            """,
        ):
            self.env.cr.execute(SQL(statement, **args))  # pylint: disable=sql-injection
        if self._absorb_deals:
            self._absorb(winner_id, loser_ids)
        self.env["crm.lead"].invalidate_model(flush=False)
        self._forget_rows()

    def _absorb(self, winner_id, loser_ids):
        """Odoo makes one record of several opportunities: the winner speaks for their deals."""
        told = self._select(
            SQL(
                """
                WITH told AS (
                    SELECT id, trackflow_deal_ref AS ref, trackflow_deal_version AS version
                      FROM crm_lead WHERE id = ANY(%(all)s) AND trackflow_deal_ref IS NOT NULL
                )
                UPDATE crm_lead SET trackflow_deal_ref = NULL, trackflow_deal_version = NULL
                  FROM told WHERE crm_lead.id = told.id
                RETURNING told.id, told.ref, told.version
                """,
                all=[winner_id, *loser_ids],
            )
        )
        if not told:
            return
        # Its own deal first, or else that of the first loser, keeps being told.
        (_id, ref, version), *others = sorted(told, key=lambda row: (row[0] != winner_id, row[0]))
        self.env.cr.execute(
            SQL(
                """
                UPDATE crm_lead SET trackflow_deal_ref = %s, trackflow_deal_version = %s
                 WHERE id = %s
                """,
                ref,
                version,
                winner_id,
            )
        )
        self.env.cr.execute(
            SQL(
                """
                INSERT INTO trackflow_merged_ref (ref, kind, lead_id)
                SELECT ref, 'deal', %s FROM unnest(%s::text[]) AS ref
                ON CONFLICT (ref, kind) DO UPDATE SET lead_id = EXCLUDED.lead_id
                """,
                winner_id,
                [other[1] for other in others],
            )
        )

    def forget(self, visitor_id):
        lead_ids = [
            row[0]
            for row in self._select(
                SQL(
                    """
                    SELECT rel.lead_id FROM crm_lead_trackflow_visitor_rel rel
                      JOIN trackflow_visitor v ON v.id = rel.visitor_id
                     WHERE v.visitor_key = %s
                    """,
                    visitor_id,
                )
            )
        ]
        for statement in (
            """
            WITH gone AS (
                DELETE FROM link_tracker_click click USING trackflow_visitor v
                 WHERE v.id = click.trackflow_visitor_id AND v.visitor_key = %(key)s
                RETURNING click.link_id, click.trackflow_counts AS counts
            )
            UPDATE link_tracker link
               SET count = link.count - lost.clicks,
                   trackflow_unique_visitors = link.trackflow_unique_visitors - 1
              FROM (SELECT link_id, count(*) AS clicks FROM gone WHERE counts GROUP BY 1) lost
             WHERE link.id = lost.link_id
            """,
            "DELETE FROM trackflow_click_queue WHERE visitor_key = %(key)s",
            "DELETE FROM trackflow_visitor WHERE visitor_key = %(key)s",
        ):
            self.env.cr.execute(SQL(statement, key=visitor_id))  # pylint: disable=sql-injection
        self.env.invalidate_all(flush=False)
        self._forget_rows()
        if lead_ids:
            self.env.cr.execute(
                SQL(
                    """
                    UPDATE crm_lead
                       SET trackflow_visitor_id = (
                           SELECT min(visitor_id) FROM crm_lead_trackflow_visitor_rel
                            WHERE lead_id = crm_lead.id)
                     WHERE id = ANY(%s)
                    """,
                    lead_ids,
                )
            )

    # -- reading leads and deals -------------------------------------------------------------

    def records(self, lead_ids):
        """For each of these records of crm.lead: id, lead (without visitors), deal or None."""
        return [
            (
                lead_id,
                self._lead(lead_id, {}),
                self._deal(lead_id) if row["type"] == "opportunity" else None,
            )
            for lead_id, row in self._read(lead_ids).items()
        ]

    def _lead(self, lead_id, visitors):
        row = self._rows[lead_id]
        lead = lead_from_record(row, NAMESPACE)
        moment, event_id = _parse_version(row["trackflow_lead_version"])
        if moment:
            # The name is left out: the record may carry that of the deal.
            lead = replace(lead, occurred_at=moment, event_id=event_id)
        return replace(
            lead,
            ref=row["trackflow_lead_ref"] or lead.ref,
            visitor_ids=visitors.get(lead_id, frozenset()),
        )

    def _deal(self, lead_id):
        row = self._rows[lead_id]
        deal = deal_from_record(row, NAMESPACE)
        moment, event_id = _parse_version(row["trackflow_deal_version"])
        if moment:
            deal = replace(deal, occurred_at=moment, event_id=event_id)
        return replace(
            deal,
            ref=row["trackflow_deal_ref"] or deal.ref,
            lead_ref=(
                row["origin_ref"]
                or (row["trackflow_origin_id"] and local_ref(row["trackflow_origin_id"]))
                or row["trackflow_lead_ref"]
                or local_ref(lead_id)
            ),
        )

    def _is_lead(self, row):
        """Whether a lead was told of, not just a deal that names one."""
        return bool(not row["trackflow_lead_ref"] or row["trackflow_lead_version"])

    def _read(self, lead_ids):
        """Rows by id, from memory where this transaction has read them already."""
        wanted = dict.fromkeys(lead_ids)
        missing = [lead_id for lead_id in wanted if lead_id not in self._rows]
        if missing:
            self._read_where(SQL("lead.id = ANY(%s)", missing))
        return {lead_id: self._rows[lead_id] for lead_id in wanted if lead_id in self._rows}

    def _read_where(self, condition):
        self.env["crm.lead"].flush_model(_READ_FIELDS)
        self.env["res.company"].flush_model(
            ["currency_id", "trackflow_attribution_model_id", "trackflow_window_days"]
        )
        self.env.cr.execute(
            SQL(
                """
                SELECT lead.id, lead.type, lead.name, lead.contact_name, lead.email_from,
                       lead.phone, lead.partner_name, lead.active, lead.won_status,
                       lead.expected_revenue::text AS expected_revenue,
                       lead.create_date, lead.write_date, lead.date_closed, lead.date_conversion,
                       lead.trackflow_lead_date, lead.trackflow_deal_date,
                       lead.trackflow_closed_date, lead.trackflow_lead_ref,
                       lead.trackflow_deal_ref, lead.trackflow_lead_version,
                       lead.trackflow_deal_version, lead.trackflow_origin_id,
                       origin.trackflow_lead_ref AS origin_ref,
                       company.id AS company_id, currency.id AS currency_id,
                       currency.name AS currency_name,
                       currency.decimal_places AS currency_digits,
                       company.trackflow_window_days AS window_days,
                       COALESCE(lead.trackflow_attribution_model_id,
                                company.trackflow_attribution_model_id) AS model_id
                  FROM crm_lead lead
                  LEFT JOIN crm_lead origin ON origin.id = lead.trackflow_origin_id
                  LEFT JOIN res_users creator ON creator.id = lead.create_uid
                  LEFT JOIN res_users seller ON seller.id = lead.user_id
                  JOIN res_company company ON company.id = COALESCE(
                       lead.company_id, seller.company_id, creator.company_id, %s)
                  JOIN res_currency currency ON currency.id = company.currency_id
                 WHERE %s
                 ORDER BY lead.id
                """,
                self.env.company.id,
                condition,
            )
        )
        rows = {row["id"]: row for row in self.env.cr.dictfetchall()}
        self._rows.update(rows)
        return rows

    def _resolve(self, kind, refs, merged=True):
        """The ids of the records that `refs` mean; unknown ones are left out."""
        found, unknown = {}, []
        known = self._ids[kind]
        for ref in refs:
            if local := _LOCAL_REF.match(ref):
                found[ref] = int(local[1])
            elif merged and ref in known:
                found[ref] = known[ref]
            else:
                unknown.append(ref)
        if not unknown:
            return found
        column = SQL.identifier(f"trackflow_{kind}_ref")
        rows = self._select(
            SQL(
                """
                SELECT %(column)s, id, FALSE FROM crm_lead WHERE %(column)s = ANY(%(refs)s)
                 UNION ALL
                SELECT ref, lead_id, TRUE FROM trackflow_merged_ref
                 WHERE kind = %(kind)s AND ref = ANY(%(refs)s)
                """,
                column=column,
                kind=kind,
                refs=unknown,
            )
        )
        for ref, lead_id, is_merged in rows:
            known[ref] = lead_id
            if merged or not is_merged:
                found[ref] = lead_id
        return found

    def _forget_rows(self, keep_ids=False):
        self._rows.clear()
        if not keep_ids:
            self._ids = {"lead": {}, "deal": {}}

    def _leads_model(self):
        """crm.lead for writing what another CRM tells: quietly, and without telling ourselves."""
        return self.env["crm.lead"].with_context(
            trackflow_from_engine=True,
            mail_create_nosubscribe=True,
            mail_auto_subscribe_no_notify=True,
        )

    def _browse(self, lead_ids):
        return self._leads_model().browse(lead_ids)

    def _select(self, query):
        self.env.cr.execute(query)
        return self.env.cr.fetchall()


def _touch_columns(touch):
    return {
        "event_id": touch.id,
        "touch_at": _text_time(touch.occurred_at),
        "channel": touch.channel,
        "source": touch.source,
        "medium": touch.medium,
        "campaign": touch.campaign,
        "content": touch.content,
        "term": touch.term,
    }


def _click(
    event_id, moment, code, destination, visitor, ip, user_agent, referrer, internal, prefetch
):
    return Click(
        event_id=event_id,
        occurred_at=_aware(moment),
        link_code=code or "",
        destination=destination or "",
        visitor_id=visitor,
        ip=ip or "",
        user_agent=user_agent or "",
        referrer=referrer or "",
        internal=bool(internal),
        prefetch=bool(prefetch),
    )


def _version(fact):
    """What tells which of two facts is the newer one; sorts as text never need to."""
    return f"{fact.occurred_at.isoformat()}|{_clean(fact.event_id)}"


def _parse_version(version):
    if not version:
        return None, ""
    moment, _, event_id = version.partition("|")
    return datetime.fromisoformat(moment), event_id


def _clean(text):
    return text.replace("\0", "").strip() or False


def _naive(moment):
    return moment.astimezone(timezone.utc).replace(tzinfo=None)


def _text_time(moment):
    return _naive(moment).isoformat()


def _aware(moment):
    return moment.replace(tzinfo=timezone.utc)
