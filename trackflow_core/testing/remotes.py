"""The contract kit for connections with a CRM: mixins of plain `test_*` methods.

class TestMyCrm(RemoteContract):
    connector = MyConnector()

    def remote(self):
        return MySandbox()      # a context manager; a double, or a real site

Every test works on a fresh `Remote`. What a connector's capabilities leave out is not asked for.
"""

from __future__ import annotations

import inspect
import logging
import random
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from functools import reduce
from typing import Any, Protocol, TypeVar

from trackflow_core.attribution import BUILTIN_RULES, Attribution, Model
from trackflow_core.config import Settings
from trackflow_core.connectors import (
    Connection,
    Instance,
    Page,
    Polling,
    Provisioning,
    Receiving,
    RemoteConnector,
    Webhooks,
    WriteBack,
    WritingBack,
)
from trackflow_core.engine import Engine
from trackflow_core.errors import ConfigError, RetriableError, TerminalError, TrackFlowError
from trackflow_core.hooks import Hooks
from trackflow_core.model import Click, Deal, DealStatus, Lead
from trackflow_core.options import configure, options_of
from trackflow_core.ports import Event
from trackflow_core.sync import take_in
from trackflow_core.testing.facts import ANNA, LINKS, click
from trackflow_core.testing.memory import MemoryStore
from trackflow_core.tracking.identity import issue_token

KEYS = ("a key of sixteen bytes at least",)
_MODEL = Model(next(rule for rule in BUILTIN_RULES if rule.name == "linear"))
_PAGES = 200
_Fact = TypeVar("_Fact", Lead, Deal)


class Remote(Protocol):
    """A CRM that the kit may fill and disturb; refs are those that its events have."""

    secrets: Sequence[str]
    """What must never be in a message or a log."""

    instance: Instance

    def options(self) -> Mapping[str, Any]:
        """Valid options of a connection, as a person would give them."""

    def now(self) -> datetime:
        """The CRM's present."""

    def add_lead(self, name: str, visitor_token: str = "") -> str:
        """Make a lead as a form does; returns its ref."""

    def add_deal(self, lead: str, value: int, currency: str) -> str:
        """Make a deal of a lead, worth so many minor units; returns its ref."""

    def win(self, deal: str) -> None:
        """Win a deal."""

    def rename(self, lead: str, name: str) -> None:
        """Give a lead another name."""

    def delete_deal(self, deal: str) -> None:
        """Delete a deal."""

    def spoil_deal(self, deal: str) -> str:
        """Make a deal unreadable for the mapping; returns a word that the reason must have."""

    def add_late_lead(self, name: str) -> str:
        """Make a lead whose stamp is a minute old, as a long transaction does; returns its ref."""

    def marketing(self, ref: str, kind: str) -> Mapping[str, Any]:
        """The fields of `WriteBack` that the record holds, read past the connector.

        `kind` is "lead" or "deal": some CRMs have one record for both.
        """

    def changes(self) -> int:
        """How often records have been written, by anyone."""

    def fail(self, times: int, retry_after: float | None = None) -> None:
        """Let the next calls fail for a passing reason."""

    def expire_credentials(self) -> None:
        """Stop accepting the present credentials; `options` gives new ones from now on."""


