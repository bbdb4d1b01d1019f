"""Fits: frozen, dated, told in every receipt, and read again as they were written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from decimal import Decimal

import pytest

from trackflow_core.attribution import BUILTIN_RULES, Fit, Journey, Model, Path, Rule, attribute
from trackflow_core.attribution.fits import Progress, interval
from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.testing import AttributionModelContract
from trackflow_core.testing.facts import at, deal, touch

JOURNEY = [touch("a", 1), touch("b", 2, "Email"), touch("c", 3, "Billboard")]
FIT = Fit(
    "popular",
    at(20),
    {"Paid Search": 1, "Email": 3},
    unseen=4,
    journeys=9,
    conversions=4,
    parameters={"floor": Decimal("0.5")},
    version=7,
    draws=tuple((number, 2 * number) for number in range(101)),
    note="4 conversions.",
)


def _weigh(journey: Journey) -> Sequence[int]:
    if journey.fit is None:
        return [1] * len(journey.touches)
    return [journey.fit.weight(touch.channel) for touch in journey.touches]


def _learn(
    paths: Sequence[Path],
    parameters: Mapping[str, Decimal],
    fitted_at: datetime,
    progress: Progress,
) -> Fit:
    counts: dict[str, int] = {}
    for path in paths:
        for channel in path.channels:
            counts[channel] = counts.get(channel, 0) + path.conversions
    progress(1.0)
    return Fit("popular", fitted_at, counts, conversions=sum(path.conversions for path in paths))


POPULAR = Rule(
    "popular",
    "Popular",
    "Learns how often a channel took part.",
    _weigh,
    {"floor": Decimal(0)},
    learn=_learn,
)


class TestARuleThatLearns(AttributionModelContract):
    rule = POPULAR
    fit = replace(FIT, weights={"Email": 5, "Direct": 1, "Display": 7}, draws=(), unseen=2)


class TestARuleThatHasNotLearned(AttributionModelContract):
    rule = POPULAR


def test_a_fit_splits_a_deal_and_is_in_its_receipt() -> None:
    found = attribute(JOURNEY, deal(value=800), Model(POPULAR, fit=FIT))
    assert [credit.value for credit in found.credits] == [100, 300, 400]
    receipt = found.receipt()
    assert receipt["fit"] == {
        "version": 7,
        "fitted_at": "2026-03-22T09:00:00+00:00",
        "journeys": 9,
        "conversions": 4,
        "weights": {"Email": 3, "Paid Search": 1},
        "unseen": 4,
        "enough": True,
        "note": "4 conversions.",
    }
    assert receipt["parameters"] == {"floor": "0.5"}
    assert json.loads(json.dumps(receipt)) == receipt
    assert "Fit 7 of 2026-03-22: Email=3, Paid Search=1\n4 conversions." in found.explain()


def test_learning_gives_a_fit_that_splits() -> None:
    paths = [Path(("Email", "Paid Search"), 5, 2), Path(("Email",), 3, 1)]
    fit = _learn(paths, POPULAR.parameters, at(1), lambda part: None)
    assert dict(fit.weights) == {"Email": 3, "Paid Search": 2}
    credits = attribute(JOURNEY[:2], deal(value=500), Model(POPULAR, fit=fit)).credits
    assert [credit.value for credit in credits] == [200, 300]


def test_before_the_first_fit_the_receipt_says_so() -> None:
    found = attribute(JOURNEY, deal(), Model(POPULAR))
    assert found.receipt()["fit"] is None
    assert "Not fitted yet." in found.explain()
    assert "fitted" not in attribute(JOURNEY, deal(), Model(BUILTIN_RULES[0])).explain()


def test_the_digest_covers_what_was_learned_and_nothing_else() -> None:
    def digest(fit: Fit | None) -> str:
        return attribute(JOURNEY, deal(), Model(POPULAR, fit=fit)).digest

    again = replace(FIT, version=8, fitted_at=at(99), draws=(), note="Told anew.")
    assert digest(again) == digest(FIT)
    others = [
        None,
        replace(FIT, weights={"Paid Search": 2, "Email": 3}),
        replace(FIT, unseen=5),
        replace(FIT, conversions=5),
        replace(FIT, parameters={}),
    ]
    assert len({digest(fit) for fit in [FIT, *others]}) == 1 + len(others)


def test_a_fit_survives_its_file() -> None:
    assert Fit.from_json(FIT.to_json()) == FIT
    assert hash(Fit.from_json(FIT.to_json())) == hash(FIT)
    turned = replace(FIT, weights={"Email": 3, "Paid Search": 1}, draws=((6, 3),))
    assert Fit.from_json(turned.to_json()).draws == ((6, 3),)
    assert replace(FIT, draws=((3, 6),)).weights == turned.weights


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", '{"trackflow_fit": 1}', '{"trackflow_fit": 2}']
)
def test_what_is_no_fit_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"upgrade|not a fitted model"):
        Fit.from_json(text)


def test_a_fit_belongs_to_its_rule() -> None:
    with pytest.raises(ConfigError, match="fit the model again"):
        Model(BUILTIN_RULES[0], fit=FIT)
    with pytest.raises(ConfigError, match="fit the model again"):
        Model(POPULAR, fit=replace(FIT, rule="other"))
    with pytest.raises(ConfigError, match="no parameter 'order'"):
        Model(POPULAR, fit=replace(FIT, parameters={"order": Decimal(1)}))


def test_the_parameters_of_the_fit_are_those_of_the_model() -> None:
    model = Model(POPULAR, {"floor": Decimal(9)}, fit=FIT)
    assert dict(model.parameters) == {"floor": Decimal("0.5")}


@pytest.mark.parametrize(
    "changes",
    [
        {"weights": {"Email": -1, "Paid Search": 0}},
        {"weights": {"Email": 0.5, "Paid Search": 0}},
        {"unseen": -1},
        {"draws": ((1,),)},
        {"draws": ((1, -1),)},
        {"fitted_at": datetime(2026, 1, 1)},
    ],
)
def test_weights_that_cannot_be_used_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        replace(FIT, **changes)  # type: ignore[arg-type]


def test_draws_say_how_sure_a_weight_is() -> None:
    # The draws follow the weights as given, which a fit keeps by name.
    assert FIT.interval("Paid Search") == (5, 95)
    assert FIT.interval("Email") == (10, 190)
    assert FIT.interval("Billboard") is None
    assert replace(FIT, draws=()).interval("Email") is None
    assert interval([7]) == (7, 7)
    assert interval([3, 1, 2]) == (1, 3)


def test_a_draw_is_a_fit_of_its_own() -> None:
    assert dict(FIT.redrawn(10).weights) == {"Paid Search": 10, "Email": 20}
    assert FIT.redrawn(10).unseen == 15
    assert FIT.redrawn(101 + 10) == FIT.redrawn(10)
    assert replace(FIT, draws=()).redrawn(3).weights == FIT.weights


@pytest.mark.parametrize(
    "arguments",
    [((),), (("Email",), 0), (("Email",), 1, 2), (("Email",), 1, -1), (("Email",), 1, 0, 5)],
)
def test_impossible_paths_are_refused(arguments: tuple[object, ...]) -> None:
    with pytest.raises(InvalidEvent):
        Path(*arguments)  # type: ignore[arg-type]


def test_a_refund_is_a_path() -> None:
    assert Path(("Email",), 1, 1, -500).value == -500
    assert FIT.fitted_at == datetime(2026, 3, 22, 9, tzinfo=timezone.utc)
