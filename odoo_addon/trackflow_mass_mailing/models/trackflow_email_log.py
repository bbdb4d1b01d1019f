from odoo import api, fields, models
from odoo.tools import SQL


class TrackflowEmailLog(models.Model):
    """What became of each mail of each campaign: a view of Odoo's own traces, never behind them."""

    _name = "trackflow.email.log"
    _description = "TrackFlow E-mail Log"
    _auto = False
    _rec_name = "recipient"
    _order = "sent_date desc, id desc"

    campaign_id = fields.Many2one("utm.campaign", readonly=True)
    mailing_id = fields.Many2one("mailing.mailing", readonly=True)
    recipient = fields.Char(readonly=True)
    sent_date = fields.Datetime("Sent", readonly=True)
    opened_date = fields.Datetime("Opened", readonly=True)
    clicked_date = fields.Datetime("Clicked", readonly=True)
    status = fields.Selection(
        lambda self: self.env["mailing.trace"]._fields["trace_status"].selection, readonly=True
    )
    link_id = fields.Many2one("link.tracker", "Last Link", readonly=True)
    click_count = fields.Integer("Clicks", readonly=True)
    visitor_id = fields.Many2one("trackflow.visitor", readonly=True)

    @property
    def _table_query(self):
        return SQL(
            """
            SELECT t.id, t.campaign_id, t.mass_mailing_id AS mailing_id, t.email AS recipient,
                   t.sent_datetime AS sent_date, t.open_datetime AS opened_date,
                   t.links_click_datetime AS clicked_date, t.trace_status AS status,
                   last.link_id, last.visitor_id, COALESCE(last.clicks, 0) AS click_count
              FROM mailing_trace t
              LEFT JOIN LATERAL (
                  SELECT (array_agg(c.link_id ORDER BY c.id DESC))[1] AS link_id,
                         (array_agg(c.trackflow_visitor_id ORDER BY c.id DESC)
                             FILTER (WHERE c.trackflow_mail_proven))[1] AS visitor_id,
                         count(*) AS clicks
                    FROM link_tracker_click c
                   WHERE c.mailing_trace_id = t.id AND c.trackflow_counts
              ) last ON TRUE
             WHERE t.trace_type = 'mail' AND t.is_test_trace IS NOT TRUE
            """
        )

    @api.depends("recipient", "mailing_id")
    def _compute_display_name(self):
        for log in self:
            log.display_name = f"{log.recipient or ''} · {log.mailing_id.display_name or ''}"
