"""The kit for classifiers catches each thing that a classifier must not do."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from types import SimpleNamespace

import pytest

from trackflow_core.hooks import hookimpl
from trackflow_core.model import Agent, Click, Source, Verdict
from trackflow_core.testing import ClassifierContract

KIT = [name for name in vars(ClassifierContract) if name.startswith("test_")]


def failures(hook: Callable[..., object]) -> dict[str, str]:
    """The kit's tests that a plugin of one function fails, with what they say."""
    kit = ClassifierContract()
    kit.plugin = SimpleNamespace(**{hook.__name__: hookimpl(hook)})
    found = {}
    for name in KIT:
        try:
            getattr(kit, name)()
        except Exception as error:
            found[name] = str(error) or type(error).__name__
    return found


def test_a_good_classifier_passes() -> None:
    def trackflow_is_bot(agent: Agent, click: Click) -> Agent | None:
        if "x; x; " in click.user_agent:
            return replace(agent, verdict=Verdict.BOT, reason="repeats itself")
        return None

    assert failures(trackflow_is_bot) == {}


def test_a_plugin_without_opinions_is_told_to_give_samples() -> None:
    def trackflow_classify_touch(source: Source) -> None:
        return None

    def trackflow_after_deal_attributed() -> None:
        return None

    assert list(failures(trackflow_classify_touch)) == ["test_it_decides_something"]
    assert "implements none" in failures(trackflow_after_deal_attributed)[KIT[0]]


@pytest.mark.parametrize(
    ("answer", "remedy"),
    [
        ("bot", "return a Agent"),
        (Agent(Verdict.BOT, ""), "say in `reason` why"),
        (Agent("bot", "listed"), "the verdict is a Verdict"),  # type: ignore[arg-type]
        (Agent(Verdict.BOT, "listed", device=None), "all fields are texts"),  # type: ignore[arg-type]
    ],
)
def test_an_agent_is_whole(answer: object, remedy: str) -> None:
    def trackflow_is_bot() -> object:
        return answer

    assert remedy in failures(trackflow_is_bot)["test_answers_are_usable"]


@pytest.mark.parametrize("answer", ["de", "DEU", "Germany", 49])
def test_a_country_is_two_letters(answer: object) -> None:
    def trackflow_geolocate() -> object:
        return answer

    assert "two capital letters" in failures(trackflow_geolocate)["test_answers_are_usable"]


def test_a_source_keeps_a_channel() -> None:
    def trackflow_classify_touch(source: Source) -> Source:
        return replace(source, channel="")

    assert "name the channel" in failures(trackflow_classify_touch)["test_answers_are_usable"]


def test_an_exception_is_a_failure() -> None:
    def trackflow_geolocate(address: str) -> str:
        return "DE" if int(address.split(".")[0]) else "AT"

    assert set(failures(trackflow_geolocate)) == set(KIT)


def test_memory_and_chance_are_noticed() -> None:
    calls = count()

    def trackflow_geolocate() -> str:
        return "DE" if next(calls) % 2 else "AT"

    assert "test_the_same_question_has_the_same_answer" in failures(trackflow_geolocate)


def test_a_changed_argument_is_noticed() -> None:
    def trackflow_classify_touch(source: Source) -> Source:
        object.__setattr__(source, "medium", "changed")
        return source

    assert "test_arguments_stay_as_they_were" in failures(trackflow_classify_touch)


def test_a_slow_answer_is_noticed() -> None:
    def trackflow_geolocate(address: str) -> str:
        end = time.thread_time() + 0.002
        while time.thread_time() < end:
            pass
        return "DE"

    assert list(failures(trackflow_geolocate)) == ["test_it_is_quick"]


def test_one_catastrophic_input_is_noticed() -> None:
    def trackflow_geolocate(address: str) -> str:
        end = time.thread_time() + 0.3 * address.startswith("((")
        while time.thread_time() < end:
            pass
        return "DE"

    assert "once took" in failures(trackflow_geolocate)["test_it_is_quick"]
