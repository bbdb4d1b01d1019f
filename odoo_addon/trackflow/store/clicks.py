"""The click queue, and what becomes of a click: event, visitor, session, counters."""

import json
from collections import Counter, defaultdict
from datetime import datetime, timezone

from odoo.tools import SQL
from psycopg2.errors import SerializationFailure

from trackflow_core.model import (
    CLICK,
    PAGE_VIEW,
    Agent,
    Click,
    ClickEvent,
    Link,
    Session,
    Source,
    Tier,
    Verdict,
)

from .base import BaseStore
from .values import array_text, aware, naive, text_time

# What a link keeps of its clicks.
_COUNTERS = ["count", "trackflow_unique_visitors", "trackflow_scans", "trackflow_last_click"]


def queueing(clicks, country_code=None, scan=False, rule_id=None, variant_id=None, company_id=None):
    """The statement that appends `clicks` to the queue, each event id once."""
    rows = [
        SQL(
            # Value by value: psycopg2 quotes a tuple in Python.
            "(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'queued', %s)",
            click.event_id,
            click.link_code,
            naive(click.occurred_at),
            click.visitor_id,
            click.ip,
            click.user_agent,
            click.referrer,
            click.destination,
            click.internal,
            click.prefetch,
            click.tier.value,
            click.kind,
            click.data,
            country_code,
            scan,
            rule_id,
            variant_id,
            company_id,
            datetime.now(timezone.utc).replace(tzinfo=None),
        )
        for click in clicks
    ]
    return SQL(
        """
        INSERT INTO trackflow_click_queue
            (event_id, link_code, occurred_at, visitor_key, ip, user_agent, referrer,
             destination, internal, prefetch, tier, kind, data, country_code, scan, rule_id,
             variant_id, company_id, status, create_date)
        VALUES %s
        ON CONFLICT DO NOTHING
        """,
        SQL(", ").join(rows),
    )


