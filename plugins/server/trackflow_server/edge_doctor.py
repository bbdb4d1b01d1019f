"""What `trackflow doctor` finds out about an edge's upstream. It leaves nothing behind there."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from functools import cached_property
from secrets import token_hex

from trackflow_core.errors import TrackFlowError
from trackflow_core.model import Click, Link
from trackflow_core.tracking import identity
from trackflow_http import Answer
from trackflow_server import facts
from trackflow_server.config import ServerConfig
from trackflow_server.edge import EdgeState, Refused, changed, client, event_of, fetch, told_by
from trackflow_server.store import Database

# Sessions end after minutes: clocks this far apart mix up what came first.
_SECONDS_APART = 30


class Upstream:
    """The upstream of an edge, as the edge meets it."""

    def __init__(self, config: ServerConfig, database: Database) -> None:
        self._config = config
        self._database = database
        self._client = client(config)

    @cached_property
    def _edge(self) -> tuple[Answer, datetime, int]:
        """What the upstream tells an edge, when it did, and after how many milliseconds."""
        began = time.monotonic()
        answer = self._client.get("/edge")
        milliseconds = round((time.monotonic() - began) * 1000)
        return answer, datetime.now(timezone.utc), milliseconds

    def visitor_keys(self) -> Sequence[str]:
        """The keys of visitor ids that the edge remembers."""
        with self._database.reading() as store:
            known = EdgeState(store, self._config.upstream_key).visitor_keys
        if not known:
            raise TrackFlowError(
                "The edge has never learned them: start it once while the upstream answers."
            )
        return known

    def answers(self) -> str:
        """It is there, takes the key with edge:read, and signs visitor ids as the edge does."""
        answer, _arrived, milliseconds = self._edge
        if tuple(told_by(answer, "visitor_keys")["visitor_keys"]) != tuple(self.visitor_keys()):
            raise TrackFlowError(
                "It signs visitor ids with other keys than the edge remembers: restart the edge."
            )
        return f"{self._config.upstream} takes the key and answers in {milliseconds} ms"

    def clock(self) -> str:
        """Both clocks tell the same time."""
        answer, arrived, _milliseconds = self._edge
        ahead = round((arrived - _date_of(answer)).total_seconds())
        if abs(ahead) > _SECONDS_APART:
            raise TrackFlowError(
                f"This machine's clock is {abs(ahead)} seconds {'ahead of' if ahead > 0 else 'behind'} "
                "the upstream's, so that visits are put into a wrong order: let NTP set both."
            )
        return f"{abs(ahead)} seconds apart"

    def links(self) -> str:
        """The copy has every change, at the latest when it has looked again."""
        if missing := self._missing():
            # The edge may be about to look.
            time.sleep(2 * self._config.upstream_seconds + 1)
            missing = [link for link in self._missing() if link in missing]
        if missing:
            raise TrackFlowError(
                f"{len(missing)} changed links have not arrived, the first is {missing[0].code!r}: "
                "see that `trackflow serve` runs, and its log."
            )
        return "every change has arrived"

    def _missing(self) -> Sequence[Link]:
        with self._database.reading() as store:
            cursor = EdgeState(store, "").cursor
        links, _, _ = fetch(self._client, cursor)
        with self._database.reading() as store:
            return changed(store, links)

    def takes_events(self) -> str:
        """It understands a click of this edge's and would record it.

        The click goes with an event that can be none, since of such a batch nothing is recorded.
        """
        click = Click(
            event_id=f"doctor-{token_hex(8)}",
            occurred_at=datetime.now(timezone.utc),
            link_code="doctor",
            destination="https://example.com/",
            visitor_id=identity.new_visitor_id(),
            user_agent="trackflow doctor",
        )
        understood = event_of(facts.of_click(click))
        impossible = {**understood, "id": f"doctor-{token_hex(8)}", "type": "page_view"}
        try:
            self._client.send("POST", "/events", json={"events": [understood, impossible]})
        except Refused as error:
            if [*error.fields] != ["events[1].link"]:
                raise
            return "a click was understood, and left out"
        raise TrackFlowError("It recorded what can be no event: is it a TrackFlow of this version?")


def _date_of(answer: Answer) -> datetime:
    try:
        return parsedate_to_datetime(answer.headers["date"]).astimezone(timezone.utc)
    except (KeyError, ValueError):
        raise TrackFlowError("It does not say what time it is: see the proxy before it.") from None