class RemoteContract:
    """What every connection with a CRM keeps."""

    connector: RemoteConnector
    currency = "EUR"
    huge_value = 2**53 + 1
    """Minor units of a deal that must come through exactly; what the CRM itself can hold."""
    deletions = True
    """Whether the CRM tells of deleted deals."""
    late_commits = True
    """Whether a record may appear with a stamp that lies before the last poll."""

    @abstractmethod
    def remote(self) -> AbstractContextManager[Remote]:
        """A fresh CRM without leads, deals, fields or webhooks of ours."""

    # -- what it declares ------------------------------------------------------------------

    def test_it_declares_what_it_can_do(self) -> None:
        assert isinstance(self.connector, RemoteConnector)
        able = self.connector.capabilities
        assert able.versions
        with self._logged() as remote:
            connection = self._connect(remote)
            declared = {
                Polling: able.polling,
                WritingBack: able.write_back,
                Provisioning: able.provisioning,
                Receiving: able.webhooks is not Webhooks.NONE,
            }
            for protocol, is_declared in declared.items():
                assert isinstance(connection, protocol) is is_declared, protocol.__name__

    def test_its_options_explain_themselves(self) -> None:
        for item in options_of(self.connector.options):
            assert item.title and item.title[0].isupper(), f"{item.name} has no title"
            assert item.help.endswith("."), f"the help of {item.name} is no sentence"
        with self._logged() as remote:
            shown = repr(configure(self.connector.options, remote.options()))
            assert not any(secret in shown for secret in remote.secrets), "repr shows a secret"

    def test_a_missing_option_is_named(self) -> None:
        with self._logged() as remote:
            for item in options_of(self.connector.options):
                if not item.required:
                    continue
                values = {**remote.options(), item.name: ""}
                message = _message(lambda v=values: configure(self.connector.options, v))  # type: ignore[misc]
                assert item.title in message, f"{message!r} does not name {item.title}"

    # -- check and provision ---------------------------------------------------------------

    def test_check_says_what_is_right_and_what_is_missing(self) -> None:
        with self._logged() as remote:
            findings = self._connect(remote).check()
            assert findings
            assert all(finding.what for finding in findings)
            assert all(finding.remedy for finding in findings if not finding.ok)
            if self.connector.capabilities.provisioning:
                assert not all(finding.ok for finding in findings), "nothing is provisioned yet"
                self._prepare(remote)
                left = [finding.what for finding in self._connect(remote).check() if not finding.ok]
                assert not left, left

    def test_expired_credentials_are_a_setting_to_renew(self) -> None:
        with self._logged() as remote:
            first = remote.add_lead("Zoë before")
            cursor = self._all(remote)[-1].cursor if self._polls else ""
            old = self._connect(remote)
            remote.expire_credentials()
            calls: list[Callable[[], object]] = [old.check]
            if isinstance(old, Polling):
                calls.append(lambda: old.poll(cursor))
            if isinstance(old, WritingBack):
                calls.append(lambda: old.write_back(WriteBack(first, "lead")))
            for call in calls:
                assert _message(call, ConfigError)
            if self._polls:
                second = remote.add_lead("Zoë after")
                assert second in _refs(self._all(remote, cursor)), "the cursor must stay good"

    def test_provisioning_is_shown_first_done_once_and_undone(self) -> None:
        if not self.connector.capabilities.provisioning:
            return
        with self._logged() as remote:
            connection = self._connect(remote)
            assert isinstance(connection, Provisioning)
            planned = connection.provision(dry_run=True)
            assert planned and connection.provision(dry_run=True) == planned, "it was no dry run"
            assert connection.provision(dry_run=False) == planned
            assert not self._provisioning(remote).provision(dry_run=False), "twice made it anew"
            removed = self._provisioning(remote).deprovision(dry_run=True)
            assert removed
            assert self._provisioning(remote).deprovision(dry_run=False) == removed
            assert self._provisioning(remote).provision(dry_run=True) == planned

    # -- poll ------------------------------------------------------------------------------

    def test_every_page_may_be_the_last_before_a_crash(self) -> None:
        if not self._polls:
            return
        with self._logged() as remote:
            refs = [remote.add_lead(f"Zoë {number}") for number in range(7)]
            refs += [remote.add_deal(ref, 100, self.currency) for ref in refs[:4]]
            found = self._all(remote)
            assert _refs(found) == set(refs)
            for stop in range(len(found)):
                cursor = found[stop].cursor
                resumed = [*found[: stop + 1], *self._all(remote, cursor)]
                assert _refs(resumed) == set(refs), f"resumed after page {stop}"

    def test_catching_up_tells_what_changed(self) -> None:
        if not self._polls:
            return
        with self._logged() as remote:
            lead = remote.add_lead("Zoë asks")
            deal = remote.add_deal(lead, 100, self.currency)
            cursor = self._all(remote)[-1].cursor
            remote.rename(lead, "Zoë Ünal")
            remote.win(deal)
            later = self._all(remote, cursor)
            assert "Zoë Ünal" in _text_of(_states(later, Lead)[lead])
            assert _states(later, Deal)[deal].status is DealStatus.WON
            third = remote.add_lead("Ben asks")
            assert third in _refs(self._all(remote, later[-1].cursor))

    def test_what_was_committed_late_is_not_missed(self) -> None:
        if not self._polls or not self.late_commits:
            return
        with self._logged() as remote:
            remote.add_lead("Zoë asks")
            cursor = self._all(remote)[-1].cursor
            late = remote.add_late_lead("Ben was slow")
            assert late in _refs(self._all(remote, cursor))

    def test_text_and_values_come_through_exactly(self) -> None:
        if not self._polls:
            return
        name = 'Zoë "Ünal" 東京 🚀 & co'
        with self._logged() as remote:
            lead = remote.add_lead(name)
            deal = remote.add_deal(lead, self.huge_value, self.currency)
            found = self._all(remote)
            assert name in _text_of(_states(found, Lead)[lead])
            state = _states(found, Deal)[deal]
            assert (state.value, state.currency) == (self.huge_value, self.currency)
            assert state.lead_ref == lead

    def test_one_unreadable_record_stops_nobody_else(self) -> None:
        if not self._polls:
            return
        with self._logged() as remote:
            lead = remote.add_lead("Zoë asks")
            spoiled = remote.add_deal(lead, 100, self.currency)
            word = remote.spoil_deal(spoiled)
            good = remote.add_deal(lead, 200, self.currency)
            found = self._all(remote)
            assert good in _states(found, Deal)
            [rejected, *_] = [item for page in found for item in page.rejected]
            assert word in rejected.reason and rejected.ref and rejected.payload

    def test_a_deleted_deal_is_lost_and_worth_nothing(self) -> None:
        if not self._polls or not self.deletions:
            return
        with self._logged() as remote:
            self._prepare(remote)
            lead = remote.add_lead("Zoë asks")
            deal = remote.add_deal(lead, 100, self.currency)
            remote.win(deal)
            found = self._all(remote)
            remote.delete_deal(deal)
            state = _states([*found, *self._all(remote, found[-1].cursor)], Deal)[deal]
            assert (state.status, state.value) == (DealStatus.LOST, 0)

    def test_a_passing_fault_loses_nothing(self) -> None:
        if not self._polls:
            return
        with self._logged() as remote:
            lead = remote.add_lead("Zoë asks")
            for times in (1, 50):
                remote.fail(times, retry_after=7.0)
                try:
                    found = self._all(remote)
                except RetriableError as error:
                    assert error.retry_after is None or error.retry_after > 0
                    remote.fail(0)
                    found = self._all(remote)
                else:
                    remote.fail(0)
                assert lead in _refs(found)

    # -- write back ------------------------------------------------------------------------

    def test_writing_back_fills_the_fields_once(self) -> None:
        if not self.connector.capabilities.write_back:
            return
        with self._logged() as remote:
            self._prepare(remote)
            lead = remote.add_lead("Zoë asks")
            moment = remote.now().replace(microsecond=0) - timedelta(days=1)
            told = WriteBack(
                ref=lead,
                kind="lead",
                visitor_id=ANNA,
                source="google",
                medium="cpc",
                campaign="Frühling & more",
                first_touch_at=moment,
                last_touch_at=moment + timedelta(hours=2),
                touch_count=2,
                influenced=True,
            )
            self._writing(remote).write_back(told)
            _assert_holds(remote.marketing(lead, told.kind), told)
            before = remote.changes()
            self._writing(remote).write_back(told)
            assert remote.changes() == before, "the record was written though nothing changed"

    def test_writing_back_without_fields_says_to_prepare_the_crm(self) -> None:
        able = self.connector.capabilities
        if not (able.write_back and able.provisioning):
            return
        with self._logged() as remote:
            lead = remote.add_lead("Zoë asks")
            told = WriteBack(lead, "lead", source="google", touch_count=1)
            call = self._writing(remote).write_back
            message = _message(lambda: call(told), ConfigError)
            assert "prepare the CRM" in message, message

    def test_writing_to_a_record_that_is_gone_is_final(self) -> None:
        if not self.connector.capabilities.write_back or not self._polls:
            return
        with self._logged() as remote:
            self._prepare(remote)
            deal = remote.add_deal(remote.add_lead("Zoë asks"), 100, self.currency)
            remote.delete_deal(deal)
            call = self._writing(remote).write_back
            _message(lambda: call(WriteBack(deal, "deal", model="Linear")), TerminalError)

    # -- the golden story ------------------------------------------------------------------

    def test_the_golden_story(self) -> None:
        """Click in TrackFlow, lead and deal in the CRM, credits, fields in the CRM."""
        if not self._polls:
            return
        with self._logged() as remote:
            self._prepare(remote)
            clicks = _clicks(remote.now())
            token = issue_token(ANNA, KEYS, remote.now())
            lead = remote.add_lead("Zoë asks", visitor_token=token)
            early = self._all(remote)
            deal = remote.add_deal(lead, 10_000, self.currency)
            opened = self._all(remote, early[-1].cursor)
            remote.win(deal)
            won = self._all(remote, opened[-1].cursor)
            events = [event for page in (*early, *opened, *won) for event in page.events]
            expected = _credits(clicks, events, deal)
            assert [credit.value for credit in expected.credits] == [3334, 3333, 3333]
            assert expected.deal.status is DealStatus.WON
            for seed in range(1, 10):
                again = _credits(clicks, events, deal, seed)
                assert (again.credits, again.digest) == (expected.credits, expected.digest), seed
            if self.connector.capabilities.write_back:
                self._write_story_back(remote, lead, clicks, events, expected)

    def _write_story_back(
        self,
        remote: Remote,
        lead: str,
        clicks: Sequence[Click],
        events: Sequence[Event],
        expected: Attribution,
    ) -> None:
        store = _told(clicks, events)
        [known] = [item for item in store.leads({lead})]
        summary = store.summary(lead)
        assert summary is not None
        for told in (WriteBack.of_lead(known, summary), WriteBack.of_deal(expected)):
            assert told.touch_count == 3
            self._writing(remote).write_back(WriteBack.from_json(told.to_json()))
            _assert_holds(remote.marketing(told.ref, told.kind), told)

    # -- helpers ---------------------------------------------------------------------------

    @property
    def _polls(self) -> bool:
        return self.connector.capabilities.polling

    @contextmanager
    def _logged(self) -> Iterator[Remote]:
        """A fresh remote; afterwards no log may hold one of its secrets."""
        log = _Log()
        root = logging.getLogger()
        level = root.level
        root.addHandler(log)
        root.setLevel(logging.DEBUG)
        try:
            with self.remote() as remote:
                yield remote
                for secret in remote.secrets:
                    assert not any(secret in line for line in log.lines), "a log shows a secret"
        except TrackFlowError as error:
            raise AssertionError(f"{type(error).__name__}: {error}") from error
        finally:
            root.removeHandler(log)
            root.setLevel(level)

    def _connect(self, remote: Remote) -> Connection:
        options = configure(self.connector.options, remote.options())
        return self.connector.connect(options, remote.instance)

    def _provisioning(self, remote: Remote) -> Provisioning:
        connection = self._connect(remote)
        assert isinstance(connection, Provisioning)
        return connection

    def _writing(self, remote: Remote) -> WritingBack:
        connection = self._connect(remote)
        assert isinstance(connection, WritingBack)
        return connection

    def _prepare(self, remote: Remote) -> None:
        if self.connector.capabilities.provisioning:
            self._provisioning(remote).provision(dry_run=False)

    def _all(self, remote: Remote, cursor: str = "") -> list[Page]:
        """Every page from `cursor` on, each asked for by a connection of its own."""
        found: list[Page] = []
        while len(found) < _PAGES:
            connection = self._connect(remote)
            assert isinstance(connection, Polling)
            page = connection.poll(cursor)
            assert isinstance(page.cursor, str)
            found.append(page)
            if not page.more:
                return found
            assert page.cursor != cursor, "a page says that there is more but does not move on"
            cursor = page.cursor
        raise AssertionError(f"polling does not end after {_PAGES} pages")


