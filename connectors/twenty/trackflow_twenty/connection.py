"""One Twenty workspace: checked, provisioned, read page by page, written back to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from trackflow_core.connectors import Change, Finding, Instance, Page, Rejected, WriteBack
from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.model import DealStatus
from trackflow_core.ports import Delivery, Event, IncomingRequest
from trackflow_twenty import provision, signature
from trackflow_twenty.mapping import OPPORTUNITY, PERSON, TOKEN, events_of, moment, record_of
from trackflow_twenty.options import TwentyOptions, names_of
from trackflow_twenty.workspace import Denied, Workspace


class _Stream(NamedTuple):
    """What is read, in the order of which stamp."""

    object: str
    stamp: str


_STREAMS = (
    _Stream(PERSON, "updatedAt"),
    _Stream(OPPORTUNITY, "updatedAt"),
    # The list of the living does not tell what was deleted.
    _Stream(OPPORTUNITY, "deletedAt"),
)
_WRITTEN = frozenset(item.name for item in provision.FIELDS if item.holds)
_OVERLAP = timedelta(minutes=15)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class _Place:
    """How far a stream has been read: all stamps before `at` (ISO 8601, in milliseconds).

    Twenty tells milliseconds and may keep microseconds. So where one millisecond has more records
    than a page, they are read in the order of their ids: `after` is the last one's, "" the
    beginning of them, and None means that none are left halfway.
    """

    at: str = ""
    after: str | None = None
    under_way: bool = False


@dataclass(frozen=True, slots=True)
class _Cursor:
    """Where a round stands: which stream is read now, and each one's place."""

    step: int = 0
    places: Sequence[_Place] = field(default_factory=lambda: [_Place()] * len(_STREAMS))

    @classmethod
    def read(cls, text: str) -> _Cursor:
        if not text:
            return cls()
        try:
            told = json.loads(text)
            places = [_Place(**place) for place in told["places"]]
            _STREAMS[told["step"]], places[len(_STREAMS) - 1]
            return cls(told["step"], places)
        except (IndexError, KeyError, TypeError, ValueError):
            raise ConfigError(
                "The cursor is none of a Twenty connector: begin anew with an empty one."
            ) from None

    def __str__(self) -> str:
        return json.dumps(asdict(self))


