"""Campaigns, links, templates and webhook endpoints."""

# No models, whose methods of these names call super().
# pylint: disable=method-required-super

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from urllib.parse import quote_plus

from odoo import fields
from odoo.fields import Domain
from odoo.tools import SQL
from odoo.tools.urls import urljoin

from trackflow_core.api import storage
from trackflow_core.api.storage import Conflict
from trackflow_core.attribution.allocation import from_minor_units, to_minor_units
from trackflow_core.errors import InvalidEvent
from trackflow_core.model import Link, LinkStatus, Variant
from trackflow_core.tracking.links import refuse_short_urls
from trackflow_core.tracking.templates import Kind, Template, Variable

from ..redirects import LINK_CODE, RULES, VARIANTS, core_rule
from ..store.values import aware
from .base import Records, like

# How long a transaction that changes links may be at work before others see what it wrote.
_AT_WORK = timedelta(seconds=20)

# What `Links._parts` reads.
_PARTS = frozenset(
    ("campaign_id", "medium_id", "source_id", "trackflow_rule_ids", "trackflow_variant_ids")
)

# Columns of link_tracker that a link is told by, and one that record rules ask for.
_LINK_FIELDS = [
    "active",
    "campaign_id",
    "count",
    "create_date",
    "medium_id",
    "source_id",
    "title",
    "trackflow_company_id",
    "trackflow_content",
    "trackflow_domain_id",
    "trackflow_expiry_date",
    "trackflow_fallback_url",
    "trackflow_language",
    "trackflow_last_click",
    "trackflow_paused",
    "trackflow_start_date",
    "trackflow_term",
    "trackflow_unique_visitors",
    "trackflow_zone",
    "url",
]


class Campaigns(Records):
    model = "utm.campaign"

    def domain(self, query):
        if not query.search:
            return []
        text = like(query.search)
        return Domain("name", "ilike", text) | Domain("title", "ilike", text)

    def told(self, records):
        for record in records:
            currency = record.trackflow_currency_id or self.env.company.currency_id
            yield (
                record,
                storage.Campaign(
                    str(record.id),
                    record.name,
                    record.title or "",
                    record.trackflow_description or "",
                    to_minor_units(record.trackflow_budget, currency.decimal_places),
                    currency.name,
                    record.trackflow_start_date or None,
                    record.trackflow_end_date or None,
                ),
            )

    def create(self, campaigns):
        self._check_names(campaigns)
        created = self.records.create([self._vals(campaign) for campaign in campaigns])
        return [told for _record, told in self.told(created)]

    def update(self, campaigns):
        self._check_names(campaigns)
        changed = self.records.browse(int(campaign.id) for campaign in campaigns)
        for record, campaign in zip(changed, campaigns, strict=True):
            record.write(self._vals(campaign))
        return [told for _record, told in self.told(changed)]

    def delete(self, ids):
        records = self.find(ids)
        records.check_access("unlink")
        used = self.env["link.tracker"].sudo().search([("campaign_id", "in", records.ids)], limit=1)
        if used:
            raise Conflict(
                self.env._(
                    "The campaign “%s” has links: move them to another one first.",
                    used.campaign_id.name,
                )
            )
        records.unlink()

    def _check_names(self, campaigns):
        _check_names(self.records, campaigns)

    def _vals(self, campaign):
        currency = _currency(self.env, campaign.currency)
        return {
            "name": campaign.name,
            "title": campaign.title or campaign.name,
            "trackflow_description": campaign.description or False,
            "trackflow_currency_id": currency.id,
            "trackflow_budget": float(from_minor_units(campaign.budget, currency.decimal_places)),
            "trackflow_start_date": campaign.starts or False,
            "trackflow_end_date": campaign.ends or False,
        }


