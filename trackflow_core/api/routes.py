"""The core's own routes: what each resource does, by `Call` in, answer out."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from hashlib import sha256
from secrets import token_bytes
from typing import Any

from pydantic import BaseModel, Field, ValidationError, create_model
from pydantic.fields import FieldInfo

from trackflow_core.api import keys, schemas, shapes, storage
from trackflow_core.api.calls import Call, etag_of
from trackflow_core.api.messages import Fault, Problem, Response, invalid, json_response
from trackflow_core.api.storage import Query
from trackflow_core.attribution import Model
from trackflow_core.attribution.allocation import currency_digits
from trackflow_core.hooks import ApiRoute
from trackflow_core.model import CLICK, ClickEvent, Conversion, Deal, Lead, LinkStatus
from trackflow_core.outbox import (
    LINK_CHANGED,
    LINK_CREATED,
    LINK_DELETED,
    WEBHOOK,
    of_record,
    trial,
)
from trackflow_core.ports import Outbox
from trackflow_core.tracking import qr
from trackflow_core.tracking.sessions import always

BASE = "/trackflow/api/v1"
NAMESPACE = "api"
"""Leads and deals that come in by the API are called "api/<reference>"."""

_MOST_DEALS = 10_000


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of record that people make and change: five routes out of one description."""

    kind: type[Any]
    noun: str
    path: str
    scope: str
    id: str
    body: type[BaseModel]
    change: type[BaseModel]
    answer: type[BaseModel]
    record: Callable[..., Any]
    state: Callable[[Any], shapes.State]
    tell: Callable[[Any], BaseModel]
    query: type[BaseModel] = schemas.PageQuery

    def routes(self) -> Sequence[ApiRoute]:
        """List, make, read, change and delete."""
        plural, one = self.path[1:].replace("-", "_"), self.noun.replace(" ", "_")
        single = f"{self.path}/{{{self.id}}}"
        read, write = f"{self.scope}:read", f"{self.scope}:write"
        whole = _page_of(self.answer)
        return (
            ApiRoute(
                f"list_{plural}",
                "GET",
                self.path,
                read,
                f"List {plural.replace('_', ' ')}, newest first",
                self._list,
                query=self.query,
                answer=whole,
            ),
            ApiRoute(
                f"create_{one}",
                "POST",
                self.path,
                write,
                f"Make a {self.noun}",
                self._create,
                body=self.body,
                answer=self.answer,
                status=201,
            ),
            ApiRoute(
                f"get_{one}",
                "GET",
                single,
                read,
                f"Read a {self.noun}",
                self._get,
                answer=self.answer,
            ),
            ApiRoute(
                f"update_{one}",
                "PATCH",
                single,
                write,
                f"Change some fields of a {self.noun}",
                self._update,
                body=partial_of(self.change),
                answer=self.answer,
            ),
            ApiRoute(
                f"delete_{one}", "DELETE", single, write, f"Delete a {self.noun}", self._delete
            ),
        )

    def one(self, call: Call, *, lock: bool = False) -> Any:
        """The record that the path names. Raises LookupError when there is none."""
        wanted = call.params[self.id]
        found = call.catalog.read(self.kind, [wanted], lock=lock).get(wanted)
        if found is None:
            raise LookupError(f"There is no {self.noun} {wanted!r}.")
        return found

    def response(self, record: Any, status: int = 200) -> Response:
        """The record with its entity tag, and its address when it is new."""
        headers = {"etag": etag_of(self.state(record))}
        if status == 201:
            headers["location"] = f"{BASE}{self.path}/{record.id}"
        return answered(self.tell(record), status, headers)

    def _list(self, call: Call) -> Response:
        query = call.query
        asked = Query(
            limit=query.limit,
            after=query.cursor,
            search=getattr(query, "search", ""),
            campaign=getattr(query, "campaign", ""),
        )
        return page(call, self.kind, asked, self.tell)

    def _create(self, call: Call) -> Response:
        [made] = call.catalog.create([self.record(call.body)])
        self.announce(call, LINK_CREATED, [made])
        return self.response(made, 201)

    def announce(self, call: Call, what: str, records: Iterable[Any]) -> None:
        """Tell webhook endpoints what was made or changed, where they may want to know."""

    def _get(self, call: Call) -> Response:
        return self.response(self.one(call))

    def _update(self, call: Call) -> Response:
        held = self.one(call, lock=True)
        state = self.state(held)
        call.check_unchanged(etag_of(state))
        merged = merge(state, call.body.model_dump(mode="json", exclude_unset=True))
        try:
            body = self.change.model_validate_json(json.dumps(merged))
        except ValidationError as error:
            raise invalid(error) from None
        [kept] = call.catalog.update([self.record(body, held)])
        self.announce(call, LINK_CHANGED, [kept])
        return self.response(kept)

    def _delete(self, call: Call) -> None:
        held = self.one(call, lock=True)
        call.check_unchanged(etag_of(self.state(held)))
        call.catalog.delete(self.kind, [held.id])


