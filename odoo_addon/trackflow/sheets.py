"""Rows of a sheet that somebody pasted or uploaded: CSV with any usual separator, or XLSX."""

import csv
import io
import zipfile
from datetime import date, datetime

from odoo.exceptions import UserError
from openpyxl import load_workbook
from openpyxl.utils.exceptions import InvalidFileException

MAX_ROWS = 10_000
_SEPARATORS = "\t;,|"
_ZIP = b"PK\x03\x04"


def read_rows(env, content):
    """The rows of `content` (bytes or text) by their number in the sheet, as a spreadsheet counts.

    Each is a dict of texts by lower-case column name; empty rows are left out. Raises UserError, in
    words for the person who brought the sheet.
    """
    if isinstance(content, bytes) and content.startswith(_ZIP):
        table = _workbook(env, content)
    else:
        table = _csv(env, content if isinstance(content, str) else _decoded(env, content))
    table = [(number, [cell.strip() for cell in row]) for number, row in enumerate(table, 1)]
    table = [(number, row) for number, row in table if any(row)]
    if len(table) < 2:
        raise UserError(
            env._("The sheet needs a row of column names and at least one row below it.")
        )
    if len(table) - 1 > MAX_ROWS:
        raise UserError(
            env._("The sheet has more than %(most)s rows: bring it in parts.", most=f"{MAX_ROWS:,}")
        )
    _number, header = table[0]
    names = [name.lower() for name in header]
    if len({name for name in names if name}) < len([name for name in names if name]):
        raise UserError(env._("Two columns of the sheet have the same name."))
    return {
        number: {name: value for name, value in zip(names, row, strict=False) if name}
        for number, row in table[1:]
    }


def _decoded(env, content):
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise UserError(env._("The file is neither CSV nor XLSX."))


def _csv(env, text):
    text = text.removeprefix("\ufeff")
    if "\0" in text:
        raise UserError(env._("The file is neither CSV nor XLSX."))
    first = text.lstrip().partition("\n")[0]
    separator = max(_SEPARATORS, key=first.count)
    try:
        return list(csv.reader(io.StringIO(text), delimiter=separator))
    except csv.Error as error:
        raise UserError(
            env._("The sheet cannot be read as CSV: %(problem)s.", problem=error)
        ) from error


def _workbook(env, content):
    try:
        book = load_workbook(io.BytesIO(content), read_only=True, data_only=True)
        sheet = book.worksheets[0]
        return [
            [_text(value) for value in row]
            for row, _number in zip(
                sheet.iter_rows(values_only=True), range(MAX_ROWS + 2), strict=False
            )
        ]
    except (InvalidFileException, zipfile.BadZipFile, KeyError, ValueError, IndexError) as error:
        raise UserError(env._("The workbook cannot be read: save it as XLSX or CSV.")) from error


def _text(value):
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.date().isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
