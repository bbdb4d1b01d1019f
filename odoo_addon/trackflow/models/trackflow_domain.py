import re

from odoo import api, fields, models, tools
from odoo.exceptions import ValidationError

_HOST = re.compile(r"(?=.{1,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{2,63}\Z")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")
# What the redirect itself says, and what would break the connection.
_RESERVED = frozenset(
    ("cache-control", "connection", "content-length", "content-type", "location", "set-cookie")
) | {"transfer-encoding", "keep-alive", "upgrade", "trailer", "te"}


class TrackflowDomain(models.Model):
    """A short domain: it leads to this Odoo and stands in front of short links."""

    _name = "trackflow.domain"
    _description = "Short Domain"
    _order = "is_primary desc, name"

    name = fields.Char("Domain", required=True, help="Such as go.example.com.")
    is_primary = fields.Boolean("Primary", help="New links get it.")
    ssl_enabled = fields.Boolean("HTTPS", default=True)
    tracking = fields.Boolean("Record Clicks", default=True)
    custom_css = fields.Text(
        "Page Style", help="For the page that says that a link leads nowhere any more."
    )
    header_ids = fields.One2many("trackflow.domain.header", "domain_id", "Headers", copy=True)
    company_id = fields.Many2one("res.company", help="Empty: for the links of every company.")
    active = fields.Boolean(default=True)
    link_count = fields.Integer(compute="_compute_link_count")

    _name_uniq = models.UniqueIndex("(name)", "This domain is in the list already.")
    _primary_uniq = models.UniqueIndex(
        "(COALESCE(company_id, 0)) WHERE is_primary AND active",
        "There is a primary domain already: take its mark away first.",
    )

    @api.constrains("name")
    def _check_name(self):
        for domain in self:
            if not _HOST.match(domain.name):
                raise ValidationError(
                    self.env._(
                        "“%s” is not a domain: write it without https:// and path, such as "
                        "go.example.com.",
                        domain.name[:80],
                    )
                )

    @api.constrains("custom_css")
    def _check_custom_css(self):
        for domain in self:
            if "<" in (domain.custom_css or ""):
                raise ValidationError(self.env._("The page style must be CSS without “<”."))

    def _compute_link_count(self):
        counted = self.env["link.tracker"]._read_group(
            [("trackflow_domain_id", "in", self.ids)], ["trackflow_domain_id"], ["__count"]
        )
        numbers = {domain.id: count for domain, count in counted}
        for domain in self:
            domain.link_count = numbers.get(domain.id, 0)

    @api.model_create_multi
    def create(self, vals_list):
        self.env.registry.clear_cache()
        return super().create(
            [{**vals, "name": (vals.get("name") or "").strip().lower()} for vals in vals_list]
        )

    def write(self, vals):
        self.env.registry.clear_cache()
        if vals.get("name"):
            vals = {**vals, "name": vals["name"].strip().lower()}
        return super().write(vals)

    def unlink(self):
        self.env.registry.clear_cache()
        return super().unlink()

    @api.model
    @tools.ormcache()
    def _short_hosts(self):
        # All of them, once for each process.
        return frozenset(self.sudo().search([("name", "!=", False)]).mapped("name"))

    @api.model
    def _primary(self):
        """The domain that new links of this company get; an empty recordset without one."""
        return self.browse(self._primary_id(self.env.company.id))

    @api.model
    @tools.ormcache("company_id")
    def _primary_id(self, company_id):
        # Odoo asks for the default of each new link.
        found = self.sudo().search(
            [("is_primary", "=", True), ("company_id", "in", (company_id, False))]
        )
        return found.sorted(lambda domain: not domain.company_id)[:1].id

    def _short_url_host(self):
        """What stands before a link's code."""
        self.ensure_one()
        return f"{'https' if self.ssl_enabled else 'http'}://{self.name}/r/"


class TrackflowDomainHeader(models.Model):
    _name = "trackflow.domain.header"
    _description = "Header of a Short Domain"
    _order = "domain_id, name"

    domain_id = fields.Many2one("trackflow.domain", required=True, index=True, ondelete="cascade")
    name = fields.Char("Header", required=True, help="Such as X-Robots-Tag.")
    value = fields.Char(required=True)

    _name_uniq = models.UniqueIndex("(domain_id, lower(name))", "A domain sends each header once.")

    @api.constrains("name", "value")
    def _check_header(self):
        for header in self:
            if not _TOKEN.match(header.name) or header.name.lower() in _RESERVED:
                raise ValidationError(
                    self.env._("“%s” cannot be a header of your own.", header.name[:80])
                )
            if not header.value.isascii() or not header.value.isprintable():
                raise ValidationError(
                    self.env._("The value of %s must be plain characters in one line.", header.name)
                )
