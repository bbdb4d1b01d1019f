"""Visitors: merging them, and what is left of one who withdraws consent or asks to be erased."""

import json
from dataclasses import replace
from datetime import datetime, timezone

from odoo.tools import SQL

from trackflow_core.model import Click, Tier
from trackflow_core.tracking import consent

from .base import BaseStore


class VisitorStore(BaseStore):
    def merge_visitors(self, winner, losers):
        keys = list({winner, *losers})
        current = dict(
            self._select(
                SQL(
                    """
                    SELECT m.visitor_key, v.visitor_key FROM trackflow_merged_visitor m
                      JOIN trackflow_visitor v ON v.id = m.visitor_id
                     WHERE m.visitor_key = ANY(%s)
                    """,
                    keys,
                )
            )
        )
        winner = current.get(winner, winner)
        loser_keys = sorted({current.get(key, key) for key in losers} - {winner})
        if not loser_keys:
            return winner
        args = {"winner": winner, "losers": loser_keys, "now": self.env.cr.now()}
        for statement in _MERGE:
            self.env.cr.execute(SQL(statement, **args))  # pylint: disable=sql-injection
        self.env.invalidate_all(flush=False)
        self._idle_visitors = frozenset()
        return winner

    def withdraw(self, visitor_id):
        record_id, key, keys = self._names_of(visitor_id)
        self._strip("trackflow_click_queue", "visitor_key", "referrer", "tier", keys, "data")
        if record_id:
            self._strip(
                "link_tracker_click",
                "trackflow_visitor_id",
                "trackflow_referrer",
                "trackflow_tier",
                [record_id],
            )
            self._strip(
                "trackflow_event", "visitor_id", "referrer", "tier", [record_id], "event_data"
            )
        self._drop_visitor(key)

    def _names_of(self, visitor_id):
        """The visitor's record id, None without one, the key it has now and all that it ever had."""
        rows = self._select(
            SQL(
                """
                SELECT v.id, v.visitor_key, v.visitor_key || ARRAY(
                       SELECT m.visitor_key FROM trackflow_merged_visitor m
                        WHERE m.visitor_id = v.id)
                  FROM trackflow_visitor v
                 WHERE v.visitor_key = %(key)s
                    OR v.id = (SELECT m.visitor_id FROM trackflow_merged_visitor m
                                WHERE m.visitor_key = %(key)s)
                """,
                key=visitor_id,
            )
        )
        return rows[0] if rows else (None, visitor_id, [visitor_id])

    def _strip(self, table, visitor, referrer, tier, values, data=None):
        """Leave of a visitor's clicks in `table` what the core keeps of a mere count."""
        columns = {
            "table": SQL.identifier(table),
            "visitor": SQL.identifier(visitor),
            "referrer": SQL.identifier(referrer),
            "tier": SQL.identifier(tier),
        }
        found = self._select(
            SQL(
                "SELECT id, %(referrer)s FROM %(table)s WHERE %(visitor)s = ANY(%(values)s)",
                values=values,
                **columns,
            )
        )
        rows = [{"id": row_id, "referrer": _origin(text or "")} for row_id, text in found]
        self.env.cr.execute(
            SQL(
                """
                UPDATE %(table)s AS click
                   SET %(visitor)s = NULL, ip = '', %(referrer)s = r.referrer,
                       %(tier)s = %(aggregate)s %(no_data)s
                  FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(id int, referrer text)
                 WHERE click.id = r.id
                """,
                rows=json.dumps(rows),
                aggregate=Tier.AGGREGATE.value,
                no_data=SQL(", %s = NULL", SQL.identifier(data)) if data else SQL(),
                **columns,
            )
        )

    def forget(self, visitor_id):
        _record_id, key, keys = self._names_of(visitor_id)
        for statement in (
            """
            WITH gone AS (
                DELETE FROM link_tracker_click click USING trackflow_visitor v
                 WHERE v.id = click.trackflow_visitor_id AND v.visitor_key = %(key)s
                RETURNING click.link_id, click.trackflow_counts AS counts,
                          click.trackflow_rolled_up AS rolled_up, click.trackflow_scan AS scan
            )
            UPDATE link_tracker link
               SET count = link.count - lost.clicks,
                   trackflow_unique_visitors = link.trackflow_unique_visitors - 1,
                   trackflow_scans = link.trackflow_scans - lost.scans
              FROM (SELECT link_id, count(*) AS clicks, count(*) FILTER (WHERE scan) AS scans
                      FROM gone WHERE counts AND rolled_up GROUP BY 1) lost
             WHERE link.id = lost.link_id
            """,
            """
            DELETE FROM trackflow_event event USING trackflow_visitor v
             WHERE v.id = event.visitor_id AND v.visitor_key = %(key)s
            """,
            "DELETE FROM trackflow_click_queue WHERE visitor_key = ANY(%(keys)s)",
        ):
            args = {"key": key, "keys": keys}
            self.env.cr.execute(SQL(statement, **args))  # pylint: disable=sql-injection
        self._drop_visitor(key)
        return keys

    def _drop_visitor(self, visitor_id):
        """Erase a visitor with sessions and bindings; a lead may have others left."""
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
        for statement in _DROP:
            self.env.cr.execute(SQL(statement, key=visitor_id))  # pylint: disable=sql-injection
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
        self.env.invalidate_all(flush=False)
        self._forget_rows()


