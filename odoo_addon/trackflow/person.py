"""Everything that TrackFlow holds of a person, in one place: to hand it over, or to erase it."""

import json
from datetime import date, datetime

from odoo import models
from odoo.fields import Domain

from .store import local_ref


def export(visitors, leads) -> str:
    """What is held of these visitors and leads, as a JSON document.

    Each section lists records with every stored field that has a value. Times are in UTC.
    """
    env = visitors.env(su=True, context={**visitors.env.context, "active_test": False})
    sections = {
        model: [_record(record) for record in env[model].search(domain, order="id")]
        for model, domain in _domains(env, visitors.with_env(env), leads.with_env(env)).items()
    }
    return json.dumps(sections, ensure_ascii=False, indent=2)


def _domains(env, visitors, leads):
    """By model, which of its records are about these visitors and leads."""
    keys = visitors.mapped("visitor_key")
    keys += (
        env["trackflow.merged.visitor"]
        .search([("visitor_id", "in", visitors.ids)])
        .mapped("visitor_key")
    )
    refs = [lead.trackflow_lead_ref or local_ref(lead.id) for lead in leads]
    of_visitor = Domain("visitor_id", "in", visitors.ids)
    of_lead = Domain("lead_id", "in", leads.ids)
    return {
        "trackflow.visitor": Domain("id", "in", visitors.ids),
        "trackflow.merged.visitor": of_visitor,
        "trackflow.session": of_visitor,
        "trackflow.event": of_visitor,
        "link.tracker.click": Domain("trackflow_visitor_id", "in", visitors.ids),
        "trackflow.click.queue": Domain("visitor_key", "in", keys),
        "trackflow.touch": Domain("lead_ref", "in", refs),
        "trackflow.conversion": of_visitor | of_lead,
        "trackflow.deal.attribution": of_visitor | of_lead,
    }


def _record(record):
    found = {"id": record.id}
    for name, field in record._fields.items():
        if not field.store or name in models.MAGIC_COLUMNS or field.type in ("one2many", "binary"):
            continue
        value = record[name]
        if isinstance(value, models.BaseModel):
            value = (
                value.mapped("display_name") if field.type == "many2many" else value.display_name
            )
        elif isinstance(value, (date, datetime)):
            value = value.isoformat()
        if value or (value is False and field.type == "boolean"):
            found[name] = value
    return found
