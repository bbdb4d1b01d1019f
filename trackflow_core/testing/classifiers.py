"""The contract kit for plugins that decide: a mixin of plain `test_*` methods.

class TestMyPlugin(ClassifierContract):
    plugin = my_plugin

    def clicks(self):
        return [click("known", 1, user_agent="OurLoadTest/1.0")]
"""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, fields, replace
from statistics import median
from time import thread_time
from typing import Any

from trackflow_core.hooks import Hooks
from trackflow_core.model import Agent, Click, Context, Source, Verdict
from trackflow_core.testing.facts import click

DECISIONS = ("trackflow_is_bot", "trackflow_classify_touch", "trackflow_geolocate")
"""The hooks that the kit asks, where the plugin implements them."""

HOSTILE = (
    "",
    " \t\r\n",
    "\0",
    "\ud800",
    "\u202eZoë \U0001f600",
    "%00%ff%",
    "{0} %s ${x} <b>' OR 1=1 --",
    "([{*+?\\",
    "../../etc/passwd",
    "https://[::1",
    "1.2.3.4.5",
    "a" * 20_000,
    "(" * 5_000,
    "a/ " * 5_000,
    "Mozilla/5.0 (" + "x; " * 2_000,
)
"""Texts as nobody honest sends them."""

_ADDRESSES = (
    "203.0.113.0",
    "203.0.113.77",
    "192.168.0.1",
    "255.255.255.255",
    "2001:db8::",
    "::1",
    "::ffff:203.0.113.7",
    "fe80::1%eth0",
    "203.0.113.0/24",
    "3405803776",
    "999.1.1.1",
)
_TEXTS = ("user_agent", "referrer", "destination", "link_code", "ip", "visitor_id")
_COUNTRY = re.compile(r"[A-Z]{2}")
_MEDIAN_SECONDS = 0.001
_WORST_SECONDS = 0.25

Question = tuple[str, Mapping[str, Any]]
"""A hook's name and its arguments."""