def _origin(referrer):
    """What is left of a referrer by the core's own rule."""
    nobody = Click("", datetime.min.replace(tzinfo=timezone.utc), "", "", referrer=referrer)
    return consent.limit(replace(nobody, tier=Tier.AGGREGATE)).referrer


# The visitor's clicks are deleted or nobody's by now.
_DROP = (
    """
    WITH gone AS (
        DELETE FROM trackflow_session s USING trackflow_visitor v
         WHERE v.id = s.visitor_id AND v.visitor_key = %(key)s
        RETURNING s.id
    )
    UPDATE link_tracker_click click SET trackflow_session_id = NULL
      FROM gone WHERE click.trackflow_session_id = gone.id
    """,
    """
    UPDATE trackflow_deal_attribution credit SET visitor_id = NULL, click_id = NULL
      FROM trackflow_visitor v WHERE v.id = credit.visitor_id AND v.visitor_key = %(key)s
    """,
    """
    UPDATE trackflow_conversion c SET visitor_id = NULL, click_id = NULL
      FROM trackflow_visitor v WHERE v.id = c.visitor_id AND v.visitor_key = %(key)s
    """,
    "DELETE FROM trackflow_visitor WHERE visitor_key = %(key)s",
)

# In this order: what the losers have, then the losers themselves.
_MERGE = (
    """
    INSERT INTO trackflow_visitor (visitor_key, click_count, page_views, session_count, create_date)
    VALUES (%(winner)s, 0, 0, 0, %(now)s) ON CONFLICT DO NOTHING
    """,
    # Links that several of them have clicked lose visitors.
    """
    UPDATE link_tracker link
       SET trackflow_unique_visitors = link.trackflow_unique_visitors - person.number + 1
      FROM (SELECT click.link_id, count(DISTINCT v.id) AS number
              FROM trackflow_visitor v
              JOIN link_tracker_click click ON click.trackflow_visitor_id = v.id
             WHERE (v.visitor_key = %(winner)s OR v.visitor_key = ANY(%(losers)s))
               AND click.trackflow_counts AND click.trackflow_rolled_up
             GROUP BY 1) person
     WHERE person.link_id = link.id AND person.number > 1
    """,
    """
    UPDATE link_tracker_click click SET trackflow_visitor_id = winner.id
      FROM trackflow_visitor winner, trackflow_visitor loser
     WHERE winner.visitor_key = %(winner)s AND loser.visitor_key = ANY(%(losers)s)
       AND click.trackflow_visitor_id = loser.id
    """,
    """
    UPDATE trackflow_event event SET visitor_id = winner.id
      FROM trackflow_visitor winner, trackflow_visitor loser
     WHERE winner.visitor_key = %(winner)s AND loser.visitor_key = ANY(%(losers)s)
       AND event.visitor_id = loser.id
    """,
    """
    UPDATE trackflow_session s SET visitor_id = winner.id
      FROM trackflow_visitor winner, trackflow_visitor loser
     WHERE winner.visitor_key = %(winner)s AND loser.visitor_key = ANY(%(losers)s)
       AND s.visitor_id = loser.id
    """,
    """
    INSERT INTO crm_lead_trackflow_visitor_rel (lead_id, visitor_id)
    SELECT DISTINCT rel.lead_id, winner.id
      FROM trackflow_visitor winner, trackflow_visitor loser, crm_lead_trackflow_visitor_rel rel
     WHERE winner.visitor_key = %(winner)s AND loser.visitor_key = ANY(%(losers)s)
       AND rel.visitor_id = loser.id
    ON CONFLICT DO NOTHING
    """,
    """
    UPDATE crm_lead SET trackflow_visitor_id = winner.id
      FROM trackflow_visitor winner, trackflow_visitor loser
     WHERE winner.visitor_key = %(winner)s AND loser.visitor_key = ANY(%(losers)s)
       AND crm_lead.trackflow_visitor_id = loser.id
    """,
    """
    UPDATE trackflow_deal_attribution credit SET visitor_id = winner.id
      FROM trackflow_visitor winner, trackflow_visitor loser
     WHERE winner.visitor_key = %(winner)s AND loser.visitor_key = ANY(%(losers)s)
       AND credit.visitor_id = loser.id
    """,
    """
    UPDATE trackflow_conversion c SET visitor_id = winner.id
      FROM trackflow_visitor winner, trackflow_visitor loser
     WHERE winner.visitor_key = %(winner)s AND loser.visitor_key = ANY(%(losers)s)
       AND c.visitor_id = loser.id
    """,
    "UPDATE trackflow_click_queue SET visitor_key = %(winner)s WHERE visitor_key = ANY(%(losers)s)",
    """
    UPDATE trackflow_merged_visitor m SET visitor_id = winner.id
      FROM trackflow_visitor winner, trackflow_visitor loser
     WHERE winner.visitor_key = %(winner)s AND loser.visitor_key = ANY(%(losers)s)
       AND m.visitor_id = loser.id
    """,
    """
    INSERT INTO trackflow_merged_visitor (visitor_key, visitor_id)
    SELECT loser, winner.id FROM unnest(%(losers)s) AS loser, trackflow_visitor winner
     WHERE winner.visitor_key = %(winner)s
    """,
    # What is known of the first touch is that of whoever was seen first.
    """
    UPDATE trackflow_visitor winner
       SET source = first.source, medium = first.medium, campaign = first.campaign,
           content = first.content, term = first.term, referrer = first.referrer,
           first_seen = total.first_seen, last_seen = total.last_seen,
           click_count = total.clicks, page_views = total.page_views,
           session_count = total.sessions, active = total.active
      FROM (SELECT min(first_seen) AS first_seen, max(last_seen) AS last_seen,
                   sum(click_count) AS clicks, sum(page_views) AS page_views,
                   sum(session_count) AS sessions, bool_or(active) AS active
              FROM trackflow_visitor
             WHERE visitor_key = %(winner)s OR visitor_key = ANY(%(losers)s)) total,
           (SELECT * FROM trackflow_visitor
             WHERE visitor_key = %(winner)s OR visitor_key = ANY(%(losers)s)
             ORDER BY first_seen NULLS LAST, id LIMIT 1) first
     WHERE winner.visitor_key = %(winner)s
    """,
    "DELETE FROM trackflow_visitor WHERE visitor_key = ANY(%(losers)s)",
)
