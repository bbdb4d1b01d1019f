"""Many links at once, from the rows of a sheet."""

import re

from odoo import api, models
from odoo.exceptions import ValidationError
from odoo.tools.mail import validate_url

_CODE = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


class LinkTracker(models.Model):
    _inherit = "link.tracker"  # pylint: disable=consider-merging-classes-inherited

    @api.model
    def _trackflow_sheet_columns(self, template):
        """What a sheet may say of each link; with a template its variables instead of the URL."""
        variables = template.variable_ids.mapped("name") if template else ["url"]
        return [*variables, "name", "campaign", "source", "medium", "content", "term", "code"]

    @api.model
    def _trackflow_check_sheet(self, rows, template):
        """What becomes of each row: (summary, values, errors)."""
        rendered = template._core_template().render_rows(rows.values()) if template else None
        campaigns = self.env["utm.campaign"]._trackflow_by_name()
        taken = self._trackflow_links_of_codes(rows.values())
        checked, seen, codes = [], {}, set()
        for position, (number, row) in enumerate(rows.items()):
            errors, values = [], {"row": row}
            if rendered:
                errors += [
                    f"{item.variable or 'URL'}: {item.reason}"
                    for item in rendered[position].problems
                ]
                values["url"] = rendered[position].url
                if not errors:
                    errors += self._trackflow_url_problems(values["url"])
                values["title"] = row.get("name") or template._title(row)
            else:
                values["url"], values["title"] = row.get("url", ""), row.get("name", "")
                errors += self._trackflow_url_problems(values["url"])
            if row.get("campaign"):
                campaign = campaigns.get(row["campaign"].lower())
                values["campaign_id"] = campaign.id if campaign else False
                if not campaign:
                    errors.append(self.env._("there is no campaign “%s”", row["campaign"]))
            code = row.get("code")
            if code and not _CODE.match(code):
                errors.append(self.env._("“%s” cannot be a code: use letters and digits", code))
            elif code and (
                code in codes
                or (
                    code in taken
                    and (errors or not self._trackflow_is_told(taken[code], values, template))
                )
            ):
                errors.append(self.env._("the code “%s” is taken", code))
            codes.add(code)
            identity = (
                values["url"],
                *(
                    row.get(name, "")
                    for name in ("campaign", "source", "medium", "content", "term")
                ),
            )
            if not errors and identity in seen:
                errors.append(self.env._("is the same as row %s", seen[identity]))
            seen.setdefault(identity, number)
            values["template_id"] = template.id if template else False
            summary = " · ".join(filter(None, (values["title"], values["url"]))) or " · ".join(
                filter(None, row.values())
            )
            checked.append((summary, {} if errors else values, errors))
        return checked

    @api.model
    def _trackflow_links_of_codes(self, rows):
        """The links, whoever may read them, that have the codes of these rows."""
        codes = [row["code"] for row in rows if row.get("code")]
        found = self.env["link.tracker.code"].sudo().search([("code", "in", codes)])
        return {code.code: code.link_id for code in found}

    @api.model
    def _trackflow_is_told(self, link, values, template):
        """Whether a row tells this link, as it does when a sheet is brought twice."""
        row = values["row"]
        campaign_id = values.get("campaign_id") or template.campaign_id.id
        return (
            link.url == self._trackflow_stored_url(values["url"])
            and link.campaign_id.id == campaign_id
            and (link.trackflow_content or "") == row.get("content", "")
            and (link.trackflow_term or "") == row.get("term", "")
            and all(
                (link[field].name or "").lower() == row[column].lower()
                for column, field in (("source", "source_id"), ("medium", "medium_id"))
                if row.get(column)
            )
        )

    @api.model
    def _trackflow_stored_url(self, url):
        """A destination as a link keeps it."""
        return validate_url(self._trackflow_prepare_url({"url": url})["url"])

    @api.model
    def _trackflow_url_problems(self, url):
        if not url:
            return [self.env._("%s is missing", "url")]
        try:
            self._trackflow_check_scheme(url)
            self._trackflow_check_destination(url if "://" in url else f"http://{url}", "url")
        except ValidationError as error:
            return [str(error)]
        return []

    @api.model
    def _trackflow_import_sheet(self, values_list):
        """Make these links, or find those that are there already; their ids in the same order."""
        self.browse().check_access("create")
        templates = self.env["trackflow.link.template"]
        vals_list = []
        for values in values_list:
            row, template = values["row"], templates.browse(values["template_id"])
            vals = {
                "url": self._trackflow_stored_url(values["url"]),
                "title": values["title"] or values["url"],
                "campaign_id": values.get("campaign_id") or template.campaign_id.id,
                "trackflow_content": row.get("content") or False,
                "trackflow_term": row.get("term") or False,
                "trackflow_template_id": template.id,
            }
            vals.update(self._trackflow_named_utm(row, template))
            vals_list.append(vals)
        # What was brought before is found again, so that a sheet can be mended and brought twice.
        held = self._trackflow_links_of_codes([values["row"] for values in values_list])
        known = [
            held.get(values["row"].get("code"), self.browse()).with_env(self.env) or found
            for values, found in zip(
                values_list, self._trackflow_find_existing(vals_list), strict=True
            )
        ]
        fresh = [vals for vals, found in zip(vals_list, known, strict=True) if not found]
        made = iter(self.create(fresh))
        links = [found or next(made) for found in known]
        for link, values in zip(links, values_list, strict=True):
            code = values["row"].get("code")
            if code and code not in held:
                link.code = code
        return [link.id for link in links]

    @api.model
    def _trackflow_named_utm(self, row, template):
        """The source and medium that a row names; one that was not there is made."""
        found = {}
        for column, field in (("source", "source_id"), ("medium", "medium_id")):
            if row.get(column):
                model = f"utm.{column}"
                found[field] = self.env["utm.mixin"]._find_or_create_record(model, row[column]).id
            elif template[field]:
                found[field] = template[field].id
        return found

    @api.model
    def _trackflow_find_existing(self, vals_list):
        fields = ("campaign_id", "medium_id", "source_id", "trackflow_content", "trackflow_term")
        prepared = self._trackflow_add_campaign_defaults(vals_list)
        candidates = self.search([("url", "in", [vals["url"] for vals in vals_list])])
        by_identity = {
            (
                link.url,
                *(link[name].id if name.endswith("_id") else link[name] for name in fields),
            ): link
            for link in candidates
        }
        return [
            by_identity.get((vals["url"], *(vals.get(name, False) for name in fields)))
            for vals in prepared
        ]