class Links(Records):
    model = "link.tracker"

    def __init__(self, env):
        super().__init__(env)
        # Of links that are locked, until they are updated: record, told and parts, by code.
        self._held = {}

    def read(self, ids, *, lock=False):
        known = self.find(ids)
        if lock:
            known.check_access("write")
        found = self._found(known, lock)
        if lock:
            self._held.update(found)
        # The newest code is a link's own; earlier ones still lead to it.
        return {code: found[code][1] for code in ids if code in found}

    def find(self, ids):
        # Who may read a link may read its codes.
        coded = Domain("link_code_ids", "any!", [("code", "in", list(ids))])
        return self.records.search_fetch(coded, _LINK_FIELDS)

    def domain(self, query):
        domain = Domain.TRUE
        if query.search:
            text = like(query.search)
            domain &= (
                Domain("title", "ilike", text)
                | Domain("url", "ilike", text)
                | Domain("link_code_ids.code", "ilike", text)
            )
        if query.campaign:
            domain &= Domain("campaign_id.name", "=", query.campaign)
        return domain

    def _found(self, records, lock=False):
        parts = self._parts(records, lock)
        return {
            told.id: (record, told, parts[record.id]) for record, told in self.told(records, parts)
        }

    def told(self, records, parts=None):
        parts = self._parts(records) if parts is None else parts
        for record in records:
            link = self._link(record, parts[record.id])
            own_title = record.title if record.title != record.url else ""
            yield (
                record,
                storage.TrackedLink(
                    link,
                    own_title or "",
                    urljoin(record.short_url_host or "", link.code),
                    aware(record.create_date),
                    record.count,
                    record.trackflow_unique_visitors,
                    aware(record.trackflow_last_click) if record.trackflow_last_click else None,
                ),
            )

    def _parts(self, records, lock=False):
        """What other tables hold of these links, by their ids; `lock` them as `lock` does."""
        for model in ("trackflow.link.variant", "trackflow.link.rule"):
            self.env[model].check_access("read")
        if not records:
            return {}
        self.env.flush_all()
        self.env.cr.execute(
            SQL(
                """
                SELECT link.id, source.name AS source, medium.name AS medium,
                       campaign.name AS campaign, %(variants)s AS variants, %(rules)s AS rules,
                       %(code)s AS code
                  FROM link_tracker link
                  LEFT JOIN utm_source source ON source.id = link.source_id
                  LEFT JOIN utm_medium medium ON medium.id = link.medium_id
                  LEFT JOIN utm_campaign campaign ON campaign.id = link.campaign_id
                 WHERE link.id = ANY(%(links)s) %(lock)s
                """,
                lock=SQL("FOR UPDATE OF link") if lock else SQL(),
                variants=VARIANTS,
                rules=RULES,
                code=LINK_CODE,
                links=records.ids,
            )
        )
        return {row["id"]: row for row in self.env.cr.dictfetchall()}

    def _link(self, record, parts):
        if not record.active:
            status = LinkStatus.ARCHIVED
        else:
            status = LinkStatus.PAUSED if record.trackflow_paused else LinkStatus.ACTIVE
        return Link(
            code=parts["code"] or "",
            destination=record.url,
            source=parts["source"] or "",
            medium=parts["medium"] or "",
            campaign=parts["campaign"] or "",
            content=record.trackflow_content or "",
            term=record.trackflow_term or "",
            status=status,
            starts=record.trackflow_start_date or None,
            ends=record.trackflow_expiry_date or None,
            zone=record.trackflow_zone or "UTC",
            fallback=record.trackflow_fallback_url or "",
            language=record.trackflow_language or "",
            variants=tuple(
                Variant(name, url, weight) for _id, name, url, weight in parts["variants"] or ()
            ),
            rules=tuple(core_rule(*rule) for rule in parts["rules"] or ()),
        )

    def changed(self, cursor, limit):
        """Links in the order in which they, or what belongs to them, were last written."""
        since, last = _moment_of(cursor)
        self.env.flush_all()
        self.env.cr.execute(
            SQL(
                """
                SELECT id, max(moment) AS moment FROM (
                    SELECT id, write_date AS moment FROM link_tracker
                     WHERE write_date >= %(since)s
                    UNION ALL SELECT link_id, write_date FROM link_tracker_code
                     WHERE write_date >= %(since)s
                    UNION ALL SELECT link_id, write_date FROM trackflow_link_variant
                     WHERE write_date >= %(since)s
                    UNION ALL SELECT link_id, write_date FROM trackflow_link_rule
                     WHERE write_date >= %(since)s
                    UNION ALL SELECT link.id, utm.write_date FROM utm_campaign utm
                      JOIN link_tracker link ON link.campaign_id = utm.id
                     WHERE utm.write_date >= %(since)s
                    UNION ALL SELECT link.id, utm.write_date FROM utm_medium utm
                      JOIN link_tracker link ON link.medium_id = utm.id
                     WHERE utm.write_date >= %(since)s
                    UNION ALL SELECT link.id, utm.write_date FROM utm_source utm
                      JOIN link_tracker link ON link.source_id = utm.id
                     WHERE utm.write_date >= %(since)s
                ) changed
                GROUP BY id HAVING (max(moment), id) > (%(since)s, %(last)s)
                ORDER BY max(moment), id LIMIT %(limit)s
                """,
                since=since,
                last=last,
                limit=limit,
            )
        )
        found = self.env.cr.fetchall()
        known = {
            record.id: record
            for record in self.records.search_fetch([("id", "in", [*dict(found)])], _LINK_FIELDS)
        }
        parts = self._parts(self.records.browse(known))
        # A copy ends at the same midnight as its link, which knows its company.
        links = tuple(
            replace(
                self._link(known[number], parts[number]),
                code=code,
                zone=known[number]._trackflow_midnight(),
            )
            for number, _moment in found
            if number in known
            for code in known[number].link_code_ids.mapped("code")
        )
        more = len(found) == limit
        if found:
            last, since = found[-1]
        # A transaction that is still at work will have written before now.
        recent = fields.Datetime.now() - _AT_WORK
        if not more and since > recent:
            since, last = recent, 0
        return storage.Changes(links, f"{since.isoformat()}~{last}", more)

    def create(self, links):
        codes = [tracked.id for tracked in links]
        self._check_codes(codes)
        for tracked in links:
            self._check_destinations(tracked)
        # Odoo takes a title that it is not given from the page; the URL stands for none.
        created = self.records.with_context(trackflow_codes=codes).create(self._vals_list(links))
        created = created.with_context(trackflow_codes=None)
        return [told for _record, told in self.told(created)]

    def update(self, links):
        unread = [item.id for item in links if item.id not in self._held]
        known = self._found(self.find(unread)) if unread else {}
        found = [self._held.pop(item.id, None) or known[item.id] for item in links]
        changed = self.records.browse(record.id for record, _told, _parts in found)
        parts = {record.id: of_record for record, _told, of_record in found}
        # Before and after together, since they have most of their words in common.
        pairs = [(record, told) for record, told, _parts in found]
        for item, (_record, told) in zip(links, pairs, strict=True):
            self._check_destinations(item, told.link)
        vals_list = self._vals_list([*(told for _record, told in pairs), *links], pairs)
        held, wanted = vals_list[: len(links)], vals_list[len(links) :]
        for record, before, vals in zip(changed, held, wanted, strict=True):
            # What is as it was is neither written nor checked.
            changes = {name: value for name, value in vals.items() if value != before[name]}
            if "trackflow_variant_ids" in changes:
                record.trackflow_variant_ids.unlink()
            if "trackflow_rule_ids" in changes:
                record.trackflow_rule_ids.unlink()
            if changes:
                record.write(changes)
            if not _PARTS.isdisjoint(changes):
                del parts[record.id]
        parts.update(self._parts(changed.filtered(lambda record: record.id not in parts)))
        return [told for _record, told in self.told(changed, parts)]

    def _check_destinations(self, item, held=None):
        """Refuse short URLs by the API's names of their fields, before Odoo does by its own."""
        refuse_short_urls(item.link, self.env["link.tracker"]._trackflow_short_urls(), held)

    def _check_codes(self, codes):
        wanted = [code for code in codes if code]
        taken = self.env["link.tracker.code"].sudo().search([("code", "in", wanted)], limit=1)
        if taken:
            raise Conflict(
                self.env._("The code “%s” is taken: choose another.", taken.code), field="code"
            )

    def _vals_list(self, links, pairs=()):
        """Values of records for these links; `pairs` are records and what is known of them."""
        utm = {}
        for name in ("campaign", "medium", "source"):
            wanted = {getattr(item.link, name) for item in links}
            known = {getattr(told.link, name): record[f"{name}_id"].id for record, told in pairs}
            utm[name] = self._utm(f"utm.{name}", wanted, known)
        countries = self._countries(links)
        return [
            {
                **self._own_vals(item, countries),
                **{f"{name}_id": ids[getattr(item.link, name)] for name, ids in utm.items()},
            }
            for item in links
        ]

    def _own_vals(self, item, countries):
        link = item.link
        for moment in (link.starts, link.ends):
            if hasattr(moment, "hour"):
                raise InvalidEvent(
                    self.env._("Odoo's links begin and end with a day: send one like 2026-03-01.")
                )
        return {
            "url": link.destination,
            "title": item.title or link.destination,
            "active": link.status is not LinkStatus.ARCHIVED,
            "trackflow_paused": link.status is LinkStatus.PAUSED,
            "trackflow_content": link.content or False,
            "trackflow_term": link.term or False,
            "trackflow_start_date": link.starts or False,
            "trackflow_expiry_date": link.ends or False,
            "trackflow_fallback_url": link.fallback or False,
            "trackflow_language": link.language or False,
            "trackflow_variant_ids": [
                (0, 0, {"name": variant.name, "url": variant.destination, "weight": variant.weight})
                for variant in link.variants
            ],
            "trackflow_rule_ids": [
                (
                    0,
                    0,
                    {
                        "sequence": place,
                        "url": rule.destination,
                        "device": rule.device or False,
                        "language": rule.language or False,
                        "country_ids": [(6, 0, [countries[code] for code in rule.countries])],
                        "query": "&".join(
                            f"{quote_plus(name)}={quote_plus(value)}" if value else quote_plus(name)
                            for name, value in rule.query
                        )
                        or False,
                        "since": rule.since or False,
                        "until": rule.until or False,
                    },
                )
                for place, rule in enumerate(link.rules)
            ],
        }

    def _utm(self, model, names, known):
        """The ids of the records of these names, made where they are missing."""
        found = {**known, "": False}
        names = names - found.keys()
        if not names:
            return found
        # Campaigns are the user's to make; sources and mediums are words.
        records = self.env[model] if model == "utm.campaign" else self.env[model].sudo()
        held = records.search_fetch([("name", "in", [*names])], ["name"])
        found.update((record.name, record.id) for record in held)
        missing = sorted(names - found.keys())
        field = "title" if model == "utm.campaign" else "name"
        made = records.create([{"name": name, field: name} for name in missing])
        return {**found, **dict(zip(missing, made.ids, strict=True))}

    def _countries(self, links):
        codes = {code for item in links for rule in item.link.rules for code in rule.countries}
        if not codes:
            return {}
        found = self.env["res.country"].search([("code", "in", list(codes))])
        known = {country.code: country.id for country in found}
        if unknown := sorted(codes - known.keys()):
            raise InvalidEvent(self.env._("There is no country “%s”.", unknown[0]))
        return known


