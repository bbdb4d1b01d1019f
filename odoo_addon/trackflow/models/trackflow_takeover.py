"""What a company had before TrackFlow, made into facts: its first report comes the same day."""

import json
import logging

from odoo import api, fields, models
from odoo.service.model import PG_CONCURRENCY_EXCEPTIONS_TO_RETRY
from odoo.tools import SQL

from trackflow_core.model import Touch
from trackflow_core.tracking import channels

from ..store import OdooStore, local_ref
from ..store.values import aware

_logger = logging.getLogger(__name__)

BATCH = 1000
# What an older TrackFlow may have called its fields on crm.lead.
_OLD_PREFIXES = ("custom_trackflow_", "x_trackflow_", "x_custom_trackflow_")
_OLD_FIELDS = (
    "source",
    "medium",
    "campaign",
    "first_touch_source",
    "first_touch_date",
    "last_touch_source",
    "last_touch_date",
)


class TrackflowTakeover(models.Model):
    """How far one step has come. It goes through its records by id, and may begin again at will:
    what it makes has ids of its own."""

    _name = "trackflow.takeover"
    _description = "TrackFlow Taking Over"
    _order = "id"
    _rec_name = "step"

    step = fields.Selection(
        [
            ("links", "Clicks on links: channel, source and campaign"),
            ("leads", "Leads: a touch from their campaign, medium and source"),
            ("older", "Leads of an older TrackFlow: first and last touch"),
        ],
        required=True,
        readonly=True,
    )
    total = fields.Integer(readonly=True, default=0)
    done = fields.Integer(readonly=True, default=0)
    last_id = fields.Integer(readonly=True, default=0, aggregator=None)
    state = fields.Selection(
        [("running", "At Work"), ("done", "Done")], required=True, readonly=True, default="running"
    )
    progress = fields.Float(compute="_compute_progress")

    _step_uniq = models.UniqueIndex("(step)", "Each step has one row.")

    @api.depends("total", "done", "state")
    def _compute_progress(self):
        for step in self:
            finished = step.state == "done" or not step.total
            step.progress = 100 if finished else min(100 * step.done / step.total, 100)

    @api.model
    def _begin(self, names=None):
        """Let the job do these steps, or all, from the beginning."""
        known = {step.step: step for step in self.search([])}
        for name in names or self._steps():
            values = {"done": 0, "last_id": 0, "state": "running", "total": self._count(name)}
            if name in known:
                known[name].write(values)
            else:
                self.create({**values, "step": name})
        cron = self.env.ref("trackflow.ir_cron_take_over").sudo()
        cron.active = True
        cron._trigger()

    def action_begin(self):
        """Do everything once more, for instance after an import."""
        self.check_access("write")
        self.sudo()._begin()

    @api.model
    def _cron_take_over(self, batch=BATCH):
        progress = self.env["ir.cron"]._commit_progress
        steps = self.search([("state", "=", "running")])
        progress(remaining=len(steps))
        for number, step in enumerate(steps, 1):
            while step.state == "running":
                try:
                    done = step._advance(batch)
                except PG_CONCURRENCY_EXCEPTIONS_TO_RETRY as error:
                    _logger.info("Taking over of %s goes on later: %s", step.step, error)
                    self.env.cr.rollback()
                    return
                if not progress(done, remaining=len(steps) - number + 1):
                    return
        progress(remaining=0, deactivate=True)

    def _advance(self, batch):
        """Do the next `batch` records of this step; returns how many there were."""
        self.flush_recordset()
        self.env.flush_all()
        ids = [
            row[0]
            for row in self.env.execute_query(
                SQL("%s AND t.id > %s ORDER BY t.id LIMIT %s", self._query(), self.last_id, batch)
            )
        ]
        if ids:
            self._steps()[self.step](ids)
        self.write(
            {
                "done": self.done + len(ids),
                "last_id": ids[-1] if ids else self.last_id,
                "state": "running" if len(ids) == batch else "done",
            }
        )
        self.env.flush_all()
        return len(ids)

    @api.model
    def _count(self, name):
        [[total]] = self.env.execute_query(
            SQL("SELECT count(*) FROM (%s) found", self.new({"step": name})._query())
        )
        return total

    @api.model
    def _steps(self):
        """What each step does with the ids of a batch."""
        return {
            "links": self._classify_clicks,
            "leads": self._touch_leads,
            "older": self._touch_older_leads,
        }

    def _query(self):
        """The ids that this step goes through, of a table `t`."""
        if self.step == "links":
            return SQL(
                """
                SELECT t.id FROM link_tracker t
                 WHERE EXISTS (SELECT FROM link_tracker_click c
                                WHERE c.link_id = t.id AND c.trackflow_event_id IS NULL)
                """
            )
        untouched = SQL(
            """
            NOT EXISTS (SELECT FROM crm_lead_trackflow_visitor_rel r WHERE r.lead_id = t.id)
            """
        )
        if self.step == "older":
            columns = self._old_columns()
            source = columns.get("source") or columns.get("last_touch_source")
            told = SQL("t.%s IS NOT NULL", SQL.identifier(source)) if source else SQL("FALSE")
            return SQL("SELECT t.id FROM crm_lead t WHERE %s AND %s", told, untouched)
        return SQL(
            """
            SELECT t.id FROM crm_lead t
             WHERE (t.source_id IS NOT NULL OR t.campaign_id IS NOT NULL
                    OR t.medium_id IS NOT NULL)
               AND %s
            """,
            untouched,
        )

    # -- the steps -------------------------------------------------------------------------

    @api.model
    def _classify_clicks(self, link_ids):
        """Give clicks of these links from before TrackFlow what the link tells of them."""
        rows = self.env.execute_query(
            SQL(
                """
                SELECT link.id, link.url, source.name, medium.name, campaign.name, (
                       SELECT max(code.code) FROM link_tracker_code code
                        WHERE code.link_id = link.id)
                  FROM link_tracker link
                  LEFT JOIN utm_source source ON source.id = link.source_id
                  LEFT JOIN utm_medium medium ON medium.id = link.medium_id
                  LEFT JOIN utm_campaign campaign ON campaign.id = link.campaign_id
                 WHERE link.id = ANY(%s)
                """,
                link_ids,
            )
        )
        told = [
            {"link": link_id, "code": code, **_columns(url or "", source, medium, campaign)}
            for link_id, url, source, medium, campaign, code in rows
        ]
        self.env.cr.execute(
            SQL(
                """
                UPDATE link_tracker_click c
                   SET trackflow_channel = r.channel, trackflow_source = r.source,
                       trackflow_medium = r.medium, trackflow_campaign = r.campaign,
                       trackflow_link_code = r.code,
                       campaign_id = COALESCE(c.campaign_id, link.campaign_id),
                       trackflow_occurred_at = COALESCE(c.trackflow_occurred_at, c.create_date)
                  FROM jsonb_to_recordset(%s::jsonb) AS r(
                       link int, channel text, source text, medium text, campaign text, code text)
                  JOIN link_tracker link ON link.id = r.link
                 WHERE c.link_id = r.link AND c.trackflow_event_id IS NULL
                """,
                json.dumps(told),
            )
        )
        self.env["link.tracker.click"].invalidate_model(flush=False)

    @api.model
    def _touch_leads(self, lead_ids):
        """What UTM fields tell of a lead without visitors is a visit at the moment it came in."""
        rows = self.env.execute_query(
            SQL(
                """
                SELECT lead.id, lead.create_date, source.name, medium.name, campaign.name
                  FROM crm_lead lead
                  LEFT JOIN utm_source source ON source.id = lead.source_id
                  LEFT JOIN utm_medium medium ON medium.id = lead.medium_id
                  LEFT JOIN utm_campaign campaign ON campaign.id = lead.campaign_id
                 WHERE lead.id = ANY(%s)
                """,
                lead_ids,
            )
        )
        self._save(
            (lead_id, "utm", moment, source, medium, campaign)
            for lead_id, moment, source, medium, campaign in rows
        )

    @api.model
    def _touch_older_leads(self, lead_ids):
        columns = self._old_columns()

        def column(name):
            return SQL.identifier("lead", columns[name]) if name in columns else SQL("NULL")

        rows = self.env.execute_query(
            SQL(
                """
                SELECT lead.id, lead.create_date, %s, %s, %s, %s, %s::timestamp, %s,
                       %s::timestamp
                  FROM crm_lead lead WHERE lead.id = ANY(%s)
                """,
                *(column(name) for name in _OLD_FIELDS),
                lead_ids,
            )
        )
        touches = []
        for lead_id, created, source, medium, campaign, first, first_at, last, last_at in rows:
            if first and first_at:
                touches.append((lead_id, "first", first_at, first, "", ""))
            touches.append((lead_id, "last", last_at or created, last or source, medium, campaign))
        self._save(touches)

    @api.model
    def _old_columns(self):
        """The columns of an older TrackFlow on crm.lead, by what they hold."""
        found = {
            row[0]
            for row in self.env.execute_query(
                SQL(
                    "SELECT column_name FROM information_schema.columns"
                    " WHERE table_schema = current_schema AND table_name = 'crm_lead'"
                )
            )
        }
        return {
            name: next(prefix + name for prefix in _OLD_PREFIXES if prefix + name in found)
            for name in _OLD_FIELDS
            if any(prefix + name in found for prefix in _OLD_PREFIXES)
        }

    @api.model
    def _save(self, touches):
        """Keep touches of leads (id, what, when, source, medium, campaign) and let the click job
        split their deals. Without a source or campaign there is nothing to credit."""
        by_lead = {}
        for lead_id, what, moment, source, medium, campaign in touches:
            told = _columns("", source, medium, campaign)
            if told["channel"] == "Direct":
                continue
            touch = Touch(f"takeover-{what}-{lead_id}", aware(moment), kind="visit", **told)
            by_lead.setdefault(local_ref(lead_id), []).append(touch)
        if by_lead:
            store = OdooStore(self.env)
            store.mark_stale(store.save_touches(by_lead))
            self.env.ref("trackflow.ir_cron_process_clicks").sudo()._trigger()


def _columns(url, source, medium, campaign):
    found = channels.classify(
        url, utm={"source": source or "", "medium": medium or "", "campaign": campaign or ""}
    )
    return {
        "channel": found.channel,
        "source": found.source,
        "medium": found.medium,
        "campaign": found.campaign,
    }