class _LinkQuery(schemas.SearchQuery):
    campaign: schemas.Line = Field("", description="A campaign's name.", examples=["spring"])


CAMPAIGNS = Resource(
    storage.Campaign,
    "campaign",
    "/campaigns",
    "campaigns",
    "id",
    schemas.Campaign,
    schemas.Campaign,
    schemas.CampaignAnswer,
    shapes.campaign_record,
    shapes.campaign_state,
    shapes.campaign_answer,
    schemas.SearchQuery,
)


@dataclass(frozen=True, slots=True)
class Links(Resource):
    """Links are archived instead of deleted: their clicks are part of journeys."""

    def _delete(self, call: Call) -> None:
        held = Resource.one(self, call, lock=True)
        call.check_unchanged(etag_of(self.state(held)))
        archived = replace(held, link=replace(held.link, status=LinkStatus.ARCHIVED))
        self.announce(call, LINK_DELETED, call.catalog.update([archived]))

    def announce(self, call: Call, what: str, records: Iterable[Any]) -> None:
        outbox = call.workspace.outbox
        if outbox is None:
            return
        wanted = outbox.subscriptions()
        outbox.post(
            [
                message
                for record in records
                for message in of_record(wanted, what, record.id, partial(shapes.link_told, record))
            ]
        )


LINKS = Links(
    storage.TrackedLink,
    "link",
    "/links",
    "links",
    "code",
    schemas.Link,
    schemas.LinkState,
    schemas.LinkAnswer,
    shapes.link_record,
    shapes.link_state,
    shapes.link_answer,
    _LinkQuery,
)
TEMPLATES = Resource(
    storage.LinkTemplate,
    "template",
    "/templates",
    "templates",
    "id",
    schemas.Template,
    schemas.Template,
    schemas.TemplateAnswer,
    shapes.template_record,
    shapes.template_state,
    shapes.template_answer,
    schemas.SearchQuery,
)


@dataclass(frozen=True, slots=True)
class Endpoints(Resource):
    """Endpoints have secrets, which are shown once."""

    def _create(self, call: Call) -> Response:
        secret = _new_secret()
        [made] = call.catalog.create([replace(self.record(call.body), secrets=(secret,))])
        headers = Resource.response(self, made, 201).headers
        return answered(_with_secret(made, secret), 201, headers)

    def rotate(self, call: Call) -> Response:
        """A new secret; until the next rotation messages are signed with both."""
        held = Resource.one(self, call, lock=True)
        secret = _new_secret()
        [kept] = call.catalog.update([replace(held, secrets=(secret, *held.secrets[:1]))])
        return answered(_with_secret(kept, secret), 200, Resource.response(self, kept).headers)

    def test(self, call: Call) -> BaseModel:
        """Let one message of type `trackflow.test` be sent."""
        target = self._target(call)
        self._outbox(call).post([trial(target)])
        return schemas.MessagesWaiting(waiting=1)

    def replay(self, call: Call) -> BaseModel:
        """Send again what was created in a time."""
        target, body = self._target(call), call.body
        until = body.until or call.now
        count = self._outbox(call).replay(target, body.since, until, body.failed_only)
        return schemas.MessagesWaiting(waiting=count)

    def messages(self, call: Call) -> Response:
        """What was or will be sent to an endpoint."""
        asked = call.query
        query = Query(
            limit=asked.limit,
            after=asked.cursor,
            since=asked.since,
            until=asked.until,
            endpoint=Resource.one(self, call).id,
            event=asked.event,
            state="dead" if asked.status == "failed" else asked.status,
        )
        return page(call, storage.WebhookMessage, query, shapes.message_item)

    def message(self, call: Call) -> BaseModel:
        """One message to an endpoint, with what it tells."""
        endpoint, wanted = Resource.one(self, call).id, call.params["message"]
        found = call.catalog.read(storage.WebhookMessage, [wanted]).get(wanted)
        if found is None or found.endpoint != endpoint:
            raise _no_message(wanted)
        return shapes.message_answer(found)

    def replay_message(self, call: Call) -> BaseModel:
        """Send one message again, or now if it waits."""
        wanted = call.params["message"]
        if not self._outbox(call).replay_one(self._target(call), wanted):
            raise _no_message(wanted)
        return schemas.MessagesWaiting(waiting=1)

    def _target(self, call: Call) -> str:
        return f"{WEBHOOK}/{Resource.one(self, call, lock=True).id}"

    def _outbox(self, call: Call) -> Outbox:
        if call.workspace.outbox is None:
            raise Problem(409, "This host sends no webhooks.", "Ask the host that does.")
        return call.workspace.outbox