class Templates(Records):
    model = "trackflow.link.template"

    def domain(self, query):
        return [("name", "ilike", like(query.search))] if query.search else []

    def told(self, records):
        for record in records:
            variables = tuple(
                Variable(
                    item.name,
                    Kind(item.kind),
                    item.default_value or "",
                    tuple(filter(None, map(str.strip, (item.choices or "").split(",")))),
                    item.pattern or "",
                    item.max_length,
                )
                for item in record.variable_ids
            )
            template = Template(record.url_template, variables)
            yield (
                record,
                storage.LinkTemplate(
                    str(record.id), record.name, template, record.description or ""
                ),
            )

    def create(self, templates):
        _check_names(self.records, templates)
        created = self.records.create([self._vals(template) for template in templates])
        return [told for _record, told in self.told(created)]

    def update(self, templates):
        _check_names(self.records, templates)
        changed = self.records.browse(int(template.id) for template in templates)
        for record, template in zip(changed, templates, strict=True):
            vals = self._vals(template)
            gone = [(2, variable.id) for variable in record.variable_ids]
            record.write({**vals, "variable_ids": gone + vals["variable_ids"]})
        return [told for _record, told in self.told(changed)]

    def delete(self, ids):
        self.find(ids).unlink()

    def _vals(self, item):
        for variable in item.template.variables:
            if any("," in choice for choice in variable.choices):
                raise InvalidEvent(
                    self.env._("Odoo parts choices by commas: use none in “%s”.", variable.name)
                )
        return {
            "name": item.name,
            "url_template": item.template.text,
            "description": item.description or False,
            "variable_ids": [
                (
                    0,
                    0,
                    {
                        "sequence": place,
                        "name": variable.name,
                        "kind": variable.kind.value,
                        "default_value": variable.default or False,
                        "choices": ", ".join(variable.choices) or False,
                        "pattern": variable.pattern or False,
                        "max_length": variable.max_length,
                    },
                )
                for place, variable in enumerate(item.template.variables)
            ],
        }