class ClickStore(BaseStore):
    def append_clicks(self, clicks, **details):
        """See the port; what only Odoo's requests know goes along for all of `clicks`, see
        `queueing`."""
        self._idle_visitors = frozenset()
        self.env.cr.execute(queueing(clicks, **details))

    def claim_clicks(self, limit, visitor_ids=None):
        if visitor_ids is not None and not self.has_queued_clicks(visitor_ids):
            return []
        self.env["trackflow.click.queue"].flush_model(["status"])
        query = SQL(
            """
            WITH q AS (
                SELECT * FROM trackflow_click_queue queued
                 WHERE queued.status = 'queued' %s
                 ORDER BY queued.occurred_at, queued.event_id
                 LIMIT %s
                   FOR UPDATE SKIP LOCKED
            )
            SELECT q.event_id, q.occurred_at, q.link_code, q.destination,
                   COALESCE(visitor.visitor_key, q.visitor_key), q.ip,
                   q.user_agent, q.referrer, q.internal, q.prefetch, q.tier, q.kind, q.data,
                   COALESCE(click.id, event.id)
              FROM q
              LEFT JOIN link_tracker_click click ON click.trackflow_event_id = q.event_id
              LEFT JOIN trackflow_event event ON event.event_id = q.event_id
              LEFT JOIN trackflow_merged_visitor merged ON merged.visitor_key = q.visitor_key
              LEFT JOIN trackflow_visitor visitor ON visitor.id = merged.visitor_id
             ORDER BY q.occurred_at, q.event_id
            """,
            SQL() if visitor_ids is None else SQL("AND %s", _of_visitors("queued", visitor_ids)),
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
                SELECT EXISTS (SELECT FROM trackflow_click_queue q
                                WHERE q.status = 'queued' AND %s)
                """,
                _of_visitors("q", wanted),
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
            [
                "url",
                "campaign_id",
                "medium_id",
                "source_id",
                "label",
                "trackflow_content",
                "trackflow_term",
            ]
        )
        self.env["link.tracker.code"].flush_model(["code", "link_id"])
        rows = self._select(
            SQL(
                """
                SELECT code.code, link.url, COALESCE(source.name, ''), COALESCE(medium.name, ''),
                       COALESCE(campaign.name, ''),
                       COALESCE(NULLIF(link.trackflow_content, ''), link.label, ''),
                       COALESCE(link.trackflow_term, '')
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
                started_at=aware(start),
                ended_at=aware(end),
                hits=hits,
                entry_page=entry,
                exit_page=exit_,
                source=Source(*(text or "" for text in rest[:6])),
                agent=Agent(Verdict(rest[6] or "unknown"), *(text or "" for text in rest[7:])),
            )
            for key, visitor, start, end, hits, entry, exit_, *rest in rows
        ]

    def save_visits(self, events, sessions):
        fresh = self._fresh_sessions(sessions)
        visitors = self._save_visitors(events, fresh)
        if others := {session.visitor_id for session in sessions} - visitors.keys():
            visitors |= self._add_sessions(others, fresh)
        visits = self._save_sessions(sessions, visitors)
        if events:
            clicks = [event for event in events if event.click.kind == CLICK]
            click_ids = self._save_clicks(clicks, visitors, visits)
            others = [event for event in events if event.click.kind != CLICK]
            self._save_events(others, visitors, visits)
            if not self._defer_counters:
                self.count_clicks(click_ids)
            self._settle([event.click.event_id for event in events])
        self.env["trackflow.visitor"].invalidate_model(flush=False)
        self.env["trackflow.session"].invalidate_model(flush=False)
        self.env["link.tracker.click"].invalidate_model(flush=False)
        self.env["trackflow.event"].invalidate_model(flush=False)

    def _fresh_sessions(self, sessions):
        """How many sessions each visitor has that were not kept yet."""
        rows = self._select(
            SQL(
                "SELECT session_key FROM trackflow_session WHERE session_key = ANY(%s)",
                [session.id for session in sessions],
            )
        )
        known = {key for (key,) in rows}
        return Counter(session.visitor_id for session in sessions if session.id not in known)

    def _save_visitors(self, events, fresh):
        """Keep the visitors of these events, and count the events and sessions that are new; returns
        the ids by key."""
        by_visitor = defaultdict(list)
        for event in events:
            if event.click.visitor_id:
                by_visitor[event.click.visitor_id].append(event)
        if not by_visitor:
            return {}
        # Always in one order, so that two workers never wait for each other crosswise.
        keys = sorted(by_visitor)
        of_each = [
            sorted(by_visitor[key], key=lambda event: event.click.occurred_at) for key in keys
        ]
        counting = [[event for event in own if event.counts] for own in of_each]
        told_by = [(counts or own)[0] for own, counts in zip(of_each, counting, strict=True)]
        kinds, numbers = _kinds(told_by)
        saved = self._select(
            SQL(
                """
                INSERT INTO trackflow_visitor AS held
                    (visitor_key, first_seen, last_seen, source, medium, campaign, content, term,
                     referrer, click_count, page_views, session_count, create_date)
                SELECT r.visitor_key, r.first_seen, r.last_seen, kind.source, kind.medium,
                       kind.campaign, kind.content, kind.term, r.referrer, r.clicks, r.views,
                       r.sessions, %(now)s
                  FROM unnest(%(keys)s::text[], %(first)s::timestamp[], %(last)s::timestamp[],
                              %(referrers)s::text[], %(clicks)s::int[], %(views)s::int[],
                              %(sessions)s::int[], %(numbers)s::int[])
                       AS r(visitor_key, first_seen, last_seen, referrer, clicks, views, sessions,
                            number)
                  JOIN %(kinds)s USING (number)
                 ORDER BY r.visitor_key
                ON CONFLICT (visitor_key) DO UPDATE SET
                    (source, medium, campaign, content, term, referrer) = (
                        SELECT CASE WHEN earlier THEN held.source ELSE EXCLUDED.source END,
                               CASE WHEN earlier THEN held.medium ELSE EXCLUDED.medium END,
                               CASE WHEN earlier THEN held.campaign ELSE EXCLUDED.campaign END,
                               CASE WHEN earlier THEN held.content ELSE EXCLUDED.content END,
                               CASE WHEN earlier THEN held.term ELSE EXCLUDED.term END,
                               CASE WHEN earlier THEN held.referrer ELSE EXCLUDED.referrer END
                          FROM (VALUES (held.first_seen < EXCLUDED.first_seen)) AS known(earlier)),
                    first_seen = LEAST(held.first_seen, EXCLUDED.first_seen),
                    last_seen = GREATEST(held.last_seen, EXCLUDED.last_seen),
                    click_count = COALESCE(held.click_count, 0) + EXCLUDED.click_count,
                    page_views = COALESCE(held.page_views, 0) + EXCLUDED.page_views,
                    session_count = COALESCE(held.session_count, 0) + EXCLUDED.session_count,
                    active = TRUE
                RETURNING visitor_key, id
                """,
                keys=keys,
                first=array_text(text_time(own[0].click.occurred_at) for own in of_each),
                last=array_text(text_time(own[-1].click.occurred_at) for own in of_each),
                referrers=[event.click.referrer for event in told_by],
                clicks=array_text(_count_of(CLICK, counts) for counts in counting),
                views=array_text(_count_of(PAGE_VIEW, counts) for counts in counting),
                sessions=array_text(fresh[key] for key in keys),
                numbers=array_text(numbers),
                kinds=kinds,
                now=self.env.cr.now(),
            )
        )
        return dict(saved)

    def _add_sessions(self, visitor_keys, fresh):
        """Count new sessions of visitors who did nothing new; returns their ids by key."""
        keys = sorted(visitor_keys)
        saved = self._select(
            SQL(
                """
                UPDATE trackflow_visitor v SET session_count = v.session_count + r.sessions
                  FROM unnest(%s::text[], %s::int[]) AS r(visitor_key, sessions)
                 WHERE v.visitor_key = r.visitor_key
                RETURNING v.visitor_key, v.id
                """,
                keys,
                [fresh[key] for key in keys],
            )
        )
        return dict(saved)

    def _save_sessions(self, sessions, visitors):
        """Keep these sessions of `visitors`, whose ids are given; returns the sessions' own."""
        if not sessions:
            return {}
        kinds, numbers = _kinds(sessions)
        saved = self._select(
            SQL(
                """
                INSERT INTO trackflow_session
                    (visitor_id, session_key, session_start, session_end, hits, is_bounce,
                     entry_page, exit_page, source, medium, campaign, channel, content, term,
                     verdict, reason, device_type, browser, os, company_id, create_date)
                SELECT r.visitor_id, r.session_key, r.session_start, r.session_end, r.hits,
                       r.hits = 1, r.entry_page, r.exit_page, kind.source, kind.medium,
                       kind.campaign, kind.channel, kind.content, kind.term, kind.verdict,
                       kind.reason, kind.device, kind.browser, kind.os, opener.company_id, %(now)s
                  FROM unnest(%(sessions)s::text[], %(visitors)s::int[], %(starts)s::timestamp[],
                              %(ends)s::timestamp[], %(hits)s::int[], %(entries)s::text[],
                              %(exits)s::text[], %(numbers)s::int[])
                       AS r(session_key, visitor_id, session_start, session_end, hits, entry_page,
                            exit_page, number)
                  JOIN %(kinds)s USING (number)
                  -- The event that opened a visit has lent it its id.
                  LEFT JOIN LATERAL (
                       SELECT COALESCE(link.trackflow_company_id, site.id) AS company_id
                         FROM trackflow_click_queue queued
                         LEFT JOIN link_tracker_code code ON code.code = queued.link_code
                         LEFT JOIN link_tracker link ON link.id = code.link_id
                         LEFT JOIN res_company site ON site.id = queued.company_id
                        WHERE queued.event_id = r.session_key
                       OFFSET 0) opener ON TRUE
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
                    term = EXCLUDED.term,
                    verdict = EXCLUDED.verdict,
                    reason = EXCLUDED.reason,
                    device_type = EXCLUDED.device_type,
                    browser = EXCLUDED.browser,
                    os = EXCLUDED.os
                RETURNING session_key, id
                """,
                sessions=[session.id for session in sessions],
                visitors=array_text(visitors[session.visitor_id] for session in sessions),
                starts=array_text(text_time(session.started_at) for session in sessions),
                ends=array_text(text_time(session.ended_at) for session in sessions),
                hits=array_text(session.hits for session in sessions),
                entries=[session.entry_page for session in sessions],
                exits=[session.exit_page for session in sessions],
                numbers=array_text(numbers),
                kinds=kinds,
                now=self.env.cr.now(),
            )
        )
        return dict(saved)

    def _save_clicks(self, events, visitors, visits):
        """Insert the clicks; returns the new ids."""
        if not events:
            return []
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
                     trackflow_counts, trackflow_link_code, trackflow_prefetch,
                     trackflow_tier, trackflow_rolled_up, trackflow_scan, trackflow_rule_id,
                     trackflow_variant_id, create_date, write_date)
                SELECT link.id, link.campaign_id, country.id, q.ip, q.event_id,
                       q.occurred_at, r.visitor_id, r.session_id,
                       kind.source, kind.medium, kind.campaign, kind.content,
                       kind.term, kind.channel, kind.verdict, kind.reason,
                       kind.device, kind.browser, kind.os, q.referrer,
                       q.destination, q.user_agent, q.internal,
                       r.counts, q.link_code, q.prefetch,
                       q.tier, %(rolled_up)s, COALESCE(q.scan, FALSE),
                       (SELECT id FROM trackflow_link_rule WHERE id = q.rule_id),
                       (SELECT id FROM trackflow_link_variant WHERE id = q.variant_id),
                       q.occurred_at, %(now)s
                  FROM %(rows)s
                  JOIN link_tracker_code code ON code.code = q.link_code
                  JOIN link_tracker link ON link.id = code.link_id
                  LEFT JOIN res_country country ON country.code = q.country_code
                ON CONFLICT (trackflow_event_id) WHERE trackflow_event_id IS NOT NULL DO NOTHING
                RETURNING id
                """,
                rows=_rows(events, visitors, visits),
                rolled_up=not self._defer_counters,
                now=self.env.cr.now(),
            )
        )
        return [row[0] for row in inserted]

    def _save_events(self, events, visitors, visits):
        if not events:
            return
        self.env.cr.execute(
            SQL(
                """
                INSERT INTO trackflow_event
                    (event_id, event_type, timestamp, visitor_id, session_id, link_id, country_id,
                     ip, user_agent, referrer, page_url, event_data, internal, prefetch, tier,
                     counts, returns, source, medium, campaign, channel, content, term, verdict,
                     reason, device, browser, os, company_id, create_date)
                SELECT q.event_id, q.kind, q.occurred_at, r.visitor_id, r.session_id, link.id,
                       country.id, q.ip, q.user_agent, q.referrer, q.destination, q.data,
                       q.internal, q.prefetch, q.tier, r.counts, r.returns, kind.source,
                       kind.medium, kind.campaign, kind.channel, kind.content, kind.term,
                       kind.verdict, kind.reason, kind.device, kind.browser, kind.os,
                       COALESCE(link.trackflow_company_id, site.id), %(now)s
                  FROM %(rows)s
                  LEFT JOIN link_tracker_code code ON code.code = q.link_code
                  LEFT JOIN link_tracker link ON link.id = code.link_id
                  LEFT JOIN res_company site ON site.id = q.company_id
                  LEFT JOIN res_country country ON country.code = q.country_code
                ON CONFLICT (event_id) DO NOTHING
                """,
                rows=_rows(events, visitors, visits),
                now=self.env.cr.now(),
            )
        )

    def recorded(self, spans):
        spans = list(spans)
        found = self._select(
            SQL(
                """
                WITH span AS MATERIALIZED (
                    SELECT v.id AS visitor_id, v.visitor_key, r.start, r.until
                      FROM unnest(%(visitors)s::text[], %(starts)s::timestamp[],
                                  %(ends)s::timestamp[]) AS r(visitor_key, start, until)
                      -- Not flattened: else all visitors are read for those of a batch.
                      JOIN LATERAL (
                           SELECT id, visitor_key FROM trackflow_visitor known
                            WHERE known.visitor_key = r.visitor_key
                           OFFSET 0) v ON TRUE
                )
                SELECT c.trackflow_event_id, c.trackflow_occurred_at, c.trackflow_link_code,
                       c.trackflow_destination, span.visitor_key, c.ip, c.trackflow_user_agent,
                       c.trackflow_referrer, c.trackflow_internal, c.trackflow_prefetch,
                       c.trackflow_tier, 'click', '', s.session_key, FALSE,
                       c.trackflow_verdict, c.trackflow_reason, c.trackflow_device,
                       c.trackflow_browser, c.trackflow_os, c.trackflow_source,
                       c.trackflow_medium, c.trackflow_campaign, c.trackflow_channel,
                       c.trackflow_content, c.trackflow_term
                  FROM span
                  -- Nor this: else all clicks of a visitor are read for those of a day.
                  JOIN LATERAL (
                       SELECT * FROM link_tracker_click own
                        WHERE own.trackflow_visitor_id = span.visitor_id
                          AND own.trackflow_occurred_at >= span.start
                          AND own.trackflow_occurred_at < span.until
                          AND own.trackflow_event_id IS NOT NULL
                       OFFSET 0) c ON TRUE
                  LEFT JOIN trackflow_session s ON s.id = c.trackflow_session_id
                 UNION ALL
                SELECT e.event_id, e.timestamp, code.code, e.page_url, span.visitor_key, e.ip,
                       e.user_agent, e.referrer, e.internal, e.prefetch, e.tier, e.event_type,
                       e.event_data, s.session_key, e.returns, e.verdict, e.reason, e.device,
                       e.browser, e.os, e.source, e.medium, e.campaign, e.channel, e.content,
                       e.term
                  FROM span
                  JOIN LATERAL (
                       SELECT * FROM trackflow_event own
                        WHERE own.visitor_id = span.visitor_id
                          AND own.timestamp >= span.start AND own.timestamp < span.until
                       OFFSET 0) e ON TRUE
                  LEFT JOIN LATERAL (
                       SELECT c.code FROM link_tracker_code c
                        WHERE c.link_id = e.link_id ORDER BY c.id DESC LIMIT 1) code ON TRUE
                  LEFT JOIN trackflow_session s ON s.id = e.session_id
                """,
                visitors=[span.visitor_id for span in spans],
                starts=array_text(text_time(span.start) for span in spans),
                ends=array_text(text_time(span.end) for span in spans),
            )
        )
        return [
            ClickEvent(
                _click(*row[:13]),
                Agent(Verdict(row[15] or "unknown"), *(text or "" for text in row[16:20])),
                Source(*(text or "" for text in row[20:])),
                session_id=row[13],
                returns=row[14],
            )
            for row in found
        ]

    def move_clicks(self, sessions, gone):
        rows = [
            {"event_id": event_id, "session_key": session_key}
            for event_id, session_key in sorted(sessions.items())
        ]
        for table, event, session in (
            ("link_tracker_click", "trackflow_event_id", "trackflow_session_id"),
            ("trackflow_event", "event_id", "session_id"),
        ):
            self.env.cr.execute(
                SQL(
                    """
                    UPDATE %(table)s SET %(session)s = s.id
                      FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(event_id text, session_key text)
                      JOIN trackflow_session s ON s.session_key = r.session_key
                     WHERE %(event)s = r.event_id
                    """,
                    table=SQL.identifier(table),
                    session=SQL.identifier(session),
                    event=SQL.identifier(table, event),
                    rows=json.dumps(rows),
                )
            )
        self.env.cr.execute(
            SQL(
                """
                WITH gone AS (
                    DELETE FROM trackflow_session WHERE session_key = ANY(%s)
                    RETURNING visitor_id
                )
                UPDATE trackflow_visitor v SET session_count = v.session_count - lost.sessions
                  FROM (SELECT visitor_id, count(*) AS sessions FROM gone GROUP BY 1) lost
                 WHERE v.id = lost.visitor_id
                """,
                list(gone),
            )
        )
        self.env["trackflow.visitor"].invalidate_model(flush=False)
        self.env["trackflow.session"].invalidate_model(flush=False)
        self.env["link.tracker.click"].invalidate_model(flush=False)
        self.env["trackflow.event"].invalidate_model(flush=False)

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
            self.count_clicks([row[0] for row in rows])

    def count_clicks(self, click_ids, sign=1):
        """Add these clicks to, or take them from, the counters of their links."""
        self.env["link.tracker"].flush_model(_COUNTERS)
        self.env.cr.execute(
            SQL(
                """
                UPDATE link_tracker link
                   SET count = GREATEST(COALESCE(link.count, 0) + %(sign)s * new.clicks, 0),
                       trackflow_unique_visitors = GREATEST(
                           COALESCE(link.trackflow_unique_visitors, 0)
                           + %(sign)s * new.visitors, 0),
                       trackflow_scans = GREATEST(
                           COALESCE(link.trackflow_scans, 0) + %(sign)s * new.scans, 0),
                       trackflow_last_click = GREATEST(link.trackflow_last_click, new.last_click)
                  FROM (
                    SELECT person.link_id, sum(person.clicks) AS clicks,
                           sum(person.scans) AS scans, max(person.last_click) AS last_click,
                           count(person.visitor_id) FILTER (WHERE known.id IS NULL) AS visitors
                      FROM (
                        SELECT c.link_id, c.trackflow_visitor_id AS visitor_id, count(*) AS clicks,
                               count(*) FILTER (WHERE c.trackflow_scan) AS scans,
                               max(c.trackflow_occurred_at) AS last_click
                          FROM link_tracker_click c
                         WHERE c.id = ANY(%(ids)s) AND c.trackflow_counts
                         GROUP BY 1, 2
                      ) person
                      -- One look into the index for each, never a scan of all clicks.
                      LEFT JOIN LATERAL (
                        SELECT old.id FROM link_tracker_click old
                         WHERE old.link_id = person.link_id
                           AND old.trackflow_visitor_id = person.visitor_id
                           AND old.trackflow_counts
                           AND NOT old.id = ANY(%(ids)s)
                         LIMIT 1) known ON TRUE
                     GROUP BY person.link_id
                     ORDER BY person.link_id
                  ) new
                 WHERE link.id = new.link_id
                """,
                ids=click_ids,
                sign=sign,
            )
        )
        self.env["link.tracker"].invalidate_model(_COUNTERS, flush=False)


def _count_of(kind, events):
    return sum(event.click.kind == kind for event in events)


def _of_visitors(alias, visitor_ids):
    """The condition that a queued click is of one of these visitors or of one merged into them."""
    keys = list(visitor_ids)
    return SQL(
        """
        %s = ANY(%s || ARRAY(
            SELECT merged.visitor_key FROM trackflow_merged_visitor merged
              JOIN trackflow_visitor visitor ON visitor.id = merged.visitor_id
             WHERE visitor.visitor_key = ANY(%s))::text[])
        """,
        SQL.identifier(alias, "visitor_key"),
        keys,
        keys,
    )


def _kinds(classified):
    """A table `kind` of the sources and agents of these events or sessions, each once: most of a
    batch are few. And the number there of each event or session."""
    numbers = {}
    of_each = [numbers.setdefault((one.source, one.agent), len(numbers)) for one in classified]
    rows = [
        {
            "number": number,
            "source": source.source,
            "medium": source.medium,
            "campaign": source.campaign,
            "channel": source.channel,
            "content": source.content,
            "term": source.term,
            "verdict": agent.verdict.value,
            "reason": agent.reason,
            "device": agent.device,
            "browser": agent.browser,
            "os": agent.os,
        }
        for (source, agent), number in numbers.items()
    ]
    table = SQL(
        """
        jsonb_to_recordset(%s::jsonb) AS kind(
            number int, source text, medium text, campaign text, channel text, content text,
            term text, verdict text, reason text, device text, browser text, os text)
        """,
        json.dumps(rows),
    )
    return table, of_each


def _rows(events, visitors, visits):
    """Queued events as the tables `q`, what was told of each, `r` and `kind`, what it was found to
    be; `visitors` and `visits` are the ids of visitors and sessions by key."""
    kinds, numbers = _kinds(events)
    return SQL(
        """
        unnest(%(events)s::text[], %(visitors)s::int[], %(visits)s::int[], %(counts)s::bool[],
               %(returns)s::bool[], %(numbers)s::int[])
            AS r(event_id, visitor_id, session_id, counts, returns, number)
        -- Not flattened: else the whole queue is read, with what was recorded in the last days.
        JOIN LATERAL (
             SELECT * FROM trackflow_click_queue queued
              WHERE queued.event_id = r.event_id
             OFFSET 0) q ON TRUE
        JOIN %(kinds)s USING (number)
        """,
        events=[event.click.event_id for event in events],
        visitors=array_text(visitors.get(event.click.visitor_id) for event in events),
        visits=array_text(visits.get(event.session_id) for event in events),
        counts=array_text(event.counts for event in events),
        returns=array_text(event.returns for event in events),
        numbers=array_text(numbers),
        kinds=kinds,
    )


def _click(
    event_id,
    moment,
    code,
    destination,
    visitor,
    ip,
    user_agent,
    referrer,
    internal,
    prefetch,
    tier,
    kind,
    data,
):
    return Click(
        event_id=event_id,
        occurred_at=aware(moment),
        link_code=code or "",
        destination=destination or "",
        visitor_id=visitor,
        ip=ip or "",
        user_agent=user_agent or "",
        referrer=referrer or "",
        internal=bool(internal),
        prefetch=bool(prefetch),
        tier=Tier(tier or "full"),
        kind=kind or CLICK,
        data=data or "",
    )
