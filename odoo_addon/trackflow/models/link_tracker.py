import base64
import re
from urllib.parse import urlsplit

from odoo import api, fields, models
from odoo.exceptions import ValidationError

from trackflow_core.errors import InvalidEvent
from trackflow_core.tracking import qr, urls

# "example.com:8080/page" has a colon too, but "javascript:" and "mailto:" are no hosts.
_SCHEME = re.compile(r"\s*([a-z][a-z0-9+-]*):(?!\d+(?:[/?#]|$))", re.IGNORECASE)

# A title that nobody has typed is the URL, or an earlier one.
_WEB = re.compile(r"\s*https?://", re.IGNORECASE)


class LinkTracker(models.Model):
    _inherit = "link.tracker"
    # The short URL, which Odoo names links by, is computed: nobody could find a link by it.
    _rec_names_search = ["title", "label", "url"]

    # Odoo counts the clicks anew after each of them, so that clicks on one link wait for each
    # other; here the job that records clicks adds to the number.
    count = fields.Integer(compute=None, readonly=True, default=0, copy=False)
    trackflow_unique_visitors = fields.Integer("Visitors", readonly=True, copy=False)
    trackflow_conversions = fields.Integer(
        "Conversions",
        compute="_compute_trackflow_conversions",
        help="Leads that came in and deals that were won after this link was the last touch.",
    )
    trackflow_last_click = fields.Datetime("Last Click", readonly=True, copy=False)
    trackflow_expiry_date = fields.Date(
        "Valid Until",
        help="The last day on which this link leads to its target, in the company's time zone.",
    )
    trackflow_fallback_url = fields.Char(
        "Fallback URL", help="Where visitors go once the link has expired."
    )
    trackflow_qr_png = fields.Binary("QR Code", compute="_compute_trackflow_qr_png")

    @api.depends("title", "short_url")
    def _compute_display_name(self):
        """The name that a person gave the link; its short URL while it has none."""
        for link in self:
            title = link.title or ""
            named = title and title != link.url and not _WEB.match(title)
            link.display_name = title if named else link.short_url

    def _compute_trackflow_conversions(self):
        counted = (
            self.env["trackflow.conversion"]
            .sudo()
            ._read_group([("link_id", "in", self.ids)], ["link_id"], ["__count"])
        )
        numbers = {link.id: count for link, count in counted}
        for link in self:
            link.trackflow_conversions = numbers.get(link.id, 0)

    @api.depends("short_url")
    def _compute_trackflow_qr_png(self):
        for link in self:
            link.trackflow_qr_png = (
                base64.b64encode(link._trackflow_qr_png()) if link.code else False
            )

    @api.depends("url", "campaign_id.name", "medium_id.name", "source_id.name")
    def _compute_redirected_url(self):
        """What the redirect answers: the stored query stays as it was written."""
        no_external = (
            self.env["ir.config_parameter"].sudo().get_param("link_tracker.no_external_tracking")
        )
        parameters = {
            parameter.removeprefix("utm_"): field
            for parameter, field, _cookie in self.env["utm.mixin"].tracking_fields()
        }
        for link in self:
            url = link.absolute_url or ""
            utm = {name: link[field].name or "" for name, field in parameters.items()}
            if no_external and urlsplit(url).netloc != urlsplit(link.get_base_url()).netloc:
                utm = {}
            link.redirected_url = urls.build_destination(url, utm)

    @api.constrains("url", "trackflow_fallback_url")
    def _check_trackflow_destination(self):
        for link in self:
            for url in filter(None, (link.url, link.trackflow_fallback_url)):
                self._trackflow_check_destination(url)

    @api.model_create_multi
    def create(self, vals_list):
        vals_list = [self._trackflow_prepare_url(vals) for vals in vals_list]
        return super().create(self._trackflow_add_campaign_defaults(vals_list))

    @api.model
    def _trackflow_add_campaign_defaults(self, vals_list):
        """Give links that name neither the source and medium of their campaign."""
        campaigns = self.env["utm.campaign"].browse(
            {vals["campaign_id"] for vals in vals_list if vals.get("campaign_id")}
        )
        defaults = {
            campaign.id: {
                "source_id": campaign.trackflow_source_id.id,
                "medium_id": campaign.trackflow_medium_id.id,
            }
            for campaign in campaigns
        }
        return [{**defaults.get(vals.get("campaign_id"), {}), **vals} for vals in vals_list]

    @api.model
    def search_or_create(self, vals_list):
        if not isinstance(vals_list, list):
            vals_list = [vals_list]
        for vals in vals_list:
            # In place, because Odoo's own method tells its callers by it, too.
            vals.update(self._trackflow_prepare_url(vals))
        return super().search_or_create(vals_list)

    @api.model
    def _trackflow_prepare_url(self, vals):
        """Refuse other schemes and complete paths: Odoo puts "http://" before all it knows not."""
        url = vals.get("url") or ""
        self._trackflow_check_scheme(url)
        if url.startswith("/") and not url.startswith(("//", "/\\")):
            return {**vals, "url": self.get_base_url() + url}
        return vals

    @api.model
    def _trackflow_check_scheme(self, url):
        match = _SCHEME.match(url or "")
        if match and match[1].lower() not in ("http", "https"):
            raise ValidationError(
                self.env._(
                    "%(url)s cannot be a destination: it must begin with http:// or https://.",
                    url=url[:80],
                )
            )

    @api.model
    def _trackflow_check_destination(self, url):
        """Refuse a destination that no redirect may lead to; a path on this site is one."""
        self._trackflow_check_scheme(url)
        if url.startswith("/") and not url.startswith(("//", "/\\")):
            url = self.get_base_url() + url
        try:
            urls.safe_destination(url)
            urlsplit(url).port  # noqa: B018 - parsed only when it is read
        except (InvalidEvent, ValueError) as error:
            raise ValidationError(
                self.env._(
                    "%(url)s is not a valid destination: %(error)s", url=url[:80], error=error
                )
            ) from error

    @api.model
    def _get_title_from_url(self, url):
        # Odoo would fetch the page: saving a link must not wait for somebody else's server.
        return url

    @api.model
    def _trackflow_own_hosts(self):
        """Hosts whose pages are no source of a visit, because they are ours."""
        host = urlsplit(self.get_base_url()).hostname or ""
        return frozenset((host, host.removeprefix("www.")))

    def _trackflow_qr_png(self):
        self.ensure_one()
        return qr.png(self.short_url)

    def _trackflow_qr_svg(self):
        self.ensure_one()
        return qr.svg(self.short_url)