ENDPOINTS = Endpoints(
    storage.WebhookEndpoint,
    "webhook endpoint",
    "/webhook-endpoints",
    "webhooks",
    "id",
    schemas.WebhookEndpoint,
    schemas.WebhookEndpoint,
    schemas.WebhookEndpointAnswer,
    shapes.endpoint_record,
    shapes.endpoint_state,
    shapes.endpoint_answer,
)


def _no_message(wanted: str) -> LookupError:
    return LookupError(f"The endpoint has no message {wanted!r}; old ones are deleted.")


def _new_secret() -> str:
    return f"whsec_{b64encode(token_bytes(32)).decode()}"


def _with_secret(endpoint: storage.WebhookEndpoint, secret: str) -> BaseModel:
    told = shapes.endpoint_answer(endpoint).model_dump()
    return schemas.WebhookSecretAnswer(**told, secret=secret)


def _bulk(call: Call) -> Response:
    codes = [link.code for link in call.body.links if link.code]
    for code in codes:
        if codes.count(code) > 1:
            place = next(n for n, link in enumerate(call.body.links) if link.code == code)
            raise Problem(
                422,
                "A short code is given twice.",
                "Give each one once.",
                faults=(
                    Fault(f"links[{place}].code", f"{code!r} is given twice", "Give each once."),
                ),
            )
    made = call.catalog.create([shapes.link_record(link) for link in call.body.links])
    LINKS.announce(call, LINK_CREATED, made)
    return answered(_links(made), 201)


def _links(made: Iterable[storage.TrackedLink]) -> BaseModel:
    return schemas.LinksAnswer.model_construct(items=[shapes.link_answer(item) for item in made])


def _from_template(call: Call) -> Response:
    template = TEMPLATES.one(call).template
    rendered = template.render_rows(call.body.rows)
    faults = tuple(
        Fault(f"rows[{item.row - 1}].{problem.variable}", str(problem), "Mend the row.")
        for item in rendered
        for problem in item.problems
    )
    if faults:
        raise Problem(422, "Some rows give no link.", "Mend the rows named.", faults=faults)
    common = call.body.model_dump(exclude={"rows"})
    bodies = [schemas.Link(destination=item.url, **common) for item in rendered]
    made = call.catalog.create([shapes.link_record(body) for body in bodies])
    LINKS.announce(call, LINK_CREATED, made)
    return answered(_links(made), 201)


def _stats(resource: Resource, call: Call) -> BaseModel:
    record = resource.one(call)
    span = Query(since=call.query.since, until=call.query.until)
    if resource is LINKS:
        span = replace(span, link_code=record.id)
    else:
        span = replace(span, campaign=record.name)
    return shapes.stats_answer(call.catalog.stats(span))


def _qr(form: str, call: Call) -> Response:
    url = LINKS.one(call).short_url
    content, kind = (qr.png(url), "png") if form == "png" else (qr.svg(url), "svg+xml")
    headers = {"content-type": f"image/{kind}", "cache-control": "private, max-age=3600"}
    return Response(200, headers, content)


# -- facts ------------------------------------------------------------------------------------------


def _touch_page(kind: type[Any], tell: Callable[[Any], BaseModel], call: Call) -> Response:
    asked = call.query
    query = Query(
        limit=asked.limit,
        after=asked.cursor,
        since=asked.since,
        until=asked.until,
        link_code=asked.link,
        campaign=asked.campaign,
        visitor_id=asked.visitor,
    )
    return page(call, kind, query, tell)


