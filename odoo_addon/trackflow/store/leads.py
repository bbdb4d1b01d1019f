"""Leads: what is told of them, whose they are, and which touches led to them."""

import json
from collections import defaultdict
from dataclasses import replace
from datetime import datetime, timezone

from odoo.tools import SQL

from trackflow_core.model import Touch
from trackflow_odoo.mapping import lead_date

from .base import BaseStore
from .values import (
    LOCAL_REF,
    NAMESPACE,
    array_text,
    aware,
    clean,
    naive,
    text_time,
    touch_columns,
    version,
)

_ALWAYS = tuple(moment.replace(tzinfo=timezone.utc) for moment in (datetime.min, datetime.max))
_SUMMARY_FIELDS = [
    "campaign_id",
    "medium_id",
    "source_id",
    "trackflow_attributed_elsewhere",
    "trackflow_campaign",
    "trackflow_first_channel",
    "trackflow_first_touch_date",
    "trackflow_first_touch_source",
    "trackflow_last_channel",
    "trackflow_last_touch_date",
    "trackflow_last_touch_source",
    "trackflow_marketing_influenced",
    "trackflow_medium",
    "trackflow_source",
    "trackflow_touch_count",
    "trackflow_visitor_id",
]


class LeadStore(BaseStore):
    def save_leads(self, leads):
        ids = self._resolve("lead", [lead.ref for lead in leads])
        remote = [lead for lead in leads if not LOCAL_REF.match(lead.ref)]
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
                account = vals.pop("trackflow_account")
                self._browse(row["id"]).write(
                    {"trackflow_account": account, **{k: v for k, v in vals.items() if v}}
                )
        if to_create:
            created = self._leads.create(
                [
                    {**self._prepare_new_lead(fact.ref), **self._prepare_lead(fact, None)}
                    for fact in to_create
                ]
            )
            for fact, record in zip(to_create, created, strict=True):
                ids[fact.ref] = self._ids["lead"][fact.ref] = record.id
        self._forget_rows(keep_ids=True)

    def _prepare_lead(self, lead, row):
        vals = {
            "contact_name": clean(lead.contact_name),
            "email_from": clean(lead.email),
            "phone": clean(lead.phone),
            "partner_name": clean(lead.company),
            "trackflow_lead_date": naive(lead.came_in_at),
            "trackflow_lead_version": version(lead),
            "trackflow_account": clean(lead.account),
        }
        name = clean(lead.name or lead.contact_name or lead.email or lead.ref)
        # A deal's own name says more than that of the lead it came from.
        if row is None or not row["trackflow_deal_version"]:
            vals["name"] = name
        return vals

    def _bind(self, pairs):
        """Bind visitors, given by their keys, to leads; a new visitor becomes known by it."""
        if not pairs:
            return
        told = [{"lead_id": lead_id, "visitor_key": key} for lead_id, key in sorted(pairs)]
        rows = self._select(
            SQL(
                "SELECT * FROM trackflow_bind(%(rows)s::jsonb, %(now)s)",
                rows=json.dumps(told),
                now=self.env.cr.now(),
            )
        )
        if not any(clicks_wait for *_visitor, clicks_wait in rows):
            # Saves `has_queued_clicks` its query, which follows for the same visitors.
            self._idle_visitors = frozenset(key for _lead_id, key in pairs)
        for lead_id, visitor_id, key, _clicks_wait in rows:
            # `save_summaries` names the first of them on the lead, in the same UPDATE.
            self._bound[lead_id].add((visitor_id, key))
        self._browse({lead_id for lead_id, _key in pairs}).invalidate_recordset(
            ["trackflow_visitor_ids"], flush=False
        )
        self.env["trackflow.visitor"].invalidate_model(["lead_ids"], flush=False)

    def _visitors(self, lead_ids):
        """The id of a lead, and id and key of a visitor of it: each pair that is bound."""
        if self._new.issuperset(lead_ids):
            return [
                (lead_id, *visitor)
                for lead_id in lead_ids
                for visitor in self._bound.get(lead_id, ())
            ]
        return self._select(
            SQL(
                """
                SELECT rel.lead_id, v.id, v.visitor_key
                  FROM crm_lead_trackflow_visitor_rel rel
                  JOIN trackflow_visitor v ON v.id = rel.visitor_id
                 WHERE rel.lead_id = ANY(%s)
                """,
                list(lead_ids),
            )
        )

    def _visitors_of(self, lead_ids):
        found = defaultdict(set)
        for lead_id, _visitor_id, key in self._visitors(lead_ids):
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

    def lead_dates(self, refs):
        """When each of these leads came in; for many, of which nothing else is asked."""
        ids = self._resolve("lead", refs, merged=False)
        rows = self._read(ids.values())
        return {
            ref: lead_date(rows[lead_id])
            for ref, lead_id in ids.items()
            if lead_id in rows and self._is_lead(rows[lead_id])
        }

    def leads_of_visitors(self, visitor_ids):
        rows = self._select(
            SQL(
                """
                SELECT DISTINCT COALESCE(lead.trackflow_lead_ref, %(prefix)s || lead.id)
                  FROM (SELECT id FROM trackflow_visitor WHERE visitor_key = ANY(%(keys)s)
                         UNION
                        SELECT visitor_id FROM trackflow_merged_visitor
                         WHERE visitor_key = ANY(%(keys)s)) v
                  JOIN crm_lead_trackflow_visitor_rel rel ON rel.visitor_id = v.id
                  JOIN crm_lead lead ON lead.id = rel.lead_id
                 WHERE lead.trackflow_lead_ref IS NULL OR lead.trackflow_lead_version IS NOT NULL
                """,
                prefix=f"{NAMESPACE}/",
                keys=list(visitor_ids),
            )
        )
        return {row[0] for row in rows}

    def account_leads(self, lead_refs):
        companies = self.env["res.company"]._trackflow_account_companies()
        ids = self._resolve("lead", lead_refs)
        wanted = [
            lead_id
            for lead_id, row in self._read(ids.values()).items()
            if row["company_id"] in companies
        ]
        self.env["crm.lead"].flush_model(["company_id", "partner_id", "trackflow_account"])
        # An account is Odoo's commercial partner, or what another CRM calls so.
        rows = self._select(
            SQL(
                """
                SELECT lead.id, COALESCE(other.trackflow_lead_ref, %(prefix)s || other.id)
                  FROM crm_lead lead
                  LEFT JOIN res_partner partner ON partner.id = lead.partner_id
                  JOIN LATERAL (
                    SELECT same.id FROM crm_lead same
                     WHERE same.trackflow_account = lead.trackflow_account
                     UNION
                    SELECT same.id FROM res_partner person
                      JOIN crm_lead same ON same.partner_id = person.id
                     WHERE person.commercial_partner_id = partner.commercial_partner_id
                  ) found ON found.id != lead.id
                  JOIN crm_lead other ON other.id = found.id
                 WHERE lead.id = ANY(%(ids)s)
                   -- A lead without a company is everyone's.
                   AND COALESCE(other.company_id = lead.company_id, TRUE)
                   AND (other.trackflow_lead_ref IS NULL
                        OR other.trackflow_lead_version IS NOT NULL)
                """,
                prefix=f"{NAMESPACE}/",
                ids=wanted,
            )
        )
        others = defaultdict(set)
        for lead_id, ref in rows:
            others[lead_id].add(ref)
        return {ref: others[lead_id] for ref, lead_id in ids.items() if lead_id in others}

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

    def touches(self, lead_refs, spans=None):
        ids = self._resolve("lead", lead_refs)
        by_lead = {}
        for ref, lead_id in ids.items():
            since, until = (spans or {}).get(ref, _ALWAYS)
            first, last = by_lead.get(lead_id, (since, until))
            by_lead[lead_id] = (min(first, since), max(last, until))
        # A lead that has just been typed in cannot have been called before.
        rows = [
            *self._touches_of_visitors(by_lead),
            *(() if self._new.issuperset(by_lead) else self._other_touches(list(by_lead))),
        ]
        codes = self._codes({row[-4] for row in rows if row[-4]})
        found, records = defaultdict(list), {}
        for lead_id, kind, event_id, moment, *details, link, click, visitor, campaign in rows:
            found[lead_id].append(
                Touch(event_id, aware(moment), *details, codes.get(link, ""), kind)
            )
            # A click is read before the visit that it opened, and says more.
            records.setdefault(event_id, (campaign, link, click, visitor))
        self._touch_records.update(records)
        return {ref: found[lead_id] for ref, lead_id in ids.items()}

    def campaign_of_touch(self, touch):
        """The id of the campaign of a touch that has been read; None without one."""
        return self._touch_records[touch.id][0]

    def _records_of_touches(self, touches):
        """Campaign, link, click and visitor of each touch, by its id: those of touches that have
        been read are known."""
        unknown = list({touch.id for touch in touches} - self._touch_records.keys())
        if unknown:
            rows = self._select(
                SQL(
                    """
                    SELECT r.id, COALESCE(click.campaign_id, touch.campaign_id, named.id),
                           COALESCE(click.link_id, touch.link_id), click.id,
                           COALESCE(click.trackflow_visitor_id, event.visitor_id)
                      FROM unnest(%s::text[]) AS r(id)
                      LEFT JOIN link_tracker_click click ON click.trackflow_event_id = r.id
                      LEFT JOIN trackflow_touch touch ON touch.touch_key = r.id
                      LEFT JOIN trackflow_event event ON event.event_id = r.id
                      LEFT JOIN utm_campaign named ON named.name = event.campaign
                    """,
                    unknown,
                )
            )
            self._touch_records.update({row[0]: row[1:] for row in rows})
        return self._touch_records

    def _touches_of_visitors(self, spans):
        """The touches of the visitors of these leads; of what was before the span that is given for
        a lead, the last click of each visitor and all visits are among them."""
        visitors = self._visitors(spans)
        if not visitors:
            return []
        lead_ids, visitor_ids, keys = zip(*visitors, strict=True)
        return self._select(
            SQL(
                """
                SELECT * FROM trackflow_touches_of_visitors(
                       %(leads)s::int[], %(visitors)s::int[], %(keys)s::text[],
                       %(since)s::timestamp[], %(until)s::timestamp[])
                """,
                leads=array_text(lead_ids),
                visitors=array_text(visitor_ids),
                keys=list(keys),
                since=[text_time(spans[lead_id][0]) for lead_id in lead_ids],
                until=[text_time(spans[lead_id][1]) for lead_id in lead_ids],
            )
        )

    def _codes(self, link_ids):
        """The newest code of each link."""
        if not link_ids:
            return {}
        return dict(
            self._select(
                SQL(
                    """
                    SELECT DISTINCT ON (link_id) link_id, code FROM link_tracker_code
                     WHERE link_id = ANY(%s) ORDER BY link_id, id DESC
                    """,
                    list(link_ids),
                )
            )
        )

    def _other_touches(self, lead_ids):
        return self._select(
            SQL(
                """
                SELECT lead.id, t.kind, t.touch_key, t.occurred_at, COALESCE(t.channel, ''),
                       COALESCE(t.source, ''), COALESCE(t.medium, ''), COALESCE(t.campaign, ''),
                       COALESCE(t.content, ''), COALESCE(t.term, ''), '', t.link_id, NULL, NULL,
                       t.campaign_id
                  FROM crm_lead lead
                  JOIN trackflow_touch t
                    ON t.lead_ref IN (lead.trackflow_lead_ref, %s || lead.id)
                 WHERE lead.id = ANY(%s)
                """,
                f"{NAMESPACE}/",
                lead_ids,
            )
        )

    def save_touches(self, touches):
        ids = self._resolve("lead", touches)
        rows = self._read(ids.values())
        told = [
            {
                **touch_columns(touch),
                "link_code": touch.link_code,
                # A merged lead's touches are the winner's.
                "lead_ref": rows.get(ids.get(ref), {}).get("trackflow_lead_ref") or ref,
            }
            for ref, of_lead in touches.items()
            for touch in of_lead
        ]
        self.env.cr.execute(
            SQL(
                """
                INSERT INTO trackflow_touch
                    (touch_key, lead_ref, kind, occurred_at, channel, source, medium, campaign,
                     content, term, link_id, campaign_id, create_date)
                SELECT r.event_id, r.lead_ref, r.touch_kind, r.touch_at, r.channel, r.source,
                       r.medium, r.campaign, r.content, r.term, link.id,
                       COALESCE(link.campaign_id, (
                           SELECT min(c.id) FROM utm_campaign c WHERE c.name = r.campaign)),
                       %(now)s
                  FROM jsonb_to_recordset(%(rows)s::jsonb) AS r(
                       event_id text, lead_ref text, touch_kind text, touch_at timestamp,
                       channel text, source text, medium text, campaign text, content text,
                       term text, link_code text)
                  LEFT JOIN link_tracker_code code ON code.code = NULLIF(r.link_code, '')
                  LEFT JOIN link_tracker link ON link.id = code.link_id
                ON CONFLICT (touch_key) DO UPDATE SET
                    lead_ref = EXCLUDED.lead_ref,
                    kind = EXCLUDED.kind,
                    occurred_at = EXCLUDED.occurred_at,
                    channel = EXCLUDED.channel,
                    source = EXCLUDED.source,
                    medium = EXCLUDED.medium,
                    campaign = EXCLUDED.campaign,
                    content = EXCLUDED.content,
                    term = EXCLUDED.term,
                    link_id = EXCLUDED.link_id,
                    campaign_id = EXCLUDED.campaign_id
                """,
                rows=json.dumps(told),
                now=self.env.cr.now(),
            )
        )
        self.env["trackflow.touch"].invalidate_model(flush=False)
        return {row["lead_ref"] for row in told}

    def save_summaries(self, summaries):
        ids = self._resolve("lead", summaries)
        rows = []
        records = self._records_of_touches([one.last for one in summaries.values() if one.last])
        for ref, summary in summaries.items():
            lead_id = ids.get(ref)
            if lead_id is None or (lead_id in self._new and lead_id not in self._bound):
                continue
            first, last = summary.first, summary.last
            campaign_id, link_id, *_others = records[last.id] if last else (None, None)
            rows.append(
                {
                    "id": lead_id,
                    "source": last and last.source,
                    "medium": last and last.medium,
                    "campaign": last and last.campaign,
                    "first_source": first and (first.source or first.channel),
                    "last_source": last and (last.source or last.channel),
                    "first_channel": first and first.channel,
                    "last_channel": last and last.channel,
                    "first_date": first and text_time(first.occurred_at),
                    "last_date": last and text_time(last.occurred_at),
                    "touches": summary.touch_count,
                    # A visit names a campaign by itself: nobody at this company has said so.
                    "campaign_id": None if last and last.kind == "visit" else campaign_id,
                    "link_id": link_id,
                }
            )
        if not rows:
            return
        leads = self._browse(row["id"] for row in rows)
        leads.flush_recordset(["campaign_id", "medium_id", "source_id"])
        self.env.cr.execute(
            SQL(
                "SELECT trackflow_save_summaries(%s::jsonb)",
                json.dumps(rows),
            )
        )
        leads.invalidate_recordset(_SUMMARY_FIELDS, flush=False)

    def merge_leads(self, winner, losers):
        ids = self._resolve("lead", [winner, *losers])
        winner_id = ids[winner]
        loser_ids = [lead_id for lead_id in {ids.get(ref) for ref in losers} if lead_id]
        loser_ids = [lead_id for lead_id in loser_ids if lead_id != winner_id]
        if not loser_ids:
            return
        leads = self._browse([winner_id, *loser_ids])
        leads.flush_recordset(["trackflow_lead_date", "trackflow_lead_ref", "trackflow_deal_ref"])
        args = {
            "winner": winner_id,
            "losers": loser_ids,
            "absorb": self._absorb_deals,
            "prefix": f"{NAMESPACE}/",
        }
        for statement in (
            """
            INSERT INTO crm_lead_trackflow_visitor_rel (lead_id, visitor_id)
            SELECT DISTINCT %(winner)s, visitor_id FROM crm_lead_trackflow_visitor_rel
             WHERE lead_id = ANY(%(losers)s)
            ON CONFLICT DO NOTHING
            """,
            "DELETE FROM crm_lead_trackflow_visitor_rel WHERE lead_id = ANY(%(losers)s)",
            "DELETE FROM trackflow_conversion WHERE lead_id = ANY(%(losers)s) AND kind = 'lead'",
            """
            UPDATE trackflow_touch t
               SET lead_ref = COALESCE(winner.trackflow_lead_ref, %(prefix)s || winner.id)
              FROM crm_lead winner, crm_lead loser
             WHERE winner.id = %(winner)s AND loser.id = ANY(%(losers)s)
               AND t.lead_ref IN (loser.trackflow_lead_ref, %(prefix)s || loser.id)
            """,
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
                    SELECT id, trackflow_deal_ref AS ref, trackflow_deal_version AS version,
                           trackflow_lead_told_at AS lead_told_at
                      FROM crm_lead WHERE id = ANY(%(all)s) AND trackflow_deal_ref IS NOT NULL
                )
                UPDATE crm_lead
                   SET trackflow_deal_ref = NULL, trackflow_deal_version = NULL,
                       trackflow_lead_told_at = NULL
                  FROM told WHERE crm_lead.id = told.id
                RETURNING told.id, told.ref, told.version, told.lead_told_at
                """,
                all=[winner_id, *loser_ids],
            )
        )
        if not told:
            return
        # Its own deal first, or else that of the first loser, keeps being told.
        (_id, *kept), *others = sorted(told, key=lambda row: (row[0] != winner_id, row[0]))
        self.env.cr.execute(
            SQL(
                """
                UPDATE crm_lead
                   SET (trackflow_deal_ref, trackflow_deal_version, trackflow_lead_told_at) = %s
                 WHERE id = %s
                """,
                tuple(kept),
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
