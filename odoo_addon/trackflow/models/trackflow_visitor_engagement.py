import json
import logging
from datetime import timedelta

from odoo import api, fields, models
from odoo.tools import SQL

from trackflow_core.errors import ConfigError
from trackflow_core.tracking import engagement

_logger = logging.getLogger(__name__)

# A score is brought down once a day; what a visitor does shows within the hour.
_RESCORE = timedelta(days=1)
_HALF_LIFE_DAYS = engagement.HALF_LIFE / timedelta(days=1)


class TrackflowVisitor(models.Model):
    """How engaged visitors are: the core's formula over sets, by a job and never on reading."""

    _inherit = "trackflow.visitor"  # pylint: disable=consider-merging-classes-inherited

    engagement_score = fields.Float(
        "Engagement",
        readonly=True,
        digits=(16, 2),
        index=True,
        aggregator="avg",
        help="Points of each touch by its kind, halved as time passes. The settings say how many.",
    )
    engagement_date = fields.Datetime("Scored On", readonly=True, copy=False)

    _unscored_idx = models.Index("(id) WHERE engagement_date IS NULL")
    _scored_idx = models.Index("(engagement_date) WHERE engagement_score > 0")

    @api.model
    def _engagement_formula(self):
        """The core's formula with this database's weights and half-life."""
        get_param = self.env["ir.config_parameter"].sudo().get_param
        try:
            weights = {
                kind: float(get_param(f"trackflow.engagement_{kind}", weight))
                for kind, weight in engagement.WEIGHTS.items()
            }
            days = float(get_param("trackflow.engagement_half_life", _HALF_LIFE_DAYS))
            return engagement.Formula(weights, timedelta(days=days))
        except (ValueError, ConfigError) as error:
            # A parameter mistyped by hand must not stop the clicks, which need no score.
            _logger.error("Engagement is scored as delivered until this is mended: %s", error)
            return engagement.Formula()

    @api.model
    def _score_all_anew(self):
        """Let the job score every visitor again."""
        self.flush_model(["engagement_date"])
        self.env.cr.execute(
            SQL("UPDATE trackflow_visitor SET engagement_date = NULL WHERE engagement_date NOTNULL")
        )
        self.invalidate_model(["engagement_date"], flush=False)
        self.env.ref("trackflow.ir_cron_score_engagement")._trigger()

    @api.model
    def _cron_score_engagement(self, limit=5000):
        """Score visitors who came back, or whose score has aged, and the contacts they are."""
        progress = self.env["ir.cron"]._commit_progress
        while True:
            visitor_ids = self._score_engagement(limit)
            if not visitor_ids:
                self._forget_partners()
                return
            seconds_left = progress(len(visitor_ids), remaining=len(visitor_ids) == limit)
            if not seconds_left:
                return

    @api.model
    def _score_engagement(self, limit):
        """Score up to `limit` visitors; returns their ids."""
        now = fields.Datetime.now()
        formula = self._engagement_formula()
        self.flush_model()
        rows = self.env.execute_query(
            SQL(
                """
                WITH due AS (
                    (SELECT id FROM trackflow_visitor WHERE engagement_date IS NULL LIMIT %(limit)s)
                     UNION
                    (SELECT id FROM trackflow_visitor
                      WHERE engagement_score > 0 AND engagement_date < %(aged)s LIMIT %(limit)s)
                     UNION
                    (SELECT id FROM trackflow_visitor
                      WHERE last_seen > %(now)s - INTERVAL '7 days' AND last_seen > engagement_date
                      LIMIT %(limit)s)
                    LIMIT %(limit)s
                ), touch AS (
                    SELECT due.id, click.id::text AS key, 'click' AS kind,
                           click.trackflow_occurred_at AS moment
                      FROM due
                      JOIN link_tracker_click click ON click.trackflow_visitor_id = due.id
                     WHERE click.trackflow_counts
                     UNION
                    SELECT due.id, touch.touch_key, touch.kind, touch.occurred_at
                      FROM due
                      JOIN crm_lead_trackflow_visitor_rel rel ON rel.visitor_id = due.id
                      JOIN crm_lead lead ON lead.id = rel.lead_id
                      JOIN trackflow_touch touch
                        ON touch.lead_ref IN (lead.trackflow_lead_ref, 'crm.lead/' || lead.id)
                ), score AS (
                    SELECT touch.id,
                           sum(COALESCE((%(weights)s::jsonb ->> touch.kind)::float8, 1)
                               * power(0.5, EXTRACT(EPOCH FROM %(now)s - touch.moment)
                                            / %(half_life)s)) AS points
                      FROM touch
                     WHERE touch.moment BETWEEN %(now)s - 30 * %(half_life)s * INTERVAL '1 second'
                                            AND %(now)s
                     GROUP BY touch.id
                )
                UPDATE trackflow_visitor visitor
                   SET engagement_score = round(COALESCE(score.points, 0)::numeric, 2),
                       engagement_date = %(now)s
                  FROM due LEFT JOIN score ON score.id = due.id
                 WHERE visitor.id = due.id
                RETURNING visitor.id
                """,
                limit=limit,
                now=now,
                aged=now - _RESCORE,
                weights=json.dumps(dict(formula.weights)),
                half_life=formula.half_life.total_seconds(),
            )
        )
        visitor_ids = [row[0] for row in rows]
        if visitor_ids:
            self._score_partners(visitor_ids)
        self.invalidate_model(["engagement_score", "engagement_date"], flush=False)
        return visitor_ids

    @api.model
    def _score_partners(self, visitor_ids):
        """Tell the contacts whose leads these visitors are bound to."""
        self.env["crm.lead"].flush_model(["partner_id"])
        self.env.cr.execute(
            SQL(
                """
                WITH bound AS (
                    SELECT DISTINCT lead.partner_id, rel.visitor_id
                      FROM crm_lead lead
                      JOIN crm_lead_trackflow_visitor_rel rel ON rel.lead_id = lead.id
                     WHERE lead.partner_id IN (
                        SELECT scored.partner_id FROM crm_lead scored
                          JOIN crm_lead_trackflow_visitor_rel own ON own.lead_id = scored.id
                         WHERE own.visitor_id = ANY(%s))
                )
                UPDATE res_partner partner
                   SET trackflow_visitor_id = told.visitor_id,
                       trackflow_engagement_score = told.score,
                       trackflow_last_campaign = told.campaign
                  FROM (
                    SELECT bound.partner_id,
                           (array_agg(v.id ORDER BY v.last_seen DESC NULLS LAST, v.id))[1]
                               AS visitor_id,
                           sum(v.engagement_score) AS score,
                           (array_agg(latest.campaign ORDER BY latest.session_start DESC
                                      NULLS LAST))[1] AS campaign
                      FROM bound
                      JOIN trackflow_visitor v ON v.id = bound.visitor_id
                      LEFT JOIN LATERAL (
                        SELECT s.campaign, s.session_start FROM trackflow_session s
                         WHERE s.visitor_id = v.id AND s.campaign != ''
                         ORDER BY s.session_start DESC LIMIT 1
                      ) latest ON TRUE
                     GROUP BY bound.partner_id
                  ) told
                 WHERE partner.id = told.partner_id
                """,
                visitor_ids,
            )
        )
        self.env["res.partner"].invalidate_model(
            ["trackflow_visitor_id", "trackflow_engagement_score", "trackflow_last_campaign"],
            flush=False,
        )

    @api.model
    def _forget_partners(self):
        """Take back what contacts had from visitors who have been erased."""
        self.env.cr.execute(
            """
            UPDATE res_partner
               SET trackflow_engagement_score = 0, trackflow_last_campaign = NULL
             WHERE trackflow_visitor_id IS NULL
               AND (trackflow_engagement_score != 0 OR trackflow_last_campaign IS NOT NULL)
            """
        )
        self.env["res.partner"].invalidate_model(
            ["trackflow_engagement_score", "trackflow_last_campaign"], flush=False
        )
