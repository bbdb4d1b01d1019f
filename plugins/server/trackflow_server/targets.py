"""Links in memory, ready to be answered with."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from trackflow_core.errors import TrackFlowError
from trackflow_core.model import Link, LinkStatus
from trackflow_core.tracking.links import Choice
from trackflow_core.tracking.urls import build_destination, header_safe

_log = logging.getLogger("trackflow.links")
_MOST = 100_000
_LONGEST_CODE = 255
_CHECK_SECONDS = 1.0

Load = Callable[[Collection[str]], Mapping[str, Link]]


@dataclass(frozen=True, slots=True)
class Target:
    """A link with what can be said of it beforehand.

    `always` is where every click without a query goes, and `choice` what is chosen for it; "" and
    None where that depends on the click.
    """

    link: Link
    utm: Mapping[str, str]
    always: str
    choice: Choice | None = None


def target_of(link: Link) -> Target:
    """What a redirect needs to know of a link, worked out once."""
    names = ("source", "medium", "campaign", "term", "content")
    utm = {name: value for name in names if (value := getattr(link, name))}
    depends = (
        link.status is not LinkStatus.ACTIVE
        or link.starts is not None
        or link.ends is not None
        or link.rules
        or link.variants
    )
    if depends:
        return Target(link, utm, "")
    always = header_safe(build_destination(link.destination, utm))
    return Target(link, utm, always, Choice(link.destination, "destination"))


class Targets:
    """The links that were asked for, until the store's links change.

    `load` reads links and `revision` tells a number that grows when any of them changes; both may
    wait for the store, so they run beside the event loop, as does `changed`, which is told of it.
    """

    def __init__(
        self, load: Load, revision: Callable[[], int], changed: Callable[[], None]
    ) -> None:
        self._load = load
        self._revision = revision
        self._changed = changed
        self._known: dict[str, Target | None] = {}
        self._seen = -1

    def known(self, code: str) -> Target | None:
        """The target of `code` where it is in memory."""
        return self._known.get(code)

    async def find(self, code: str) -> Target | None:
        """The target of `code`; None when there is no such link."""
        if code in self._known:
            return self._known[code]
        if not code or len(code) > _LONGEST_CODE or "\0" in code or "/" in code:
            return None
        seen = self._seen
        found = (await asyncio.to_thread(self._load, [code])).get(code)
        target = target_of(found) if found else None
        # What was read before a change must not outlive it.
        if seen == self._seen:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[code] = target
        return target

    async def watch(self) -> None:
        """Forget all links whenever the store's have changed; runs until it is cancelled."""
        while True:
            # While the store cannot be asked, what is in memory goes on being answered.
            with suppress(TrackFlowError, SQLAlchemyError):
                revision = await asyncio.to_thread(self._revision)
                if revision != self._seen:
                    await asyncio.to_thread(self._changed)
                    self._known.clear()
                    self._seen = revision
            await asyncio.sleep(_CHECK_SECONDS)