class ClassifierContract:
    """What every `is_bot`, `classify_touch` and `geolocate` keeps. Subclasses give `plugin`.

    The plugin must have an opinion on one of `clicks`, `sources` or `addresses`, or on the kit's
    own inputs; otherwise the kit could not fail, so it fails.
    """

    plugin: object
    """The module or object with the hooks, configured as its users would."""

    def clicks(self) -> Sequence[Click]:
        """Clicks of which the plugin thinks something."""
        return ()

    def sources(self) -> Sequence[Source]:
        """Sources of which the plugin thinks something."""
        return ()

    def addresses(self) -> Sequence[str]:
        """Addresses of which the plugin knows the country."""
        return ()

    def test_it_decides_something(self) -> None:
        assert self._asked(), f"the plugin implements none of {', '.join(DECISIONS)}"
        silent = self._asked() - {hook for hook, _, answer in self._answers() if answer is not None}
        assert not silent, (
            f"no answer of {', '.join(sorted(silent))} but None: give samples of which the plugin "
            "thinks something, by the methods clicks, sources or addresses"
        )

    def test_answers_are_usable(self) -> None:
        for hook, arguments, answer in self._answers():
            problem = _problem(hook, arguments, answer)
            assert not problem, f"{hook} answered {answer!r:.200}: {problem}"

    def test_the_same_question_has_the_same_answer(self) -> None:
        questions = list(self._questions())
        hooks = self._hooks()
        first = [hooks.ask(*question) for question in questions]
        for seed in range(3):
            order = list(range(len(questions)))
            random.Random(seed).shuffle(order)
            for number in order:
                again = hooks.ask(*questions[number])
                assert again == first[number], f"{questions[number][0]} answered otherwise later"

    def test_arguments_stay_as_they_were(self) -> None:
        hooks = self._hooks()
        for hook, arguments in self._questions():
            before = copy.deepcopy(dict(arguments))
            hooks.ask(hook, arguments)
            assert dict(arguments) == before, f"{hook} changed its arguments"

    def test_it_is_quick(self) -> None:
        hooks = self._hooks()
        spent: dict[str, list[float]] = {}
        for hook, arguments in self._questions():
            if hook not in spent:
                # The first call may read a list or a database.
                hooks.ask(hook, arguments)
            start = thread_time()
            hooks.ask(hook, arguments)
            spent.setdefault(hook, []).append(thread_time() - start)
        for hook, seconds in spent.items():
            assert median(seconds) < _MEDIAN_SECONDS, f"{hook} takes {median(seconds):.4f} s"
            assert max(seconds) < _WORST_SECONDS, f"{hook} once took {max(seconds):.2f} s"

    # -- helpers ---------------------------------------------------------------------------

    def _hooks(self) -> _Asking:
        return _Asking({"kit": self.plugin})

    def _asked(self) -> set[str]:
        return set(DECISIONS) & set(self._hooks().implemented_by("kit"))

    def _answers(self) -> Iterator[tuple[str, Mapping[str, Any], Any]]:
        hooks = self._hooks()
        for hook, arguments in self._questions():
            yield hook, arguments, hooks.ask(hook, arguments)

    def _questions(self) -> Iterator[Question]:
        ctx = Context(host="kit", tenant="shop")
        cases = {
            "trackflow_is_bot": self._about_agents,
            "trackflow_classify_touch": self._about_sources,
            "trackflow_geolocate": self._about_addresses,
        }
        for hook in sorted(self._asked()):
            for arguments in cases[hook]():
                yield hook, {**arguments, "ctx": ctx}

    def _about_agents(self) -> Iterator[Mapping[str, Any]]:
        for fact in self._clicks():
            for verdict in Verdict:
                yield {"agent": Agent(verdict, "judged by the kit", "desktop"), "click": fact}

    def _about_sources(self) -> Iterator[Mapping[str, Any]]:
        plain = click("kit", 1)
        known = Source("google", "cpc", "spring", "Paid Search", "banner", "shoes")
        hostile = (
            replace(known, **{field.name: text}) for field in fields(Source) for text in HOSTILE
        )
        for source in (*self.sources(), Source(), known, *hostile):
            yield {"source": source, "click": plain}
        for fact in self._clicks():
            yield {"source": Source(), "click": fact}

    def _about_addresses(self) -> Iterator[Mapping[str, Any]]:
        for address in (*self.addresses(), *_ADDRESSES, *HOSTILE):
            yield {"address": address}

    def _clicks(self) -> Iterator[Click]:
        plain = click("kit", 1)
        yield from self.clicks()
        yield from (plain, replace(plain, visitor_id=None, internal=True, prefetch=True))
        for name in _TEXTS:
            for text in HOSTILE:
                yield replace(plain, **{name: text})  # type: ignore[arg-type]


class _Asking(Hooks):
    """Hooks that give a plugin's own answer and let its exceptions through."""

    def ask(self, hook: str, arguments: Mapping[str, Any]) -> Any:
        [*_, (_, call)] = self._calls(hook)
        return call(**arguments)


def _problem(hook: str, arguments: Mapping[str, Any], answer: object) -> str:
    """What a host could not use of an answer, in words; "" for a good one."""
    if answer is None:
        return ""
    if hook == "trackflow_geolocate":
        good = isinstance(answer, str) and _COUNTRY.fullmatch(answer)
        return "" if good else "return two capital letters, or None"
    kind = Agent if hook == "trackflow_is_bot" else Source
    if not isinstance(answer, kind):
        return f"return a {kind.__name__}, or None"
    if not all(isinstance(value, str) for value in astuple(answer)):
        return "all fields are texts"
    if isinstance(answer, Source):
        return "" if answer.channel or not arguments["source"].channel else "name the channel"
    if not isinstance(answer.verdict, Verdict):
        return "the verdict is a Verdict"
    told = answer.reason and answer.reason != arguments["agent"].reason
    return "" if told or answer == arguments["agent"] else "say in `reason` why"
