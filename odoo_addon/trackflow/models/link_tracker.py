import base64
import re
from collections import defaultdict
from urllib.parse import urlsplit

import pytz
from odoo import api, fields, models
from odoo.exceptions import UserError, ValidationError
from odoo.fields import Domain
from odoo.tools import SQL, groupby

from trackflow_core.errors import InvalidEvent
from trackflow_core.tracking import qr, urls

from ..relations import see_to

# "example.com:8080/page" has a colon too, but "javascript:" and "mailto:" are no hosts.
_SCHEME = re.compile(r"\s*([a-z][a-z0-9+-]*):(?!\d+(?:[/?#]|$))", re.IGNORECASE)

# A title that nobody has typed is the URL, or an earlier one.
_WEB = re.compile(r"\s*https?://", re.IGNORECASE)


MANAGER = "trackflow.group_trackflow_campaign_manager"

_LANGUAGE = re.compile(r"[a-zA-Z]{2,8}(-[a-zA-Z0-9]{1,8})*\Z")
_UNIQUE = ("url", "campaign_id", "medium_id", "source_id", "label")
_OUR_UNIQUE = ("trackflow_content", "trackflow_term")
_QR_WIDTHS = (100, 4000)
_PLAIN_LOOK = {"color": "#000000", "background": "#ffffff", "logo": b""}


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
    short_url_host = fields.Char(compute="_compute_trackflow_short_url_host")
    trackflow_scans = fields.Integer(
        "Scans", readonly=True, copy=False, help="Clicks that came from the QR code."
    )
    active = fields.Boolean(default=True, copy=False)
    trackflow_paused = fields.Boolean("Paused", copy=False)
    trackflow_status = fields.Selection(
        [
            ("active", "Active"),
            ("planned", "Not Started"),
            ("paused", "Paused"),
            ("expired", "Expired"),
            ("archived", "Archived"),
        ],
        "Status",
        compute="_compute_trackflow_status",
        search="_search_trackflow_status",
    )
    trackflow_start_date = fields.Date(
        "Valid From", help="The first day on which this link leads to its target."
    )
    trackflow_expiry_date = fields.Date(
        "Valid Until", help="The last day on which this link leads to its target."
    )
    trackflow_zone = fields.Selection(
        lambda self: [(name, name) for name in sorted(pytz.all_timezones)],
        "Time Zone",
        default=lambda self: self.env.company.partner_id.tz or False,
        help="Whose midnight counts for dates; empty: that of the company.",
    )
    trackflow_fallback_url = fields.Char(
        "Fallback URL", help="Where visitors go while the link is out of use."
    )
    trackflow_validity = fields.Char("In Words", compute="_compute_trackflow_validity")
    trackflow_content = fields.Char("Content", help="utm_content: which ad, button or picture.")
    trackflow_term = fields.Char("Term", help="utm_term: which keyword.")
    trackflow_language = fields.Char(
        "Language of the Destination",
        help="Such as “en”; it stands beside the languages of the rules.",
    )
    trackflow_variant_ids = fields.One2many(
        "trackflow.link.variant", "link_id", "Variants", groups=MANAGER
    )
    trackflow_rule_ids = fields.One2many("trackflow.link.rule", "link_id", "Rules", groups=MANAGER)
    trackflow_standing = fields.Char("Test", compute="_compute_trackflow_standing", groups=MANAGER)
    trackflow_domain_id = fields.Many2one(
        "trackflow.domain",
        "Short Domain",
        default=lambda self: self.env["trackflow.domain"]._primary(),
        index="btree_not_null",
        ondelete="restrict",
    )
    trackflow_template_id = fields.Many2one(
        "trackflow.link.template",
        "Template",
        readonly=True,
        copy=False,
        index="btree_not_null",
        ondelete="set null",
        groups=MANAGER,
    )
    trackflow_company_id = fields.Many2one(
        related="campaign_id.trackflow_company_id", store=True, index="btree_not_null"
    )
    trackflow_qr_png = fields.Binary("QR Code", compute="_compute_trackflow_qr_png")
    trackflow_qr_size = fields.Integer("Width (pixels)", default=600)
    trackflow_qr_color = fields.Char("Colour", default=_PLAIN_LOOK["color"])
    trackflow_qr_background = fields.Char("Background", default=_PLAIN_LOOK["background"])
    trackflow_qr_logo = fields.Binary("Logo", help="Laid over the middle of the code.")

    _trackflow_dates_in_order = models.Constraint(
        "CHECK (trackflow_expiry_date >= trackflow_start_date)",
        "A link must not expire before it is valid.",
    )
    _trackflow_qr_size_range = models.Constraint(
        "CHECK (trackflow_qr_size BETWEEN {} AND {})".format(*_QR_WIDTHS),
        "A QR code is between 100 and 4000 pixels wide.",
    )
    _trackflow_campaign_idx = models.Index("(campaign_id) WHERE active")

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

    @api.depends(
        "short_url",
        "trackflow_qr_background",
        "trackflow_qr_color",
        "trackflow_qr_logo",
        "trackflow_qr_size",
    )
    def _compute_trackflow_qr_png(self):
        for link in self:
            readable = link.code and not link._trackflow_qr_problem()
            link.trackflow_qr_png = readable and base64.b64encode(link._trackflow_qr_png())

    def _compute_code(self):
        """As Odoo's, with one query for all links instead of one for each."""
        self.env["link.tracker.code"].flush_model(["code", "link_id"])
        codes = dict(
            self.env.execute_query(
                SQL(
                    "SELECT DISTINCT ON (link_id) link_id, code FROM link_tracker_code"
                    " WHERE link_id = ANY(%s) ORDER BY link_id, id DESC",
                    self._origin.ids,
                )
            )
        )
        for link in self:
            link.code = codes.get(link._origin.id, False)

    @api.depends("url")
    def _compute_absolute_url(self):
        # A form that was just opened has no URL yet, which Odoo's own cannot parse.
        empty = self.filtered(lambda link: not link.url)
        empty.absolute_url = False
        return super(LinkTracker, self - empty)._compute_absolute_url()

    @api.depends("trackflow_domain_id.name", "trackflow_domain_id.ssl_enabled")
    def _compute_trackflow_short_url_host(self):
        # Under a name of its own, because Odoo's website_links replaces the method without super().
        self._compute_short_url_host()
        for link in self.filtered("trackflow_domain_id"):
            link.short_url_host = link.trackflow_domain_id.sudo()._short_url_host()

    @api.depends("code", "short_url_host")
    def _compute_short_url(self):
        return super()._compute_short_url()

    @api.depends(
        "active",
        "trackflow_paused",
        "trackflow_start_date",
        "trackflow_expiry_date",
        "trackflow_zone",
        "trackflow_company_id",
    )
    def _compute_trackflow_status(self):
        for link in self:
            today = link._trackflow_today()
            start, end = link.trackflow_start_date, link.trackflow_expiry_date
            if not link.active:
                link.trackflow_status = "archived"
            elif link.trackflow_paused:
                link.trackflow_status = "paused"
            elif start and start > today:
                link.trackflow_status = "planned"
            elif end and end < today:
                link.trackflow_status = "expired"
            else:
                link.trackflow_status = "active"

    def _search_trackflow_status(self, operator, value):
        if operator != "in":
            return NotImplemented
        return Domain.OR(
            domains[status] & links
            for today, links in self._trackflow_links_by_day()
            for domains in [self._trackflow_status_domains(today)]
            for status in value
            if status in domains
        )

    @api.model
    def _trackflow_status_domains(self, today):
        """Which links have each status, where it is this day."""
        archived = Domain("active", "=", False)
        paused = Domain("trackflow_paused", "=", True)
        planned = Domain("trackflow_start_date", ">", today)
        expired = Domain("trackflow_expiry_date", "<", today)
        used = ~archived & ~paused
        return {
            "archived": archived,
            "paused": ~archived & paused,
            "planned": used & planned,
            "expired": used & ~planned & expired,
            "active": used & ~planned & ~expired,
        }

    @api.model
    def _trackflow_links_by_day(self):
        """The days that it is somewhere now, each with the links whose today it is."""

        def today(zone):
            return fields.Date.context_today(self.with_context(tz=zone))

        zones = groupby(pytz.all_timezones, today)
        companies = [(company.id, company) for company in self.env["res.company"].sudo().search([])]
        # Without a company, a link follows that of its reader.
        companies.append((False, self.env.company.sudo()))
        owners = dict(groupby(companies, lambda pair: today(pair[1].partner_id.tz or "UTC")))
        return [
            (
                day,
                Domain("trackflow_zone", "in", names)
                | Domain("trackflow_zone", "=", False)
                & Domain("trackflow_company_id", "in", [owner for owner, _ in owners.get(day, ())]),
            )
            for day, names in zones
        ]

    def _trackflow_midnight(self):
        """The time zone whose midnight counts: the link's own, or that of its company."""
        company = (self.trackflow_company_id or self.env.company).sudo()
        return self.trackflow_zone or company.partner_id.tz or "UTC"

    def _trackflow_today(self):
        """Today in the link's time zone."""
        return fields.Date.context_today(self.with_context(tz=self._trackflow_midnight()))

    @api.depends(
        "trackflow_start_date",
        "trackflow_expiry_date",
        "trackflow_fallback_url",
        "trackflow_zone",
        "trackflow_company_id",
    )
    def _compute_trackflow_validity(self):
        """When and how long a link works, in a sentence."""
        for link in self:
            start, end = link.trackflow_start_date, link.trackflow_expiry_date
            city = link._trackflow_midnight().rpartition("/")[2].replace("_", " ")
            parts = [
                start and self.env._("from %s", fields.Date.to_string(start)),
                end
                and self.env._(
                    "until %(day)s, end of day %(city)s", day=fields.Date.to_string(end), city=city
                ),
            ]
            words = " ".join(filter(None, parts)) or self.env._("always")
            if end:
                words += ", " + (
                    self.env._("then to %s", link.trackflow_fallback_url)
                    if link.trackflow_fallback_url
                    else self.env._("then a page says that it has expired")
                )
            link.trackflow_validity = words

    def _compute_trackflow_standing(self):
        for link in self:
            link.trackflow_standing = link.trackflow_variant_ids._standing()

    @api.depends(
        "url",
        "campaign_id.name",
        "medium_id.name",
        "source_id.name",
        "trackflow_content",
        "trackflow_term",
    )
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
            utm |= {"term": link.trackflow_term or "", "content": link.trackflow_content or ""}
            if no_external and urlsplit(url).netloc != urlsplit(link.get_base_url()).netloc:
                utm = {}
            link.redirected_url = urls.build_destination(url, utm)

    @api.constrains("url", "trackflow_fallback_url", "trackflow_language")
    def _check_trackflow_destination(self):
        labels = {
            name: self._fields[name]._description_string(self.env)
            for name in ("url", "trackflow_fallback_url")
        }
        for link in self:
            for name, label in labels.items():
                if link[name]:
                    self._trackflow_check_destination(link[name], label)
            link._trackflow_check_language(link.trackflow_language)

    @api.constrains("trackflow_qr_color", "trackflow_qr_background", "trackflow_qr_logo")
    def _check_trackflow_qr(self):
        for link in self:
            if problem := link._trackflow_qr_problem():
                raise ValidationError(problem)

    @api.onchange("trackflow_qr_color", "trackflow_qr_background", "trackflow_qr_logo")
    def _onchange_trackflow_qr(self):
        if problem := self._trackflow_qr_problem():
            title = self.env._("QR Code")
            return {"warning": {"title": title, "message": problem, "type": "notification"}}

    @api.model
    def _trackflow_check_language(self, tag):
        if tag and not _LANGUAGE.match(tag):
            raise ValidationError(
                self.env._("“%s” is not a language: write it like “de” or “pt-BR”.", tag[:40])
            )

    @api.constrains("active", *_UNIQUE, *_OUR_UNIQUE)
    def _check_unicity(self):
        """As Odoo's, but content and term tell links apart, and the message says what to do."""
        alike = defaultdict(list)
        for link in self.search(Domain.OR(link._trackflow_twins() for link in self), order="id"):
            alike[link._trackflow_identity()].append(link)
        for link in self:
            twins = alike[link._trackflow_identity()]
            if len(twins) > 1:
                other = next(twin for twin in twins if twin != link)
                raise UserError(
                    self.env._(
                        "There is a link to %(url)s with the same campaign, medium and source "
                        "already: %(short_url)s. Use that one, or tell this one apart by its "
                        "content or term.",
                        url=link.url[:80],
                        short_url=other.short_url,
                    )
                )

    def _trackflow_identity(self):
        """What no two links may have in common."""
        return tuple(self[name] or False for name in (*_UNIQUE, *_OUR_UNIQUE))

    def _trackflow_twins(self):
        """The domain of the links with this one's identity."""
        return Domain.AND(
            Domain(name, "in", [self[name], False] if name != "url" else [self.url])
            if name in ("url", "label", *_OUR_UNIQUE)
            else Domain(name, "=", self[name].id)
            for name in (*_UNIQUE, *_OUR_UNIQUE)
        )

    def unlink(self):
        result = super().unlink()
        see_to(self)
        return result

    @api.ondelete(at_uninstall=False)
    def _unlink_except_clicked(self):
        clicked = (
            self.env["link.tracker.click"].sudo().search([("link_id", "in", self.ids)], limit=1)
        )
        if clicked:
            raise UserError(
                self.env._(
                    "%s has been clicked, and its clicks earned leads and deals: archive it "
                    "instead of deleting it.",
                    clicked.link_id.sudo(False).display_name,
                )
            )

    def action_trackflow_pause(self):
        """Take the links out of use for a while."""
        self.trackflow_paused = True

    def action_trackflow_resume(self):
        self.trackflow_paused = False

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
        # Links that only their content or term tells apart are none that Odoo looks for.
        plain = self.with_context(trackflow_plain_links=True)
        return super(LinkTracker, plain).search_or_create(vals_list).with_env(self.env)

    @api.model
    def _search(self, domain, *args, **kwargs):
        if self.env.context.get("trackflow_plain_links"):
            domain = Domain(domain) & Domain.AND(
                Domain(name, "in", ("", False)) for name in _OUR_UNIQUE
            )
        return super()._search(domain, *args, **kwargs)

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
    def _trackflow_check_destination(self, url, label):
        """Refuse a destination that no redirect may lead to; a path on this site is one.

        `label` is what people call the field that it stands in.
        """
        self._trackflow_check_scheme(url)
        if url.startswith("/") and not url.startswith(("//", "/\\")):
            url = self.get_base_url() + url
        try:
            urls.safe_destination(url)
            urlsplit(url).port  # noqa: B018 - parsed only when it is read
        except InvalidEvent as error:
            raise ValidationError(str(error)) from error
        except ValueError as error:
            raise ValidationError(
                self.env._("%s has no valid port: write a number up to 65535.", url[:80])
            ) from error
        to_any = self.env.context.get("trackflow_to_short_urls")
        if not to_any and urls.is_short_url(url, self._trackflow_short_urls()):
            raise ValidationError(
                self.env._(
                    "%(field)s: %(url)s is a short URL of this Odoo, so that visitors could go "
                    "round: enter the address that it leads to.",
                    field=label,
                    url=url[:80],
                )
            )

    @api.model
    def _trackflow_short_urls(self):
        """What short URLs of this Odoo begin with."""
        domains = self.env["trackflow.domain"]._short_hosts()
        return {f"{self.browse().get_base_url()}/r/"} | {f"https://{host}/r/" for host in domains}

    @api.model
    def _get_title_from_url(self, url):
        # Odoo would fetch the page: saving a link must not wait for somebody else's server.
        return url

    @api.model
    def _trackflow_own_hosts(self):
        """Hosts whose pages are no source of a visit, because they are ours."""
        host = urlsplit(self.get_base_url()).hostname or ""
        return (
            frozenset((host, host.removeprefix("www.")))
            | self.env["trackflow.domain"]._short_hosts()
        )

    def _trackflow_qr_look(self):
        return {
            "color": self.trackflow_qr_color or _PLAIN_LOOK["color"],
            "background": self.trackflow_qr_background or _PLAIN_LOOK["background"],
            "logo": base64.b64decode(self.with_context(bin_size=False).trackflow_qr_logo or b""),
        }

    def _trackflow_qr_problem(self):
        """Why a QR code in this look would be of no use; empty where cameras read it."""
        look = self._trackflow_qr_look()
        if look == _PLAIN_LOOK:
            return ""
        try:
            qr.png("-", size=100, **look)
        except InvalidEvent as error:
            return str(error)
        return ""

    def _trackflow_qr_png(self, size=0):
        self.ensure_one()
        narrowest, widest = _QR_WIDTHS
        return qr.png(
            urls.scan_url(self.short_url),
            # A form shows the code while any number may stand in the field.
            size=size or min(max(self.trackflow_qr_size or 600, narrowest), widest),
            **self._trackflow_qr_look(),
        )

    def _trackflow_qr_svg(self):
        self.ensure_one()
        return qr.svg(urls.scan_url(self.short_url), **self._trackflow_qr_look())

    def _trackflow_qr_data_uri(self):
        """The QR code for a printed page."""
        return "data:image/svg+xml;base64," + base64.b64encode(self._trackflow_qr_svg()).decode()