class TwentyConnection:
    """The connection with one workspace; made by `TwentyConnector.connect`."""

    def __init__(self, workspace: Workspace, options: TwentyOptions, instance: Instance) -> None:
        self._workspace = workspace
        self._options = options
        self._instance = instance
        self._status = {
            **dict.fromkeys(names_of(options.lost), DealStatus.LOST.value),
            **dict.fromkeys(names_of(options.won), DealStatus.WON.value),
        }

    # -- what the workspace calls us with --------------------------------------------------

    def verify(self, request: IncomingRequest, now: datetime) -> Delivery:
        """Check signature and timestamp."""
        return signature.check(request, self._instance.secrets, now)

    def map_events(self, payload: Mapping[str, Any]) -> Sequence[Event]:
        """What a payload tells, by the present options; nothing for a webhook that is a hint."""
        stage = payload.get("stage")
        known = {
            "default_currency": self._options.currency,
            "deal_status": self._status.get(str(stage), DealStatus.OPEN.value),
        }
        return events_of({**payload, **known}, self._instance.namespace)

    # -- check and provision ---------------------------------------------------------------

    def check(self) -> Sequence[Finding]:
        """Whether the API answers, the role sees what it must, and fields and webhook are there."""
        schemas = self._workspace.schemas()
        findings = []
        for kind in (PERSON, OPPORTUNITY):
            if kind not in schemas:
                return (
                    Finding(f"The object {kind}", False, "Activate it in Twenty's data model."),
                )
            self._workspace.page(kind, "", "updatedAt[AscNullsFirst]")
            findings.append(Finding(f"Each {kind} can be read."))
        findings += self._stages_exist(schemas[OPPORTUNITY].stages)
        missing = [f"{item.label} ({item.object})" for item in provision.missing_fields(schemas)]
        findings.append(
            Finding(f"Fields are missing: {', '.join(missing)}.", False, "Prepare the CRM.")
            if missing
            else Finding("All fields for attribution exist.")
        )
        return (*findings, self._webhook_is_there())

    def provision(self, dry_run: bool) -> Sequence[Change]:
        """Make custom fields and, where the workspace can reach us, a webhook."""
        return provision.provision(self._workspace, self._instance, dry_run)

    def deprovision(self, dry_run: bool) -> Sequence[Change]:
        """Remove the custom fields and this instance's webhook."""
        return provision.deprovision(self._workspace, self._instance, dry_run)

    def _stages_exist(self, stages: Sequence[str]) -> Iterator[Finding]:
        unknown = [name for name in self._status if name not in stages]
        if unknown:
            yield Finding(
                f"There is no stage {', '.join(unknown)}.",
                False,
                f"Give stages that there are: {', '.join(stages)}.",
            )
        else:
            yield Finding(
                f"Won is {self._options.won}, lost is {self._options.lost or 'no stage'}."
            )

    def _webhook_is_there(self) -> Finding:
        if not (self._instance.webhook_url and self._instance.secrets):
            return Finding("There is no webhook: changes are seen when the workspace is polled.")
        try:
            right = provision.webhook_is_right(self._workspace, self._instance)
        except Denied:
            return Finding("This key's role may not see webhooks; another one makes them.")
        if right:
            return Finding("The webhook exists.")
        return Finding("The webhook is missing or differs.", False, "Prepare the CRM.")

    # -- poll ------------------------------------------------------------------------------

    def poll(self, cursor: str) -> Page:
        """The next page of people, then of opportunities, then of deleted opportunities."""
        state = _Cursor.read(cursor)
        stream = _STREAMS[state.step]
        rows, place = self._read(stream, state.places[state.step])
        step = state.step if place.under_way else (state.step + 1) % len(_STREAMS)
        places = [*state.places[: state.step], place, *state.places[state.step + 1 :]]
        events, rejected = self._map(self._payloads(stream, rows))
        return Page(
            cursor=str(_Cursor(step, places)),
            more=place.under_way or step != 0,
            events=events,
            rejected=rejected,
        )

    def _read(self, stream: _Stream, place: _Place) -> tuple[list[dict[str, Any]], _Place]:
        """Records from `place` on, and the place behind them."""
        if place.after is not None:
            return self._read_millisecond(stream, place, place.after)
        since = place.at
        if since and not place.under_way:
            # What was stamped before it was committed.
            since = _text(datetime.fromisoformat(since) - _OVERLAP)
        where = f"{stream.stamp}[gte]:{since}" if since else f"{stream.stamp}[is]:NOT_NULL"
        order = f"{stream.stamp}[AscNullsFirst],id[AscNullsFirst]"
        rows, more = self._workspace.page(stream.object, where, order)
        if not more:
            last = _text(moment(rows[-1], stream.stamp)) if rows else ""
            return rows, _Place(max(place.at, last))
        last = _text(moment(rows[-1], stream.stamp))
        whole = [row for row in rows if _text(moment(row, stream.stamp)) != last]
        return whole, _Place(last, None if whole else "", under_way=True)

    def _read_millisecond(
        self, stream: _Stream, place: _Place, after: str
    ) -> tuple[list[dict[str, Any]], _Place]:
        """Records of one stamp in the order of their ids."""
        end = _text(datetime.fromisoformat(place.at) + _MILLISECOND)
        conditions = [f"{stream.stamp}[gte]:{place.at}", f"{stream.stamp}[lt]:{end}"]
        conditions += [f"id[gt]:{after}"] if after else []
        where = f"and({','.join(conditions)})"
        rows, more = self._workspace.page(stream.object, where, "id[AscNullsFirst]")
        if more:
            return rows, _Place(place.at, rows[-1]["id"], under_way=True)
        return rows, _Place(end, under_way=True)

    def _payloads(
        self, stream: _Stream, rows: Sequence[Mapping[str, Any]]
    ) -> Sequence[dict[str, Any]]:
        """The rows with what their mapping needs beside them, without what we wrote into them: what
        cannot be mapped is the same then however often it is read."""
        rows = [{name: row[name] for name in row if name not in _WRITTEN} for row in rows]
        if stream.object == OPPORTUNITY:
            return [{**row, "object": OPPORTUNITY} for row in rows]
        companies = self._workspace.company_names(
            row["companyId"] for row in rows if row.get("companyId")
        )
        return [
            {**row, "object": PERSON, "company_name": companies.get(row.get("companyId") or "")}
            for row in rows
        ]

    def _map(self, payloads: Sequence[dict[str, Any]]) -> tuple[list[Event], list[Rejected]]:
        events: list[Event] = []
        rejected = []
        for payload in payloads:
            try:
                events += self.map_events(payload)
            except InvalidEvent as error:
                kept = {name: value for name, value in payload.items() if name != TOKEN}
                rejected.append(
                    Rejected(f"{payload['object']} {payload.get('id')}", str(error), kept)
                )
        return events, rejected

    # -- write back ------------------------------------------------------------------------

    def write_back(self, told: WriteBack) -> None:
        """Put `told` into the record's custom fields, unless they hold it already."""
        kind, record_id = record_of(told.ref, self._instance.namespace)
        record = self._workspace.record(kind, record_id)
        fields = provision.fields_of(kind)
        missing = [item.label for item in fields if item.name not in record]
        if missing:
            raise ConfigError(
                f"Each {kind} shows no fields {', '.join(missing)}: prepare the CRM, and "
                "let the API key's role see them."
            )
        wanted = {item.name: _value(getattr(told, item.holds)) for item in fields}
        changed = {
            item.name: wanted[item.name]
            for item in fields
            if not _same(item.type, record[item.name], wanted[item.name])
        }
        # A change that changes nothing would still fire the webhook, and us again.
        if changed:
            self._workspace.update(kind, record_id, changed)


def _text(at: datetime) -> str:
    """`at` in milliseconds, as Twenty tells times, but with +00:00."""
    return at.isoformat(timespec="milliseconds")


def _value(value: Any) -> Any:
    if isinstance(value, datetime):
        return _text(value).replace("+00:00", "Z")
    return value


def _same(kind: str, held: Any, wanted: Any) -> bool:
    if not held or not wanted:
        return not held and not wanted
    if kind == "DATE_TIME":
        return moment({"at": held}, "at") == moment({"at": wanted}, "at")
    return bool(held == wanted)
