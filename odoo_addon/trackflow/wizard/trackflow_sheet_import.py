import base64
import csv
import io

from odoo import api, fields, models
from odoo.exceptions import UserError

from ..sheets import read_rows

BATCH = 100


class TrackflowSheetImport(models.TransientModel):
    """Many records from a sheet: read, look over, then make them batch by batch.

    The model that the rows are for has `_trackflow_sheet_columns(template)`,
    `_trackflow_check_sheet(rows, template)` and `_trackflow_import_sheet(values_list)`; `rows` are
    by their number in the sheet.
    """

    _name = "trackflow.sheet.import"
    _description = "Import of a Sheet"

    target = fields.Selection(
        [("trackflow.campaign.cost", "Campaign Costs"), ("link.tracker", "Links")],
        required=True,
        default="trackflow.campaign.cost",
    )
    template_id = fields.Many2one(
        "trackflow.link.template", help="Empty: every row has a URL of its own."
    )
    text = fields.Text("Pasted Rows")
    file = fields.Binary(attachment=False)
    filename = fields.Char()
    columns = fields.Char(compute="_compute_columns")
    line_ids = fields.One2many("trackflow.sheet.import.line", "import_id", "Rows")
    good_count = fields.Integer(compute="_compute_counts")
    bad_count = fields.Integer(compute="_compute_counts")
    done_count = fields.Integer(compute="_compute_counts")

    @api.depends("target", "template_id.variable_ids.name")
    def _compute_columns(self):
        for sheet in self:
            names = self.env[sheet.target]._trackflow_sheet_columns(sheet._template())
            sheet.columns = ", ".join(names)

    @api.depends("line_ids.error", "line_ids.res_id")
    def _compute_counts(self):
        for sheet in self:
            done = sheet.line_ids.filtered("res_id")
            bad = sheet.line_ids.filtered("error")
            sheet.done_count, sheet.bad_count = len(done), len(bad)
            sheet.good_count = len(sheet.line_ids) - len(done) - len(bad)

    def _template(self):
        """What else the target needs to read a row."""
        return self.template_id

    def action_preview(self):
        """Read the sheet and show what would become of every row."""
        self.ensure_one()
        if not self.file and not (self.text or "").strip():
            raise UserError(self.env._("Paste rows or choose a file first."))
        rows = read_rows(self.env, base64.b64decode(self.file) if self.file else self.text)
        checked = self.env[self.target]._trackflow_check_sheet(rows, self._template())
        self.line_ids.unlink()
        self.env["trackflow.sheet.import.line"].create(
            [
                {
                    "import_id": self.id,
                    "row": number,
                    "summary": summary,
                    "values": values,
                    "error": "; ".join(errors),
                }
                for number, (summary, values, errors) in zip(rows, checked, strict=True)
            ]
        )
        return self._reopen()

    def action_back(self):
        """Drop the preview, to mend the sheet."""
        self.line_ids.unlink()
        return self._reopen()

    def import_batch(self):
        """Make the records of the next rows; tells how many are done and how many there are."""
        self.ensure_one()
        lines = self.line_ids.filtered(lambda line: not line.error and not line.res_id)
        batch = lines[:BATCH]
        if batch:
            target = self.env[self.target]
            made = target._trackflow_import_sheet([line.values for line in batch])
            for line, res_id in zip(batch, made, strict=True):
                line.res_id = res_id
        return {"done": self.done_count, "total": self.done_count + self.good_count}

    def action_open_records(self):
        """The records that were made."""
        self.ensure_one()
        return {
            "type": "ir.actions.act_window",
            "name": dict(self._fields["target"]._description_selection(self.env))[self.target],
            "res_model": self.target,
            "view_mode": "list,form",
            "views": [(False, "list"), (False, "form")],
            "domain": [("id", "in", self._made_ids())],
        }

    def _made_ids(self):
        return self.line_ids.filtered("res_id").mapped("res_id")

    def action_download(self):
        """The links that were made, as a sheet."""
        self.ensure_one()
        return {"type": "ir.actions.act_url", "url": f"/trackflow/sheet/{self.id}/links.csv"}

    def _links_csv(self):
        """Name, short URL and destination of each row, in the order of the sheet."""
        self.ensure_one()
        links = self.env["link.tracker"].browse(self._made_ids())
        buffer = io.StringIO()
        writer = csv.writer(buffer)
        writer.writerow(["name", "short_url", "url"])
        for link in links:
            # A spreadsheet would run what begins like a formula.
            writer.writerow(
                f"'{cell}" if cell[:1] in "=+-@" else cell
                for cell in (link.title or "", link.short_url, link.url)
            )
        return buffer.getvalue()

    def _reopen(self):
        return {
            "type": "ir.actions.act_window",
            "name": self.env.context.get("trackflow_title") or self.env._("Import"),
            "res_model": self._name,
            "res_id": self.id,
            "view_mode": "form",
            "target": "new",
            "context": self.env.context,
        }


class TrackflowSheetImportLine(models.TransientModel):
    _name = "trackflow.sheet.import.line"
    _description = "Row of an Imported Sheet"
    _order = "row"

    import_id = fields.Many2one(
        "trackflow.sheet.import", required=True, index=True, ondelete="cascade"
    )
    row = fields.Integer(readonly=True)
    summary = fields.Char("Content", readonly=True)
    values = fields.Json(readonly=True)
    error = fields.Char("Problem", readonly=True)
    has_problem = fields.Boolean(compute="_compute_has_problem", store=True)
    res_id = fields.Integer("Made", readonly=True)

    @api.depends("error")
    def _compute_has_problem(self):
        for line in self:
            line.has_problem = bool(line.error)