class _Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage() + str(record.exc_info or ""))


def _message(call: Callable[[], object], kind: type[TrackFlowError] = ConfigError) -> str:
    try:
        answer = call()
    except kind as error:
        return str(error)
    raise AssertionError(f"{inspect.getsource(call).strip():.80} gave {answer!r:.80}")


def _refs(found: Sequence[Page]) -> set[str]:
    return {event.ref for page in found for event in page.events}


def _states(found: Sequence[Page], kind: type[_Fact]) -> dict[str, _Fact]:
    """The state of each lead, or of each deal, after all pages, by ref."""
    told: dict[str, list[Any]] = {}
    for page in found:
        for event in page.events:
            if isinstance(event, kind):
                told.setdefault(event.ref, []).append(event)
    return {
        ref: reduce(lambda known, fact: known.merged_with(fact), facts)
        for ref, facts in told.items()
    }


def _text_of(lead: Lead) -> str:
    return f"{lead.name}\n{lead.contact_name}"


def _clicks(now: datetime) -> Sequence[Click]:
    return [
        click(f"c{number}", 0, link.code, occurred_at=now - timedelta(days=3 - number))
        for number, link in enumerate(LINKS)
    ]


def _told(clicks: Sequence[Click], events: Sequence[Event], seed: int = 0) -> MemoryStore:
    """The store after these facts; with a seed they are shuffled and partly repeated."""
    facts: list[Click | Event] = [*clicks, *events]
    if seed:
        chance = random.Random(seed)
        facts += chance.choices(facts, k=5)
        chance.shuffle(facts)
    store = MemoryStore(LINKS)
    engine = Engine(store, Hooks(), Settings(model=_MODEL, keys=KEYS))
    for fact in facts:
        if isinstance(fact, Click):
            engine.record_click(fact)
        else:
            take_in(engine, Page("", False, [fact]))
    engine.process_clicks()
    return store


def _credits(
    clicks: Sequence[Click], events: Sequence[Event], deal: str, seed: int = 0
) -> Attribution:
    attribution = _told(clicks, events, seed).attribution(deal)
    assert attribution is not None
    return attribution


def _assert_holds(held: Mapping[str, Any], told: WriteBack) -> None:
    expected = {name: value for name, value in told.to_json().items() if name in held}
    assert len(expected) >= 4, f"the record holds only {sorted(held)}"
    assert dict(held) == expected