def _span_page(kind: type[Any], tell: Callable[[Any], BaseModel], call: Call) -> Response:
    asked = call.query
    query = Query(limit=asked.limit, after=asked.cursor, since=asked.since, until=asked.until)
    return page(call, kind, query, tell)


def _tell_events(call: Call) -> BaseModel:
    told = [*enumerate(call.body.events)]
    faults = tuple(
        Fault(f"events[{place}].link", "is missing", "Say which link was clicked.")
        if event.type == CLICK
        else Fault(f"events[{place}].link", f"is {event.link!r}", "Leave it out: it is no click.")
        for place, event in told
        if (event.type == CLICK) != bool(event.link)
    )
    if faults:
        raise Problem(422, "A click has a link, and nothing else has.", "See each.", faults=faults)
    call.engine.record_events([shapes.event_record(event, call.now) for _, event in told])
    return schemas.EventsAccepted(accepted=len(told))


def _edge_settings(call: Call) -> BaseModel:
    settings = call.engine.settings
    return schemas.EdgeSettings(
        visitor_keys=list(settings.keys), own_hosts=sorted(settings.own_hosts)
    )


def _edge_links(call: Call) -> Response:
    found = call.catalog.changed_links(call.query.cursor, call.query.limit)
    told = schemas.EdgeLinks.model_construct(
        items=[shapes.link_copy(link) for link in found.links],
        next=found.cursor,
        more=found.more,
    )
    # An edge asks every other second.
    return replace(answered(told), told_nothing=not found.links)


def _visitor(call: Call) -> storage.Visitor:
    wanted = call.params["id"]
    found = call.catalog.read(storage.Visitor, [wanted]).get(wanted)
    if found is None:
        raise LookupError(f"There is no visitor {wanted!r}.")
    return found


def _get_visitor(call: Call) -> BaseModel:
    return shapes.visitor_answer(_visitor(call))


def _visitor_journey(call: Call) -> BaseModel:
    return _journey_of(call, _visitor(call).id)


def _journey_of(call: Call, visitor_id: str) -> BaseModel:
    events = call.store.recorded({always(visitor_id)})
    sessions = call.store.sessions({visitor_id})
    return schemas.VisitorJourney.model_construct(
        visitor=visitor_id,
        sessions=[
            shapes.session_answer(item)
            for item in sorted(sessions, key=lambda item: (item.started_at, item.id))
        ],
        events=[
            shapes.event_answer(item)
            for item in sorted(events, key=lambda e: (e.click.occurred_at, e.click.event_id))
        ],
        leads=sorted(call.store.leads_of_visitors({visitor_id})),
    )


# -- leads and deals ----------------------------------------------------------------------------------


def full_ref(ref: str) -> str:
    """The host-wide reference that a client's `ref` means: without a "/" it is the API's own."""
    return ref if "/" in ref else f"{NAMESPACE}/{ref}"


def _own_ref(ref: str) -> str:
    full = full_ref(ref)
    if not full.startswith(f"{NAMESPACE}/"):
        raise Problem(
            403,
            f"{ref!r} belongs to another system, which tells of it itself.",
            f"Use a reference without '/', or one that begins with '{NAMESPACE}/'.",
        )
    if len(full) > 255 or not full.isascii() or not full.isprintable() or " " in full:
        raise Problem(
            422,
            f"{ref!r:.80} cannot be a reference.",
            "Use up to 250 visible ASCII characters.",
            faults=(Fault("ref", f"is {ref!r:.80}", "Use up to 250 visible ASCII characters."),),
        )
    return full


def _known(call: Call, kind: type[Any], *, lock: bool = False) -> Any:
    ref = full_ref(call.params["ref"])
    found = call.catalog.read(kind, [ref], lock=lock).get(ref)
    if found is None:
        raise LookupError(f"There is no {kind.__name__.lower()} {ref!r}.")
    return found


def _lead_response(lead: Lead, status: int = 200) -> Response:
    answer = shapes.lead_answer(lead)
    return _tagged(answer, status)


def _deal_response(deal: Deal, status: int = 200) -> Response:
    return _tagged(shapes.deal_answer(deal), status)


