from odoo import fields, models
from odoo.tools import SQL

from ..models.link_tracker_click import DEVICES


class TrackflowReportJourney(models.Model):
    """One row for each visit, with its place in the visitor's journey."""

    _name = "trackflow.report.journey"
    _description = "Visitor Journey"
    _auto = False
    _order = "date desc, id desc"
    _rec_name = "session_id"

    session_id = fields.Many2one("trackflow.session", "Visit", readonly=True)
    visitor_id = fields.Many2one("trackflow.visitor", "Visitors", readonly=True)
    company_id = fields.Many2one("res.company", readonly=True)
    date = fields.Datetime(readonly=True)
    number = fields.Integer(
        "Visit Number", readonly=True, aggregator="avg", help="1 is the visitor's first visit."
    )
    kind = fields.Selection(
        [("new", "New"), ("returning", "Returning")], "New or Returning", readonly=True
    )
    channel = fields.Char(readonly=True)
    source = fields.Char(readonly=True)
    medium = fields.Char(readonly=True)
    campaign = fields.Char(readonly=True)
    device = fields.Selection(DEVICES, readonly=True)
    browser = fields.Char(readonly=True)
    entry_page = fields.Char(readonly=True)
    visits = fields.Integer(readonly=True)
    hits = fields.Integer(readonly=True)
    bounces = fields.Integer(readonly=True)
    duration = fields.Float("Duration (minutes)", readonly=True, aggregator="avg")
    converted = fields.Integer(
        "Visits before a Conversion", readonly=True, help="Visits that a conversion followed."
    )

    @property
    def _table_query(self):
        return SQL(
            """
            SELECT session.id, session.id AS session_id, session.visitor_id,
                   session.company_id, session.session_start AS date, session.number,
                   CASE WHEN session.number = 1 THEN 'new' ELSE 'returning' END AS kind,
                   session.channel, session.source, session.medium, session.campaign,
                   session.device_type AS device, session.browser, session.entry_page,
                   1 AS visits, session.hits, session.is_bounce::int AS bounces,
                   EXTRACT(EPOCH FROM session.session_end - session.session_start) / 60 AS duration,
                   COALESCE(conversion.last_at >= session.session_start, FALSE)::int AS converted
              FROM (SELECT *, row_number() OVER (
                              PARTITION BY visitor_id ORDER BY session_start, id) AS number
                      FROM trackflow_session) session
              LEFT JOIN (SELECT visitor_id, max(occurred_at) AS last_at
                           FROM trackflow_conversion WHERE visitor_id IS NOT NULL
                          GROUP BY visitor_id) conversion
                ON conversion.visitor_id = session.visitor_id
            """
        )
