"""A won deal is told to a real HTTP receiver once, in words a team reads."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

import trackflow_slack
from trackflow_core.attribution import BUILTIN_RULES, Attribution, Model, attribute
from trackflow_core.hooks import Hooks, load
from trackflow_core.model import Context, DealStatus, Message, Outgoing, Touch
from trackflow_core.testing.facts import at, deal
from trackflow_http import Pace
from trackflow_slack.channel import Channel

CTX = Context(host="memory", tenant="shop")
SECRET = "T000-B000-geheim"
RULES = {rule.name: rule for rule in BUILTIN_RULES}


class Slack(ThreadingHTTPServer):
    """Takes messages; answers with the statuses in `refusals` first."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.heard: list[str] = []
        self.refusals: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/services/{SECRET}"


class _Handler(BaseHTTPRequestHandler):
    server: Slack

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.server.refusals.pop(0) if self.server.refusals else 200
        if status == 200:
            assert self.path == f"/services/{SECRET}"
            self.server.heard.append(json.loads(body)["text"])
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_arguments: Any) -> None:
        pass


@pytest.fixture
def slack() -> Iterator[Slack]:
    with Slack() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def hooks(slack: Slack, monkeypatch: pytest.MonkeyPatch) -> Hooks:
    monkeypatch.setenv(trackflow_slack.URL, slack.url)
    monkeypatch.setattr(trackflow_slack, "_channel", quick())
    return Hooks({"slack": trackflow_slack})


def quick(waiting: int = 10) -> Channel:
    return Channel(Pace(per_second=0, attempts=3, sleep=lambda _seconds: None), waiting)


def won(ref: str = "crm/deal-1", hours: float = 1, touches: int = 3, **changes: Any) -> Attribution:
    values = {"value": 25_000, "status": DealStatus.WON, "name": "Relaunch <A & B>", **changes}
    closed = datetime.now(timezone.utc) - timedelta(hours=hours)
    origins = [
        ("news", "email", "spring"),
        ("google", "cpc", "spring"),
        ("facebook", "social", ""),
    ]
    told = [
        Touch(f"t{n}", closed - timedelta(days=9 - n), "", *origin)
        for n, origin in enumerate(origins[:touches])
    ]
    return attribute(
        told,
        replace(deal(ref=ref, **values), created_at=closed, closed_at=closed),
        Model(RULES["linear"]),
    )


def told(hooks: Hooks, *attributions: Attribution) -> None:
    for attribution in attributions:
        hooks.after_deal_attributed(attribution, CTX)
    trackflow_slack._channel.finish()


def test_a_won_deal_is_told_once_with_who_earned_it(hooks: Hooks, slack: Slack) -> None:
    told(hooks, won(), won(), won("crm/deal-2", name=""))
    assert slack.heard == [
        "*Relaunch &lt;A &amp; B&gt;* was won: 250.00 EUR\n"
        "• spring: 166.67 (news / email, google / cpc)\n"
        "• no campaign: 83.33 (facebook / social)",
        slack.heard[-1],
    ]
    assert slack.heard[-1].startswith("*crm/deal-2* was won")


def test_old_open_and_unattributed_deals_are_no_news(hooks: Hooks, slack: Slack) -> None:
    told(hooks, won(hours=25), won(touches=0), won(status=DealStatus.OPEN))
    assert slack.heard == []


def test_without_an_address_nothing_is_sent(
    hooks: Hooks, slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(trackflow_slack.URL)
    told(hooks, won())
    assert slack.heard == []


def test_a_busy_slack_is_asked_again(hooks: Hooks, slack: Slack) -> None:
    slack.refusals = [429, 503]
    told(hooks, won())
    assert len(slack.heard) == 1


def test_a_refusal_is_logged_without_the_address_and_told_later(
    hooks: Hooks, slack: Slack, caplog: pytest.LogCaptureFixture
) -> None:
    slack.refusals = [404]
    with caplog.at_level(logging.ERROR, "trackflow.slack"):
        told(hooks, won())
    assert "crm/deal-1" in caplog.text and "404" in caplog.text
    assert SECRET not in caplog.text
    told(hooks, won())
    assert len(slack.heard) == 1


def test_processes_share_what_was_told(slack: Slack, tmp_path: Path) -> None:
    for _process in range(2):
        channel = quick()
        channel.tell(slack.url, "won", str(tmp_path / "told.sqlite"), "deal")
        channel.finish()
    assert slack.heard == ["won"]


def test_a_memory_that_cannot_be_written_is_said(
    slack: Slack, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    channel = quick()
    channel.tell(slack.url, "won", str(tmp_path), "deal")
    channel.finish()
    assert slack.heard == []
    assert "cannot be kept" in caplog.text


def test_too_many_waiting_messages_are_dropped_aloud(
    slack: Slack, caplog: pytest.LogCaptureFixture
) -> None:
    channel = quick(waiting=1)
    channel._room.acquire()
    channel.tell(slack.url, "won", "", "deal")
    channel._room.release()
    channel.finish()
    assert slack.heard == []
    assert "1 messages wait" in caplog.text


def test_a_write_back_that_was_given_up_is_told(hooks: Hooks, slack: Slack) -> None:
    message = Message("msg_1", Outgoing("connector/crm", "deal.attributed", "crm/1", "{}"), at(), 2)
    hooks.on_writeback_error(message, "The CRM answered 500.", False, CTX)
    hooks.on_writeback_error(message, "The CRM answered 500.", True, CTX)
    trackflow_slack._channel.finish()
    assert len(slack.heard) == 1
    assert "deal.attributed of crm/1" in slack.heard[0] and "answered 500" in slack.heard[0]


def test_it_is_found_by_its_entry_point() -> None:
    assert load(frozenset({"slack"})).implemented_by("slack") == (
        "trackflow_after_deal_attributed",
        "trackflow_on_writeback_error",
    )