class Endpoints(Records):
    model = "trackflow.webhook.endpoint"

    def told(self, records):
        for record in records:
            yield (
                record,
                storage.WebhookEndpoint(
                    str(record.id),
                    record.url,
                    frozenset(record.event_ids.mapped("name")),
                    record.description or "",
                    record.active,
                    tuple(record.sudo()._secrets()),
                    record.problem or "",
                ),
            )

    def create(self, endpoints):
        created = self.records.create([self._vals(endpoint) for endpoint in endpoints])
        return self._keep(created, endpoints)

    def update(self, endpoints):
        changed = self.records.browse(int(endpoint.id) for endpoint in endpoints)
        for record, endpoint in zip(changed, endpoints, strict=True):
            record.write(self._vals(endpoint))
        return self._keep(changed, endpoints)

    def delete(self, ids):
        self.find(ids).unlink()

    def _keep(self, records, endpoints):
        for record, endpoint in zip(records.sudo(), endpoints, strict=True):
            record._set_secrets(list(endpoint.secrets))
            record.problem = endpoint.problem or False
        return [told for _record, told in self.told(records)]

    def _vals(self, endpoint):
        events = (
            self.env["trackflow.webhook.event"]
            .sudo()
            .search([("name", "in", list(endpoint.events))])
        )
        if unknown := sorted(endpoint.events - {event.name for event in events}):
            raise InvalidEvent(self.env._("There is no event “%s”.", unknown[0]))
        return {
            "url": endpoint.url,
            "description": endpoint.description or False,
            "active": endpoint.enabled,
            "event_ids": [(6, 0, events.ids)],
        }


def _check_names(model, told):
    """Raise Conflict where a name is another record's, or is given twice."""
    names = [record.name for record in told]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    own = {int(record.id) for record in told if record.id}
    others = model.sudo().search([("name", "in", names), ("id", "not in", list(own))], limit=1)
    if others or repeated:
        raise Conflict(
            model.env._("The name “%s” is taken: choose another.", others.name or repeated[0]),
            field="name",
        )


def _currency(env, code):
    if not code:
        return env.company.currency_id
    currency = env["res.currency"].search([("name", "=", code), ("active", "=", True)])
    if not currency:
        raise InvalidEvent(
            env._("The currency %s is not active in Odoo: activate it, or send another.", code)
        )
    return currency


def _moment_of(cursor):
    """The moment, naive and in UTC, and the id that a cursor of changes holds."""
    moment, _, last = (cursor or "1970-01-01~0").partition("~")
    try:
        if len(last) > 9:
            raise ValueError(last)
        return datetime.fromisoformat(moment).replace(tzinfo=None), int(last)
    except ValueError:
        raise InvalidEvent(
            f"{cursor[:40]!r} is the cursor of no change: begin at the first link.", field="cursor"
        ) from None