def _tagged(answer: BaseModel, status: int) -> Response:
    return answered(answer, status, {"etag": etag_of(answer.model_dump(mode="json"))})


def _get_lead(call: Call) -> Response:
    return _lead_response(_known(call, Lead))


def _get_deal(call: Call) -> Response:
    return _deal_response(_known(call, Deal))


def _put(
    call: Call,
    kind: type[Any],
    respond: Callable[..., Response],
    apply: Callable[[str, shapes.Told], None],
) -> Response:
    ref = _own_ref(call.params["ref"])
    held = call.catalog.read(kind, [ref], lock=True).get(ref)
    wanted = call.request.headers.get("if-match")
    if held is not None:
        call.check_unchanged(respond(held).headers["etag"])
    elif wanted:
        raise Problem(
            412, f"There is no {kind.__name__.lower()} {ref!r} yet.", "Leave If-Match out."
        )
    apply(ref, _told(call, ref))
    kept = call.catalog.read(kind, [ref])[ref]
    return respond(kept, 200 if held else 201)


def _told(call: Call, ref: str) -> shapes.Told:
    """The same body for the same record tells the same fact; without a moment that has passed, a
    new one."""
    moment: datetime = min(call.body.occurred_at or call.now, call.now)
    text = json.dumps([ref, moment.isoformat(), call.body.model_dump(mode="json")], sort_keys=True)
    return shapes.Told(f"api:{sha256(text.encode()).hexdigest()[:40]}", moment)


def _put_lead(call: Call) -> Response:
    return _put(
        call,
        Lead,
        _lead_response,
        lambda ref, told: call.engine.apply_lead(shapes.lead_record(ref, call.body, told)),
    )


def _put_deal(call: Call) -> Response:
    body = call.body

    def apply(ref: str, told: shapes.Told) -> None:
        digits = currency_digits(body.currency)
        lead_ref = full_ref(body.lead)
        call.engine.apply_deal(shapes.deal_record(ref, lead_ref, digits, body, told))

    return _put(call, Deal, _deal_response, apply)


def _lead_journey(call: Call) -> BaseModel:
    lead = _known(call, Lead)
    touches = call.store.touches({lead.ref}).get(lead.ref, ())
    ordered = sorted(touches, key=lambda touch: touch.order_key)
    return _journey(lead.ref, ordered)


def _deal_journey(call: Call) -> BaseModel:
    deal = _known(call, Deal)
    return _journey(deal.ref, call.engine.journeys([deal])[deal.ref])


def _journey(ref: str, touches: Iterable[Any]) -> BaseModel:
    return schemas.Journey.model_construct(
        ref=ref, touches=[shapes.touch_answer(touch) for touch in touches]
    )


def _lead_attribution(call: Call) -> BaseModel:
    lead = _known(call, Lead)
    model = _model(call, call.query.model) if call.query.model else None
    deals = call.store.deals_of_leads({lead.ref})
    told = call.engine.attributions(deals, model)
    return schemas.LeadAttribution.model_construct(
        ref=lead.ref, deals=[shapes.receipt_answer(item.receipt()) for item in told]
    )


def _deal_attribution(call: Call) -> BaseModel:
    deal = _known(call, Deal)
    model = _model(call, call.query.model) if call.query.model else None
    [told] = call.engine.attributions([deal], model)
    return shapes.receipt_answer(told.receipt())


def _model(call: Call, name: str, place: str = "model") -> Model:
    known = call.workspace.models()
    if name not in known:
        raise Problem(
            422,
            f"There is no attribution model {name!r}.",
            f"Use one of {', '.join(sorted(known))}.",
            faults=(Fault(place, f"is {name!r}", f"Use one of {', '.join(sorted(known))}."),),
        )
    return known[name]


def _models(call: Call) -> BaseModel:
    known = call.workspace.models()
    return schemas.ModelsAnswer(items=[shapes.model_answer(known[name]) for name in sorted(known)])


def _compare(call: Call) -> BaseModel:
    asked = call.query
    names = [*dict.fromkeys(asked.model)]
    models = [_model(call, name) for name in names]
    deals: list[Deal] = []
    query = Query(limit=1000, since=asked.since, until=asked.until)
    while True:
        found = call.catalog.page(Deal, query)
        deals += found.items
        if len(deals) > _MOST_DEALS:
            raise Problem(
                422,
                f"More than {_MOST_DEALS} deals began in this time.",
                "Narrow it with since and until.",
                faults=(Fault("since", "is too early, or missing", "Send a later one."),),
            )
        if not found.next:
            break
        query = replace(query, after=found.next)
    return schemas.ComparisonAnswer.model_validate(call.engine.compare(deals, models).receipt())


