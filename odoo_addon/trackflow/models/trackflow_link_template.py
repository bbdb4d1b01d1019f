from odoo import api, fields, models
from odoo.exceptions import ValidationError

from trackflow_core.errors import ConfigError
from trackflow_core.tracking.templates import Kind, Template, Variable


class TrackflowLinkTemplate(models.Model):
    """A URL with variables, from which many links are made."""

    _name = "trackflow.link.template"
    _description = "Link Template"
    _order = "name"

    name = fields.Char(required=True)
    url_template = fields.Char(
        "URL",
        required=True,
        help="Variables stand in braces: https://www.example.com/{page}?city={city|slug}",
    )
    title_template = fields.Char(
        "Link Name", help="May use the variables, too: Poster {city}. Empty: the URL."
    )
    description = fields.Text()
    active = fields.Boolean(default=True)
    company_id = fields.Many2one("res.company", help="Empty: for every company.")
    campaign_id = fields.Many2one("utm.campaign", ondelete="set null")
    medium_id = fields.Many2one("utm.medium", ondelete="set null")
    source_id = fields.Many2one("utm.source", ondelete="set null")
    variable_ids = fields.One2many(
        "trackflow.link.template.variable", "template_id", "Variables", copy=True
    )
    link_count = fields.Integer(compute="_compute_link_count")

    def _compute_link_count(self):
        counted = self.env["link.tracker"]._read_group(
            [("trackflow_template_id", "in", self.ids)], ["trackflow_template_id"], ["__count"]
        )
        numbers = {template.id: count for template, count in counted}
        for template in self:
            template.link_count = numbers.get(template.id, 0)

    @api.constrains("url_template", "title_template", "variable_ids")
    def _check_template(self):
        for template in self:
            template._core_template()
            template._core_title()

    def _core_template(self):
        """The core's template; what cannot work is refused in words."""
        self.ensure_one()
        try:
            return Template(self.url_template, self.variable_ids._core_variables())
        except ConfigError as error:
            raise ValidationError(str(error)) from error

    def _core_title(self):
        """The same for the links' names; None where they have none of their own."""
        if not self.title_template:
            return None
        if "|" in self.title_template:
            raise ValidationError(self.env._("The link name takes variables without filters."))
        try:
            Template(self.title_template, self.variable_ids._core_variables())
        except ConfigError as error:
            raise ValidationError(str(error)) from error
        return self.title_template

    def _title(self, row):
        """The name of the link of one row."""
        title = self.title_template or ""
        for variable in self.variable_ids:
            value = (row.get(variable.name) or "").strip() or variable.default_value or ""
            title = title.replace(f"{{{variable.name}}}", value)
        return title

    def action_open_links(self):
        """The links made from this template."""
        action = self.env["ir.actions.act_window"]._for_xml_id("trackflow.link_tracker_action")
        return {**action, "domain": [("trackflow_template_id", "=", self.id)]}


class TrackflowLinkTemplateVariable(models.Model):
    _name = "trackflow.link.template.variable"
    _description = "Variable of a Link Template"
    _order = "template_id, sequence, id"

    template_id = fields.Many2one(
        "trackflow.link.template", required=True, index=True, ondelete="cascade"
    )
    sequence = fields.Integer(default=10)
    name = fields.Char("Variable", required=True)
    kind = fields.Selection(
        [
            ("text", "Text"),
            ("slug", "Slug"),
            ("integer", "Whole Number"),
            ("date", "Date"),
            ("choice", "Choice"),
            ("url", "URL"),
        ],
        required=True,
        default="text",
    )
    default_value = fields.Char("Default", help="Empty: every row must give a value.")
    choices = fields.Char(help="The allowed values, with commas between them.")
    pattern = fields.Char(help="A regular expression that the whole value must match.")
    max_length = fields.Integer(default=255)
    description = fields.Char()

    _name_uniq = models.UniqueIndex(
        "(template_id, name)", "The variables of a template need names of their own."
    )
    _max_length_range = models.Constraint(
        "CHECK (max_length BETWEEN 1 AND 2000)", "A value has between 1 and 2000 characters."
    )

    @api.constrains("name", "kind", "default_value", "choices", "pattern", "max_length")
    def _check_variable(self):
        for template in self.template_id:
            template._check_template()

    def _core_variables(self):
        return tuple(
            Variable(
                variable.name,
                Kind(variable.kind),
                default=variable.default_value or "",
                choices=tuple(
                    filter(None, (item.strip() for item in (variable.choices or "").split(",")))
                ),
                pattern=variable.pattern or "",
                max_length=variable.max_length,
            )
            for variable in self
        )
