import re
from datetime import date, datetime
from decimal import Decimal, InvalidOperation

from odoo import api, fields, models
from odoo.tools.misc import get_lang

# Beyond, cents are lost in a number of 15 digits.
MAX_AMOUNT = 10**13
_AMOUNT = re.compile(r"[0-9.,' \u00a0\u202f]+\Z")


class TrackflowCampaignCost(models.Model):
    """What a campaign cost on a day; entered by hand or from an ad network's sheet."""

    _name = "trackflow.campaign.cost"
    _description = "Campaign Cost"
    _order = "date desc, id desc"

    campaign_id = fields.Many2one("utm.campaign", required=True, index=True, ondelete="cascade")
    date = fields.Date(required=True, default=fields.Date.context_today)
    name = fields.Char("What For", required=True, default="/")
    amount = fields.Monetary(required=True)
    currency_id = fields.Many2one(
        "res.currency",
        required=True,
        compute="_compute_currency_id",
        store=True,
        readonly=False,
        precompute=True,
    )
    company_id = fields.Many2one(
        "res.company", required=True, default=lambda self: self.env.company, ondelete="cascade"
    )

    _day_uniq = models.UniqueIndex(
        "(campaign_id, company_id, date, name)",
        "This cost has been entered for that day already: change its amount instead.",
    )
    _amount_positive = models.Constraint("CHECK (amount >= 0)", "A cost must not be negative.")
    _amount_exact = models.Constraint(
        f"CHECK (amount < {MAX_AMOUNT})", "A cost must be below 10,000,000,000,000."
    )

    @api.depends("campaign_id")
    def _compute_currency_id(self):
        for cost in self:
            cost.currency_id = (
                cost.currency_id
                or cost.campaign_id.trackflow_currency_id
                or self.env.company.currency_id
            )

    # -- from a sheet ----------------------------------------------------------------------

    @api.model
    def _trackflow_sheet_columns(self, _template):
        return ["campaign", "date", "amount", "currency", "name"]

    @api.model
    def _trackflow_check_sheet(self, rows, _template):
        """What becomes of each row: (summary, values, errors)."""
        campaigns = self.env["utm.campaign"]._trackflow_by_name()
        currencies = {currency.name: currency for currency in self.env["res.currency"].search([])}
        checked, seen = [], {}
        for number, row in rows.items():
            summary, values, errors = self._trackflow_check_row(row, campaigns, currencies)
            if not errors:
                cost = (values["campaign_id"], values["date"], values["name"])
                if cost in seen:
                    errors.append(
                        self.env._("is the same cost as row %s: give it another name", seen[cost])
                    )
                seen.setdefault(cost, number)
            checked.append((summary, values, errors))
        return checked

    @api.model
    def _trackflow_check_row(self, row, campaigns, currencies):
        errors = [
            self.env._("%s is missing", column)
            for column in ("campaign", "date", "amount")
            if not row.get(column)
        ]
        campaign = campaigns.get(row.get("campaign", "").lower())
        if row.get("campaign") and not campaign:
            errors.append(self.env._("there is no campaign “%s”", row["campaign"]))
        day = self._trackflow_read_date(row.get("date", ""))
        if row.get("date") and not day:
            errors.append(self.env._("“%s” is not a date: write it like 2026-03-31", row["date"]))
        amount = self._trackflow_read_amount(row.get("amount", ""))
        if row.get("amount") and amount is None:
            errors.append(
                self.env._("“%s” is not a clear amount: write it like 1234.50", row["amount"])
            )
        elif row.get("amount") and amount >= MAX_AMOUNT:
            errors.append(
                self.env._("“%s” is too much: a cost is below 10,000,000,000,000", row["amount"])
            )
        code = row.get("currency", "").upper()
        currency = currencies.get(code) if code else campaign and campaign.trackflow_currency_id
        if code and not currency:
            errors.append(self.env._("there is no active currency “%s”", code))
        told = (row.get(column) for column in ("campaign", "date", "name", "amount"))
        summary = " · ".join(filter(None, (*told, code)))
        values = not errors and {
            "campaign_id": campaign.id,
            "date": day.isoformat(),
            "amount": str(amount),
            "currency_id": currency.id,
            "name": row.get("name") or "/",
        }
        return summary, values or {}, errors

    @api.model
    def _trackflow_read_date(self, text):
        for pattern in ("%Y-%m-%d", get_lang(self.env).date_format):
            try:
                return datetime.strptime(text.strip(), pattern).date()
            except ValueError:
                continue
        return None

    @api.model
    def _trackflow_read_amount(self, text):
        """The amount that `text` means; None when it could mean two."""
        text = text.strip()
        if not _AMOUNT.match(text):
            return None
        text = re.sub(r"[' \u00a0\u202f]", "", text)
        last = max(text.rfind("."), text.rfind(","))
        if last >= 0:
            mark, whole, fraction = text[last], text[:last], text[last + 1 :]
            other = "," if mark == "." else "."
            if mark in whole:
                # "1.234.567": a mark that comes twice cannot be the decimal one.
                if other in whole or len(fraction) != 3:
                    return None
                whole, fraction = whole + fraction, ""
            elif len(fraction) == 3 and other not in whole:
                return None
            text = f"{whole.replace(other, '').replace(mark, '')}.{fraction or 0}"
        try:
            return Decimal(text)
        except InvalidOperation:
            return None

    @api.model
    def _trackflow_import_sheet(self, values_list):
        """Enter these costs; one told before gets its amount anew. The ids in the same order."""
        self.browse().check_access("create")
        self.browse().check_access("write")
        self.env["utm.campaign"].browse(
            values["campaign_id"] for values in values_list
        ).check_access("write")
        keys = [
            (values["campaign_id"], date.fromisoformat(values["date"]), values["name"])
            for values in values_list
        ]
        found = {
            (cost.campaign_id.id, cost.date, cost.name): cost
            for cost in self.search(
                [
                    ("campaign_id", "in", [key[0] for key in keys]),
                    ("date", "in", [key[1] for key in keys]),
                    ("company_id", "=", self.env.company.id),
                ]
            )
        }
        fresh = {}
        for key, values in zip(keys, values_list, strict=True):
            change = {
                "amount": float(values["amount"]),
                "currency_id": values["currency_id"],
            }
            if key in found:
                found[key].write(change)
            else:
                fresh[key] = {
                    "campaign_id": key[0],
                    "date": key[1],
                    "name": key[2],
                    **change,
                }
        made = self.create(list(fresh.values()))
        found.update(zip(fresh, made, strict=True))
        return [found[key].id for key in keys]