# -- privacy ------------------------------------------------------------------------------------------


def _people(call: Call) -> tuple[list[str], list[Lead]]:
    """The visitors and leads that a request for privacy is about."""
    body = call.body
    if bool(body.visitor) == bool(body.lead):
        raise Problem(
            422,
            "The request names no person, or two.",
            "Send either visitor or lead.",
            faults=(Fault("visitor", "goes not with lead", "Send one of them."),),
        )
    if body.visitor:
        leads = _leads(call, call.store.leads_of_visitors({body.visitor}))
        return [body.visitor], leads
    ref = full_ref(body.lead)
    lead = call.catalog.read(Lead, [ref]).get(ref)
    if lead is None:
        raise LookupError(f"There is no lead {ref!r}.")
    return sorted(lead.visitor_ids), [lead]


def _leads(call: Call, refs: Iterable[str]) -> list[Lead]:
    return [*call.catalog.read(Lead, sorted(refs)).values()]


def _export(call: Call) -> BaseModel:
    visitors, leads = _people(call)
    deals = call.store.deals_of_leads({lead.ref for lead in leads}) if leads else ()
    return schemas.PersonAnswer.model_construct(
        visitors=[_journey_of(call, visitor) for visitor in visitors],
        leads=[shapes.lead_answer(lead) for lead in leads],
        deals=[shapes.deal_answer(deal) for deal in deals],
    )


def _erase(call: Call) -> BaseModel:
    visitors, _ = _people(call)
    for visitor in visitors:
        call.engine.forget(visitor)
    return schemas.ErasedAnswer(visitors=visitors)


# -- answers ------------------------------------------------------------------------------------------


def answered(
    answer: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """`answer` as JSON."""
    # What is nested in an answer may be plain JSON already.
    body = answer.model_dump_json(warnings=False).encode()
    return Response(status, {"content-type": "application/json", **(headers or {})}, body)


def page(call: Call, kind: type[Any], query: Query, tell: Callable[[Any], BaseModel]) -> Response:
    """One page of records, each told by `tell`."""
    found = call.catalog.page(kind, query)
    items = [tell(item).model_dump(mode="json", warnings=False) for item in found.items]
    return json_response(200, {"items": items, "next": found.next or None})


def merge(held: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """`held` after a JSON merge patch (RFC 7396) of its first level."""
    return {**held, **patch}


def copied_without_default(info: FieldInfo) -> FieldInfo:
    """`info` of a field that may be left out, whatever it is otherwise."""
    twin = copy(info)
    twin.default, twin.default_factory = None, None
    return twin


def partial_of(body: type[BaseModel]) -> type[BaseModel]:
    """`body` with every field left out at will, for changes."""
    fields: dict[str, Any] = {
        name: (info.annotation, copied_without_default(info))
        for name, info in body.model_fields.items()
    }
    return create_model(f"{body.__name__}Change", __base__=schemas.Body, **fields)


def _page_of(answer: type[BaseModel]) -> type[BaseModel]:
    return create_model(
        f"{answer.__name__.removesuffix('Answer')}Page",
        __base__=schemas.Answer,
        items=(list[answer], ...),  # type: ignore[valid-type]
        next=(
            str | None,
            Field(
                description="The cursor of the next page; null on the last one.", examples=["41"]
            ),
        ),
    )


def routes() -> Sequence[ApiRoute]:
    """Every route of the core, in the order of the documentation."""
    return (
        *CAMPAIGNS.routes(),
        ApiRoute(
            "get_campaign_stats",
            "GET",
            "/campaigns/{id}/stats",
            "campaigns:read",
            "Count the clicks of a campaign",
            partial(_stats, CAMPAIGNS),
            query=schemas.Span,
            answer=schemas.StatsAnswer,
        ),
        *LINKS.routes(),
        ApiRoute(
            "create_links",
            "POST",
            "/links/bulk",
            "links:write",
            "Make up to 500 links, all or none",
            _bulk,
            body=schemas.Links,
            answer=schemas.LinksAnswer,
            status=201,
        ),
        ApiRoute(
            "get_link_stats",
            "GET",
            "/links/{code}/stats",
            "links:read",
            "Count the clicks of a link",
            partial(_stats, LINKS),
            query=schemas.Span,
            answer=schemas.StatsAnswer,
        ),
        ApiRoute(
            "get_link_qr_png",
            "GET",
            "/links/{code}/qr.png",
            "links:read",
            "The link's QR code as PNG",
            partial(_qr, "png"),
        ),
        ApiRoute(
            "get_link_qr_svg",
            "GET",
            "/links/{code}/qr.svg",
            "links:read",
            "The link's QR code as SVG",
            partial(_qr, "svg"),
        ),
        *TEMPLATES.routes(),
        ApiRoute(
            "create_template_links",
            "POST",
            "/templates/{id}/links",
            "links:write",
            "Make links from a template, all or none",
            _from_template,
            body=schemas.TemplateLinks,
            answer=schemas.LinksAnswer,
            status=201,
        ),
        ApiRoute(
            "list_events",
            "GET",
            "/events",
            "events:read",
            "List what visitors did, newest first",
            partial(_touch_page, ClickEvent, shapes.event_answer),
            query=schemas.TouchQuery,
            answer=_page_of(schemas.EventAnswer),
        ),
        ApiRoute(
            "create_events",
            "POST",
            "/events",
            "events:write",
            "Tell what visitors did; it is recorded shortly after",
            _tell_events,
            body=schemas.Events,
            answer=schemas.EventsAccepted,
            status=202,
        ),
        ApiRoute(
            "get_edge_settings",
            "GET",
            "/edge",
            keys.EDGE,
            "Read what a server that answers in this one's stead must know",
            _edge_settings,
            answer=schemas.EdgeSettings,
        ),
        ApiRoute(
            "list_edge_links",
            "GET",
            "/edge/links",
            keys.EDGE,
            "List the links that changed since a cursor, in the order of their changes",
            _edge_links,
            query=schemas.EdgeQuery,
            answer=schemas.EdgeLinks,
        ),
        ApiRoute(
            "list_conversions",
            "GET",
            "/conversions",
            "conversions:read",
            "List leads that came in and deals that were won, newest first",
            partial(_touch_page, Conversion, shapes.conversion_answer),
            query=schemas.TouchQuery,
            answer=_page_of(schemas.ConversionAnswer),
        ),
        ApiRoute(
            "list_visitors",
            "GET",
            "/visitors",
            "visitors:read",
            "List visitors, newest first",
            partial(_span_page, storage.Visitor, shapes.visitor_answer),
            query=schemas.SpanQuery,
            answer=_page_of(schemas.VisitorAnswer),
        ),
        ApiRoute(
            "get_visitor",
            "GET",
            "/visitors/{id}",
            "visitors:read",
            "Read a visitor",
            _get_visitor,
            answer=schemas.VisitorAnswer,
        ),
        ApiRoute(
            "get_visitor_journey",
            "GET",
            "/visitors/{id}/journey",
            "visitors:read",
            "Read everything that a visitor did",
            _visitor_journey,
            answer=schemas.VisitorJourney,
        ),
        *_told_routes("lead", Lead, shapes.lead_answer, _get_lead, _put_lead, schemas.Lead),
        ApiRoute(
            "get_lead_journey",
            "GET",
            "/leads/{ref}/journey",
            "leads:read",
            "Read the touches of a lead, in order",
            _lead_journey,
            answer=schemas.Journey,
        ),
        ApiRoute(
            "get_lead_attribution",
            "GET",
            "/leads/{ref}/attribution",
            "attribution:read",
            "Read how the deals of a lead are split over its touches",
            _lead_attribution,
            answer=schemas.LeadAttribution,
            query=schemas.AttributionQuery,
        ),
        *_told_routes("deal", Deal, shapes.deal_answer, _get_deal, _put_deal, schemas.Deal),
        ApiRoute(
            "get_deal_journey",
            "GET",
            "/deals/{ref}/journey",
            "deals:read",
            "Read the touches that led to a deal, in order",
            _deal_journey,
            answer=schemas.Journey,
        ),
        ApiRoute(
            "get_deal_attribution",
            "GET",
            "/deals/{ref}/attribution",
            "attribution:read",
            "Read how a deal is split over its touches",
            _deal_attribution,
            answer=schemas.AttributionAnswer,
            query=schemas.AttributionQuery,
        ),
        ApiRoute(
            "list_attribution_models",
            "GET",
            "/attribution/models",
            "attribution:read",
            "List the attribution models",
            _models,
            answer=schemas.ModelsAnswer,
        ),
        ApiRoute(
            "compare_attribution_models",
            "GET",
            "/attribution/compare",
            "attribution:read",
            "Compare what campaigns earned under several models",
            _compare,
            query=schemas.CompareQuery,
            answer=schemas.ComparisonAnswer,
        ),
        *(
            replace(route, answer=schemas.WebhookSecretAnswer)
            if route.name == "create_webhook_endpoint"
            else route
            for route in ENDPOINTS.routes()
        ),
        ApiRoute(
            "rotate_webhook_secret",
            "POST",
            "/webhook-endpoints/{id}/rotate",
            "webhooks:write",
            "Give a webhook endpoint a new secret; messages are signed with the old one, too",
            ENDPOINTS.rotate,
            answer=schemas.WebhookSecretAnswer,
        ),
        ApiRoute(
            "test_webhook_endpoint",
            "POST",
            "/webhook-endpoints/{id}/test",
            "webhooks:write",
            "Send a webhook endpoint a message to try it",
            ENDPOINTS.test,
            answer=schemas.MessagesWaiting,
            status=202,
        ),
        ApiRoute(
            "replay_webhook_messages",
            "POST",
            "/webhook-endpoints/{id}/replay",
            "webhooks:write",
            "Send a webhook endpoint again what was created in a time",
            ENDPOINTS.replay,
            body=schemas.Replay,
            answer=schemas.MessagesWaiting,
            status=202,
        ),
        ApiRoute(
            "list_webhook_messages",
            "GET",
            "/webhook-endpoints/{id}/messages",
            "webhooks:read",
            "List the messages to a webhook endpoint and what became of them, newest first",
            ENDPOINTS.messages,
            query=schemas.MessageQuery,
            answer=_page_of(schemas.WebhookMessage),
        ),
        ApiRoute(
            "get_webhook_message",
            "GET",
            "/webhook-endpoints/{id}/messages/{message}",
            "webhooks:read",
            "Read a message to a webhook endpoint",
            ENDPOINTS.message,
            answer=schemas.WebhookMessageAnswer,
        ),
        ApiRoute(
            "replay_webhook_message",
            "POST",
            "/webhook-endpoints/{id}/messages/{message}/replay",
            "webhooks:write",
            "Send one message again under its id, or at once if it waits",
            ENDPOINTS.replay_message,
            answer=schemas.MessagesWaiting,
            status=202,
        ),
        ApiRoute(
            "export_person",
            "POST",
            "/privacy/export",
            "privacy:read",
            "Export everything that is kept of a person",
            _export,
            body=schemas.Subject,
            answer=schemas.PersonAnswer,
        ),
        ApiRoute(
            "erase_person",
            "POST",
            "/privacy/erase",
            "privacy:write",
            "Erase a person's visits for good",
            _erase,
            body=schemas.Subject,
            answer=schemas.ErasedAnswer,
        ),
    )


def _told_routes(
    noun: str,
    kind: type[Any],
    tell: Callable[[Any], BaseModel],
    get: Callable[[Call], Response],
    put: Callable[[Call], Response],
    body: type[BaseModel],
) -> Sequence[ApiRoute]:
    """The routes that leads and deals have in common."""
    answer = schemas.LeadAnswer if kind is Lead else schemas.DealAnswer
    return (
        ApiRoute(
            f"list_{noun}s",
            "GET",
            f"/{noun}s",
            f"{noun}s:read",
            f"List {noun}s, newest first",
            partial(_span_page, kind, tell),
            query=schemas.SpanQuery,
            answer=_page_of(answer),
        ),
        ApiRoute(
            f"get_{noun}",
            "GET",
            f"/{noun}s/{{ref}}",
            f"{noun}s:read",
            f"Read a {noun}",
            get,
            answer=answer,
        ),
        ApiRoute(
            f"put_{noun}",
            "PUT",
            f"/{noun}s/{{ref}}",
            f"{noun}s:write",
            f"Tell the present state of a {noun}",
            put,
            body=body,
            answer=answer,
        ),
    )
